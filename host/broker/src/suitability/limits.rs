//! What a stream must not hold: sequences that cannot be told from others, and the answers of the server.

use super::{Fault, StreamFacts, Wrong};
use heddle_values::position::Position;
use heddle_values::subject::Pattern;

/// Half of what is that can be written as a position: whoever comes near has time to act.
const HIGHEST: u64 = Position::SEQUENCES / 2;

/// Whether the sequences of a stream, of which the last one is given, are too high.
pub(crate) fn sequences(stream: &str, last: u64) -> Option<Fault> {
    if last < HIGHEST {
        return None;
    }
    let why = "heddle uses the highest two bits for events that come a second time";
    let wrong = Wrong::new("last_seq", last, "below 2^61", why);
    Some(wrong.mended_by(format!("remove stream `{stream}` and create it again with a lower `first_seq`")))
}

/// Whether a stream stores what the server delivers to heddle: that is a loop, for a cursor may well read a stream without a
/// filter.
pub(crate) fn inboxes(stream: &str, found: &StreamFacts, inbox_prefix: &str) -> Option<Fault> {
    let subjects = &found.0.subjects;
    let inbox: Pattern = format!("{inbox_prefix}.>").parse().ok()?;
    let holds = |subject: &String| subject.parse().is_ok_and(|stored: Pattern| stored.overlaps(&inbox));
    if !subjects.iter().any(holds) {
        return None;
    }
    let why = "everything that is delivered to heddle would be stored there as another message: a loop";
    let mut fault = Wrong::new("subjects", format!("{subjects:?}"), "", why).mended_by(format!(
        "set another `inbox-prefix` in [nats], change stream `{stream}` with `nats stream edit {stream}`, or have handlers read a stream that sources only the subjects that they need"
    ));
    fault.needed = format!("without `{inbox}`");
    Some(fault)
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::stream::Config;

    use super::*;

    #[test]
    fn sequences_that_look_like_those_of_events_that_come_again_are_refused() {
        assert_eq!(sequences("S", HIGHEST - 1), None);
        let fault = sequences("S", HIGHEST).unwrap().to_string();
        assert!(fault.contains("`last_seq` is 2305843009213693952, should be below 2^61"), "{fault}");
    }

    #[test]
    fn a_stream_that_stores_what_is_delivered_is_a_loop() {
        let judge = |subjects: &[&str], prefix: &str| {
            let subjects = subjects.iter().map(ToString::to_string).collect();
            let facts = StreamFacts(Config { subjects, ..Config::default() });
            inboxes("ALL", &facts, prefix).map(|fault| fault.to_string()).unwrap_or_default()
        };
        assert_eq!(judge(&["orders.>"], "_INBOX"), "");
        assert!(judge(&[">"], "_INBOX").contains("should be without `_INBOX.>`"));
        assert!(judge(&["orders.>"], "orders.inbox").contains("a loop"));
    }
}
