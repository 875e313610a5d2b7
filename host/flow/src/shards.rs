//! The shards that this host owns: finds the track an input belongs to, keeps the totals of each handler and the timers of
//! all lanes. They come one by one, by a claim, and go again. As pure as [`shard`](super::shard).

mod plan;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use super::positions::Positions;
use super::shard::{Action, Admission, Beginning, Holding, Hurry, Track};
use heddle_values::checkpoint::{Checkpoint, Progress};
use heddle_values::event::Event;
use heddle_values::gate::Gate;
use heddle_values::handlers::{HandlerIx, PerHandler};
use heddle_values::key::Key;
use heddle_values::position::Position;

pub use plan::{Claimed, Place, Placed, PlacedGate, Plan, PlannedHandler};

/// Why the shard of a place is there: what is asked for a shard that is gone is not heard.
const OWNED: &str = "an input is for a shard that this host owns";

/// A shard that this host owns.
#[derive(Debug)]
struct Owned {
    tracks: PerHandler<Track>,
    /// Progress of handlers that the settings no longer have. It is carried along.
    retired: BTreeMap<String, Progress>,
    /// The id of the claim, which its checkpoints bear.
    claim: u64,
    /// The generation in which it came: what was asked for before is not heard.
    since: u64,
    /// Requests up to this sequence were handed to it before they were last read again.
    requests: u64,
}

/// The shards that this host owns.
#[derive(Debug)]
pub struct Shards {
    plan: Plan,
    /// By shard.
    owned: Vec<Option<Box<Owned>>>,
    totals: PerHandler<Holding>,
    timers: BinaryHeap<Reverse<(u64, Place, Key)>>,
    /// The last request that was handed on since they were last read again. They come in the order of their sequences.
    request: u64,
    scratch: Vec<Action>,
}

impl Shards {
    /// Owns none.
    pub fn new(plan: Plan) -> Self {
        let owned = std::iter::repeat_with(|| None).take(usize::from(plan.shards.get())).collect();
        let totals = plan.handlers.map(|_| Holding::default());
        Shards { plan, owned, totals, timers: BinaryHeap::new(), request: 0, scratch: Vec::new() }
    }

    /// A shard comes, in a generation, and goes on with its keys that drain. `known` is a sequence of the application's
    /// stream that is stored.
    pub fn claim(
        &mut self,
        claimed: &Claimed,
        (generation, known): (u64, u64),
        now: u64,
        actions: &mut Vec<Placed>,
    ) {
        let Claimed { shard, checkpoint, gates, .. } = claimed;
        self.lose(*shard);
        let nothing = Progress::default();
        let budget = self.plan.checkpoint_bytes / self.plan.handlers.len().max(1);
        let track = |(handler, of): (HandlerIx, &PlannedHandler)| {
            let gates = gates.iter().filter(|(whose, _)| *whose == handler);
            Track::new(Beginning {
                progress: checkpoint.handlers.get(&*of.name).unwrap_or(&nothing),
                gates: gates.map(|(_, gate)| gate.clone()).collect(),
                known,
                budget,
                on_dead_letter: of.on_dead_letter,
            })
        };
        let tracks: PerHandler<Track> = self.plan.handlers.rows().map(track).collect();
        // A track that has read nothing yet holds nothing, but what it has on record may fill its window.
        for (total, track) in self.totals.iter_mut().zip(&tracks) {
            total.replace(Holding::default(), track.held());
        }
        let mut retired = checkpoint.handlers.clone();
        retired.retain(|name, _| !self.plan.handlers.iter().any(|known| *known.name == **name));
        let owned = Owned { tracks, retired, claim: checkpoint.claim, since: generation, requests: 0 };
        *self.owned.get_mut(usize::from(*shard)).expect(OWNED) = Some(Box::new(owned));
        for handler in self.plan.handlers.indices() {
            self.at(Place { shard: *shard, handler }, actions, |track, actions| track.resume(now, actions));
        }
    }

    /// A shard is another host's from now on: all that is known of it is forgotten.
    pub fn lose(&mut self, shard: u16) {
        let Some(lost) = self.owned.get_mut(usize::from(shard)).and_then(Option::take) else { return };
        for (total, track) in self.totals.iter_mut().zip(&lost.tracks) {
            total.replace(track.held(), Holding::default());
        }
    }

    /// The shards that this host owns, in order.
    pub fn owned(&self) -> impl Iterator<Item = u16> {
        (0_u16..).zip(&self.owned).filter(|(_, owned)| owned.is_some()).map(|(shard, _)| shard)
    }

    /// Whether this host owns a shard.
    pub fn owns(&self, shard: u16) -> bool {
        self.shard(shard).is_some()
    }

    /// Whether this host owns a shard and did so already in a generation: what was asked for then is heard.
    pub fn hears(&self, shard: u16, generation: u64) -> bool {
        self.since(shard).is_some_and(|since| since <= generation)
    }

