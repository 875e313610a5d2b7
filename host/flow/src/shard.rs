//! The shard: what is done, what waits and what may run, for one share of the keys.
//!
//! Promises that of each lane (the events of one key for one handler) at most one event runs, in the order
//! of the stream, and that a [`Progress`] never claims more than what was settled. A held key holds back its later
//! events, and runs them in order before anything else once it is released. Pure: no clock, no I/O;
//! time and randomness come in as arguments, and everything it wants done goes out as an [`Action`].

mod action;
mod gated;
mod gates;
mod lane;
mod record;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use heddle_values::attempt::{Decision, Why, decide};
use heddle_values::checkpoint::Progress;
use heddle_values::dead_letter::Death;
use heddle_values::event::Event;
use heddle_values::gate::{Gate, Phase};
use heddle_values::key::Key;
use heddle_values::plugin::PluginId;
use heddle_values::policy::OnDeadLetter;
use heddle_values::position::Position;
use heddle_values::verdict::{Failure, Verdict};

pub use action::{Action, Admission, Blame, Holding, Hurry, Outcome, Rules, Settled};
use gates::Gates;
use lane::{Head, Lane, STUCK_LANE_KEEPS, Slot};
use record::Record;

/// How many events of one handler a shard may run ahead of its lowest unfinished one.
pub const WINDOW: usize = 65_536;

/// What a done event takes in a checkpoint at worst, in bytes: see the Roaring format.
const DONE_BYTES: usize = 2;

/// How long an event is parked at a time.
const PARKED: Duration = Duration::from_secs(10);

/// While fewer events than this are being read again, and less than this is held, those behind the first of a lane are
/// read again before they are needed. Events that are away were not counted as held: there may be many, and large ones.
const COMING_AHEAD: usize = 64;
const HELD_AHEAD_BYTES: usize = 1 << 20;

/// One handler in one shard.
#[derive(Debug)]
pub struct Track {
    record: Record,
    lanes: HashMap<Key, Lane>,
    gates: Gates,
    on_dead_letter: OnDeadLetter,
    /// Everything up to this sequence of the application's stream is known to be stored.
    known: u64,
    held: Holding,
    /// How many events are being read again.
    coming: usize,
}

/// What a track begins with.
#[derive(Debug)]
pub struct Beginning<'a> {
    /// How far the handler has come in this shard, as the last checkpoint says.
    pub progress: &'a Progress,
    /// The gates that are not open.
    pub gates: Vec<Gate>,
    /// A sequence of the application's stream that is stored.
    pub known: u64,
    /// What the track may take in a checkpoint, in bytes.
    pub budget: usize,
    /// Whether a dead letter holds back the later events of its key.
    pub on_dead_letter: OnDeadLetter,
}

impl Track {
    /// Goes on from what is stored. Then say [`resume`](Self::resume).
    pub fn new(beginning: Beginning<'_>) -> Self {
        Track {
            record: Record::new(beginning.progress, beginning.budget),
            lanes: HashMap::new(),
            gates: Gates::new(beginning.gates),
            on_dead_letter: beginning.on_dead_letter,
            known: beginning.known,
            held: Holding::default(),
            coming: 0,
        }
    }

    /// How much is held now.
    pub fn held(&self) -> Holding {
        Holding { full: usize::from(self.record.is_full()), ..self.held }
    }

    /// The lowest event that is not done, `next` being the next one to be read.
    pub fn low(&self, next: u64) -> u64 {
        self.record.low(next)
    }

    /// How many events were read and are not done.
    pub fn unfinished(&self) -> usize {
        self.record.unfinished()
    }

    /// Takes what was tried before the host started and has not come although everything below `next` has.
    pub fn take_missing(&mut self, next: u64) -> Vec<u64> {
        self.record.take_missing(next)
    }

    /// An event was read. Those of the stream come in the order of their sequences.
    pub fn read(&mut self, event: Arc<Event>, key: Key, now: u64, actions: &mut Vec<Action>) -> Admission {
        let admission = self.record.begin(&event);
        if admission != Admission::Queued {
            return admission;
        }
        let position = event.position();
        let Some(lane) = self.lanes.get_mut(&key) else {
            self.held.hold(&event);
            let mut lane = Lane::new(now);
            lane.queue.push_back((position, Slot::Here(event)));
            self.lanes.insert(key.clone(), lane);
            self.advance(&key, now, actions);
            return Admission::Queued;
        };
        if lane.is_stuck(now) {
            lane.queue.push_back((position, Slot::Away));
        } else {
            self.held.hold(&event);
            lane.queue.push_back((position, Slot::Here(event)));
        }
        Admission::Queued
    }

