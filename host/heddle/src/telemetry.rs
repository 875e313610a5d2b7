//! Logs: what the program tells while it runs, on standard error.
//!
//! Promises that no log line ends or stalls a host. Where standard error is closed, full or not read, lines are lost; they
//! are counted, and the first line that can be written again says how many. And that a log line is one: what a plugin or a
//! message says in it can neither begin another one nor do anything to a terminal.

use std::fmt;
use std::io::{IsTerminal, StderrLock, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use super::print::{offer, visible_json, visible_lines};
use heddle_values::text::rfc3339;

/// What is shown unless a filter says otherwise. The library's own connection messages repeat ours.
const DEFAULT_FILTER: &str = "info,async_nats=error";

/// How long a line waits for a reader that lags. Once one is lost no other waits, until the reader reads again.
const PATIENCE: Duration = Duration::from_millis(100);

/// Log lines that could not be written since one could. It changes under the lock of standard error.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sets up logging for the whole process. `filter` has the form of `tracing`'s directives.
pub(super) fn start(format: LogFormat, filter: Option<&str>, quiet: bool) -> anyhow::Result<()> {
    let default = if quiet { "warn,async_nats=error" } else { DEFAULT_FILTER };
    let filter = EnvFilter::try_new(filter.unwrap_or(default))?;
    let terminal = std::io::stderr().is_terminal();
    let writer = move || Lines { format, terminal };
    // An error of the writer would be answered with a line on standard error, and that with a panic.
    let builder = tracing_subscriber::fmt().log_internal_errors(false);
    let builder = builder.with_env_filter(filter).with_writer(writer);
    let started = match format {
        LogFormat::Text => {
            let fields = debug_fn(field).delimited(" ");
            builder.fmt_fields(fields).with_ansi(terminal).with_target(false).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("failed to start logging: {error}"))
}

/// Writes one field of a log line in text, whoever its value is from.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    // A line of the log begins with its time; what goes on in the next one is indented, so that it cannot pass for one.
    let value = format!("{value:?}");
    let value = visible_lines(&value).replace('\n', "\n    ");
    let name = field.name().trim_start_matches("r#");
    match (name, writer.has_ansi_escapes()) {
        ("message", _) => write!(writer, "{value}"),
        (name, false) => write!(writer, "{name}={value}"),
        (name, true) => write!(writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{value}"),
    }
}

/// Standard error. On a terminal every line first wipes what stands there: the live summary of `heddle dev`.
struct Lines {
    format: LogFormat,
    terminal: bool,
}

impl Lines {
    fn put(&self, stderr: &mut StderrLock<'_>, line: &[u8]) -> std::io::Result<()> {
        let lost = LOST.load(Ordering::Relaxed);
        let patience = if lost == 0 { PATIENCE } else { Duration::ZERO };
        let mut whole = Vec::with_capacity(line.len() + 8);
        if self.terminal {
            whole.extend(b"\r\x1b[2K");
        }
        if lost > 0 {
            whole.extend(self.lost(lost).as_bytes());
        }
        match (self.format, std::str::from_utf8(line)) {
            (LogFormat::Json, Ok(text)) => whole.extend(visible_json(text).as_bytes()),
            _ => whole.extend(line),
        }
        offer(stderr, &whole, patience)
    }

    /// The line that says how many lines are missing before it. It begins with a line break: the last one may be torn.
    fn lost(&self, lost: u64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = rfc3339(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
        const WHY: &str = "log lines are lost: standard error could not be written";
        match self.format {
            LogFormat::Text => format!("\n{now}  WARN {lost} {WHY}\n"),
            LogFormat::Json => {
                let line = serde_json::json!({
                    "timestamp": now, "level": "WARN", "message": WHY, "lost": lost, "target": "heddle",
                });
                format!("\n{line}\n")
            }
        }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let mut stderr = std::io::stderr().lock();
        match self.put(&mut stderr, line) {
            Ok(()) => LOST.store(0, Ordering::Relaxed),
            Err(_) => _ = LOST.fetch_add(1, Ordering::Relaxed),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