    /// The generation in which a shard came, if this host owns it.
    pub fn since(&self, shard: u16) -> Option<u64> {
        self.shard(shard).map(|owned| owned.since)
    }

    /// What was asked for a shard before this generation is not heard any more.
    pub fn renew(&mut self, shard: u16, generation: u64) {
        if let Some(owned) = self.owned.get_mut(usize::from(shard)).and_then(Option::as_mut) {
            owned.since = generation;
        }
    }

    fn shard(&self, shard: u16) -> Option<&Owned> {
        self.owned.get(usize::from(shard))?.as_deref()
    }

    /// The gates of a shard as the stream has them.
    pub fn gates_of(&self, shard: u16) -> Vec<(HandlerIx, Gate)> {
        let tracks = self.shard(shard).into_iter().flat_map(|owned| owned.tracks.rows());
        tracks
            .flat_map(|(handler, track)| track.stored_gates().map(move |gate| (handler, gate.clone())))
            .collect()
    }

    /// The gates as the stream has them.
    pub fn stored_gates(&self) -> Vec<PlacedGate> {
        let placed = |shard| {
            self.gates_of(shard).into_iter().map(move |(handler, gate)| (Place { shard, handler }, gate))
        };
        self.owned().flat_map(placed).collect()
    }

    /// How many keys of a handler are held.
    pub fn held_keys(&self, handler: HandlerIx) -> usize {
        self.of(handler).map(|(_, track)| track.held_keys()).sum()
    }

    /// Wakes lanes of a handler that wait, whatever their time. How many there were.
    pub fn hurry(&mut self, handler: HandlerIx, which: Hurry, now: u64, actions: &mut Vec<Placed>) -> usize {
        let shards: Vec<u16> = match which {
            // In turn: one that is woken again and again would keep the others from being tried.
            Hurry::One => {
                let due = self.of(handler).filter_map(|(shard, track)| Some((track.first_due()?, shard)));
                due.min().map(|(_, shard)| shard).into_iter().collect()
            }
            Hurry::Probed => self.owned().collect(),
        };
        let wake = |track: &mut Track, actions: &mut Vec<Action>| track.hurry(which, now, actions);
        shards.into_iter().map(|shard| self.at(Place { shard, handler }, actions, wake)).sum()
    }

    /// How many shards the application has.
    pub fn count(&self) -> u16 {
        self.plan.shards.get()
    }

    /// What the tracks of a handler hold together.
    pub fn held(&self, handler: HandlerIx) -> Holding {
        self.totals[handler]
    }

    /// The lowest event that a handler has not done, over the shards that this host owns.
    pub fn low(&self, handler: HandlerIx, next: u64) -> u64 {
        self.of(handler).map(|(_, track)| track.low(next)).min().unwrap_or(next)
    }

    /// The lowest event of a place that is not done, in a shard that this host owns.
    pub fn low_at(&self, place: Place, next: u64) -> u64 {
        self.shard(place.shard).expect(OWNED).tracks[place.handler].low(next)
    }

    /// How many events of a handler were read and are not done.
    pub fn unfinished(&self, handler: HandlerIx) -> u64 {
        self.of(handler).map(|(_, track)| track.unfinished() as u64).sum()
    }

    /// Takes the events of a handler that were tried before the host started and have not come although everything below
    /// `next` has: they are no longer in the stream.
    pub fn take_missing(&mut self, handler: HandlerIx, next: u64) -> Vec<u64> {
        let owned = self.owned.iter_mut().flatten();
        owned.flat_map(|owned| owned.tracks[handler].take_missing(next)).collect()
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
        let request = event.replay().map_or(0, |replay| replay.request);
        self.request = self.request.max(request);
        if !self.owns(place.shard) {
            return Admission::Elsewhere;
        }
        // It may be done and forgotten by now: what was read of it again in between must not run again.
        if request > 0 && self.was_handed(place.shard, request) {
            return Admission::Again;
        }
        self.at(place, actions, |track, actions| track.read(event, key, now, actions))
    }

