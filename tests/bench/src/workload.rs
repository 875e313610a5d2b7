//! Workloads: what is read, and what is to be done with each event.

use serde::Serialize;

/// Where the server keeps its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// The disk below the folder for temporary files.
    Disk,
    /// A file system in memory.
    Ram,
}

/// What is done with each event. The event says so itself: see the guest `echo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Job {
    /// Publish an event of equal size, and count in the state of the key.
    Echo,
    /// Nothing: it is only read.
    Read,
    /// N rounds of work, then the same as echo.
    Work(u32),
}

/// Events that wait in a stream, and what is to be done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Of all handlers together.
    pub keys: u64,
    /// Each has subjects of its own, and an equal share of the events.
    pub handlers: u64,
    /// Bytes of each event.
    pub payload: usize,
    /// How many events there are, all handlers together.
    pub events: u64,
    /// What every event asks for. The last event of each handler is echoed in any case.
    pub job: Job,
}

/// The stream that is read.
pub const INPUT: &str = "IN";

/// The stream that is written.
pub const OUTPUT: &str = "OUT";

/// Where the time of sending ends in a payload and the job begins.
const JOB_AT: usize = 8;

/// The smallest payload.
pub const MIN_PAYLOAD: usize = 16;

impl Workload {
    /// The subject of an event, by its number from 0. Handlers take turns; which key it is looks random, but is the
    /// same in every run.
    pub fn subject(&self, number: u64) -> String {
        let (handler, turn) = (number % self.handlers, number / self.handlers);
        let keys_of_each = (self.keys / self.handlers).max(1);
        self.subject_of(handler, scatter(turn) % keys_of_each)
    }

    /// The subject of a handler's key.
    pub fn subject_of(&self, handler: u64, key: u64) -> String {
        format!("in.{handler}.k{key}")
    }

    /// The payload of all events, without the time of sending.
    pub fn template(&self) -> Vec<u8> {
        self.payload_for(self.job)
    }

    /// The payload of the last event of each handler: it is echoed in any case, so that the end can be seen.
    pub fn last(&self) -> Vec<u8> {
        match self.job {
            Job::Read => self.payload_for(Job::Echo),
            job => self.payload_for(job),
        }
    }

    fn payload_for(&self, job: Job) -> Vec<u8> {
        // Not one byte repeated, in case something compresses.
        let noise = (0_u32..).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]);
        let mut payload: Vec<u8> = noise.take(self.payload.max(MIN_PAYLOAD)).collect();
        let (dead_letter, rounds) = match job {
            Job::Echo => (b'e', 0),
            Job::Read => (b'r', 0),
            Job::Work(rounds) => (b'w', rounds),
        };
        let bytes = [0; JOB_AT].into_iter().chain([dead_letter]).chain(rounds.to_le_bytes());
        payload.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte);
        payload
    }

    /// How many events are echoed.
    pub fn echoes(&self) -> u64 {
        match self.job {
            Job::Read => self.handlers,
            Job::Echo | Job::Work(_) => self.events,
        }
    }
}

/// SplitMix64: a permutation of all numbers that looks random.
///
/// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
pub fn scatter(number: u64) -> u64 {
    let z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Writes the time of sending into a payload, in nanoseconds since 1970.
pub fn stamp(payload: &mut [u8], nanos: u64) {
    payload.iter_mut().zip(nanos.to_le_bytes()).for_each(|(slot, byte)| *slot = byte);
}

/// The time of sending in a payload.
pub fn stamped(payload: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(payload.get(..JOB_AT)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_every_handler_gets_its_share() {
        let workload = Workload { keys: 6, handlers: 2, payload: 64, events: 60, job: Job::Echo };
        let mut subjects: Vec<_> = (0..workload.events).map(|n| workload.subject(n)).collect();
        subjects.sort();
        subjects.dedup();
        assert_eq!(subjects, ["in.0.k0", "in.0.k1", "in.0.k2", "in.1.k0", "in.1.k1", "in.1.k2"]);
    }

    #[test]
    fn a_payload_has_its_size_and_carries_time_and_job() {
        let workload = Workload { keys: 1, handlers: 1, payload: 256, events: 1, job: Job::Work(513) };
        let mut payload = workload.template();
        stamp(&mut payload, 77);
        assert_eq!((payload.len(), stamped(&payload)), (256, Some(77)));
        assert_eq!(&payload[8..13], [b'w', 1, 2, 0, 0]);
        assert_eq!(Workload { job: Job::Read, ..workload }.last()[8], b'e');
    }
}
