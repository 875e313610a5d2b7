//! The state of keys: what is not committed yet, and a cache of what is.
//!
//! Promises that the next event of a key sees the state its predecessor left, committed or not, and that
//! the cache stays within its bound. What is uncommitted is never evicted. Pure.

use std::collections::HashMap;

use bytes::Bytes;
use lru::LruCache;

use heddle_values::effects::StateChange;
use heddle_values::handlers::{HandlerIx, PerHandler};
use heddle_values::key::Key;

/// What the cache may hold, in bytes: the counters of about a million keys.
const MAX_BYTES: usize = 256 << 20;

/// A value that nobody asked for in this time is dropped, in milliseconds.
const MAX_IDLE: u64 = 5 * 60 * 1000;

/// About what an entry costs beside its value, in bytes.
const OVERHEAD: usize = 200;

/// The state of a key; none if it has none.
pub type State = Option<Bytes>;

/// Whose state.
pub type StateId = (HandlerIx, Key);

#[derive(Debug)]
struct Clean {
    state: State,
    /// The generation in which the shard of its key came: if it has gone since, others may have written.
    since: u64,
    /// When it was last asked for, in milliseconds since 1970.
    used: u64,
}

#[derive(Debug)]
struct Open {
    state: State,
    since: u64,
    /// Whether the stream holds an earlier one.
    stored: bool,
    /// Events whose changes are not committed yet.
    changes: usize,
}

/// All states that are in memory.
#[derive(Debug)]
pub struct States {
    open: HashMap<StateId, Open>,
    clean: LruCache<StateId, Clean>,
    bytes: usize,
    /// For each handler, whether every state that it has is here: what is not here need not be looked for.
    complete: PerHandler<bool>,
}

/// What a message with a state is to the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The first state of its key.
    First,
    /// It replaced an earlier one, which stays behind. How many bytes it has.
    Over(usize),
    /// It cleared the state: those before it are gone with it.
    Cleared,
    /// There was none, and there is none.
    Nothing,
}

impl States {
    /// Knows nothing. `stateless` says of each handler whether the stream holds no state of it.
    pub fn new(stateless: PerHandler<bool>) -> Self {
        States { open: HashMap::new(), clean: LruCache::unbounded(), bytes: 0, complete: stateless }
    }

    /// Shards come. `stateless` says of each handler whether the stream holds no state of it in them.
    pub fn joined(&mut self, stateless: &PerHandler<bool>) {
        for (complete, stateless) in self.complete.iter_mut().zip(stateless) {
            *complete &= stateless;
        }
    }

    /// A shard has gone, which `is_of` its keys: what is not committed never will be. What is, is not believed if the shard
    /// comes back.
    pub fn lose(&mut self, is_of: impl Fn(&Key) -> bool) {
        self.open.retain(|(_, key), _| !is_of(key));
    }

    /// The state of a key, if it is known, whose shard came in the generation `since`. `now` is in milliseconds since 1970.
    pub fn get(&mut self, id: &StateId, since: u64, now: u64) -> Option<State> {
        if let Some(open) = self.open.get(id) {
            return Some(open.state.clone());
        }
        if let Some(clean) = self.clean.get_mut(id).filter(|clean| clean.since == since) {
            clean.used = now;
            return Some(clean.state.clone());
        }
        self.knows_all(id.0).then_some(None)
    }

    /// A state was read from the stream.
    pub fn loaded(&mut self, id: StateId, state: State, since: u64, now: u64) {
        if !self.open.contains_key(&id) {
            self.keep(id, Clean { state, since, used: now });
        }
    }

    /// An event changed a state. The change will be committed.
    pub fn changed(&mut self, id: &StateId, change: &StateChange, since: u64) {
        let state = match change {
            StateChange::Keep => return,
            StateChange::Set(value) => Some(value.clone()),
            StateChange::Clear => None,
        };
        if let Some(open) = self.open.get_mut(id) {
            open.state = state;
            open.changes += 1;
            return;
        }
        let stored = match self.clean.pop(id) {
            Some(clean) => {
                self.bytes -= weight(&clean.state);
                if clean.since == since { clean.state.is_some() } else { !self.knows_all(id.0) }
            }
            None => !self.knows_all(id.0),
        };
        self.open.insert(id.clone(), Open { state, since, stored, changes: 1 });
    }

