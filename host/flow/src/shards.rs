//! All shards of the application: finds the track an input belongs to, keeps the totals of each handler
//! and the timers of all lanes. As pure as [`shard`](super::shard).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::num::NonZeroU16;
use std::sync::Arc;

use super::shard::{Action, Admission, Beginning, Holding, Hurry, Track};
use heddle_values::checkpoint::{Checkpoint, Progress};
use heddle_values::event::Event;
use heddle_values::gate::Gate;
use heddle_values::handlers::{HandlerIx, PerHandler};
use heddle_values::key::Key;
use heddle_values::policy::OnDeadLetter;
use heddle_values::position::Position;
use heddle_values::settings::HandlerSettings;

/// Why the shard of a place is there.
const OF_THE_PLAN: &str = "a place is in one of the plan's shards";

/// Which handler in which shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Counted from 0.
    pub shard: u16,
    /// By its place in the application's file.
    pub handler: HandlerIx,
}

/// An action and where it comes from.
#[derive(Debug)]
pub struct Placed {
    /// The track that wants it done.
    pub place: Place,
    /// What is to be done. Never [`Action::WakeAt`], for [`Shards`] keeps the timers itself.
    pub action: Action,
}

/// What is the same for all shards while the host runs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// This host's id.
    pub host: String,
    /// How many there are: fixed once the application has run, for it decides about the shard of every key.
    pub shards: NonZeroU16,
    /// In the order of the file. The progress of handlers that are not among them is carried along.
    pub handlers: PerHandler<PlannedHandler>,
    /// When each stream was created, in nanoseconds since 1970.
    pub streams: BTreeMap<String, u64>,
    /// What a checkpoint may take, in bytes.
    pub checkpoint_bytes: usize,
}

/// What the shards know of a handler.
#[derive(Debug, Clone)]
pub struct PlannedHandler {
    /// Its name, under which checkpoints have its progress: with another name it starts over.
    pub name: Arc<str>,
    /// The stream that it reads, to which the sequences of its progress belong.
    pub stream: Arc<str>,
    /// The key template.
    pub key: String,
    /// Whether a dead letter holds back the later events of its key.
    pub on_dead_letter: OnDeadLetter,
}

impl PlannedHandler {
    /// The handler as the file has it.
    pub fn of(settings: &HandlerSettings) -> Self {
        PlannedHandler {
            name: Arc::clone(&settings.name),
            stream: Arc::clone(&settings.stream),
            key: settings.key.as_str().to_owned(),
            on_dead_letter: settings.on_dead_letter,
        }
    }
}

/// A gate and where it stands.
pub type PlacedGate = (Place, Gate);

