//! Last words: what the runtime of a language prints when a handler panics, as one line that says what happened and where.
//!
//! Knows the forms of Rust and Go, whose panics end the run with a trap. Other languages' errors are caught by their SDKs.

use super::{LogLevel, LogLine};

/// What stands between the name of the thread and the place in the first line of Rust's.
const RUST_PLACE: &str = " panicked at ";

/// How the line begins by which Rust says how to see more.
const RUST_NOTE: &str = "note: run with `RUST_BACKTRACE";

/// How the line begins by which Go's runtime says why it ends.
pub(super) const GO_REASONS: [&str; 2] = ["fatal error: ", "panic: "];

/// Where Go's own frames are.
const GO_RUNTIME: [&str; 2] = ["/runtime/", "runtime/"];

/// The last panic in the lines of a run.
struct Panic {
    /// The lines that it is made of.
    lines: std::ops::Range<usize>,
    text: String,
}

/// What a panic of Rust says, with its place.
pub(super) fn of_rust(lines: &[LogLine]) -> Option<String> {
    rust(lines).map(|panic| panic.text)
}

/// Lines of a run that trapped, for the log of the host: its panic as one line. What it was made from, stacks above all, is
/// there at the level debug; a dead letter has all of it.
pub(super) fn told_in_one_line(lines: Vec<LogLine>) -> Vec<LogLine> {
    let Some(panic) = rust(&lines).or_else(|| go(&lines)) else { return lines };
    let mut told = Vec::with_capacity(lines.len() + 1);
    for (index, line) in lines.into_iter().enumerate() {
        if index == panic.lines.start {
            told.push(LogLine { level: LogLevel::Warn, text: panic.text.clone() });
        }
        let level = if panic.lines.contains(&index) { LogLevel::Debug } else { line.level };
        told.push(LogLine { level, ..line });
    }
    told
}

/// `thread 'main' panicked at src/lib.rs:7:5:`, the message in the lines below, and a note.
fn rust(lines: &[LogLine]) -> Option<Panic> {
    let place = |line: &LogLine| {
        let (thread, place) = line.text.split_once(RUST_PLACE)?;
        thread.starts_with("thread '").then(|| place.to_owned())
    };
    let start = lines.iter().rposition(|line| place(line).is_some())?;
    let place = place(lines.get(start)?)?;
    let below = lines.get(start + 1..)?;
    let note = below.iter().position(|line| line.text.starts_with(RUST_NOTE));
    let message: Vec<&str> = below.iter().take(note.unwrap_or(below.len())).map(|line| &*line.text).collect();
    let end = start + 1 + note.map_or(below.len(), |note| note + 1);
    Some(Panic { lines: start..end, text: format!("panicked at {place} {}", message.join(" | ")) })
}

/// `panic: ` and the message, and below it the stacks of all goroutines.
fn go(lines: &[LogLine]) -> Option<Panic> {
    let is_reason = |line: &LogLine| GO_REASONS.iter().any(|reason| line.text.starts_with(reason));
    let start = lines.iter().rposition(is_reason)?;
    let reason = &lines.get(start)?.text;
    let frames = lines.get(start + 1..)?.iter().filter_map(|line| {
        let place = line.text.split_whitespace().next()?;
        let is_place = place.rsplit_once(".go:").is_some_and(|(_, number)| number.parse::<u32>().is_ok());
        (is_place && !GO_RUNTIME.iter().any(|own| place.contains(own))).then_some(place)
    });
    let place = frames.into_iter().next().map(|place| format!("panicked at {place}: ")).unwrap_or_default();
    Some(Panic { lines: start..lines.len(), text: format!("{place}{reason}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<LogLine> {
        text.lines().map(|line| LogLine { level: LogLevel::Warn, text: line.trim().to_owned() }).collect()
    }

    /// What is shown of a run at the level info.
    fn shown(text: &str) -> Vec<String> {
        let told = told_in_one_line(lines(text));
        let shown = told.into_iter().filter(|line| !matches!(line.level, LogLevel::Debug));
        shown.map(|line| line.text).collect()
    }

    #[test]
    fn a_panic_is_one_line_with_its_message_and_place() {
        let rust = "about to fall\nthread '<unnamed>' (1) panicked at src/lib.rs:22:5:\nout of thread\n\
            note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace";
        assert_eq!(shown(rust), ["about to fall", "panicked at src/lib.rs:22:5: out of thread"]);
        let rust = "thread 'main' panicked at src/lib.rs:3:9:\nassertion `left == right` failed\n  left: 1\n right: 2";
        assert_eq!(
            shown(rust),
            ["panicked at src/lib.rs:3:9: assertion `left == right` failed | left: 1 | right: 2"]
        );
        let go = "placed\npanic: boom\n\ngoroutine 1 [running]:\npanic({0x1, 0x2})\n\
            \t/usr/lib/go/src/runtime/panic.go:804 +0x1\nmain.deep(...)\n\t/shop/loyalty/handler.go:24 +0x2\n\
            main.handle(0x3)\n\t/shop/loyalty/handler.go:31";
        assert_eq!(shown(go), ["placed", "panicked at /shop/loyalty/handler.go:24: panic: boom"]);
        let plain = ["a", "panicked at the disco", "note: run with care"];
        assert_eq!(shown(&plain.join("\n")), plain);
    }

    #[test]
    fn what_a_panic_line_is_made_from_stays_there_for_whoever_wants_it() {
        let told = told_in_one_line(lines("panic: boom\nmain.handle()\nhandler.go:3"));
        let texts: Vec<&str> = told.iter().map(|line| &*line.text).collect();
        assert_eq!(
            texts,
            ["panicked at handler.go:3: panic: boom", "panic: boom", "main.handle()", "handler.go:3"]
        );
    }
}
