//! `heddle graph`.

use clap::{Args, ValueEnum};

use super::FileArgs;
use crate::assembly::config::Needs;
use crate::values::choreography::{Notation, graph};

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
    pub(super) fn run(self) -> anyhow::Result<()> {
        let notation = match self.format {
            Format::Mermaid => Notation::Mermaid,
            Format::Dot => Notation::Dot,
        };
        print!("{}", graph(&self.file.load(Needs::File)?, notation));
        Ok(())
    }
}
