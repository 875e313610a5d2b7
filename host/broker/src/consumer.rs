//! What the consumer of a cursor is set to.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};

/// How long the server keeps the consumer of a cursor that nobody reads any more.
pub(super) const INACTIVE: Duration = Duration::from_secs(300);

/// A consumer of this name with one filter, or none if that is empty. The server keeps it for `idle` when nobody reads.
pub(super) fn of_cursor(name: &str, filter_subject: String, idle: Duration) -> pull::Config {
    pull::Config {
        durable_name: Some(name.to_owned()),
        description: Some("a cursor of Heddle: shows how far the handlers are behind".to_owned()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::None,
        // Never `filter_subjects`: a consumer with several filters is slow, and skips messages where roll-ups remove
        // others (nats-server#8571).
        filter_subject,
        inactive_threshold: idle,
        // A cursor that is lost is recreated: there is nothing to be kept. Streams that want as many copies of their
        // consumers as of themselves are those with interest, which are refused.
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_has_one_filter_or_none_and_needs_no_acks() {
        let config = of_cursor("c", "in.*".to_owned(), INACTIVE);
        assert_eq!((config.filter_subject.as_str(), config.filter_subjects.len()), ("in.*", 0));
        assert_eq!((config.ack_policy, config.num_replicas), (AckPolicy::None, 1));
    }
}
