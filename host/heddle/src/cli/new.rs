//! `heddle new`.

use std::path::Path;

use clap::Args;
use serde_json::json;

use crate::print::{self, say};
use heddle_project::{Created, Language, create};

/// Make a project for a handler.
///
/// Writes a folder with a handler that counts orders, its unit test, a test for `heddle test`, a heddle.toml to run it with,
/// and a copy of the SDK, so that nothing but the language's own tools is needed. Then says what to run next.
#[derive(Debug, Args)]
pub(super) struct Command {
    /// The project's name, which is that of the folder, the component and the handler: lower-case letters, digits and dashes.
    name: String,
    /// The language.
    #[arg(long, value_enum)]
    lang: Language,
}

impl Command {
    pub(super) fn run(self, json: bool) -> anyhow::Result<()> {
        let Command { name, lang } = self;
        let created = create(Path::new(&name), &name, lang)?;
        if json {
            return print::json(&json!({
                "name": name,
                "language": lang.to_string(),
                "files": created.files,
                "install": created.install,
                "handler": created.handler,
            }));
        }
        Ok(print_text(&name, lang, created)?)
    }
}

fn print_text(name: &str, lang: Language, created: Created) -> Result<(), print::Error> {
    let mut own: Vec<String> = Vec::new();
    for file in created.files.iter().filter(|file| !file.starts_with("heddle-sdk")) {
        own.push(format!("  {name}/{}", file.display()));
    }
    say!("{name}: a handler in {lang}\n\n{}", own.join("\n"))?;
    say!("  {name}/heddle-sdk  the SDK and the contract, to be kept with the project")?;
    say!("\nNext:\n\n  cd {name}")?;
    match created.unless {
        Some(unless) => say!("  {}   # {unless}", created.install)?,
        None => say!("  {}", created.install)?,
    }
    say!(
        "  heddle build\n  heddle test\n  heddle dev\n\nand, while it runs, in a second terminal in the same folder:\n\n  \
         heddle publish order.placed.ada '{{\"order\": \"o-1\"}}'\n\nFor an application in the folder above, these lines go into its \
         heddle.toml:\n\n{}",
        created.handler
    )?;
    Ok(())
}
