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
    Run {
        /// The lane whose first event it is.
        key: Key,
        /// The event, which stays in its lane until it has settled.
        event: Arc<Event>,
        /// Counted from 1. Runs that used up no attempt do not count.
        attempt: u32,
        /// It has not failed before, not even in a way that used up no attempt.
        fresh: bool,
    },
    /// Read the events again, then say [`Track::fetched`](super::Track::fetched) for each.
    Fetch {
        /// The lane whose events they are.
        key: Key,
        /// Which events: they were left in the stream to spare memory.
        positions: Vec<Position>,
    },
    /// Read what was held back of the key at or above a sequence, then say [`Track::taken_back`](super::Track::taken_back).
    TakeBack {
        /// The held key, whose gate drains.
        key: Key,
        /// The sequence, of the application's stream: what was held back below it has come to its end.
        next: u64,
    },
    /// Say [`Track::wake`](super::Track::wake) at this time, in milliseconds since 1970.
    WakeAt {
        /// The lane that waits.
        key: Key,
        /// The time. A lane that has gone on by then takes no notice.
        due: u64,
    },
    /// Commit the outcome, then say [`Track::settled`](super::Track::settled).
    Settle(Settled),
    /// Commit the checkpoint: an attempt was used up.
    Record,
    /// Commit the gate: it is open.
    Open {
        /// The key that is no longer held.
        key: Key,
        /// The gate as it is to be stored, in its phase [`Open`](heddle_values::gate::Phase::Open).
        gate: Gate,
    },
}

impl Action {
    /// Whether it is to be committed. Everything else is asked for again wherever the shard goes.
    pub fn is_to_be_stored(&self) -> bool {
        matches!(self, Action::Settle(_) | Action::Record | Action::Open { .. })
    }
}

/// An event that came to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// The lane whose first event it was.
    pub key: Key,
    /// The event itself; where the key was [`Released`](Outcome::Released), it stands for the request to do so.
    pub event: Arc<Event>,
    /// How it ended, which says what is to be stored of it.
    pub outcome: Outcome,
    /// What becomes of the key's gate, if anything.
    pub gate: Option<Gate>,
    /// The plugin that ran it, if it ran.
    pub ran_by: Option<Arc<PluginId>>,
}

impl Settled {
    /// The messages that the end itself takes in a batch, and their bytes, about. What goes beside them is not counted: the
    /// key's state and gate, and the answer to the request of a replay.
    pub fn cost(&self) -> (usize, usize) {
        match &self.outcome {
            Outcome::Dead(..) | Outcome::HeldBack => (1, self.event.weight()),
            Outcome::Released => (0, 0),
            Outcome::Done(effects) => {
                let sizes = effects.messages.iter().map(|(message, _)| message.size());
                (effects.messages.len(), sizes.sum())
            }
        }
    }
}

/// The ends of an event, as far as its lane is concerned.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was handled. The effects are stored in the commit that calls it done.
    Done(Effects),
    /// It failed for good, and becomes a dead letter.
    Dead(Box<Death>),
    /// Its key is held: it is kept for later.
    HeldBack,
    /// It was not run; its key is held no longer.
    Released,
}

/// What became of an event that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// From now on it waits or runs.
    Queued,
    /// It did so before.
    Again,
    /// It is done.
    Known,
    /// It is not for this host: another one owns the shard of its key.
    Elsewhere,
}

/// What follows from failures.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// How often, how long and for which causes the handler tries an event again.
    pub retry: &'a RetryPolicy,
    /// What else than the event may be to blame. It says nothing of a run that went well.
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
    /// It is too early to tell whether what the handler depends on is to blame. What failed first at `since` or later is not
    /// given up before `until`.
    Unclear {
        /// When the first run failed after which nothing has succeeded, in milliseconds since 1970.
        since: u64,
        /// When it is decided: had it been an outage, the circuit would be open by then. In milliseconds since 1970.
        until: u64,
    },
    /// A version of the plugin that is on trial: an event whose attempts are used up is parked.
    Trial,
    /// A version of the plugin that has gone meanwhile: the one that is there now has its own try at once.
    Gone,
}

impl Blame {
    /// How much longer an event that failed first at this time is not given up, in milliseconds.
    pub(super) fn unclear_for(self, first: u64, now: u64) -> Option<u64> {
        match self {
            Blame::Unclear { since, until } if first >= since && now < until => Some(until - now),
            _ => None,
        }
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
