//! `heddle completions` and `heddle man`: what a shell and `man` know of the command line.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use super::Cli;
use crate::print::{self, say};

/// Print completions for a shell
///
/// They complete commands, options and their values:
///
///   bash  heddle completions bash > ~/.local/share/bash-completion/completions/heddle
///   zsh   heddle completions zsh > "${fpath[1]}/_heddle"
///   fish  heddle completions fish > ~/.config/fish/completions/heddle.fish
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Write man pages, one for each command.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The folder that they are written to; it is created if it does not exist.
    #[arg(default_value = "man")]
    folder: PathBuf,
}

impl Completions {
    pub(super) fn run(self, json: bool) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "heddle", &mut script);
        if json {
            let script = String::from_utf8_lossy(&script);
            return print::json(&json!({ "shell": self.shell.to_string(), "script": script }));
        }
        Ok(print::bytes(&script)?)
    }
}

impl Man {
    pub(super) fn run(self, json: bool) -> anyhow::Result<()> {
        let failed = || format!("failed to write man pages into `{}`", self.folder.display());
        std::fs::create_dir_all(&self.folder).with_context(failed)?;
        clap_mangen::generate_to(Cli::command(), &self.folder).with_context(failed)?;
        let mut pages: Vec<String> = std::fs::read_dir(&self.folder)
            .with_context(failed)?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("heddle") && name.ends_with(".1"))
            .collect();
        pages.sort_unstable();
        if json {
            return print::json(&json!({ "folder": self.folder, "pages": pages }));
        }
        let (count, folder) = (pages.len(), self.folder.display());
        Ok(say!("{count} man pages are in `{folder}`; read one with `man {folder}/heddle.1`")?)
    }
}
