//! Which streams the progress of handlers belongs to, and whether those are still there.
//!
//! A sequence means an event of one stream. If that was recreated, deleted or cut off, a handler that reads it cannot go on:
//! it is stopped, with its progress kept, until somebody decides. All other handlers go on. Only the application's own
//! stream stops everything: there is nothing left to go on with.

use std::collections::BTreeMap;

use super::Error;
use heddle_broker::StreamState;
use heddle_values::checkpoint::{Checkpoint, Progress};
use heddle_values::handlers::PerHandler;
use heddle_values::position::Position;
use heddle_values::settings::{HandlerSettings, Settings};

/// When the stream was created that each handler's progress belongs to, by the handler's name; with the stream's name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Origins(BTreeMap<String, (String, u64)>);

impl Origins {
    /// As the checkpoints of all shards say. Some may not know; they never contradict each other.
    fn of<'a>(checkpoints: impl IntoIterator<Item = &'a Checkpoint>) -> Self {
        let mut origins = BTreeMap::new();
        for checkpoint in checkpoints {
            for (handler, progress) in &checkpoint.handlers {
                if let Some(created) = checkpoint.created(handler, &progress.stream) {
                    origins.entry(handler.clone()).or_insert((progress.stream.clone(), created));
                }
            }
        }
        Origins(origins)
    }

    fn created(&self, handler: &str, stream: &str) -> Option<u64> {
        self.0.get(handler).filter(|(of, _)| of == stream).map(|(_, created)| *created)
    }

    /// The handler has no progress any more.
    fn forget(&mut self, handler: &str) {
        self.0.remove(handler);
    }

    /// What checkpoints say from now on, `streams` being those that are read.
    fn into_streams(self, streams: &BTreeMap<String, StreamState>) -> BTreeMap<String, u64> {
        let mut created: BTreeMap<String, u64> =
            streams.iter().map(|(name, state)| (name.clone(), state.created)).collect();
        for (handler, (stream, of)) in self.0 {
            if created.get(&stream) != Some(&of) {
                created.insert(Checkpoint::earlier(&stream, &handler), of);
            }
        }
        created
    }
}

/// Why a handler cannot go on in its stream: in words that say what to do.
fn obstacle(
    (handler, stream): (&str, &str),
    origins: &Origins,
    checkpoints: &[(u64, Checkpoint)],
    state: Option<&StreamState>,
) -> Option<String> {
    let of_handler = checkpoints.iter().filter_map(|(_, checkpoint)| checkpoint.handlers.get(handler));
    // Sequences of another stream say nothing of this one: whoever would go on with them is refused.
    let progress: Vec<&Progress> = of_handler.filter(|of| of.stream == stream).collect();
    // One that is new has nothing that could mean something else.
    if progress.is_empty() {
        return None;
    }
    let Some(state) = state else {
        return Some(format!("stream `{stream}` does not exist any more"));
    };
    if origins.created(handler, stream).is_some_and(|created| created != state.created) {
        return Some(format!("stream `{stream}` was recreated: its sequences mean other events now"));
    }
    let highest = progress.iter().map(|of| of.done.max().map_or(of.low, |done| done + 1)).max()?;
    (highest > state.last + 1).then(|| {
        format!(
            "stream `{stream}` ends at {}, but events up to {} were handled: it has lost its end",
            state.last,
            highest - 1
        )
    })
}

/// What to do about a handler that is stopped.
pub fn way_back(handler: &str) -> String {
    format!(
        "restore the stream, or give `heddle reload --restart {handler}`: it begins again where `start` says, with its states"
    )
}

/// For each handler, why it cannot go on in its stream; none: it can. Handlers of the application's own stream are not
/// asked about.
fn obstacles(
    settings: &Settings,
    origins: &Origins,
    checkpoints: &[(u64, Checkpoint)],
    streams: &BTreeMap<String, StreamState>,
) -> PerHandler<Option<String>> {
    let of = |handler: &std::sync::Arc<HandlerSettings>| {
        if handler.stream == settings.stream.name {
            return None;
        }
        obstacle((&handler.name, &handler.stream), origins, checkpoints, streams.get(&*handler.stream))
    };
    settings.handlers.map(of)
}

/// For each handler, why it cannot go on in its stream; and what the checkpoints say of when streams were created.
type Settled = (PerHandler<Option<String>>, BTreeMap<String, u64>);

