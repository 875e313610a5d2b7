//! How far a list has come, and whether it is whole. Pure: what a consumer delivers and says comes in as numbers.

/// What is known of a list while one consumer delivers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count {
    /// The last message that belonged to the list when it began, or one behind it.
    until: u64,
    /// Whether it is a list of last messages: one that is replaced while the list is read comes at its new place.
    last_of_each: bool,
    /// How many messages waited when the consumer was made.
    announced: u64,
    /// How many have come.
    received: u64,
    /// The sequence of the last one.
    last: u64,
    /// How many were still to come when it was sent.
    pending: u64,
}

/// What a delivered message means to the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// It belongs to it.
    Row,
    /// It was stored after the list began, and stands for no older one: the list is whole.
    Beyond,
    /// N before it were sent and did not arrive.
    Lost(u64),
}

/// What a consumer's own word means, where nothing comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Everything that it has has come.
    Whole,
    /// N were sent that have not arrived.
    Missing(u64),
    /// More is to come.
    More,
}

impl Count {
    pub(super) fn new(until: u64, last_of_each: bool, announced: u64) -> Self {
        Count { until, last_of_each, announced, received: 0, last: 0, pending: announced }
    }

    /// How many messages waited at the beginning.
    pub(super) fn announced(&self) -> u64 {
        self.announced
    }

    /// Takes a message: the consumer sent it as its `sent`th, it stands at `sequence`, and `pending` are to follow.
    pub(super) fn came(&mut self, sent: u64, sequence: u64, pending: u64) -> Came {
        if sent != self.received + 1 {
            return Came::Lost(sent.saturating_sub(self.received + 1));
        }
        (self.received, self.last, self.pending) = (sent, sequence, pending);
        let replaces = self.last_of_each && self.received <= self.announced;
        if sequence > self.until && !replaces { Came::Beyond } else { Came::Row }
    }

    /// Whether the messages that came say themselves that nothing is left.
    pub(super) fn is_whole(&self) -> bool {
        self.received > 0 && self.last >= self.until && (!self.last_of_each || self.pending == 0)
    }

    /// Whether something came that was stored after the list began.
    pub(super) fn is_beyond(&self) -> bool {
        self.last > self.until
    }

    /// Whether the last message says that nothing waits behind it: then it is not worth waiting before the consumer is
    /// asked.
    pub(super) fn is_last(&self) -> bool {
        self.received > 0 && self.pending == 0
    }

    /// Compares with what the consumer says: how many it has sent, and how many wait.
    pub(super) fn compare(&self, sent: u64, waiting: u64) -> Word {
        if sent > self.received {
            return Word::Missing(sent - self.received);
        }
        if sent == self.received && waiting == 0 { Word::Whole } else { Word::More }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// A stream whose messages come, go and are replaced while it is read.
    struct Stream {
        messages: BTreeMap<u64, u8>,
        end: u64,
    }

    impl Stream {
        fn store(&mut self, random: &mut StdRng) {
            self.end += 1;
            self.messages.insert(self.end, random.random_range(0..20));
        }

        fn last_of_each(&self) -> BTreeSet<u64> {
            let last: BTreeMap<u8, u64> = self.messages.iter().map(|(at, of)| (*of, *at)).collect();
            last.into_values().collect()
        }
    }

    /// A consumer of it, as the server runs it, and a connection that loses what it carries when it breaks.
    struct Consumer {
        listed: BTreeSet<u64>,
        next: u64,
        sent: u64,
    }

    impl Consumer {
        fn waiting(&self, stream: &Stream) -> Vec<u64> {
            let listed = self.listed.iter().copied().filter(|at| stream.messages.contains_key(at));
            listed.chain(stream.messages.range(self.next..).map(|(at, _)| *at)).collect()
        }

        /// The next message, and how many wait behind it.
        fn send(&mut self, stream: &Stream) -> Option<(u64, u64, u64)> {
            let waiting = self.waiting(stream);
            let at = *waiting.first()?;
            self.listed.retain(|listed| *listed > at);
            self.next = self.next.max(at + 1);
            self.sent += 1;
            Some((self.sent, at, waiting.len() as u64 - 1))
        }
    }

    /// Reads a list as [`List`](super::super::List) does, while the stream changes and messages are lost. What came, if
    /// the list believes that it is whole.
    fn read(stream: &mut Stream, last_of_each: bool, random: &mut StdRng) -> Option<Vec<(u64, u8)>> {
        let until = stream.end;
        let (listed, next) =
            if last_of_each { (stream.last_of_each(), stream.end + 1) } else { (BTreeSet::new(), 1) };
        let mut consumer = Consumer { listed, next, sent: 0 };
        let mut count = Count::new(until, last_of_each, consumer.waiting(stream).len() as u64);
        let mut rows = Vec::new();
        for _ in 0..10_000 {
            if count.is_whole() {
                return Some(rows);
            }
            match random.random_range(0..10) {
                0 => stream.store(random),
                1 => {
                    stream.messages.pop_first();
                }
                // The connection breaks: what is under way is gone, and nobody says so.
                2 if random.random_range(0..20) == 0 => {
                    consumer.send(stream);
                }
                _ => match consumer.send(stream) {
                    None => match count.compare(consumer.sent, 0) {
                        Word::Whole => return Some(rows),
                        Word::Missing(_) => return None,
                        Word::More => {}
                    },
                    Some((sent, at, pending)) => match count.came(sent, at, pending) {
                        Came::Row => rows.push((at, stream.messages.get(&at).copied().unwrap_or_default())),
                        Came::Beyond => return Some(rows),
                        Came::Lost(_) => return None,
                    },
                },
            }
        }
        panic!("the list does not end")
    }

    #[test]
    fn a_list_that_believes_itself_whole_is_whole_whatever_is_lost_stored_or_removed_meanwhile() {
        let (mut whole, mut refused) = (0, 0);
        for seed in 0..4_000 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut stream = Stream { messages: BTreeMap::new(), end: 0 };
            (0..random.random_range(1..60)).for_each(|_| stream.store(&mut random));
            let last_of_each = seed % 2 == 0;
            let before: Vec<(u64, u8)> = stream.messages.iter().map(|(at, of)| (*at, *of)).collect();
            let Some(rows) = read(&mut stream, last_of_each, &mut random) else {
                refused += 1;
                continue;
            };
            whole += 1;
            assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0), "seed {seed}: out of order");
            let stays = |(at, _): &&(u64, u8)| stream.messages.contains_key(at);
            for (at, of) in before.iter().filter(stays) {
                // Of a subject, the last one that was there, or a later one.
                let is_last = !before.iter().any(|(later, same)| same == of && later > at);
                let wanted = !last_of_each || is_last;
                assert!(!wanted || rows.contains(&(*at, *of)), "seed {seed}: {at} is missing in {rows:?}");
            }
        }
        assert!(whole > 1_000 && refused > 300, "{whole} whole, {refused} refused");
    }

    #[test]
    fn a_message_that_replaces_one_of_the_list_belongs_to_it() {
        let mut count = Count::new(10, true, 2);
        assert_eq!(count.came(1, 4, 1), Came::Row);
        assert_eq!(count.came(2, 11, 1), Came::Row, "the second of two, at its new place");
        assert_eq!(count.came(3, 12, 0), Came::Beyond);
        let mut count = Count::new(10, false, 2);
        assert_eq!(count.came(1, 11, 0), Came::Beyond);
        assert_eq!(count.came(3, 12, 0), Came::Lost(1));
    }
}
