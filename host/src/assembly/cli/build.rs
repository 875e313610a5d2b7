//! `heddle build`.

use std::path::PathBuf;

use clap::Args;

use super::CacheArgs;
use crate::assembly::project::{Project, build};

/// Build the component of a project.
///
/// Knows the language by the files in the folder (Cargo.toml, package.json with or without tsconfig.json, requirements.txt,
/// go.mod, src/*.c), runs its tools, and checks the component as a host would. What is missing is named with the command
/// that installs it. The component is put into `dist`.
#[derive(Debug, Args)]
pub(super) struct Command {
    /// The project's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where the component is put. Default: `dist/NAME.wasm` in the project.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheArgs,
}

impl Command {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let project = Project::open(&self.folder)?;
        let built = build(&project, self.output, &self.cache.workshop()?).await?;
        println!("component  {}", built.file.display());
        println!("size       {} bytes", built.size);
        println!("digest     {}", built.digest);
        let imports: Vec<&str> = built.imports.iter().map(String::as_str).collect();
        println!("imports    {}", imports.join("\n           "));
        Ok(())
    }
}
