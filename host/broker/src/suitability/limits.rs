//! What a stream must not hold: sequences that cannot be told from others, and the answers of the server.

use super::{Fault, Reading, Suitability, Wrong};
use crate::provision::StreamFacts;
use heddle_values::event::HELD_BACK;
use heddle_values::subject::Pattern;

/// Whether the sequences of a stream, of which the last one is given, are too high.
pub(crate) fn sequences(stream: &str, last: u64) -> Option<Fault> {
    if last < HELD_BACK {
        return None;
    }
    let why = "heddle uses the highest two bits for events that come a second time";
    let wrong = Wrong::new("last_seq", last, "below 2^62", why);
    Some(wrong.mended_by(format!("remove stream `{stream}` and create it again with a lower `first_seq`")))
}

/// Whether a stream of others stores what the server answers to heddle. `subscribed` is what handlers read of it.
pub(crate) fn inboxes(
    reading: Reading<'_>,
    found: &StreamFacts,
    inbox_prefix: &str,
    subscribed: &[&Pattern],
) -> Suitability {
    let mut suitability = Suitability::default();
    let subjects = &found.0.subjects;
    let Ok(inbox) = format!("{inbox_prefix}.>").parse::<Pattern>() else { return suitability };
    let holds =
        subjects.iter().any(|subject| subject.parse().is_ok_and(|stored: Pattern| stored.overlaps(&inbox)));
    if !holds {
        return suitability;
    }
    let way_out = "set another `inbox-prefix` in [nats]";
    if subscribed.iter().any(|pattern| pattern.overlaps(&inbox)) {
        let why = "every event that is delivered would be stored there as another event: a loop";
        let is = format!("{subjects:?}");
        let mut fault = Wrong::new("subjects", is, "", why).mended_by(way_out.to_owned());
        fault.needed = format!("without `{inbox}`, or no handler should subscribe to it");
        suitability.faults.push(fault);
    } else {
        suitability.differences.push(format!(
            "it stores `{inbox}`, and so everything that the server delivers to heddle a second time; {way_out}, or take it out of the subjects of stream `{}`",
            reading.stream
        ));
    }
    suitability
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::stream::Config;

    use super::*;
    use heddle_values::names::Names;

    #[test]
    fn sequences_that_look_like_those_of_events_that_come_again_are_refused() {
        assert_eq!(sequences("S", HELD_BACK - 1), None);
        let fault = sequences("S", HELD_BACK).unwrap().to_string();
        assert!(fault.contains("`last_seq` is 4611686018427387904, should be below 2^62"), "{fault}");
    }

    #[test]
    fn a_stream_that_stores_what_is_delivered_is_named_and_a_loop_is_refused() {
        let names = Names::new("t");
        let reading = Reading { stream: "ALL", names: &names, handlers: 1, max_payload: 1 << 20 };
        let judge = |subjects: &[&str], prefix: &str, subscribe: &str| {
            let subjects = subjects.iter().map(ToString::to_string).collect();
            let facts = StreamFacts(Config { subjects, ..Config::default() });
            inboxes(reading, &facts, prefix, &[&subscribe.parse().unwrap()])
        };
        assert_eq!(judge(&["orders.>"], "_INBOX", "orders.>"), Suitability::default());
        assert_eq!(judge(&[">"], "_INBOX", "orders.>").differences.len(), 1);
        assert_eq!(judge(&["orders.>"], "orders.inbox", "orders.*").differences.len(), 1);
        let looping = judge(&["orders.>"], "orders.inbox", "orders.>").faults;
        assert!(looping[0].to_string().contains("a loop"), "{looping:?}");
    }
}
