//! Failures: what the end of a run says about the plugin.

use std::time::Duration;

use wasmtime::{Trap, WasmBacktrace};

use super::LogLine;
use super::adapter::GivenUp;
use super::bindings::heddle::plugin::types::Deferral;
use super::config::{HOSTCALL_BYTES, WASM_STACK};
use super::last_words::{self, GO_REASONS};
use super::limiter::Breached;
use heddle_values::effects::{Draft, Refusal};
use heddle_values::limit::{Breach, Limit};
use heddle_values::verdict::{CauseClass, Failure};

/// How long an event waits when the host has no instance for it.
const NO_INSTANCE_DELAY: Duration = Duration::from_millis(500);

/// Log lines that are added to the message of a trap.
const TRAP_LINES: usize = 3;

/// Folders of a source file that a frame names.
const FRAME_PATH: usize = 3;

/// What the engine says when one host call would carry too much.
const HOSTCALL_TEXT: &str = "fuel allocated for hostcalls";

/// A handler gave an event up by itself. If it did so because an effect had been refused, that is the cause.
///
/// A handler that rejects after a refusal gave up for it. One whose world has no word for that is taken to have done so if
/// what it says holds the very text of the refusal: such an event would be refused again on every try. What it says
/// otherwise may have another reason, and another try may help.
pub(super) fn given_up(asked: GivenUp, draft: &Draft, lines: &[LogLine]) -> Failure {
    let (asked, frames) = split(asked);
    let failure = match (asked, draft.refused()) {
        (GivenUp::Retry(reason), _) => Failure::retry(reason),
        (GivenUp::Defer(Deferral { delay_ms, reason }), _) => {
            Failure::defer(Duration::from_millis(delay_ms.into()), reason)
        }
        (GivenUp::Reject(reason), None) => Failure::reject(reason),
        (GivenUp::Reject(reason), Some(refusal)) => refused(refusal, format!("{refusal}; {reason}"), &reason),
        (GivenUp::Failed(reason), Some(refusal)) if reason.contains(&refusal.to_string()) => {
            refused(refusal, reason.clone(), &reason)
        }
        (GivenUp::Failed(reason), _) => Failure::retry(reason),
    };
    Failure { backtrace: frames, logs: texts(lines), ..failure }
}

/// A failure whose reason is its first line, and the stack below: an SDK puts the one of an error there that a handler has
/// not caught, one frame a line. A reason whose second line is no frame is text, whatever it holds.
fn split(mut asked: GivenUp) -> (GivenUp, Vec<String>) {
    let reason = match &mut asked {
        GivenUp::Retry(reason) | GivenUp::Reject(reason) => reason,
        GivenUp::Defer(deferral) => &mut deferral.reason,
        // What other worlds say below the first line is no stack by any agreement.
        GivenUp::Failed(_) => return (asked, Vec::new()),
    };
    let second = reason.lines().nth(1);
    let Some(end) = reason.find('\n').filter(|_| second.is_some_and(is_frame)) else {
        return (asked, Vec::new());
    };
    let below = reason.split_off(end);
    let frames = below.lines().map(|line| line.trim().trim_start_matches("at ").to_owned());
    let frames = frames.filter(|frame| !frame.is_empty()).collect();
    (asked, frames)
}

/// Whether a line names a place in a source, such as `at deep (src/handler.ts:12:5)`.
fn is_frame(line: &str) -> bool {
    let place = line.trim().trim_end_matches(')');
    let number = place.rsplit_once(':').map(|(_, number)| number).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The failure of an event for which an effect was refused.
fn refused(refusal: &Refusal, message: String, reason: &str) -> Failure {
    match refusal.breach() {
        Some(breach) => Failure { message: format!("{breach}; {reason}"), ..Failure::limit(breach) },
        None => Failure::new(CauseClass::Effect, message),
    }
}

/// The host could not make an instance. The event waits; that is not counted as an attempt.
pub(super) fn not_its_fault(reason: String) -> Failure {
    tracing::warn!(reason, "no instance could be made; the event waits");
    Failure { delay: Some(NO_INSTANCE_DELAY), ..Failure::new(CauseClass::Host, reason) }
}

/// What an error of the engine says about the plugin.
pub(super) fn failure(error: &wasmtime::Error, lines: &[LogLine]) -> Failure {
    let failure = if let Some(Breached(breach)) = error.downcast_ref() {
        Failure::limit(*breach)
    } else if let Some(Trap::StackOverflow) = error.downcast_ref() {
        Failure::limit(Breach { limit: Limit::Stack, allowed: WASM_STACK as u64, used: None })
    } else if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        Failure::trap(format!("plugin exited with code {}", exit.0))
    } else {
        let cause = error.root_cause().to_string();
        if cause.contains(HOSTCALL_TEXT) {
            Failure::limit(Breach { limit: Limit::HostCall, allowed: HOSTCALL_BYTES as u64, used: None })
        } else {
            Failure::trap(with_last_words(cause, lines))
        }
    };
    Failure { backtrace: frames(error), logs: texts(lines), ..failure }
}