/// For each handler, why it cannot go on in its stream. Those that are to begin again have lost their progress
/// afterwards. Also what the checkpoints are to say of when streams were created.
pub(super) fn settle(
    settings: &Settings,
    streams: &BTreeMap<String, StreamState>,
    found: &mut [(u64, Checkpoint)],
    restarted: &[String],
) -> Result<Settled, Error> {
    let mut origins = Origins::of(found.iter().map(|(_, checkpoint)| checkpoint));
    check_own(settings, streams, found)?;
    let mut stopped = obstacles(settings, &origins, found, streams);
    for (handler, stopped) in settings.handlers.iter().zip(&mut stopped) {
        if stopped.is_some() && restarted.iter().any(|name| **name == *handler.name) {
            let progress = found.iter_mut().filter_map(|(_, of)| of.handlers.get_mut(&*handler.name));
            progress.for_each(restart);
            origins.forget(&handler.name);
            *stopped = None;
        }
    }
    Ok((stopped, origins.into_streams(streams)))
}

/// What is known of the events of a stream does not count any more. What a replayed or held back event did is of
/// the application's own stream and still true.
fn restart(progress: &mut Progress) {
    progress.low = 0;
    progress.done.clear();
    progress.attempts.retain(|attempt| attempt.position >= Position::BEYOND_STREAM);
}

/// The application's own stream must be the one that the checkpoints were written into.
fn check_own(
    settings: &Settings,
    streams: &BTreeMap<String, StreamState>,
    found: &[(u64, Checkpoint)],
) -> Result<(), Error> {
    let own = &settings.stream.name;
    let now = streams.get(&**own).map(|state| state.created);
    let then = found.iter().filter_map(|(_, checkpoint)| checkpoint.streams.get(&**own).copied());
    if then.into_iter().any(|created| Some(created) != now) {
        return Err(Error::Recreated { stream: own.to_string() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(streams: &[(&str, u64)], handlers: &[(&str, &str)]) -> Checkpoint {
        let progress = |stream: &str| Progress { stream: stream.to_owned(), low: 5, ..Progress::default() };
        Checkpoint {
            streams: streams.iter().map(|(name, created)| (name.to_string(), *created)).collect(),
            handlers: handlers.iter().map(|(name, stream)| (name.to_string(), progress(stream))).collect(),
            ..Checkpoint::default()
        }
    }

    fn read(streams: &[(&str, u64)]) -> BTreeMap<String, StreamState> {
        let state = |created| StreamState { created, last: 100, ..StreamState::default() };
        streams.iter().map(|(name, created)| (name.to_string(), state(*created))).collect()
    }

    #[test]
    fn idle_shards_and_busy_ones_know_the_same_of_a_stream() {
        // The second shard has not written since the handler went.
        let shards =
            [checkpoint(&[("T", 1)], &[("e", "EXT")]), checkpoint(&[("T", 1), ("EXT", 7)], &[("e", "EXT")])];
        let origins = Origins::of(&shards);
        assert_eq!(origins.created("e", "EXT"), Some(7));
        let kept = origins.into_streams(&read(&[("T", 1)]));
        assert_eq!(kept.get("EXT/e"), Some(&7));
        let back = checkpoint(&[], &[("e", "EXT")]);
        let back = Checkpoint { streams: kept, ..back };
        assert_eq!(Origins::of([&back]).created("e", "EXT"), Some(7));
    }

    #[test]
    fn a_handler_that_is_new_begins_in_a_recreated_stream_and_the_old_one_is_still_known_by_the_other() {
        let shard = checkpoint(&[("EXT", 7)], &[("e", "EXT")]);
        let kept = Origins::of([&shard]).into_streams(&read(&[("EXT", 9)]));
        assert_eq!(kept, BTreeMap::from([("EXT".to_owned(), 9), ("EXT/e".to_owned(), 7)]));
        let next = Checkpoint { streams: kept, ..checkpoint(&[], &[("e", "EXT"), ("e2", "EXT")]) };
        let origins = Origins::of([&next]);
        assert_eq!((origins.created("e", "EXT"), origins.created("e2", "EXT")), (Some(7), Some(9)));
    }

    #[test]
    fn a_handler_that_was_moved_to_a_shorter_stream_is_not_told_that_it_has_lost_its_end() {
        let mut of_old = checkpoint(&[("OLD", 7)], &[("e", "OLD")]);
        of_old.handlers.values_mut().for_each(|progress| progress.low = 1_000);
        let found = [(1, of_old)];
        let streams = read(&[("OLD", 7), ("NEW", 9)]);
        let origins = Origins::of(found.iter().map(|(_, checkpoint)| checkpoint));
        let stopped = |stream: &str| obstacle(("e", stream), &origins, &found, streams.get(stream));
        assert_eq!(stopped("NEW"), None);
        assert!(stopped("OLD").is_some_and(|reason| reason.contains("has lost its end")));
    }

    #[test]
    fn what_is_forgotten_leaves_nothing_of_its_stream() {
        let shard = checkpoint(&[("EXT", 7)], &[("e", "EXT")]);
        let mut origins = Origins::of([&shard]);
        origins.forget("e");
        assert_eq!(origins.into_streams(&read(&[])), BTreeMap::new());
    }
}
