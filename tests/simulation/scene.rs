//! The scene of a run: all that its seed decides before anything happens.
//!
//! How large everything is varies over orders of magnitude, so that short lanes, long lanes, full windows and slow
//! clocks all come up among some thousand seeds.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use heddle_values::event::Event;
use heddle_values::key::Key;
use heddle_values::policy::{Backoff, RetryPolicy};
use heddle_values::verdict::CauseClass;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The name of the only stream.
pub(crate) const STREAM: &str = "S";

/// Subjects are `in.<kind>.<key>`.
const KINDS: u8 = 3;

/// What a handler keeps in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keying {
    Key,
    Kind,
    Event,
}

/// One handler.
#[derive(Debug, Clone)]
pub(crate) struct Handler {
    pub(crate) name: String,
    /// The kinds that it subscribes to.
    kinds: Vec<u8>,
    keying: Keying,
    pub(crate) policy: RetryPolicy,
    /// Whether its dead letters hold their keys.
    pub(crate) holds: bool,
}

impl Handler {
    /// The key of an event, if the handler subscribes to it.
    pub(crate) fn key(&self, event: &Event) -> Option<Key> {
        let mut tokens = event.subject.split('.').skip(1);
        let (kind, key) = (tokens.next()?, tokens.next()?);
        self.kinds.iter().any(|known| known.to_string() == kind).then(|| match self.keying {
            Keying::Key => Key::new(key),
            Keying::Kind => Key::new(kind),
            Keying::Event => Key::new(&event.id()),
        })
    }
}

/// How an event fares with a handler. Runs are counted over all crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Done at once; the state is counted up, or cleared.
    Done {
        clears: bool,
    },
    /// Fails that often before it is done: with a wish to try again, or with a trap.
    Flaky {
        runs: u32,
        traps: bool,
    },
    /// Fails for ever.
    Hopeless,
    /// Put off that often, by N milliseconds.
    Deferred {
        runs: u32,
        delay: u32,
    },
    Rejected,
    OverLimit,
    /// Done, but with effects that the server refuses.
    Refused,
}

impl Fate {
    /// The cause that a dead letter of it must have; none if it must have no dead letter.
    pub(crate) fn cause(self, policy: &RetryPolicy) -> Option<CauseClass> {
        match self {
            Fate::Done { .. } | Fate::Deferred { .. } => None,
            Fate::Flaky { runs, .. } if runs < policy.max_attempts.get() => None,
            Fate::Flaky { traps: true, .. } => Some(CauseClass::Trap),
            Fate::Flaky { traps: false, .. } | Fate::Hopeless => Some(CauseClass::Retry),
            Fate::Rejected => Some(CauseClass::Reject),
            Fate::OverLimit => Some(CauseClass::Limit),
            Fate::Refused => Some(CauseClass::Refused),
        }
    }
}

/// All that a seed decides.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) seed: u64,
    pub(crate) shards: NonZeroU16,
    pub(crate) handlers: Vec<Handler>,
    keys: u32,
    /// How many events are published.
    pub(crate) events: usize,
    /// How many steps are made before the world comes to rest.
    pub(crate) steps: usize,
    /// What a checkpoint may take, in bytes.
    pub(crate) checkpoint_bytes: usize,
    /// The most events of one delivery.
    pub(crate) delivery: usize,
    /// N messages are sent while another batch is under way.
    pub(crate) full: usize,
    /// A handler that holds N events is not read for.
    pub(crate) room: usize,
    /// The longest step of time, in milliseconds.
    pub(crate) pace: u64,
    /// One of N events is not plainly done.
    trouble: u32,
    /// One of N steps is a crash; 0: none.
    pub(crate) crashes: u32,
    /// One of N steps takes events off the stream; 0: none.
    pub(crate) expiries: u32,
    /// One of N steps asks for a dead letter to be sent again, or for a key to be released; 0: none.
    pub(crate) requests: u32,
    /// One of N steps begins or ends an outage; 0: none.
    pub(crate) outages: u32,
    /// One of N events fills a third of a batch.
    bulk: u32,
    /// Whether events that were seen are handed on again.
    pub(crate) repeats: bool,
    /// How many hosts there are.
    pub(crate) hosts: usize,
    /// With several hosts, one of N steps has a shard claimed, given up, or missed.
    pub(crate) moves: u32,
}

