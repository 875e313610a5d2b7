//! What holds handlers back, as the engine acts on it: see [`regulator`](crate::regulator).

use super::side::Side;
use super::{Engine, now};
use crate::circuit::Change;
use crate::flow::Job;
use crate::reader::Room;
use crate::regulator::{Candidate, Probes};
use crate::shard::{Blame, Hurry};
use crate::shards::Shards;
use crate::workers::Ended;
use heddle_values::handlers::{HandlerIx, PerHandler};

/// How much more each handler can take.
#[derive(Clone, Copy)]
pub(super) struct Rooms<'a> {
    pub(super) shards: &'a Shards,
    pub(super) sides: &'a PerHandler<Side>,
}

impl Rooms<'_> {
    pub(super) fn of(&self, handler: HandlerIx) -> Room {
        self.sides[handler].room(self.shards.held(handler), self.sides.len())
    }
}

impl Engine {
    /// The next run of the handler, if one may begin now.
    pub(super) fn next_job(&mut self, handler: HandlerIx) -> Option<Job> {
        let Side { regulator, ready, running, .. } = &mut self.sides[handler];
        regulator.next(*running, ready, |job| Candidate { key: &job.key, fresh: job.fresh }, now())
    }

    /// With an open circuit and nothing ready to be tried, a lane that waits is woken before its time.
    pub(super) fn look_for_probes(&mut self) {
        let now = now();
        for handler in self.sides.indices() {
            let Side { regulator, ready, running, .. } = &mut self.sides[handler];
            if regulator.probes(ready.len(), *running, now) == Probes::Wake
                && self.flow.hurry(handler, Hurry::One, now) == 0
                && self.flow.shards().held(handler).events == 0
            {
                let change = regulator.nothing_to_try();
                self.changed(handler, change);
            }
        }
    }

    /// When a handler that is held back may go on, in milliseconds since 1970.
    pub(super) fn next_begin(&self) -> Option<u64> {
        let now = now();
        self.sides.iter().filter_map(|side| side.regulator.next_begin(side.ready.len(), now)).min()
    }

    /// A run ended: whether the event is to blame if it failed, or what its handler depends on.
    pub(super) fn regulate(&mut self, handler: HandlerIx, ended: &Ended) -> Blame {
        let event = Candidate { key: &ended.job.key, fresh: ended.job.fresh };
        let regulator = &mut self.sides[handler].regulator;
        let (blame, change) = regulator.ended(event, &ended.verdict, ended.outside, now(), rand::random());
        self.changed(handler, change);
        blame
    }

    fn changed(&mut self, handler: HandlerIx, change: Option<Change>) {
        let name = &**self.flow.name(handler);
        match change {
            None => {}
            Some(Change::Opened) => tracing::warn!(
                handler = name,
                "circuit is open: too many keys fail; one event at a time is tried until that is over"
            ),
            Some(Change::Closed(since) | Change::GaveUp(since)) => {
                let now = now();
                let seconds = now.saturating_sub(since) / 1000;
                if matches!(change, Some(Change::GaveUp(_))) {
                    tracing::error!(
                        handler = name,
                        seconds,
                        "circuit was open for `outage.max-open`: failures use up attempts from now on, until an event succeeds"
                    );
                } else {
                    tracing::info!(handler = name, seconds, "circuit is closed: the handler goes on");
                }
                // Nobody need wait any longer for what is over.
                self.flow.hurry(handler, Hurry::Probed, now);
            }
        }
    }
}