    /// `changes` changes of a state were committed as one message. Says what that is to the stream.
    pub fn committed(&mut self, id: &StateId, changes: usize, now: u64) -> Written {
        let Some(open) = self.open.get_mut(id) else { return Written::Over(0) };
        let bytes = open.state.as_ref().map(Bytes::len);
        open.changes = open.changes.saturating_sub(changes);
        let replaced = std::mem::replace(&mut open.stored, true);
        if open.changes == 0
            && let Some((id, open)) = self.open.remove_entry(id)
        {
            self.keep(id, Clean { state: open.state, since: open.since, used: now });
        }
        match (bytes, replaced) {
            (Some(bytes), true) => Written::Over(bytes),
            (Some(_), false) => Written::First,
            (None, true) => Written::Cleared,
            (None, false) => Written::Nothing,
        }
    }

    fn knows_all(&self, handler: HandlerIx) -> bool {
        self.complete[handler]
    }

    fn keep(&mut self, id: StateId, clean: Clean) {
        let now = clean.used;
        self.bytes += weight(&clean.state);
        if let Some(old) = self.clean.put(id, clean) {
            self.bytes -= weight(&old.state);
        }
        self.evict(now);
    }

    /// Drops what is too much or was not used for long.
    pub fn evict(&mut self, now: u64) {
        while let Some((_, oldest)) = self.clean.peek_lru() {
            let idle = now.saturating_sub(oldest.used) > MAX_IDLE;
            if !idle && self.bytes <= MAX_BYTES {
                return;
            }
            if let Some(((handler, _), dropped)) = self.clean.pop_lru() {
                self.bytes -= weight(&dropped.state);
                self.complete[handler] = false;
            }
        }
    }
}

fn weight(state: &State) -> usize {
    OVERHEAD + state.as_ref().map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(key: &str) -> StateId {
        (HandlerIx::FIRST, Key::new(key))
    }

    fn set(text: &str) -> StateChange {
        StateChange::Set(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn the_next_event_sees_a_state_before_it_is_committed() {
        let mut states = States::new(vec![false].into());
        assert_eq!(states.get(&id("a"), 0, 0), None);
        states.loaded(id("a"), None, 0, 0);
        assert_eq!(states.get(&id("a"), 0, 0), Some(None));
        states.changed(&id("a"), &set("1"), 0);
        assert_eq!(states.get(&id("a"), 0, 0), Some(Some("1".into())));
        states.changed(&id("a"), &set("2"), 0);
        states.committed(&id("a"), 1, 0);
        assert_eq!(states.get(&id("a"), 0, 0), Some(Some("2".into())));
        states.changed(&id("a"), &StateChange::Clear, 0);
        assert_eq!(states.get(&id("a"), 0, 0), Some(None));
        states.committed(&id("a"), 2, 0);
        assert_eq!(states.get(&id("a"), 0, 0), Some(None));
    }

    #[test]
    fn uncommitted_states_are_never_evicted_and_the_cache_is_bounded() {
        let mut states = States::new(vec![false].into());
        let big = "x".repeat(4 << 20);
        for n in 0..100 {
            states.changed(&id(&n.to_string()), &set(&big), 0);
        }
        assert!(states.get(&id("0"), 0, 0).is_some());
        for n in 0..100 {
            states.committed(&id(&n.to_string()), 1, 0);
        }
        assert!(states.bytes <= MAX_BYTES);
        assert!(states.get(&id("0"), 0, 0).is_none());
        assert!(states.get(&id("99"), 0, 0).is_some());
        states.evict(MAX_IDLE + 1);
        assert_eq!(states.bytes, 0);
    }

    #[test]
    fn what_a_stateless_handler_never_wrote_is_not_looked_for_until_something_was_evicted() {
        let mut states = States::new(vec![true, false].into());
        assert_eq!(states.get(&id("a"), 0, 0), Some(None));
        assert_eq!(states.get(&(HandlerIx::new(1), Key::new("a")), 0, 0), None);
        states.changed(&id("a"), &set("1"), 0);
        states.committed(&id("a"), 1, 0);
        assert_eq!(states.get(&id("b"), 0, 0), Some(None));
        states.evict(MAX_IDLE + 1);
        assert_eq!((states.get(&id("a"), 0, 0), states.get(&id("b"), 0, 0)), (None, None));
    }

    #[test]
    fn a_state_of_a_shard_that_went_and_came_back_is_read_again() {
        let mut states = States::new(vec![true].into());
        states.changed(&id("a"), &set("1"), 0);
        states.committed(&id("a"), 1, 0);
        states.changed(&id("b"), &set("2"), 0);
        states.lose(|_| true);
        states.joined(&vec![false].into());
        assert_eq!((states.get(&id("a"), 1, 0), states.get(&id("b"), 1, 0)), (None, None));
        states.loaded(id("a"), Some("3".into()), 1, 0);
        assert_eq!(states.get(&id("a"), 1, 0), Some(Some("3".into())));
        states.evict(MAX_IDLE + 1);
        assert_eq!(states.bytes, 0);
    }
}
