//! What a plugin prints: standard output and error become log lines; what is too much is counted.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::{LogLevel, LogLine};

/// Lines of one event.
const MAX_LINES: usize = 100;

/// The longest line, in bytes.
const MAX_LINE: usize = 4096;

/// The log lines of one run. Shared between the store and its output streams, which the library owns.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Collected>>);

#[derive(Debug, Default)]
struct Collected {
    lines: Vec<LogLine>,
    dropped: u32,
    /// What standard output and error hold of a line that has not ended: raw bytes, bounded.
    open: [Vec<u8>; 2],
}

/// Which stream of the plugin.
#[derive(Debug, Clone, Copy)]
pub(super) enum Channel {
    Out = 0,
    Err = 1,
}

impl Channel {
    fn level(self) -> LogLevel {
        match self {
            Channel::Out => LogLevel::Info,
            Channel::Err => LogLevel::Warn,
        }
    }
}

impl Lines {
    fn with<T>(&self, action: impl FnOnce(&mut Collected) -> T) -> T {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a line of the `log` interface.
    pub(super) fn log(&self, level: LogLevel, text: &str) {
        self.with(|collected| collected.push(level, text));
    }

    /// All lines so far, and how many were dropped. Begins again.
    pub(super) fn take(&self) -> (Vec<LogLine>, u32) {
        self.with(|collected| {
            for channel in [Channel::Out, Channel::Err] {
                collected.end_line(channel);
            }
            let taken = std::mem::take(collected);
            (taken.lines, taken.dropped)
        })
    }

    /// An output stream whose lines come here.
    pub(super) fn stream(&self, channel: Channel) -> Output {
        Output { lines: self.clone(), channel }
    }
}

impl Collected {
    fn push(&mut self, level: LogLevel, text: &str) {
        if self.lines.len() >= MAX_LINES {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.lines.push(LogLine { level, text: heddle_values::text::header_text(text, MAX_LINE) });
    }

    fn write(&mut self, channel: Channel, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let [out, err] = &mut self.open;
            let open = if matches!(channel, Channel::Out) { out } else { err };
            let room = MAX_LINE.saturating_sub(open.len());
            open.extend(piece.iter().take(room));
            if piece.ends_with(b"\n") {
                self.end_line(channel);
            }
        }
    }

    fn end_line(&mut self, channel: Channel) {
        let [out, err] = &mut self.open;
        let open = std::mem::take(if matches!(channel, Channel::Out) { out } else { err });
        let text = String::from_utf8_lossy(&open);
        let text = text.trim_end();
        if !text.is_empty() {
            self.push(channel.level(), text);
        }
    }
}

/// Standard output or error of a plugin. Always ready, never full.
#[derive(Debug, Clone)]
pub(super) struct Output {
    lines: Lines,
    channel: Channel,
}

/// What one call may write; the plugin simply calls again.
const WRITE_AT_ONCE: usize = 64 * 1024;

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.lines.with(|collected| collected.write(self.channel, &bytes));
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_AT_ONCE)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.lines.with(|collected| collected.write(self.channel, bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_text_becomes_bounded_lines_without_control_characters() {
        let lines = Lines::default();
        let mut out = lines.stream(Channel::Out);
        out.write("hello\nwor".into()).unwrap();
        out.write("ld\x1b[2J\n".into()).unwrap();
        lines.stream(Channel::Err).write("half".into()).unwrap();
        lines.log(LogLevel::Error, &"x".repeat(10_000));
        let (taken, dropped) = lines.take();
        let texts: Vec<&str> = taken.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts[0], "hello");
        assert_eq!(texts[1], "world\\u{1b}[2J");
        assert!(texts[2].len() <= MAX_LINE);
        assert_eq!(texts[3], "half");
        assert_eq!(dropped, 0);
    }

    #[test]
    fn a_flood_of_lines_is_counted_and_dropped() {
        let lines = Lines::default();
        let mut out = lines.stream(Channel::Out);
        for _ in 0..1000 {
            out.write("x\n".into()).unwrap();
        }
        let (taken, dropped) = lines.take();
        assert_eq!((taken.len(), dropped), (100, 900));
        assert_eq!(lines.take().0.len(), 0);
    }
}