/// All shards of the application.
#[derive(Debug)]
pub struct Shards {
    plan: Plan,
    /// By shard.
    tracks: Vec<PerHandler<Track>>,
    /// Progress of handlers that the settings no longer have. It is carried along.
    retired: Vec<BTreeMap<String, Progress>>,
    totals: PerHandler<Holding>,
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
        let mut tracks = Vec::new();
        let mut retired = Vec::new();
        for (shard, checkpoint) in (0_u16..).zip(checkpoints) {
            let track = |(handler, of): (HandlerIx, &PlannedHandler)| {
                Track::new(Beginning {
                    progress: checkpoint.handlers.get(&*of.name).unwrap_or(&nothing),
                    gates: of_places.remove(&Place { shard, handler }).unwrap_or_default(),
                    known,
                    budget,
                    on_dead_letter: of.on_dead_letter,
                })
            };
            tracks.push(plan.handlers.rows().map(track).collect::<PerHandler<Track>>());
            let mut rest = checkpoint.handlers.clone();
            rest.retain(|name, _| !plan.handlers.iter().any(|known| *known.name == **name));
            retired.push(rest);
        }
        // A track that has read nothing yet holds nothing, but what it has on record may fill its window.
        let mut totals = plan.handlers.map(|_| Holding::default());
        for of_shard in &tracks {
            for (total, track) in totals.iter_mut().zip(of_shard) {
                total.replace(Holding::default(), Track::held(track));
            }
        }
        Shards { plan, tracks, retired, totals, timers: BinaryHeap::new(), scratch: Vec::new() }
    }

    /// Goes on with the keys that drain.
    pub fn resume(&mut self, now: u64, actions: &mut Vec<Placed>) {
        for shard in 0..self.count() {
            for handler in self.plan.handlers.indices() {
                self.at(Place { shard, handler }, actions, |track, actions| track.resume(now, actions));
            }
        }
    }

    /// The gates as the stream has them.
    pub fn stored_gates(&self) -> Vec<PlacedGate> {
        let mut gates = Vec::new();
        for (shard, tracks) in (0_u16..).zip(&self.tracks) {
            for (handler, track) in tracks.rows() {
                gates.extend(track.stored_gates().map(|gate| (Place { shard, handler }, gate.clone())));
            }
        }
        gates
    }

    /// How many keys of a handler are held.
    pub fn held_keys(&self, handler: HandlerIx) -> usize {
        self.of(handler).map(Track::held_keys).sum()
    }

    /// Wakes lanes of a handler that wait, whatever their time. How many there were.
    pub fn hurry(&mut self, handler: HandlerIx, which: Hurry, now: u64, actions: &mut Vec<Placed>) -> usize {
        let shards = match which {
            // In turn: one that is woken again and again would keep the others from being tried.
            Hurry::One => {
                let tracks = (0..self.count()).zip(self.of(handler));
                let due = tracks.filter_map(|(shard, track)| Some((track.first_due()?, shard)));
                due.min().map_or(0..0, |(_, shard)| shard..shard + 1)
            }
            Hurry::Probed => 0..self.count(),
        };
        let wake = |track: &mut Track, actions: &mut Vec<Action>| track.hurry(which, now, actions);
        shards.map(|shard| self.at(Place { shard, handler }, actions, wake)).sum()
    }

    /// How many shards there are.
    pub fn count(&self) -> u16 {
        self.plan.shards.get()
    }

    /// What all tracks of a handler hold together.
    pub fn held(&self, handler: HandlerIx) -> Holding {
        self.totals[handler]
    }

    /// The lowest event that a handler has not done, over all shards.
    pub fn low(&self, handler: HandlerIx, next: u64) -> u64 {
        self.of(handler).map(|track| track.low(next)).min().unwrap_or(next)
    }

    /// How many events of a handler were read and are not done.
    pub fn unfinished(&self, handler: HandlerIx) -> u64 {
        self.of(handler).map(|track| track.unfinished() as u64).sum()
    }

    /// Takes the events of a handler that were tried before the host started and have not come although everything below
    /// `next` has: they are no longer in the stream.
    pub fn take_missing(&mut self, handler: HandlerIx, next: u64) -> Vec<u64> {
        self.tracks.iter_mut().flat_map(|tracks| tracks[handler].take_missing(next)).collect()
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
    }

    /// Hands an input to the track at `place` and collects what it wants done.
    pub fn at<T>(
        &mut self,
        place: Place,
        actions: &mut Vec<Placed>,
        input: impl FnOnce(&mut Track, &mut Vec<Action>) -> T,
    ) -> T {
        let track = &mut self.tracks.get_mut(usize::from(place.shard)).expect(OF_THE_PLAN)[place.handler];
        let total = &mut self.totals[place.handler];
        let before = track.held();
        let answer = input(track, &mut self.scratch);
        total.replace(before, track.held());
        for action in self.scratch.drain(..) {
            match action {
                Action::WakeAt { key, due } => self.timers.push(Reverse((due, place, key))),
                action => actions.push(Placed { place, action }),
            }
        }
        answer
    }

    /// The tracks of a handler, shard by shard.
    fn of(&self, handler: HandlerIx) -> impl Iterator<Item = &Track> {
        self.tracks.iter().map(move |tracks| &tracks[handler])
    }

    /// The tracks of a shard.
    fn in_shard(&self, shard: u16) -> &PerHandler<Track> {
        self.tracks.get(usize::from(shard)).expect(OF_THE_PLAN)
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
        taken: &BTreeMap<HandlerIx, BTreeSet<Position>>,
        next: &PerHandler<u64>,
        commit: u64,
    ) -> Checkpoint {
        let none = BTreeSet::new();
        let mut handlers = self.retired.get(usize::from(shard)).expect(OF_THE_PLAN).clone();
        for (handler, track) in self.in_shard(shard).rows() {
            let PlannedHandler { name, stream, key, .. } = &self.plan.handlers[handler];
            let taken = taken.get(&handler).unwrap_or(&none);
            let progress = track.progress(stream, taken, next[handler]);
            handlers.insert(name.to_string(), Progress { key: key.clone(), ..progress });
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
        for handler in self.plan.handlers.indices() {
            let name = &*self.plan.handlers[handler].name;
            let Some(progress) = checkpoint.handlers.get(name) else { continue };
            self.at(Place { shard, handler }, &mut Vec::new(), |track, _| track.committed(progress));
        }
    }

    /// Whether the checkpoint of a shard lags behind what was read by more than `events`, or remembers replays that
    /// are over.
    pub fn lags(&self, shard: u16, next: &PerHandler<u64>, committed: &Checkpoint, events: u64) -> bool {
        self.in_shard(shard).rows().any(|(handler, track)| {
            let stored = committed.handlers.get(&*self.plan.handlers[handler].name);
            let low = stored.map_or(0, |progress| progress.low);
            let in_vain = stored.is_some_and(|progress| track.remembers_less(progress));
            in_vain || track.low(next[handler]).saturating_sub(low) > events
        })
    }
}