    /// The event that ran came to a verdict. Whether it is parked. `random` is uniform over all of `u64`.
    pub fn finished(
        &mut self,
        key: &Key,
        verdict: Verdict,
        rules: Rules<'_>,
        now: u64,
        random: u64,
        actions: &mut Vec<Action>,
    ) -> bool {
        let first = self.lanes.get(key).and_then(Lane::first);
        let event = Arc::clone(first.expect("an event that runs stands first in its lane"));
        let failure = match verdict {
            Verdict::Done(effects) => {
                self.settle(key, (event, rules.ran_by), Outcome::Done(effects), now, actions);
                self.advance(key, now, actions);
                return false;
            }
            Verdict::Failed(failure) => failure,
        };
        let (decision, forgiven) = self.decide(&event, &failure, rules, now, random);
        match decision {
            Decision::DeadLetter(why) => {
                let (attempts, times) = self.record.history(event.position(), now);
                let death = Death { failure, why, attempts, times };
                self.settle(key, (event, rules.ran_by), Outcome::Dead(Box::new(death)), now, actions);
                self.advance(key, now, actions);
            }
            Decision::Again { delay, attempts } => {
                let due = now.saturating_add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
                self.record.failed(&event, attempts, due, &failure, now, forgiven);
                self.wait(key, due, actions);
            }
        }
        forgiven && rules.blame == Blame::Trial
    }

    /// What follows from a failure, and whether the event is not to blame for it.
    fn decide(
        &self,
        event: &Event,
        failure: &Failure,
        rules: Rules<'_>,
        now: u64,
        random: u64,
    ) -> (Decision, bool) {
        let before = self.record.attempt(event.position());
        let used = before.map_or(0, |attempt| attempt.attempts);
        let first = before.map_or(now, |attempt| attempt.first);
        let of_outage = Rules::may_be_an_outage(failure);
        let delay = rules.retry.backoff.delay(used.saturating_add(1), random);
        if rules.blame == Blame::Outage && of_outage {
            return (Decision::Again { delay, attempts: used }, true);
        }
        let innocent = Rules::may_be_the_versions(failure);
        if rules.blame == Blame::Gone && innocent {
            return (Decision::Again { delay: Duration::ZERO, attempts: used }, false);
        }
        match decide(rules.retry, before, failure, now, random) {
            // The version that runs it once the trial is over begins again.
            Decision::DeadLetter(_) if rules.blame == Blame::Trial && innocent => {
                (Decision::Again { delay: PARKED, attempts: 0 }, true)
            }
            Decision::DeadLetter(Why::Attempts)
                if of_outage && let Some(left) = rules.blame.unclear_for(first, now) =>
            {
                // No longer counted, the tries come ever more rarely by themselves.
                let growing = delay.max(Duration::from_millis(1 + now.saturating_sub(first) / 2));
                (Decision::Again { delay: growing.min(Duration::from_millis(left)), attempts: used }, false)
            }
            decision => (decision, rules.blame == Blame::Outage),
        }
    }

