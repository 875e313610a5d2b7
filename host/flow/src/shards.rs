//! All shards of the application: finds the track an input belongs to, keeps the totals of each handler
//! and the timers of all lanes. As pure as [`shard`](super::shard).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::num::NonZeroU16;
use std::sync::Arc;

use super::shard::{Action, Admission, Beginning, Held, Hurry, Track};
use heddle_values::checkpoint::{Checkpoint, Progress};
use heddle_values::event::Event;
use heddle_values::gate::Gate;
use heddle_values::key::Key;
use heddle_values::policy::OnDeadLetter;

/// The index of a handler in the settings.
pub type HandlerIx = usize;

/// Which handler in which shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub shard: u16,
    pub handler: HandlerIx,
}

/// An action and where it comes from.
#[derive(Debug)]
pub struct Placed {
    pub place: Place,
    pub action: Action,
}

/// What is the same for all shards while the host runs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// This host's id.
    pub host: String,
    pub shards: NonZeroU16,
    /// Names and streams of the handlers.
    pub handlers: Vec<(Arc<str>, Arc<str>)>,
    /// When each stream was created, in nanoseconds since 1970.
    pub streams: BTreeMap<String, u64>,
    /// The key template of each handler.
    pub keys: Vec<String>,
    /// What each handler does after a dead letter; where none is given, its keys go on.
    pub on_dead_letter: Vec<OnDeadLetter>,
    /// What a checkpoint may take, in bytes.
    pub checkpoint_bytes: usize,
}

/// A gate and where it stands.
pub type PlacedGate = (Place, Gate);

/// All shards of the application.
#[derive(Debug)]
pub struct Shards {
    plan: Plan,
    tracks: Vec<Vec<Track>>,
    /// Progress of handlers that the settings no longer have. It is carried along.
    retired: Vec<BTreeMap<String, Progress>>,
    totals: Vec<Held>,
    timers: BinaryHeap<Reverse<(u64, Place, Key)>>,
    scratch: Vec<Action>,
}

impl Shards {
    /// Goes on from the checkpoints, one for each shard, and from the gates that are not open. Every handler of the plan
    /// has its progress there. `known` is a sequence of the application's stream that is stored. Then say
    /// [`resume`](Self::resume).
    pub fn new(plan: Plan, checkpoints: &[Checkpoint], gates: Vec<PlacedGate>, known: u64) -> Self {
        let nothing = Progress::default();
        let budget = plan.checkpoint_bytes / plan.handlers.len().max(1);
        let mut of_places: HashMap<Place, Vec<Gate>> = HashMap::new();
        for (place, gate) in gates {
            of_places.entry(place).or_default().push(gate);
        }
        let mut tracks: Vec<Vec<Track>> = Vec::new();
        let mut retired = Vec::new();
        for (shard, checkpoint) in (0_u16..).zip(checkpoints) {
            let track = |(handler, (name, _)): (HandlerIx, &(Arc<str>, Arc<str>))| {
                Track::new(Beginning {
                    progress: checkpoint.handlers.get(&**name).unwrap_or(&nothing),
                    gates: of_places.remove(&Place { shard, handler }).unwrap_or_default(),
                    known,
                    budget,
                    on_dead_letter: plan.on_dead_letter.get(handler).copied().unwrap_or_default(),
                })
            };
            tracks.push(plan.handlers.iter().enumerate().map(track).collect());
            let mut rest = checkpoint.handlers.clone();
            rest.retain(|name, _| !plan.handlers.iter().any(|(known, _)| **known == *name));
            retired.push(rest);
        }
        // A track that has read nothing yet holds nothing, but what it has on record may fill its window.
        let mut totals = vec![Held::default(); plan.handlers.len()];
        for of_shard in &tracks {
            for (total, track) in totals.iter_mut().zip(of_shard) {
                total.replace(Held::default(), Track::held(track));
            }
        }
        Shards { plan, tracks, retired, totals, timers: BinaryHeap::new(), scratch: Vec::new() }
    }

