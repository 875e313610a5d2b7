//! Whether a command that changes something is to do it: `--dry-run` and `--yes`.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;

use super::fault::Code;
use crate::print::visible;

/// What every command that changes something accepts.
#[derive(Debug, Clone, Args)]
pub(super) struct Consent {
    /// Say what would be done, and change nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) yes: Yes,
}

/// That no question is to be asked.
#[derive(Debug, Clone, Args)]
pub(super) struct Yes {
    /// Do not ask. Only what cannot be undone asks; without a terminal it needs this.
    #[arg(short, long)]
    yes: bool,
}

impl Yes {
    /// Asks on the terminal whether to do what cannot be undone. Without a terminal, nothing is done.
    ///
    /// # Errors
    /// The answer is not yes, or there is nobody to ask.
    pub(super) fn confirm(&self, what: &str) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        let what = visible(what);
        let mut terminal = std::io::stderr();
        if !std::io::stdin().is_terminal() || !terminal.is_terminal() {
            return Err(Code::Unconfirmed
                .fault(format!("{what} cannot be undone: nothing was changed; give --yes to confirm"))
                .into());
        }
        write!(terminal, "{what} cannot be undone. Go on? [y/N] ")?;
        terminal.flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(Code::Unconfirmed.fault("nothing was changed").into())
    }
}
