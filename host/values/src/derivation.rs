//! What Heddle derives from an event and its handler, so that every run of them is the same: seeds and ids.
//!
//! Histories rest on these: what a handler drew at random once, it draws on every re-run, on any machine and in any
//! later version. So how they are derived has a version, which each checkpoint holds, and a golden history in the tests
//! holds them to the byte. Nothing secret can come of them: whoever knows the event can repeat its run.
//!
//! Changing anything here, or the generator that is seeded (`sandbox/ambient.rs`), is a new [`VERSION`].

use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::event::Event;

/// The way in which this host derives.
///
/// 1: XXH3 of stream, sequence and handler seeds ChaCha12; XXH3 of event and handler is the id of a span; XXH3 of the key
/// is its shard.
pub const VERSION: u8 = 1;

/// What languages seed their hash maps with, in an instance that is made for its first event.
///
/// XXH3-128 of the stream, with the sequence as its seed, and of the handler.
pub fn hash_seed(event: &Event, handler: &str) -> u128 {
    let stream = xxh3_128_with_seed(event.stream.as_bytes(), event.sequence);
    stream ^ xxh3_128_with_seed(handler.as_bytes(), event.sequence.rotate_left(32)).rotate_left(1)
}

/// What the random numbers of a run begin with.
pub fn random_seed(event: &Event, handler: &str) -> [u8; 32] {
    let mut seed = [0; 32];
    let half = hash_seed(event, handler).to_le_bytes();
    seed.iter_mut().zip(half.iter().chain(&half)).for_each(|(slot, byte)| *slot = *byte);
    seed
}

/// The id of the span that is the handling of an event, never 0.
pub fn span(event_id: &str, handler: &str) -> u64 {
    xxh3_64(format!("{event_id}\n{handler}").as_bytes()).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::event::{Headers, Source};
    use super::*;

    fn event(sequence: u64) -> Event {
        Event {
            stream: "SHOP".into(),
            sequence,
            subject: "order.a".into(),
            time: 0,
            headers: Headers::default(),
            payload: Default::default(),
            source: Source::Stream,
        }
    }

    #[test]
    fn each_event_of_each_handler_has_seeds_of_its_own() {
        let seeds: std::collections::BTreeSet<u128> = ["credit", "stock"]
            .iter()
            .flat_map(|handler| (1..500).map(|sequence| hash_seed(&event(sequence), handler)))
            .collect();
        assert_eq!(seeds.len(), 998);
        assert_eq!(random_seed(&event(1), "credit")[..16], hash_seed(&event(1), "credit").to_le_bytes());
        assert_ne!(span("SHOP/1", "credit"), span("SHOP/1", "stock"));
    }
}