    /// Goes on with the keys that drain.
    pub fn resume(&mut self, now: u64, actions: &mut Vec<Placed>) {
        for shard in 0..self.count() {
            for handler in 0..self.plan.handlers.len() {
                self.at(Place { shard, handler }, actions, |track, actions| track.resume(now, actions));
            }
        }
    }

    /// The gates as the stream has them.
    pub fn stored_gates(&self) -> Vec<PlacedGate> {
        let mut gates = Vec::new();
        for (shard, tracks) in (0_u16..).zip(&self.tracks) {
            for (handler, track) in tracks.iter().enumerate() {
                gates.extend(track.stored_gates().map(|gate| (Place { shard, handler }, gate.clone())));
            }
        }
        gates
    }

    /// How many keys of a handler are held.
    pub fn held_keys(&self, handler: HandlerIx) -> usize {
        self.tracks.iter().filter_map(|tracks| tracks.get(handler)).map(Track::held_keys).sum()
    }

    /// Wakes lanes of a handler that wait, whatever their time. How many there were.
    pub fn hurry(&mut self, handler: HandlerIx, which: Hurry, now: u64, actions: &mut Vec<Placed>) -> usize {
        let shards = match which {
            // In turn: one that is woken again and again would keep the others from being tried.
            Hurry::One => {
                let tracks = (0..self.count()).zip(&self.tracks);
                let due =
                    tracks.filter_map(|(shard, tracks)| Some((tracks.get(handler)?.first_due()?, shard)));
                due.min().map_or(0..0, |(_, shard)| shard..shard + 1)
            }
            Hurry::Probed => 0..self.count(),
        };
        let wake = |track: &mut Track, actions: &mut Vec<Action>| track.hurry(which, now, actions);
        shards.map(|shard| self.at(Place { shard, handler }, actions, wake).unwrap_or(0)).sum()
    }

    /// How many shards there are.
    pub fn count(&self) -> u16 {
        self.plan.shards.get()
    }

    /// What all tracks of a handler hold together.
    pub fn held(&self, handler: HandlerIx) -> Held {
        self.totals.get(handler).copied().unwrap_or_default()
    }

    /// The lowest event that a handler has not done, over all shards.
    pub fn low(&self, handler: HandlerIx, position: u64) -> u64 {
        let lows = self.tracks.iter().filter_map(|tracks| tracks.get(handler));
        lows.map(|track| track.low(position)).min().unwrap_or(position)
    }

    /// How many events of a handler were read and are not done.
    pub fn unfinished(&self, handler: HandlerIx) -> u64 {
        let tracks = self.tracks.iter().filter_map(|tracks| tracks.get(handler));
        tracks.map(|track| track.unfinished() as u64).sum()
    }

    /// Takes the events of a handler that were tried before the host started and have not come although everything below
    /// `position` has: they are no longer in the stream.
    pub fn take_missing(&mut self, handler: HandlerIx, position: u64) -> Vec<u64> {
        let tracks = self.tracks.iter_mut().filter_map(|tracks| tracks.get_mut(handler));
        tracks.flat_map(|track| track.take_missing(position)).collect()
    }

    /// An event of a handler was read.
    pub fn read(
        &mut self,
        handler: HandlerIx,
        event: Arc<Event>,
        key: Key,
        now: u64,
        actions: &mut Vec<Placed>,
    ) -> Admission {
        let place = Place { shard: key.shard(self.count()), handler };
        self.at(place, actions, |track, actions| track.read(event, key, now, actions))
            .unwrap_or(Admission::Known)
    }

    /// Hands an input to the track at `place` and collects what it wants done.
    pub fn at<T>(
        &mut self,
        place: Place,
        actions: &mut Vec<Placed>,
        input: impl FnOnce(&mut Track, &mut Vec<Action>) -> T,
    ) -> Option<T> {
        let track = self.tracks.get_mut(usize::from(place.shard))?.get_mut(place.handler)?;
        let total = self.totals.get_mut(place.handler)?;
        let before = track.held();
        let answer = input(track, &mut self.scratch);
        total.replace(before, track.held());
        for action in self.scratch.drain(..) {
            match action {
                Action::WakeAt { key, due } => self.timers.push(Reverse((due, place, key))),
                action => actions.push(Placed { place, action }),
            }
        }
        Some(answer)
    }

