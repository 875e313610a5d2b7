//! What commands print: facts on standard output, what is wrong on standard error.
//!
//! Everything goes through here, which promises three things. A reader who has gone ends a command quietly, and nobody
//! panics. Nothing that a stranger wrote (subjects, headers, keys, reasons) can move a terminal's cursor, set its title or
//! pass for another line. And a full or stuck output is an error of the command, never of a host.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

/// A pipe that can be written to has room for this number of bytes: a write of no more does not block.
///
/// Source: pipe(7), `PIPE_BUF`.
const ROOM: usize = 4096;

/// Prints a line, or several, on standard output.
macro_rules! say {
    ($($text:tt)*) => { $crate::print::line(format_args!($($text)*)) };
}

/// Says what is wrong, on standard error.
macro_rules! complain {
    ($($text:tt)*) => { $crate::print::fault(format_args!($($text)*)) };
}

pub(super) use {complain, say};

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write to standard output: {0}")]
pub(super) struct Error(#[from] io::Error);

impl Error {
    /// Whether its reader has gone, as that of `heddle tail | head` does.
    pub(super) fn is_closed(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Whether a character does something to a terminal, or to the order in which it shows others.
fn is_active(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text that a stranger wrote, on one line, with its control characters made visible: `\u{1b}[31m`.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, is_active)
}

/// A text of several lines that a stranger wrote, with its control characters made visible.
pub(super) fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_active(c) && !matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, is_active: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_active) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_active(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// JSON with the control characters escaped that JSON itself allows: those above ASCII, such as U+009B, which some
/// terminals take for the beginning of an escape sequence.
pub(super) fn visible_json(json: &str) -> Cow<'_, str> {
    let is_raw = |c: char| c >= '\u{7f}' && is_active(c);
    if !json.contains(is_raw) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        // They can only stand within texts, where an escape means the same.
        if is_raw(c) { shown.push_str(&format!("\\u{:04x}", u32::from(c))) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// What `say!` does.
pub(super) fn line(text: fmt::Arguments<'_>) -> Result<(), Error> {
    let mut text = visible_lines(&text.to_string()).into_owned();
    text.push('\n');
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// What `complain!` does. Without a reader, there is nobody to say it to.
pub(super) fn fault(text: fmt::Arguments<'_>) {
    let mut text = visible_lines(&text.to_string()).into_owned();
    text.push('\n');
    io::stderr().write_all(text.as_bytes()).ok();
}

/// Prints a JSON document.
pub(super) fn json(document: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(document)?;
    Ok(line(format_args!("{}", visible_json(&text)))?)
}

/// Prints a JSON document on one line.
pub(super) fn json_line(document: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string(document)?;
    Ok(line(format_args!("{}", visible_json(&text)))?)
}

/// Prints a payload or a state and a line break: as it is for a program that reads it, made visible on a terminal.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), Error> {
    let mut output = io::stdout();
    if output.is_terminal() {
        return line(format_args!("{}", String::from_utf8_lossy(bytes)));
    }
    output.write_all(bytes)?;
    Ok(output.write_all(b"\n")?)
}

/// Standard output for many rows: few writes, and each may fail.
#[derive(Debug)]
pub(super) struct Rows(BufWriter<Stdout>);

impl Default for Rows {
    fn default() -> Self {
        Rows(BufWriter::with_capacity(64 << 10, io::stdout()))
    }
}

impl Rows {
    /// A line. It may be kept back until [`flush`](Self::flush).
    pub(super) fn line(&mut self, text: &str) -> Result<(), Error> {
        self.0.write_all(visible_lines(text).as_bytes())?;
        Ok(self.0.write_all(b"\n")?)
    }

    /// Writes what was kept back.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        Ok(self.0.flush()?)
    }
}

/// A JSON list whose elements come one after the other, so that it is never in memory as a whole.
#[derive(Debug)]
pub(super) struct JsonList {
    rows: Rows,
    is_empty: bool,
}

impl Default for JsonList {
    fn default() -> Self {
        JsonList { rows: Rows::default(), is_empty: true }
    }
}

impl JsonList {
    /// The next element.
    pub(super) fn push(&mut self, element: &impl Serialize) -> anyhow::Result<()> {
        let before = if std::mem::replace(&mut self.is_empty, false) { "[\n  " } else { ",\n  " };
        let text = serde_json::to_string_pretty(element)?;
        self.rows.0.write_all(before.as_bytes()).map_err(Error)?;
        // Line breaks within texts are escaped: those that are left are between the elements' members.
        let text = visible_json(&text).replace('\n', "\n  ");
        Ok(self.rows.0.write_all(text.as_bytes()).map_err(Error)?)
    }

    /// The end of the list.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.rows.line(if self.is_empty { "[]" } else { "\n]" })?;
        self.rows.flush()
    }
}

/// Writes to an output without being held up by it: where it has no room within `patience`, that is an error. For hosts,
/// which events must not wait for.
pub(super) fn offer(output: &mut (impl Write + AsFd), bytes: &[u8], patience: Duration) -> io::Result<()> {
    for part in bytes.chunks(ROOM) {
        if !has_room(output, patience)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        output.write_all(part)?;
    }
    output.flush()
}

fn has_room(output: &impl AsFd, patience: Duration) -> io::Result<bool> {
    let mut outputs = [PollFd::new(output, PollFlags::OUT)];
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    // A reader who has gone counts as room: the write then says so.
    Ok(rustix::io::retry_on_intr(|| poll(&mut outputs, Some(&patience)))? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn control_characters_of_strangers_are_made_visible() {
        assert_eq!(visible("in.\u{1b}[31mred\r\n"), "in.\\u{1b}[31mred\\r\\n");
        assert_eq!(visible("\u{9b}2J \u{202e}cod"), "\\u{9b}2J \\u{202e}cod");
        assert!(matches!(visible("in.käse.→"), Cow::Borrowed("in.käse.→")));
        assert_eq!(visible_lines("a\n\tb\u{7}"), "a\n\tb\\u{7}");
    }

    #[test]
    fn json_stays_the_same_document_without_control_characters() {
        let value = serde_json::json!({ "a": "\u{1b}[2J \u{7f} \u{9b} \u{202e} ä\n" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = visible_json(&text);
        assert!(!shown.chars().any(|c| c != '\n' && is_active(c)), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn an_output_that_nobody_reads_holds_nobody_up() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let full = loop {
            if let Err(error) = offer(&mut writer, &[b'x'; 1000], Duration::ZERO) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        // Room for one write is room again.
        reader.read_exact(&mut [0; 2 * ROOM]).unwrap();
        offer(&mut writer, b"y", Duration::ZERO).unwrap();
        drop(reader);
        let gone = offer(&mut writer, b"z", Duration::ZERO).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
    }
}
