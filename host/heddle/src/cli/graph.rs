//! `heddle graph`.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::FileArgs;
use crate::print::{self, say};
use heddle_config::Needs;
use heddle_values::choreography::{Notation, feeds, graph};
use heddle_values::settings::Settings;
use heddle_values::subject::Pattern;

/// Print the choreography as a graph.
///
/// Drawn from what the handlers declare: `subscribe` and `publishes`.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    file: FileArgs,
    /// How the graph is written.
    #[arg(long, value_enum, default_value = "mermaid")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For Markdown: GitHub and GitLab draw it.
    Mermaid,
    /// For Graphviz.
    Dot,
}

impl Command {
    pub(super) fn run(self, json: bool) -> anyhow::Result<()> {
        let settings = self.file.load(Needs::File)?;
        if json {
            return print::json(&document(&settings));
        }
        let notation = match self.format {
            Format::Mermaid => Notation::Mermaid,
            Format::Dot => Notation::Dot,
        };
        Ok(say!("{}", graph(&settings, notation).trim_end())?)
    }
}

/// The graph as JSON: what each handler declares, and which ones it feeds.
fn document(settings: &Settings) -> Value {
    let texts = |patterns: &[Pattern]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
    let handlers = settings.handlers.iter().map(|handler| {
        let fed = settings.handlers.iter().filter(|other| feeds(settings, handler, other));
        let facts = json!({
            "stream": &*handler.stream,
            "subscribe": texts(&handler.subscribe),
            "publishes": texts(&handler.publishes),
            "feeds": fed.map(|other| &*other.name).collect::<Vec<_>>(),
        });
        (handler.name.to_string(), facts)
    });
    json!({ "app": settings.app, "handlers": handlers.collect::<BTreeMap<_, _>>() })
}
