//! Proposing: which of the hosts that live writes the next assignment, and when.
//!
//! Any of them may, since whoever writes one does it by compare-and-set and comes to the same. That not all of them try at
//! once, and that one whose tries fail does not keep the others waiting, is what is decided here.

/// How long the next host waits for the one before it, in milliseconds. Up to half as much again by chance comes on top, so
/// that no two have the same timer.
pub const PATIENCE: u64 = 2_000;

/// Hosts that come within this time of each other are given their shards at once, in milliseconds.
pub const JOINING: u64 = 3_000;

/// However many come: for so long after the first of them shards are left where they are, in milliseconds.
pub const JOINING_AT_MOST: u64 = 10_000;

/// After this many tries in vain a host steps back.
const TRIES: u8 = 3;

/// How long it does, in milliseconds.
pub const STEP_BACK: u64 = 10_000;

/// What another assignment than the one that is stored would bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Nothing: it would be the same.
    Nothing,
    /// Some hosts have more than their share: that can wait.
    Balance,
    /// Some shards have nobody, or a host that is to have none.
    Homes,
}

/// One host's part in it.
#[derive(Debug, Default)]
pub struct Proposer {
    /// Since when another assignment is wanted.
    since: Option<u64>,
    /// When the first and the last of the hosts came that are still waited for.
    joining: Option<(u64, u64)>,
    failures: u8,
    back_at: u64,
}

impl Proposer {
    /// A host came.
    pub fn joined(&mut self, now: u64) {
        let first = self.joining.map_or(now, |(first, _)| first);
        self.joining = Some((first, now));
    }

    /// Whether this host is to write an assignment now. `rank` is its place among the hosts that live, by their ids; `chance`
    /// is uniform over all of `u64`, and the same as long as the host lives.
    pub fn is_due(&mut self, want: Want, rank: usize, chance: u64, now: u64) -> bool {
        self.joining.take_if(|(first, last)| {
            now.saturating_sub(*last) >= JOINING || now.saturating_sub(*first) >= JOINING_AT_MOST
        });
        let wanted = match want {
            Want::Nothing => false,
            Want::Balance => self.joining.is_none(),
            Want::Homes => true,
        };
        if !wanted {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let wait = (rank as u64).saturating_mul(PATIENCE + chance % (PATIENCE / 2));
        now >= since.saturating_add(wait) && now >= self.back_at
    }

    /// This host's assignment, or another's, is stored: what is still wanted is waited for again.
    pub fn stored(&mut self) {
        (self.since, self.failures) = (None, 0);
    }

    /// This host's assignment could not be stored.
    pub fn failed(&mut self, now: u64) {
        self.failures += 1;
        if self.failures == TRIES {
            (self.failures, self.back_at) = (0, now + STEP_BACK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a host of a rank proposes first, looking ten times a second from 0 on.
    fn first(
        proposer: &mut Proposer,
        want: Want,
        rank: usize,
        chance: u64,
        times: std::ops::Range<u64>,
    ) -> Option<u64> {
        times.step_by(100).find(|now| proposer.is_due(want, rank, chance, *now))
    }

    #[test]
    fn the_first_proposes_at_once_and_each_other_one_later_and_none_at_the_same_time() {
        let of = |rank, chance| first(&mut Proposer::default(), Want::Homes, rank, chance, 0..20_000);
        assert_eq!(of(0, 77), Some(0));
        let (second, another) = (of(1, 100).unwrap(), of(1, 900).unwrap());
        assert!((PATIENCE..PATIENCE * 3 / 2).contains(&second) && second != another);
        assert!(of(2, 100).unwrap() >= 2 * PATIENCE);
    }

    #[test]
    fn one_whose_tries_fail_steps_back_and_the_next_one_has_its_turn() {
        let (mut one, mut next) = (Proposer::default(), Proposer::default());
        let mut tries = Vec::new();
        for now in (0..20_000).step_by(100) {
            if one.is_due(Want::Homes, 0, 0, now) {
                tries.push(now);
                one.failed(now);
            }
        }
        assert_eq!(tries, [0, 100, 200, 10_200, 10_300, 10_400]);
        assert_eq!(first(&mut next, Want::Homes, 1, 0, 0..20_000), Some(PATIENCE));
    }

    #[test]
    fn hosts_that_come_together_count_as_one_and_those_that_never_end_do_not_keep_shards_from_moving() {
        let mut proposer = Proposer::default();
        for now in [0, 1_000, 2_500] {
            proposer.joined(now);
            assert!(!proposer.is_due(Want::Balance, 0, 0, now));
        }
        assert_eq!(first(&mut proposer, Want::Balance, 0, 0, 2_500..20_000), Some(5_500));
        let mut proposer = Proposer::default();
        let mut balanced = None;
        for now in (0..30_000).step_by(1_000) {
            proposer.joined(now);
            if proposer.is_due(Want::Balance, 0, 0, now) {
                balanced = balanced.or(Some(now));
            }
        }
        assert_eq!(balanced, Some(JOINING_AT_MOST));
        // Shards without a host never wait for that.
        proposer.joined(40_000);
        assert!(proposer.is_due(Want::Homes, 0, 0, 40_000));
    }

    #[test]
    fn what_somebody_else_has_stored_is_not_proposed_again() {
        let mut proposer = Proposer::default();
        assert!(!proposer.is_due(Want::Homes, 1, 0, 0));
        assert!(!proposer.is_due(Want::Nothing, 1, 0, 1_000));
        assert!(!proposer.is_due(Want::Homes, 1, 0, PATIENCE + 500), "it waits again");
        proposer.stored();
        assert!(!proposer.is_due(Want::Homes, 1, 0, PATIENCE + 600));
    }
}