    /// Hands an input to the track at `place`, whose shard this host owns, and collects what it wants done.
    pub fn at<T>(
        &mut self,
        place: Place,
        actions: &mut Vec<Placed>,
        input: impl FnOnce(&mut Track, &mut Vec<Action>) -> T,
    ) -> T {
        let owned = self.owned.get_mut(usize::from(place.shard)).and_then(Option::as_mut);
        let track = &mut owned.expect(OWNED).tracks[place.handler];
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
    fn of(&self, handler: HandlerIx) -> impl Iterator<Item = (u16, &Track)> {
        let owned = (0_u16..).zip(&self.owned).filter_map(|(shard, owned)| Some((shard, owned.as_ref()?)));
        owned.map(move |(shard, owned)| (shard, &owned.tracks[handler]))
    }

    /// Whether a request was handed to a shard before requests were last [read again](Self::read_requests_again).
    pub fn was_handed(&self, shard: u16, request: u64) -> bool {
        self.shard(shard).is_some_and(|owned| request <= owned.requests)
    }

    /// All requests are read from the first one on, for shards that have come. To the others those are known that were handed
    /// to them.
    pub fn read_requests_again(&mut self) {
        let last = std::mem::take(&mut self.request);
        for owned in self.owned.iter_mut().flatten() {
            owned.requests = owned.requests.max(last);
        }
    }

    /// A request that was done in a generation is no longer in the stream. Without a place, it is not known where it ran.
    /// Whether anybody remembered it still.
    pub fn removed(&mut self, place: Option<Place>, request: u64, generation: u64) -> bool {
        let places: Vec<Place> = match place {
            Some(place) => vec![place],
            None => {
                let handlers = || self.plan.handlers.indices();
                self.owned()
                    .flat_map(|shard| handlers().map(move |handler| Place { shard, handler }))
                    .collect()
            }
        };
        let mut heard = false;
        for place in places {
            if self.hears(place.shard, generation) {
                self.at(place, &mut Vec::new(), |track, _| track.removed(request));
                heard = true;
            }
        }
        heard
    }

    /// When the next lane wants to be woken, in milliseconds since 1970.
    pub fn next_wake(&self) -> Option<u64> {
        self.timers.peek().map(|Reverse((due, ..))| *due)
    }

    /// Wakes all lanes whose time has come.
    pub fn wake(&mut self, now: u64, actions: &mut Vec<Placed>) {
        while self.next_wake().is_some_and(|due| due <= now) {
            let Some(Reverse((_, place, key))) = self.timers.pop() else { return };
            // Its shard may have gone since. If it came back, it has timers of its own, and this one wakes nobody early.
            if self.owns(place.shard) {
                self.at(place, actions, |track, actions| track.wake(&key, now, actions));
            }
        }
    }

    /// The checkpoint of a shard that this host owns as it will be once the events of `taken` (by handler) are committed.
    pub fn checkpoint(
        &self,
        shard: u16,
        taken: &BTreeMap<HandlerIx, BTreeSet<Position>>,
        next: &Positions,
        commit: u64,
    ) -> Checkpoint {
        let none = BTreeSet::new();
        let owned = self.shard(shard).expect(OWNED);
        let mut handlers = owned.retired.clone();
        for (handler, track) in owned.tracks.rows() {
            let PlannedHandler { name, stream, key, .. } = &self.plan.handlers[handler];
            let taken = taken.get(&handler).unwrap_or(&none);
            let progress = track.progress(stream, taken, next.of(Place { shard, handler }));
            handlers.insert(name.to_string(), Progress { key: key.clone(), ..progress });
        }
        Checkpoint {
            host: self.plan.host.clone(),
            claim: owned.claim,
            released: false,
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
    pub fn lags(&self, shard: u16, next: &Positions, committed: &Checkpoint, events: u64) -> bool {
        self.shard(shard).expect(OWNED).tracks.rows().any(|(handler, track)| {
            let stored = committed.handlers.get(&*self.plan.handlers[handler].name);
            let low = stored.map_or(0, |progress| progress.low);
            let in_vain = stored.is_some_and(|progress| track.remembers_less(progress));
            in_vain || track.low(next.of(Place { shard, handler })).saturating_sub(low) > events
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
    use heddle_values::policy::{Answer, Answers, Backoff, OnDeadLetter, RetryPolicy};
    use heddle_values::verdict::{CauseClass, Failure, Verdict};
    use std::num::{NonZeroU16, NonZeroU32};
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

    /// The only shard of an application, which goes on from a checkpoint.
    fn shards(checkpoint: Checkpoint) -> Shards {
        let mut shards = Shards::new(plan());
        let claimed = Claimed { shard: 0, fence: 1, checkpoint, gates: Vec::new() };
        shards.claim(&claimed, (0, 0), 0, &mut Vec::new());
        shards
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
        let mut shards = shards(Checkpoint { handlers, ..Checkpoint::default() });
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
        let mut shards = shards(Checkpoint::default());
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
        let mut shards = shards(Checkpoint { handlers, ..Checkpoint::default() });
        assert_eq!(shards.take_missing(ONE, STUCK), [0; 0], "nothing was read yet");
        shards.read(ONE, event(STUCK + 1), Key::new("k"), 0, &mut Vec::new());
        assert_eq!(shards.unfinished(ONE), 1);
        assert_eq!(shards.take_missing(ONE, STUCK + 3), [STUCK]);
        assert_eq!(shards.take_missing(ONE, STUCK + 3), [0; 0]);
    }
}
