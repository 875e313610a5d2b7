//! What goes into a shard and comes out of it.

use std::sync::Arc;

use heddle_values::dead_letter::Death;
use heddle_values::effects::Effects;
use heddle_values::event::Event;
use heddle_values::gate::Gate;
use heddle_values::key::Key;
use heddle_values::plugin::PluginId;
use heddle_values::policy::RetryPolicy;
use heddle_values::position::Position;
use heddle_values::verdict::{CauseClass, Failure};

/// What a shard wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Run the event, then say [`Track::finished`](super::Track::finished).
    /// `fresh`: it has not failed before, not even in a way that used up no attempt.
    Run { key: Key, event: Arc<Event>, attempt: u32, fresh: bool },
    /// Read the events again, then say [`Track::fetched`](super::Track::fetched) for each.
    Fetch { key: Key, positions: Vec<Position> },
    /// Read what was held back of the key at or above a sequence, then say [`Track::taken_back`](super::Track::taken_back).
    TakeBack { key: Key, next: u64 },
    /// Say [`Track::wake`](super::Track::wake) at this time, in milliseconds since 1970.
    WakeAt { key: Key, due: u64 },
    /// Commit the outcome, then say [`Track::settled`](super::Track::settled).
    Settle(Settled),
    /// Commit the checkpoint: an attempt was used up.
    Record,
    /// Commit the gate: it is open.
    Open { key: Key, gate: Gate },
}

/// An event that came to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    pub key: Key,
    pub event: Arc<Event>,
    pub outcome: Outcome,
    /// What becomes of the key's gate, if anything.
    pub gate: Option<Gate>,
    /// The plugin that ran it, if it ran.
    pub ran_by: Option<Arc<PluginId>>,
}

/// The ends of an event, as far as its lane is concerned.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Done(Effects),
    Dead(Box<Death>),
    /// Its key is held: it is kept for later.
    HeldBack,
    /// It was not run; its key is held no longer.
    Released,
}

/// What became of an event that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It waits or runs.
    Queued,
    /// The checkpoint says that it is done, or it is queued already.
    Known,
}

/// What follows from failures.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    pub retry: &'a RetryPolicy,
    pub blame: Blame,
    /// The plugin that ran the event.
    pub ran_by: Option<&'a Arc<PluginId>>,
}

/// What else than an event may be to blame for its failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Nothing.
    Event,
    /// What the handler depends on: its circuit is open, and what fails is not counted.
    Outage,
    /// It is too early to tell whether what the handler depends on is to blame: nothing has succeeded since that time, in
    /// milliseconds since 1970. What failed first then or later is not given up yet.
    Unclear { since: u64 },
    /// A version of the plugin that is on trial: an event whose attempts are used up is parked.
    Trial,
    /// A version of the plugin that has gone meanwhile: the one that is there now has its own try at once.
    Gone,
}

impl Blame {
    /// Whether an event that failed first at this time, in milliseconds since 1970, is not given up yet.
    pub(super) fn is_unclear(self, first: u64) -> bool {
        matches!(self, Blame::Unclear { since } if first >= since)
    }
}

/// Which lanes that wait are woken before their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hurry {
    /// The one that would be woken first.
    One,
    /// Those whose first event failed while the circuit was open, or is parked.
    Probed,
}

/// How much a track holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holding {
    /// Events in memory, those waiting for their commit included.
    pub events: usize,
    /// What they weigh, in bytes.
    pub bytes: usize,
    /// Keys that wait for a retry.
    pub waiting: usize,
    /// 1 if the window is full.
    pub full: usize,
}

impl Holding {
    pub(super) fn hold(&mut self, event: &Event) {
        self.events += 1;
        self.bytes += event.weight();
    }

    pub(super) fn release(&mut self, event: &Event) {
        self.events -= 1;
        self.bytes -= event.weight();
    }
}

impl Rules<'_> {
    /// Whether a failure may be that of something the handler depends on, rather than of the event.
    pub fn may_be_an_outage(failure: &Failure) -> bool {
        matches!(failure.class, CauseClass::Retry | CauseClass::Trap | CauseClass::Limit)
    }

    /// Whether a failure may be that of the version that ran the event, rather than of the event.
    pub fn may_be_the_versions(failure: &Failure) -> bool {
        matches!(failure.class, CauseClass::Reject | CauseClass::Decode | CauseClass::Effect)
            || Self::may_be_an_outage(failure)
    }
}
