//! What follows for the engine from versions: they change, end on trial, and may be to blame for a failure.
//!
//! Promises that a key goes from one version to another only when a [`Change`] says so.

use tokio::sync::mpsc;

use super::fleet::{Judged, Versions};
use super::{Engine, now};
use crate::shard::{Blame, Hurry};
use crate::workers::Ended;
use heddle_values::handlers::{HandlerIx, PerHandler};
use heddle_values::verdict::{CauseClass, Verdict};

/// The versions that a handler has from now on.
pub struct Change {
    /// The handler whose versions these are.
    pub handler: HandlerIx,
    /// They replace those before: a version on trial that is not among them is no longer on trial.
    pub versions: Versions,
}

/// What ties the engine to the controllers, which decide about versions.
pub struct Ties {
    /// The versions of each handler, and where the ends of its trials go.
    pub handlers: PerHandler<(Versions, mpsc::Sender<Judged>)>,
    /// Where the engine hears of other versions while it runs.
    pub changes: mpsc::Receiver<Change>,
}

impl Engine {
    /// A handler has other versions from now on. What runs ends with the version that it began with.
    pub(super) fn change(&mut self, Change { handler, versions }: Change) {
        if self.sides[handler].fleet.change(versions) {
            // What is parked goes on with whatever version its key has now.
            self.flow.hurry(handler, Hurry::Probed, now());
        }
    }

    /// A run ended: who else than its event may be to blame if it failed.
    pub(super) fn blame(&mut self, ended: &Ended) -> Blame {
        let handler = ended.job.place.handler;
        let side = &mut self.sides[handler];
        let failed = match &ended.verdict {
            Verdict::Done(_) => false,
            Verdict::Failed(failure) => {
                side.counts.failed(failure);
                !matches!(failure.class, CauseClass::Defer | CauseClass::Host)
            }
        };
        let blame = side.fleet.ended(ended, failed);
        // Only the live version tells whether there is an outage. But whatever is tried while there is one says whether
        // it is over: nothing else would.
        let open = side.regulator.open_since().is_some();
        if blame != Blame::Event && !open {
            return blame;
        }
        match self.regulate(handler, ended) {
            Blame::Event => blame,
            outside => outside,
        }
    }

    /// An event waits for the end of a trial.
    pub(super) fn parked(&mut self, handler: HandlerIx) {
        self.sides[handler].fleet.parked(now());
    }

    /// Lets instances go that no event needs.
    pub(super) fn trim(&self) {
        self.sides.iter().for_each(|side| side.fleet.trim());
    }

    /// Looks whether trials end that nothing happens to.
    pub(super) fn judge(&mut self) {
        self.sides.iter_mut().for_each(|side| side.fleet.look(now()));
    }
}