/// What a plugin prints before it traps is, in most languages, why. Go prints its stacks after the reason.
fn with_last_words(mut message: String, lines: &[LogLine]) -> String {
    if let Some(panic) = last_words::of_rust(lines) {
        return format!("{message} | {panic}");
    }
    let says_why = |line: &LogLine| GO_REASONS.iter().any(|reason| line.text.starts_with(reason));
    let last = lines.len().saturating_sub(TRAP_LINES);
    let first = lines.iter().rposition(says_why).unwrap_or(last);
    for line in lines.iter().skip(first).take(TRAP_LINES) {
        message.push_str(" | ");
        message.push_str(&line.text);
    }
    message
}

fn texts(lines: &[LogLine]) -> Vec<String> {
    lines.iter().map(|line| line.text.clone()).collect()
}

/// The plugin's frames, the innermost first, with the lines of its source where it has them.
fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let mut frames = Vec::new();
    for frame in backtrace.frames() {
        if frame.symbols().is_empty() {
            frames.push(frame.func_name().unwrap_or("<unknown>").to_owned());
        }
        for symbol in frame.symbols() {
            let name = symbol.name().or(frame.func_name()).unwrap_or("<unknown>");
            frames.push(match (symbol.file(), symbol.line()) {
                (Some(file), Some(line)) => format!("{name} at {}:{line}", short_path(file)),
                _ => name.to_owned(),
            });
        }
    }
    frames
}

/// The end of a path: where it begins is a matter of the machine that built the plugin.
fn short_path(path: &str) -> String {
    let parts: Vec<&str> = path.split(['/', '\\']).collect();
    parts.iter().skip(parts.len().saturating_sub(FRAME_PATH)).copied().collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogLevel;

    #[test]
    fn the_lines_below_a_reason_are_its_stack() {
        let (asked, frames) =
            split(GivenUp::Retry("Error: boom\n  at deep (a.js:3)\n  at run (a.js:9)\n".into()));
        assert!(matches!(asked, GivenUp::Retry(reason) if reason == "Error: boom"));
        assert_eq!(frames, ["deep (a.js:3)", "run (a.js:9)"]);
        for text in ["plain", "not today\nnor tomorrow", "a\r\nNats-Rollup: all\r\n\r\n", "a\n"] {
            let (asked, frames) = split(GivenUp::Reject(text.into()));
            assert!(frames.is_empty() && matches!(asked, GivenUp::Reject(reason) if reason == text));
        }
        for frame in
            ["    at f (src/handler.ts:196:19)", "at deep (src/handler.py:12)", "main.deep (handler.go:243)"]
        {
            assert!(is_frame(frame), "{frame}");
        }
    }

    #[test]
    fn a_path_is_shortened_to_its_end() {
        assert_eq!(short_path("/build/shop/credit/src/lib.rs"), "credit/src/lib.rs");
        assert_eq!(short_path("lib.rs"), "lib.rs");
    }

    #[test]
    fn the_message_of_a_trap_ends_with_the_last_lines() {
        let line = |text: &str| LogLine { level: LogLevel::Info, text: text.to_owned() };
        let lines = [line("a"), line("b"), line("c"), line("d")];
        assert_eq!(with_last_words("unreachable".into(), &lines), "unreachable | b | c | d");
    }

    #[test]
    fn the_message_of_a_trap_begins_with_the_reason_if_stacks_follow_it() {
        let line = |text: &str| LogLine { level: LogLevel::Warn, text: text.to_owned() };
        let lines = [line("a"), line("panic: b"), line("c"), line("d"), line("e")];
        assert_eq!(with_last_words("unreachable".into(), &lines), "unreachable | panic: b | c | d");
    }
}