impl Holding {
    fn replace(&mut self, before: Holding, after: Holding) {
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
    use heddle_values::policy::{Answer, Answers, Backoff, RetryPolicy};
    use heddle_values::verdict::{CauseClass, Failure, Verdict};
    use std::num::NonZeroU32;
    use std::time::Duration;

    const STUCK: u64 = 10;

    const ONE: HandlerIx = HandlerIx::FIRST;

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
            handlers: vec![PlannedHandler {
                name: "one".into(),
                stream: "S".into(),
                key: "k".into(),
                on_dead_letter: OnDeadLetter::Continue,
            }]
            .into(),
            streams: BTreeMap::new(),
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
        assert_eq!(shards.low(ONE, 0), STUCK);
        assert_eq!(shards.held(ONE).full, 0, "nothing could be read");
        let mut actions = Vec::new();
        let place = Place { shard: 0, handler: ONE };
        for sequence in STUCK..=end {
            let admission = shards.read(ONE, event(sequence), Key::new("k"), 0, &mut actions);
            assert_eq!(admission == Admission::Queued, sequence == STUCK);
        }
        assert_eq!(shards.held(ONE).full, 1, "all is read again, and the window is full");
        shards.at(place, &mut actions, |track, actions| {
            let verdict = Verdict::Done(Effects::default());
            let rules = Rules { retry: &RetryPolicy::default(), blame: Blame::Event, ran_by: None };
            track.finished(&Key::new("k"), verdict, rules, 0, 0, actions);
        });
        let taken = BTreeMap::from([(ONE, BTreeSet::from([Position::Stream(STUCK)]))]);
        let checkpoint = shards.checkpoint(0, &taken, &vec![end + 1].into(), 1);
        let outcome = Outcome::Done(Effects::default());
        let settled = Settled { key: Key::new("k"), event: event(STUCK), outcome, gate: None, ran_by: None };
        shards.at(place, &mut actions, |track, actions| track.settled(&settled, 0, 0, actions));
        shards.committed(0, &checkpoint);
        assert_eq!(shards.held(ONE), Holding::default());
        assert_eq!(shards.low(ONE, end + 1), end + 1);
    }

    /// How often an event runs that always fails as `failure` while an outage cannot be told, and when it is given up.
    fn runs(failure: fn() -> Failure, retry: &RetryPolicy, until: u64) -> (u32, u64) {
        let mut shards = Shards::new(plan(), &[Checkpoint::default()], Vec::new(), 0);
        let (place, key, mut actions) = (Place { shard: 0, handler: ONE }, Key::new("k"), Vec::new());
        shards.read(ONE, event(STUCK), key.clone(), 0, &mut actions);
        let (mut runs, mut now) = (0, 0);
        loop {
            runs += 1;
            let rules = Rules { retry, blame: Blame::Unclear { since: 0, until }, ran_by: None };
            let verdict = Verdict::Failed(failure().into());
            shards.at(place, &mut actions, |track, actions| {
                track.finished(&key, verdict, rules, now, u64::MAX / 2, actions);
            });
            if actions.iter().any(|placed| matches!(placed.action, Action::Settle(_))) {
                return (runs, now);
            }
            now = shards.next_wake().expect("it waits");
            shards.wake(now, &mut actions);
        }
    }

    #[test]
    fn while_an_outage_cannot_be_told_only_used_up_attempts_are_forgiven_and_ever_more_rarely() {
        let backoff = Backoff::doubling(Duration::from_millis(1), Duration::from_millis(1));
        let max_attempts = NonZeroU32::MIN;
        let retry = RetryPolicy { max_attempts, backoff, ..RetryPolicy::default() };
        let (tries, end) = runs(|| Failure::retry("down"), &retry, 86_400_000);
        assert!(tries < 100 && end >= 86_400_000, "{tries} runs in {end} ms");
        assert_eq!(runs(|| Failure::reject("bad"), &retry, 20_000), (1, 0));
        let on = Answers { trap: Answer::DeadLetter, ..Answers::default() };
        assert_eq!(runs(|| Failure::trap("bad"), &RetryPolicy { on, ..retry }, 20_000), (1, 0));
    }

    #[test]
    fn what_was_tried_before_and_does_not_come_again_is_missing_once() {
        let attempt = |position| Attempt {
            position: Position::Stream(position),
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
        assert_eq!(shards.take_missing(ONE, STUCK), [0; 0], "nothing was read yet");
        shards.read(ONE, event(STUCK + 1), Key::new("k"), 0, &mut Vec::new());
        assert_eq!(shards.unfinished(ONE), 1);
        assert_eq!(shards.take_missing(ONE, STUCK + 3), [STUCK]);
        assert_eq!(shards.take_missing(ONE, STUCK + 3), [0; 0]);
    }
}
