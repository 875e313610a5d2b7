//! The state of keys: what is not committed yet, and a cache of what is.
//!
//! Promises that the next event of a key sees the state its predecessor left, committed or not, and that
//! the cache stays within its bound. What is uncommitted is never evicted. Pure.

use std::collections::HashMap;

use bytes::Bytes;
use lru::LruCache;

use super::shards::HandlerIx;
use crate::values::effects::StateChange;
use crate::values::key::Key;

/// What the cache may hold, in bytes.
const MAX_BYTES: usize = 64 << 20;

/// A value that nobody asked for in this time is dropped, in milliseconds.
const MAX_IDLE: u64 = 5 * 60 * 1000;

/// More versions of one key than this are removed in the background.
const MAX_VERSIONS: u32 = 16;

/// About what an entry costs beside its value, in bytes.
const OVERHEAD: usize = 200;

/// The state of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub value: Option<Bytes>,
    /// How many messages the stream holds of it.
    pub versions: u32,
}

impl State {
    fn weight(&self) -> usize {
        OVERHEAD + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// Whose state.
pub type StateId = (HandlerIx, Key);

#[derive(Debug)]
struct Clean {
    state: State,
    /// When it was last asked for, in milliseconds since 1970.
    used: u64,
}

#[derive(Debug)]
struct Open {
    state: State,
    /// Events whose changes are not committed yet.
    changes: usize,
}

/// All states that are in memory.
#[derive(Debug)]
pub struct States {
    open: HashMap<StateId, Open>,
    clean: LruCache<StateId, Clean>,
    bytes: usize,
}

impl Default for States {
    fn default() -> Self {
        States { open: HashMap::new(), clean: LruCache::unbounded(), bytes: 0 }
    }
}

impl States {
    /// The state of a key, if it is in memory. `now` is in milliseconds since 1970.
    pub fn get(&mut self, id: &StateId, now: u64) -> Option<&State> {
        if let Some(open) = self.open.get(id) {
            return Some(&open.state);
        }
        let clean = self.clean.get_mut(id)?;
        clean.used = now;
        Some(&clean.state)
    }

    /// A state was read from the stream.
    pub fn loaded(&mut self, id: StateId, state: State, now: u64) {
        if !self.open.contains_key(&id) {
            self.keep(id, state, now);
        }
    }

    /// An event changed a state. The change will be committed.
    pub fn changed(&mut self, id: &StateId, change: &StateChange) {
        let value = match change {
            StateChange::Keep => return,
            StateChange::Set(value) => Some(value.clone()),
            StateChange::Clear => None,
        };
        if let Some(open) = self.open.get_mut(id) {
            open.state.value = value;
            open.changes += 1;
            return;
        }
        let versions = match self.clean.pop(id) {
            Some(clean) => {
                self.bytes -= clean.state.weight();
                clean.state.versions
            }
            None => 0,
        };
        self.open.insert(id.clone(), Open { state: State { value, versions }, changes: 1 });
    }

    /// How many messages the stream holds of a state that has uncommitted changes.
    pub fn versions(&self, id: &StateId) -> u32 {
        self.open.get(id).map_or(0, |open| open.state.versions)
    }

    /// `changes` changes of a state were committed as one message; `cleared` removed all older ones.
    /// Says how many versions there are, if they are too many.
    pub fn committed(&mut self, id: &StateId, changes: usize, cleared: bool, now: u64) -> Option<u32> {
        let open = self.open.get_mut(id)?;
        open.changes = open.changes.saturating_sub(changes);
        open.state.versions = if cleared { 1 } else { open.state.versions + 1 };
        let versions = open.state.versions;
        if open.changes == 0
            && let Some(open) = self.open.remove(id)
        {
            self.keep(id.clone(), open.state, now);
        }
        // Asked for once at the bound, and again at each multiple in case it failed.
        (versions > MAX_VERSIONS && versions % MAX_VERSIONS == 1).then_some(versions)
    }

    /// All versions but the last of those that were there when there were `versions` are removed.
    pub fn compacted(&mut self, id: &StateId, versions: u32) {
        let state = match self.open.get_mut(id) {
            Some(open) => Some(&mut open.state),
            None => self.clean.peek_mut(id).map(|clean| &mut clean.state),
        };
        if let Some(state) = state {
            state.versions = state.versions.saturating_sub(versions - 1).max(1);
        }
    }

    fn keep(&mut self, id: StateId, state: State, now: u64) {
        self.bytes += state.weight();
        if let Some(old) = self.clean.put(id, Clean { state, used: now }) {
            self.bytes -= old.state.weight();
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
            if let Some((_, dropped)) = self.clean.pop_lru() {
                self.bytes -= dropped.state.weight();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(key: &str) -> StateId {
        (0, Key::new(key))
    }

    fn set(text: &str) -> StateChange {
        StateChange::Set(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn the_next_event_sees_a_state_before_it_is_committed() {
        let mut states = States::default();
        assert_eq!(states.get(&id("a"), 0), None);
        states.loaded(id("a"), State::default(), 0);
        states.changed(&id("a"), &set("1"));
        assert_eq!(states.get(&id("a"), 0).unwrap().value, Some("1".into()));
        states.changed(&id("a"), &set("2"));
        assert_eq!(states.committed(&id("a"), 1, false, 0), None);
        assert_eq!(states.get(&id("a"), 0).unwrap().value, Some("2".into()));
        states.changed(&id("a"), &StateChange::Clear);
        assert_eq!(states.get(&id("a"), 0).unwrap().value, None);
    }

    #[test]
    fn uncommitted_states_are_never_evicted_and_the_cache_is_bounded() {
        let mut states = States::default();
        let big = "x".repeat(1 << 20);
        for n in 0..100 {
            states.loaded(id(&n.to_string()), State::default(), 0);
            states.changed(&id(&n.to_string()), &set(&big));
        }
        assert!(states.get(&id("0"), 0).is_some());
        for n in 0..100 {
            states.committed(&id(&n.to_string()), 1, false, 0);
        }
        assert!(states.bytes <= MAX_BYTES);
        assert!(states.get(&id("0"), 0).is_none());
        assert!(states.get(&id("99"), 0).is_some());
        states.evict(MAX_IDLE + 1);
        assert_eq!(states.bytes, 0);
    }

    #[test]
    fn too_many_versions_are_reported_and_counted_down_after_compaction() {
        let mut states = States::default();
        states.loaded(id("a"), State { value: None, versions: 16 }, 0);
        states.changed(&id("a"), &set("1"));
        assert_eq!(states.committed(&id("a"), 1, false, 0), Some(17));
        states.changed(&id("a"), &set("2"));
        assert_eq!(states.committed(&id("a"), 1, false, 0), None);
        states.compacted(&id("a"), 17);
        assert_eq!(states.get(&id("a"), 0).unwrap().versions, 2);
        states.changed(&id("a"), &StateChange::Clear);
        states.committed(&id("a"), 1, true, 0);
        assert_eq!(states.get(&id("a"), 0).unwrap().versions, 1);
    }
}