    /// A request that is done is no longer in the stream. Without a place, it is not known where it ran.
    pub fn removed(&mut self, place: Option<Place>, request: u64) {
        match place {
            Some(place) => {
                self.at(place, &mut Vec::new(), |track, _| track.removed(request));
            }
            None => self.tracks.iter_mut().flatten().for_each(|track| track.removed(request)),
        }
    }

    /// When the next lane wants to be woken, in milliseconds since 1970.
    pub fn next_wake(&self) -> Option<u64> {
        self.timers.peek().map(|Reverse((due, ..))| *due)
    }

    /// Wakes all lanes whose time has come.
    pub fn wake(&mut self, now: u64, actions: &mut Vec<Placed>) {
        while self.next_wake().is_some_and(|due| due <= now) {
            let Some(Reverse((_, place, key))) = self.timers.pop() else { return };
            self.at(place, actions, |track, actions| track.wake(&key, now, actions));
        }
    }

    /// The checkpoint of a shard as it will be once the events of `taken` (by handler) are committed.
    pub fn checkpoint(
        &self,
        shard: u16,
        taken: &BTreeMap<HandlerIx, BTreeSet<u64>>,
        positions: &[u64],
        commit: u64,
    ) -> Checkpoint {
        let none = BTreeSet::new();
        let mut handlers = self.retired.get(usize::from(shard)).cloned().unwrap_or_default();
        let tracks = self.tracks.get(usize::from(shard)).map(Vec::as_slice).unwrap_or_default();
        let rows = self.plan.handlers.iter().zip(tracks).zip(positions).enumerate();
        for (handler, (((name, stream), track), position)) in rows {
            let taken = taken.get(&handler).unwrap_or(&none);
            let key = self.plan.keys.get(handler).cloned().unwrap_or_default();
            handlers.insert(name.to_string(), Progress { key, ..track.progress(stream, taken, *position) });
        }
        Checkpoint {
            host: self.plan.host.clone(),
            commit,
            shards: self.count(),
            streams: self.plan.streams.clone(),
            handlers,
        }
    }

    /// A checkpoint was committed.
    pub fn committed(&mut self, shard: u16, checkpoint: &Checkpoint) {
        for handler in 0..self.plan.handlers.len() {
            let Some((name, _)) = self.plan.handlers.get(handler) else { return };
            let Some(progress) = checkpoint.handlers.get(&**name) else { continue };
            self.at(Place { shard, handler }, &mut Vec::new(), |track, _| track.committed(progress));
        }
    }

    /// Whether the checkpoint of a shard lags behind what was read by more than `events`, or remembers requests in vain.
    pub fn lags(&self, shard: u16, positions: &[u64], committed: &Checkpoint, events: u64) -> bool {
        let tracks = self.tracks.get(usize::from(shard)).map(Vec::as_slice).unwrap_or_default();
        self.plan.handlers.iter().zip(tracks).zip(positions).any(|(((name, _), track), position)| {
            let stored = committed.handlers.get(&**name);
            let low = stored.map_or(0, |progress| progress.low);
            let in_vain = stored.is_some_and(|progress| track.remembers_less(progress));
            in_vain || track.low(*position).saturating_sub(low) > events
        })
    }
}