impl Scene {
    /// The scene of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let long = random.random_bool(0.3);
        let handlers = (0..random.random_range(1..=3)).map(|n| handler(n, &mut random)).collect();
        let events = if long { random.random_range(80..240) } else { random.random_range(5..60) };
        Scene {
            seed,
            shards: NonZeroU16::new(pick(&mut random, &[1, 2, 4])).unwrap_or(NonZeroU16::MIN),
            handlers,
            keys: if long { random.random_range(1..4) } else { random.random_range(1..20) },
            events,
            steps: events * random.random_range(4..16),
            checkpoint_bytes: pick(&mut random, &[60, 200, 600, usize::MAX, usize::MAX]),
            delivery: pick(&mut random, &[1, 4, 16, 64]),
            full: pick(&mut random, &[1, 1, 4, 800]),
            room: pick(&mut random, &[4, 40, 400, 400]),
            pace: pick(&mut random, &[2, 100, 1_500, 10_000]),
            trouble: pick(&mut random, &[2, 4, 12, 100]),
            crashes: pick(&mut random, &[0, 20, 60, 200]),
            expiries: pick(&mut random, &[0, 0, 0, 50, 200]),
            bulk: pick(&mut random, &[2, 6, 1_000]),
            repeats: random.random_bool(0.5),
            requests: pick(&mut random, &[0, 10, 40]),
            outages: pick(&mut random, &[0, 0, 20, 30, 100]),
            hosts: pick(&mut random, &[1, 1, 2, 3, 5]),
            moves: pick(&mut random, &[5, 20, 100]),
        }
    }

    /// The subject of the next event.
    pub(crate) fn subject(&self, random: &mut StdRng) -> String {
        format!("in.{}.k{}", random.random_range(0..KINDS), random.random_range(0..self.keys))
    }

    fn random_of(&self, handler: usize, sequence: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ (sequence << 8) ^ ((handler as u64 + 1) << 56))
    }

    /// How an event fares with a handler: the same whenever it is asked for.
    pub(crate) fn fate(&self, handler: usize, sequence: u64) -> Fate {
        let mut random = self.random_of(handler, sequence);
        if random.random_range(0..self.trouble) != 0 {
            return Fate::Done { clears: random.random_range(0..6) == 0 };
        }
        Self::trouble_of(&mut random)
    }

    /// How an event fares when its dead letter is sent again for the nth time: most often well, and in the end
    /// always.
    pub(crate) fn fate_of_replay(&self, handler: usize, sequence: u64, times: u32) -> Fate {
        let mut random = self.random_of(handler, sequence ^ (u64::from(times + 1) << 40));
        match times > 3 || random.random_range(0..4) != 0 {
            true => Fate::Done { clears: random.random_range(0..6) == 0 },
            false => Self::trouble_of(&mut random),
        }
    }

    fn trouble_of(random: &mut StdRng) -> Fate {
        match random.random_range(0..8) {
            0 | 1 => Fate::Flaky { runs: random.random_range(1..6), traps: random.random_bool(0.5) },
            2 => Fate::Hopeless,
            3 | 4 => {
                Fate::Deferred { runs: random.random_range(1..4), delay: pick(random, &[0, 5, 700, 40_000]) }
            }
            5 => Fate::Rejected,
            6 => Fate::OverLimit,
            _ => Fate::Refused,
        }
    }

    /// Whether what an event asks for fills a third of a batch.
    pub(crate) fn is_bulky(&self, handler: usize, sequence: u64) -> bool {
        self.random_of(handler, sequence ^ 0xffff).random_range(0..self.bulk) == 0
    }
}

fn handler(number: usize, random: &mut StdRng) -> Handler {
    let mut kinds: Vec<u8> = (0..KINDS).filter(|_| random.random_bool(0.7)).collect();
    if kinds.is_empty() {
        kinds.push(0);
    }
    let attempts = pick(random, &[1, 2, 3, 5]);
    Handler {
        name: format!("h{number}"),
        kinds,
        keying: pick(random, &[Keying::Key, Keying::Key, Keying::Key, Keying::Kind, Keying::Event]),
        policy: RetryPolicy {
            max_attempts: NonZeroU32::new(attempts).unwrap_or(NonZeroU32::MIN),
            backoff: Backoff {
                initial: Duration::from_millis(pick(random, &[0, 3, 100, 5_000])),
                factor: pick(random, &[1.0, 2.0, 10.0]),
                max: Duration::from_secs(30),
            },
            max_elapsed: Duration::MAX,
            ..RetryPolicy::default()
        },
        holds: random.random_bool(0.5),
    }
}

/// One of some choices.
pub(crate) fn pick<T: Copy>(random: &mut StdRng, choices: &[T]) -> T {
    let index = random.random_range(0..choices.len());
    *choices.get(index).expect("the index is below the length")
}