    /// The first event of a lane comes to its end.
    fn settle(
        &mut self,
        key: &Key,
        (event, ran_by): (Arc<Event>, Option<&Arc<PluginId>>),
        outcome: Outcome,
        now: u64,
        actions: &mut Vec<Action>,
    ) {
        let policy = (self.on_dead_letter, self.known + 1);
        let gate = self.gates.after(key, &event, &outcome, policy, now);
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.queue.pop_front();
            lane.since = now;
            if gate.as_ref().is_some_and(|gate| gate.phase == Phase::Closed) {
                // What is held back is in the stream, and comes again.
                for (_, slot) in lane.queue.iter().filter(|(position, _)| position.is_held_back()) {
                    if let Slot::Here(event) = slot {
                        self.held.release(event);
                    }
                }
                lane.queue.retain(|(position, _)| !position.is_held_back());
            }
        }
        let ran_by = ran_by.cloned();
        actions.push(Action::Settle(Settled { key: key.clone(), event, outcome, gate, ran_by }));
    }

    /// Lets the lane wait and keeps what is far behind its first event as positions.
    fn wait(&mut self, key: &Key, due: u64, actions: &mut Vec<Action>) {
        let lane = self.lanes.get_mut(key).expect("an event that waits stands first in its lane");
        lane.head = Head::Waiting(due);
        self.held.waiting += 1;
        for (_, slot) in lane.queue.iter_mut().skip(STUCK_LANE_KEEPS) {
            if let Slot::Here(event) = slot {
                self.held.release(event);
                *slot = Slot::Away;
            }
        }
        actions.push(Action::Record);
        actions.push(Action::WakeAt { key: key.clone(), due });
    }

    /// A time that was asked for has come.
    pub fn wake(&mut self, key: &Key, now: u64, actions: &mut Vec<Action>) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if matches!(lane.head, Head::Waiting(due) if due <= now) {
            lane.since = now;
            self.held.waiting -= 1;
            self.advance(key, now, actions);
        }
    }

    /// When the first of the lanes that wait is due, in milliseconds since 1970.
    pub fn first_due(&self) -> Option<u64> {
        self.lanes.values().filter_map(Lane::due).min()
    }

    /// Wakes lanes that wait, whatever their time. How many there were.
    pub fn hurry(&mut self, which: Hurry, now: u64, actions: &mut Vec<Action>) -> usize {
        let waiting = self.lanes.iter().filter_map(|(key, lane)| Some((lane.due()?, key, lane)));
        let keys: Vec<Key> = match which {
            Hurry::One => {
                waiting.min_by_key(|(due, ..)| *due).map(|(_, key, _)| key.clone()).into_iter().collect()
            }
            Hurry::Probed => {
                let failed_in_outage = |lane: &Lane| {
                    lane.queue.front().is_some_and(|(position, _)| self.record.failed_in_outage(*position))
                };
                waiting.filter(|(.., lane)| failed_in_outage(lane)).map(|(_, key, _)| key.clone()).collect()
            }
        };
        for key in &keys {
            let Some(lane) = self.lanes.get_mut(key) else { continue };
            if let Some((position, _)) = lane.queue.front() {
                self.record.is_due(*position, now);
            }
            lane.head = Head::Waiting(now);
            self.wake(key, now, actions);
        }
        keys.len()
    }

    /// An event that was away is here again; none: it is no longer in the stream.
    pub fn fetched(
        &mut self,
        key: &Key,
        position: Position,
        event: Option<Arc<Event>>,
        now: u64,
        actions: &mut Vec<Action>,
    ) {
        self.coming = self.coming.saturating_sub(1);
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let Some(index) = lane.queue.iter().position(|(p, _)| *p == position) else { return };
        match event {
            Some(event) => {
                let Some((_, slot)) = lane.queue.get_mut(index) else { return };
                self.held.hold(&event);
                *slot = Slot::Here(event);
            }
            None => {
                lane.queue.remove(index);
                self.record.lost(position);
            }
        }
        if lane.queue.is_empty() || lane.head == Head::Fetching {
            self.advance(key, now, actions);
        }
    }

    /// Sets the first event of a lane going, if nothing of it runs. A lane without events is removed.
    fn advance(&mut self, key: &Key, now: u64, actions: &mut Vec<Action>) {
        while self.passes_gate(key, now, actions) {}
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let Some((position, slot)) = lane.queue.front() else {
            lane.head = Head::Fetching;
            if self.gates.get(key).is_none_or(|held| held.gate.phase == Phase::Closed) {
                self.lanes.remove(key);
            }
            return;
        };
        if !position.is_held_back()
            && self.gates.get(key).is_some_and(|held| held.gate.phase == Phase::Draining)
        {
            lane.head = Head::Fetching;
            return;
        }
        let attempt = self.record.attempt(*position);
        if let Some(attempt) = attempt.filter(|attempt| attempt.due > now) {
            lane.head = Head::Waiting(attempt.due);
            self.held.waiting += 1;
            actions.push(Action::WakeAt { key: key.clone(), due: attempt.due });
            return;
        }
        match slot {
            Slot::Here(event) => {
                lane.head = Head::Running;
                let (fresh, used) = (attempt.is_none(), attempt.map_or(0, |attempt| attempt.attempts));
                let (key, event, attempt) = (key.clone(), Arc::clone(event), used.saturating_add(1));
                actions.push(Action::Run { key, event, attempt, fresh });
            }
            Slot::Away | Slot::Coming => lane.head = Head::Fetching,
        }
        // What is not needed now need not be here.
        let ahead = self.coming < COMING_AHEAD && self.held.bytes < HELD_AHEAD_BYTES;
        let positions = lane.fetches(if ahead { STUCK_LANE_KEEPS } else { 1 });
        if !positions.is_empty() {
            self.coming += positions.len();
            actions.push(Action::Fetch { key: key.clone(), positions });
        }
    }

    /// The progress as it will be once the events of `taken` are committed; `next` is the next event to be read for
    /// the handler.
    pub fn progress(&self, stream: &str, taken: &BTreeSet<Position>, next: u64) -> Progress {
        self.record.progress(stream, taken, next)
    }

    /// A progress that [`progress`](Self::progress) gave was committed.
    pub fn committed(&mut self, progress: &Progress) {
        self.record.committed(progress);
    }

    /// An event that was settled is committed, in a batch that ends at the sequence `end` of the application's stream.
    pub fn settled(&mut self, settled: &Settled, end: u64, now: u64, actions: &mut Vec<Action>) {
        self.known = self.known.max(end);
        self.held.release(&settled.event);
        self.record.settled(&settled.event);
        if let Some(gate) = &settled.gate {
            self.gate_stored(&settled.key, gate, now, actions);
        }
    }

    /// Whether a checkpoint remembers requests that are no longer in the stream.
    pub fn remembers_less(&self, progress: &Progress) -> bool {
        self.record.remembers_less(progress)
    }

    /// A request that is done is no longer in the stream.
    pub fn removed(&mut self, request: u64) {
        self.record.removed(request);
    }
}
