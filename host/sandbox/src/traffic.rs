//! Traffic: how the HTTP requests of one run went, as far as it says whether the outside is up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Outside;

/// How the requests of one run went. Shared with them, for they end by themselves.
#[derive(Debug, Clone, Default)]
pub(super) struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU32,
    answered: AtomicU32,
}

impl Traffic {
    /// A request is made.
    pub(super) fn begin(&self) {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// The grants let it go nowhere.
    pub(super) fn denied(&self) {
        self.0.begun.fetch_sub(1, Ordering::Relaxed);
    }

    /// It is answered.
    pub(super) fn answered(&self, status: http::StatusCode) {
        if !status.is_server_error() {
            self.0.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What the requests say of the outside. One that has not ended counts as failed.
    pub(super) fn outside(&self) -> Outside {
        match (self.0.begun.load(Ordering::Relaxed), self.0.answered.load(Ordering::Relaxed)) {
            (0, _) => Outside::Untouched,
            (begun, answered) if begun == answered => Outside::Answered,
            _ => Outside::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_that_fails_says_that_the_outside_may_be_down() {
        let traffic = Traffic::default();
        assert_eq!(traffic.outside(), Outside::Untouched);
        traffic.begin();
        assert_eq!(traffic.outside(), Outside::Failed, "it has no answer");
        traffic.answered(http::StatusCode::NOT_FOUND);
        assert_eq!(traffic.outside(), Outside::Answered, "whatever the answer is");
        traffic.begin();
        traffic.denied();
        assert_eq!(traffic.outside(), Outside::Answered, "what went nowhere says nothing");
        traffic.begin();
        traffic.answered(http::StatusCode::BAD_GATEWAY);
        assert_eq!(traffic.outside(), Outside::Failed);
    }
}
