//! Whether something stays level: what it is late in a campaign against what it was early.

use serde::Serialize;

use super::sample::Sample;

/// Old states and checkpoints that may lie in a stream until they are removed.
const UNSWEPT: u64 = 50_000;

/// A name, where the figure stands in a sample, and by how much it may differ besides a tenth.
type Measure = (&'static str, fn(&Sample) -> u64, u64);

/// What is measured.
const MEASURES: [Measure; 7] = [
    ("memory, MiB", |sample| sample.memory, 24),
    ("file descriptors", |sample| sample.descriptors, 4),
    ("threads", |sample| sample.threads, 4),
    ("tasks", |sample| sample.tasks, 24),
    ("instances", |sample| sample.instances, 8),
    ("consumers", |sample| sample.consumers, 2),
    ("messages", |sample| sample.messages, UNSWEPT),
];

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Level {
    what: &'static str,
    /// The median of the second quarter.
    early: u64,
    /// The median of the last quarter.
    late: u64,
    most: u64,
    /// What `late` may be.
    bound: u64,
}

impl Level {
    /// Everything that is measured.
    pub(super) fn all(samples: &[Sample]) -> Vec<Level> {
        let quarter = samples.len() / 4;
        let level = |(what, of, slack): Measure| {
            let values: Vec<u64> = samples.iter().map(of).collect();
            let median = |part: Option<&[u64]>| {
                let mut part = part.unwrap_or_default().to_vec();
                part.sort_unstable();
                part.get(part.len() / 2).copied().unwrap_or(0)
            };
            let early = median(values.get(quarter..2 * quarter));
            let late = median(values.get(3 * quarter..));
            let most = values.iter().copied().max().unwrap_or(0);
            Level { what, early, late, most, bound: early + early / 10 + slack }
        };
        MEASURES.map(level).to_vec()
    }

    pub(super) fn is_level(&self) -> bool {
        self.late <= self.bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_not_level() {
        let sample = |n: u64| Sample { memory: 100 + n, descriptors: 20 + n % 3, ..Sample::default() };
        let samples: Vec<Sample> = (0..200).map(sample).collect();
        let levels = Level::all(&samples);
        let level =
            |what: &str| levels.iter().find(|level| level.what.starts_with(what)).map(Level::is_level);
        assert_eq!([level("memory"), level("file")], [Some(false), Some(true)]);
    }
}