impl Held {
    fn replace(&mut self, before: Held, after: Held) {
        self.events = self.events + after.events - before.events;
        self.bytes = self.bytes + after.bytes - before.bytes;
        self.waiting = self.waiting + after.waiting - before.waiting;
        self.full = self.full + after.full - before.full;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{Blame, Outcome, Rules, Settled, WINDOW};
    use heddle_values::attempt::Attempt;
    use heddle_values::effects::Effects;
    use heddle_values::event::Headers;
    use heddle_values::policy::RetryPolicy;
    use heddle_values::verdict::{CauseClass, Verdict};

    const STUCK: u64 = 10;

    fn event(sequence: u64) -> Arc<Event> {
        Arc::new(Event {
            stream: "S".into(),
            sequence,
            subject: "a".into(),
            time: 0,
            headers: Headers::default(),
            payload: Default::default(),
            source: Default::default(),
        })
    }

    fn plan() -> Plan {
        Plan {
            host: "h".into(),
            shards: NonZeroU16::MIN,
            handlers: vec![("one".into(), "S".into())],
            streams: BTreeMap::new(),
            keys: vec!["k".into()],
            on_dead_letter: Vec::new(),
            checkpoint_bytes: 1 << 20,
        }
    }

    #[test]
    fn a_window_that_was_full_at_a_restart_lets_the_stuck_event_be_read_again() {
        let end = STUCK + WINDOW as u64;
        let progress = Progress {
            stream: "S".into(),
            low: STUCK,
            done: (STUCK + 1..=end).collect(),
            ..Progress::default()
        };
        let handlers = BTreeMap::from([("one".to_owned(), progress)]);
        let mut shards =
            Shards::new(plan(), &[Checkpoint { handlers, ..Checkpoint::default() }], Vec::new(), 0);
        assert_eq!(shards.low(0, 0), STUCK);
        assert_eq!(shards.held(0).full, 0, "nothing could be read");
        let mut actions = Vec::new();
        let place = Place { shard: 0, handler: 0 };
        for sequence in STUCK..=end {
            let admission = shards.read(0, event(sequence), Key::new("k"), 0, &mut actions);
            assert_eq!(admission == Admission::Queued, sequence == STUCK);
        }
        assert_eq!(shards.held(0).full, 1, "all is read again, and the window is full");
        shards.at(place, &mut actions, |track, actions| {
            let verdict = Verdict::Done(Effects::default());
            let rules = Rules { retry: &RetryPolicy::default(), blame: Blame::Event, ran_by: None };
            track.finished(&Key::new("k"), verdict, rules, 0, 0, actions);
        });
        let taken = BTreeMap::from([(0, BTreeSet::from([STUCK]))]);
        let checkpoint = shards.checkpoint(0, &taken, &[end + 1], 1);
        let outcome = Outcome::Done(Effects::default());
        let settled = Settled { key: Key::new("k"), event: event(STUCK), outcome, gate: None, ran_by: None };
        shards.at(place, &mut actions, |track, actions| track.settled(&settled, 0, 0, actions));
        shards.committed(0, &checkpoint);
        assert_eq!(shards.held(0), Held::default());
        assert_eq!(shards.low(0, end + 1), end + 1);
    }

    #[test]
    fn what_was_tried_before_and_does_not_come_again_is_missing_once() {
        let attempt = |position| Attempt {
            position,
            attempts: 1,
            first: 0,
            due: 0,
            class: CauseClass::Defer,
            cause: String::new(),
            times: Vec::new(),
        };
        let progress = Progress {
            stream: "S".into(),
            low: STUCK,
            attempts: [STUCK, STUCK + 1, STUCK + 5].map(attempt).into(),
            ..Progress::default()
        };
        let handlers = BTreeMap::from([("one".to_owned(), progress)]);
        let mut shards =
            Shards::new(plan(), &[Checkpoint { handlers, ..Checkpoint::default() }], Vec::new(), 0);
        assert_eq!(shards.take_missing(0, STUCK), [0; 0], "nothing was read yet");
        shards.read(0, event(STUCK + 1), Key::new("k"), 0, &mut Vec::new());
        assert_eq!(shards.unfinished(0), 1);
        assert_eq!(shards.take_missing(0, STUCK + 3), [STUCK]);
        assert_eq!(shards.take_missing(0, STUCK + 3), [0; 0]);
    }
}
