//! Trouble: what is said of a commit that cannot be stored yet, how loudly, and how long the next try waits. Pure.

use std::time::Duration;

use heddle_broker::CommitError;
use heddle_values::policy::Backoff;

/// The waits between two tries that may be stored at any moment.
const PAUSES: Backoff = Backoff::doubling(Duration::from_millis(25), Duration::from_secs(2));

/// The waits after no answer: while a cluster elects nobody answers, and then everything is well at once.
pub(super) const UNANSWERED_PAUSES: Backoff =
    Backoff::doubling(Duration::from_millis(25), Duration::from_millis(100));

/// The interval at which the log says that a commit is retried.
const COMPLAIN: Duration = Duration::from_secs(5);

/// The wait between two tries if an operator must grant something first.
const DENIED_DELAY: Duration = Duration::from_secs(5);

/// How often a problem that needs an operator is reported again.
const TELL_AGAIN: Duration = Duration::from_secs(30);

/// How long a server may leave commits unanswered while it answers everything else, until it counts as stuck.
const WEDGED_AFTER: Duration = Duration::from_secs(30);

/// What to log of a failed try.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It was logged a moment ago.
    Nothing,
    /// It passes by itself.
    Warn,
    /// An operator must act.
    Error(String),
}

/// The troubles of one commit.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    tries: u32,
    /// Since when tries have been left unanswered although the stream could be read, counted from the first try.
    silent_since: Option<Duration>,
    reported: Option<Duration>,
    warned: Option<Duration>,
}

impl Trouble {
    /// A try has failed, `now` after the first one began: what is logged of it, and how long the next one waits.
    pub(super) fn failed(&mut self, error: &CommitError, stream: &str, now: Duration) -> (Word, Duration) {
        self.tries = self.tries.saturating_add(1);
        let delay = match error {
            CommitError::Denied(_) => DENIED_DELAY,
            CommitError::Unanswered(_) => UNANSWERED_PAUSES.bound(self.tries),
            _ => PAUSES.bound(self.tries),
        };
        let silent = matches!(error, CommitError::Unanswered(_));
        self.silent_since = silent.then(|| self.silent_since.unwrap_or(now));
        let call = match error {
            CommitError::Denied(_) => Some(format!(
                "commits wait until that is granted (see `heddle permissions`), and are tried every {DENIED_DELAY:?}"
            )),
            CommitError::Full(_) => Some("commits wait until there is room".to_owned()),
            CommitError::Unanswered(_) if self.is_wedged(now) => Some(format!(
                "stream `{stream}` can be read, but has left every commit unanswered for {} s: its leader may be stuck (nats-server#8519). Let another one lead (`nats stream cluster step-down {stream}`), or restart the server that leads it",
                now.saturating_sub(self.silent_since.unwrap_or(now)).as_secs()
            )),
            _ => None,
        };
        let Some(call) = call else { return (self.warn(now), delay) };
        if self.reported.is_some_and(|reported| now.saturating_sub(reported) < TELL_AGAIN) {
            return (self.warn(now), delay);
        }
        self.reported = Some(now);
        (Word::Error(call), delay)
    }

    /// Tries may follow each other so soon that not each of them can be reported.
    fn warn(&mut self, now: Duration) -> Word {
        if self.warned.is_some_and(|warned| now.saturating_sub(warned) < COMPLAIN) {
            return Word::Nothing;
        }
        self.warned = Some(now);
        Word::Warn
    }

    fn is_wedged(&self, now: Duration) -> bool {
        self.silent_since.is_some_and(|since| now.saturating_sub(since) >= WEDGED_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Whether each failure calls for somebody, and with which word.
    #[track_caller]
    fn check(failures: &[(u64, CommitError, &str)]) {
        let mut trouble = Trouble::default();
        for (second, error, expected) in failures {
            let said = match trouble.failed(error, "T", at(*second)).0 {
                Word::Nothing | Word::Warn => String::new(),
                Word::Error(text) => text,
            };
            assert!(said.contains(expected), "{second} s: {said:?} does not say {expected:?}");
            assert_eq!(said.is_empty(), expected.is_empty(), "{second} s: {said:?}");
        }
    }

    #[test]
    fn a_stream_that_can_be_read_and_answers_no_commit_for_30_s_is_told_and_the_way_out() {
        let silent = || CommitError::Unanswered("timed out".to_owned());
        check(&[
            (12, silent(), ""),
            (26, silent(), ""),
            (42, silent(), "step-down T"),
            (55, silent(), ""),
            (73, silent(), "for 61 s"),
        ]);
        // Any answer shows that it is not.
        let passing = || CommitError::Passing("no leader".to_owned());
        check(&[(12, silent(), ""), (26, passing(), ""), (50, silent(), ""), (70, silent(), "")]);
    }

    #[test]
    fn no_room_is_an_error_at_once_and_again_every_half_minute() {
        let full = || CommitError::Full("disk".to_owned());
        check(&[(0, full(), "until there is room"), (2, full(), ""), (31, full(), "until there is room")]);
    }

    #[test]
    fn what_must_be_granted_is_tried_slowly_and_all_else_within_two_seconds() {
        let mut trouble = Trouble::default();
        let passing = CommitError::Passing(String::new());
        let delays: Vec<Duration> = (0..10).map(|_| trouble.failed(&passing, "T", at(0)).1).collect();
        assert!(delays.is_sorted() && delays.last() == Some(&PAUSES.max), "{delays:?}");
        let silent = CommitError::Unanswered(String::new());
        assert_eq!(trouble.failed(&silent, "T", at(1)), (Word::Nothing, UNANSWERED_PAUSES.max));
        assert_eq!(trouble.failed(&silent, "T", at(6)).0, Word::Warn);
        let denied = CommitError::Denied("_heddle.t.state.0.h.a".to_owned());
        assert_eq!(trouble.failed(&denied, "T", at(1)).1, DENIED_DELAY);
    }
}
