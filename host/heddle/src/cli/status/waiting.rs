//! Events that wait: for another attempt, or because everything behind them does.

use serde::Serialize;

use super::time_of;
use crate::print::{self, say, visible};
use heddle_values::attempt::Attempt;
use heddle_values::checkpoint::Progress;
use heddle_values::position::Position;

/// More events of a handler than this are not listed.
const LISTED: usize = 10;

/// An event that waits for another attempt.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Retry {
    /// The stream and its sequence; of one that was held back, or is replayed, where that is said in the application's
    /// stream.
    event: String,
    /// How many attempts are used up: runs in an outage, and deferrals, use up none.
    attempts: u32,
    /// When it failed for the first time.
    since: String,
    /// Why the last run failed.
    cause: &'static str,
    message: String,
    /// When it is tried again.
    due: String,
}

/// An event behind which a window is full.
#[derive(Debug, Serialize)]
pub(super) struct Blocker {
    event: String,
    /// How often it was run.
    attempts: Option<u32>,
    /// Why the last run failed.
    cause: Option<String>,
    /// When it is tried again.
    due: Option<String>,
}

/// The first events that wait for another attempt, in the order of the stream.
pub(super) fn retries(stream: &str, own: &str, tracks: &[&Progress]) -> Vec<Retry> {
    let mut attempts: Vec<&Attempt> = tracks.iter().flat_map(|progress| &progress.attempts).collect();
    attempts.sort_by_key(|attempt| attempt.position);
    attempts.truncate(LISTED);
    let retry = |attempt: &&Attempt| Retry {
        event: event(stream, own, attempt.position),
        attempts: attempt.attempts,
        since: time_of(attempt.first),
        cause: attempt.class.as_str(),
        message: attempt.cause.clone(),
        due: time_of(attempt.due),
    };
    attempts.iter().map(retry).collect()
}

fn event(stream: &str, own: &str, position: Position) -> String {
    match position {
        Position::Stream(sequence) => format!("{stream}/{sequence}"),
        Position::Held(sequence) | Position::Replay(sequence) => format!("{own}/{sequence}"),
    }
}

/// What the checkpoints know of an event that everything waits for.
pub(super) fn blocker(event: &str, tracks: &[&Progress]) -> Blocker {
    let sequence = event.rsplit('/').next().and_then(|sequence| sequence.parse().ok());
    let position = sequence.map(Position::Stream);
    let attempts = tracks.iter().flat_map(|progress| &progress.attempts);
    let found = attempts.into_iter().find(|attempt| Some(attempt.position) == position);
    Blocker {
        event: event.to_owned(),
        attempts: found.map(|attempt| attempt.attempts),
        cause: found.map(|attempt| attempt.cause.clone()).filter(|cause| !cause.is_empty()),
        due: found.map(|attempt| time_of(attempt.due)),
    }
}

/// A handler reads no further behind an event that does not end.
pub(super) fn print_blocker(name: &str, blocker: &Blocker) -> Result<(), print::Error> {
    let Blocker { event, attempts, cause, due } = blocker;
    let mut known = String::new();
    if let Some(attempts) = attempts {
        known.push_str(&format!(", tried {attempts} times"));
    }
    if let Some(due) = due {
        known.push_str(&format!(", next at {due}"));
    }
    if let Some(cause) = cause {
        known.push_str(&format!(" ({cause})"));
    }
    say!(
        "{name}: reads no further until event {} is done or a dead letter{}: its window is full; fix what it waits for, or lower `retry.max-elapsed` of [handlers.{name}.retry] and it becomes a dead letter at its next try",
        visible(event),
        visible(&known)
    )
}

/// The first event that waits for another attempt, and how many more do.
pub(super) fn print_retries(name: &str, retries: &[Retry], all: u64) -> Result<(), print::Error> {
    let Some(Retry { event, attempts, since, cause, message, due }) = retries.first() else { return Ok(()) };
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    say!(
        "{name}: event {event} is retried at {due} (first of {all}): attempts used up: {attempts}, failing since {since}, last cause {cause}{}",
        visible(&message)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_values::verdict::CauseClass;

    #[test]
    fn the_first_events_that_wait_are_listed_in_the_order_of_the_stream() {
        let attempt = |position| Attempt {
            position,
            attempts: 5,
            first: 0,
            due: 1_000,
            class: CauseClass::Retry,
            cause: "down".to_owned(),
            times: Vec::new(),
        };
        let track = |positions: &[Position]| Progress {
            attempts: positions.iter().map(|position| attempt(*position)).collect(),
            ..Progress::default()
        };
        let tracks = [
            track(&[Position::Replay(3), Position::Stream(9)]),
            track(&[Position::Stream(4), Position::Held(2)]),
        ];
        let tracks: Vec<&Progress> = tracks.iter().collect();
        let retries = retries("IN", "T", &tracks);
        let events: Vec<&str> = retries.iter().map(|retry| &*retry.event).collect();
        assert_eq!(events, ["IN/4", "IN/9", "T/2", "T/3"]);
        let Retry { due, cause, message, .. } = &retries[0];
        assert_eq!((&**due, *cause, &**message), ("1970-01-01T00:00:01Z", "retry", "down"));
    }
}
