//! Denials: what the server did not let a connection do.
//!
//! The server reports a denial on the connection, apart from any answer: the caller that was denied gets none and waits.
//! Here the two come together. The record is bounded; the oldest goes first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use heddle_values::names::LIVE;
use heddle_values::permissions::{Action, Denial};
use heddle_values::rights::USER_INFO;
use heddle_values::settings::NatsSettings;

/// Denials that are remembered: more than the messages of an event that differ in their subjects.
const REMEMBERED: usize = 128;

/// How often a denial that continues is logged again.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// What was denied, when, and whether that was logged.
#[derive(Debug)]
struct Entry {
    denial: Denial,
    grant: String,
    at: Instant,
    told: bool,
}

/// The denials of one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Denials {
    entries: Arc<watch::Sender<VecDeque<Entry>>>,
    inbox_prefix: Arc<str>,
    api: Arc<str>,
}

impl Denials {
    /// None so far, of a connection with these settings.
    pub(super) fn new(settings: &NatsSettings) -> Self {
        let (inbox_prefix, api) = (settings.inbox_prefix.as_str().into(), settings.api.prefix().into());
        Denials { entries: Arc::default(), inbox_prefix, api }
    }

    /// Takes in what the server reports. Whether it is a denial: then it has been logged.
    pub(super) fn take(&self, connection: &str, text: &str) -> bool {
        let Some(denial) = Denial::parse(text) else { return false };
        let (grant, now) = (denial.grant(&self.inbox_prefix, &self.api), Instant::now());
        self.entries.send_modify(|entries| {
            let mut same = entries.iter().filter(|entry| entry.grant == grant && entry.told);
            let told = same.any(|entry| now.duration_since(entry.at) < TELL_AGAIN);
            if denial.subject == USER_INFO {
                tracing::debug!(connection, "server does not tell this user its permissions");
            } else if !told && is_live(&grant) {
                tracing::warn!(
                    connection,
                    "connection cannot listen to itself: grant this user to {} on `{grant}` (see `heddle permissions`)",
                    denial.action
                );
            } else if !told {
                let Denial { action, subject } = &denial;
                tracing::error!(
                    connection,
                    subject,
                    "server denied permission to {action} on `{subject}`: grant this user to {action} on `{grant}` (see `heddle permissions`)"
                );
            }
            if entries.len() == REMEMBERED {
                entries.pop_front();
            }
            entries.push_back(Entry { denial, grant, at: now, told: !told });
        });
        true
    }

    /// A subject that was denied to be published on since a time, out of those that are `wanted`.
    pub(super) fn publish_since(&self, since: Instant, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let entries = self.entries.borrow();
        let found = entries
            .iter()
            .rev()
            .take_while(|entry| entry.at >= since)
            .find(|entry| entry.denial.action == Action::Publish && wanted(&entry.denial.subject));
        found.map(|entry| entry.denial.subject.clone())
    }

    /// Waits for a denied publish, as [`publish_since`](Self::publish_since) finds it. Cancel-safe.
    pub(super) async fn publish_denied(&self, since: Instant, wanted: impl Fn(&str) -> bool) -> String {
        let mut changes = self.entries.subscribe();
        loop {
            if let Some(subject) = self.publish_since(since, &wanted) {
                return subject;
            }
            if changes.changed().await.is_err() {
                // Nobody is left who could report one.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits for a denial of something that has to be granted. Cancel-safe.
    pub(super) async fn denied(&self, since: Instant) {
        let mut changes = self.entries.subscribe();
        while self.grants_since(since).is_empty() {
            if changes.changed().await.is_err() {
                // Nobody is left who could report one.
                std::future::pending::<()>().await;
            }
        }
    }

    /// What is to be granted so that nothing is denied of what was since a time, each once.
    pub(super) fn grants_since(&self, since: Instant) -> Vec<String> {
        let entries = self.entries.borrow();
        let needed = |entry: &&Entry| entry.grant != USER_INFO && !is_live(&entry.grant);
        let recent = entries.iter().filter(|entry| entry.at >= since).filter(needed);
        let mut grants: Vec<String> =
            recent.map(|entry| format!("{} on `{}`", entry.denial.action, entry.grant)).collect();
        grants.sort_unstable();
        grants.dedup();
        grants
    }
}

/// Whether it is about what a connection says to itself, which it can do without.
fn is_live(grant: &str) -> bool {
    grant.strip_prefix(LIVE).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(subject: &str) -> String {
        format!("Permissions Violation for Publish to \"{subject}\"")
    }

    #[tokio::test]
    async fn a_denial_is_found_by_whoever_waits_for_it_and_by_nobody_who_began_later() {
        let denials = Denials::new(&NatsSettings::default());
        let began = Instant::now();
        let mine = denials.publish_denied(began, |subject| subject == "out.a");
        let reports = async {
            assert!(denials.take("c", &violation("out.b")));
            tokio::task::yield_now().await;
            assert!(denials.take("c", &violation("out.a")));
            assert!(!denials.take("c", "Stale Connection"));
        };
        let (subject, ()) = tokio::join!(mine, reports);
        assert_eq!(subject, "out.a");
        let later = Instant::now() + Duration::from_millis(1);
        assert_eq!(denials.publish_since(later, |_| true), None);
        assert_eq!(denials.grants_since(began), ["publish on `out.a`", "publish on `out.b`"]);
    }

    #[test]
    fn what_a_connection_can_do_without_is_no_reason_for_anything() {
        let denials = Denials::new(&NatsSettings::default());
        let began = Instant::now();
        denials.take("c", &violation("_heddle_live.t.h.read"));
        denials.take("c", &violation(USER_INFO));
        assert_eq!(denials.grants_since(began), Vec::<String>::new());
    }

    #[test]
    fn the_record_is_bounded_and_keeps_the_newest() {
        let denials = Denials::new(&NatsSettings::default());
        let began = Instant::now();
        for n in 0..3 * REMEMBERED {
            denials.take("c", &violation(&format!("out.{n}")));
        }
        assert_eq!(denials.entries.borrow().len(), REMEMBERED);
        let last = format!("out.{}", 3 * REMEMBERED - 1);
        assert_eq!(denials.publish_since(began, |_| true), Some(last));
    }
}
