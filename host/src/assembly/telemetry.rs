//! Logs: what the program tells while it runs, on standard error.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// What is shown unless a filter says otherwise. The library's own connection messages repeat ours.
const DEFAULT_FILTER: &str = "info,async_nats=error";

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sets up logging for the whole process. `filter` has the form of `tracing`'s directives.
pub fn start(format: LogFormat, filter: Option<&str>, quiet: bool) -> anyhow::Result<()> {
    let default = if quiet { "warn,async_nats=error" } else { DEFAULT_FILTER };
    let filter = EnvFilter::try_new(filter.unwrap_or(default))?;
    let terminal = std::io::stderr().is_terminal();
    let writer = move || Lines { terminal };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = match format {
        LogFormat::Text => builder.with_ansi(terminal).with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("failed to start logging: {error}"))
}

/// Standard error. On a terminal every line first wipes what stands there: the live summary of `heddle dev`.
struct Lines {
    terminal: bool,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let mut stderr = std::io::stderr().lock();
        if self.terminal {
            stderr.write_all(b"\r\x1b[2K")?;
        }
        stderr.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
