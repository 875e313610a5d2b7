//! What was lost while no host ran, as far as that can be known.
//!
//! A host that stops in good order leaves a mark. What was in front of each handler then is compared with what comes, and
//! of what was stored since it is known how much is gone again. Without a mark only the beginning of a stream of others
//! tells something: in the application's own stream, messages of Heddle itself come and go, too.

use std::collections::BTreeMap;

use super::super::loss::Loss;
use heddle_broker::{self as broker, Broker, StreamState};
use heddle_values::checkpoint::{Checkpoint, Progress};
use heddle_values::handlers::{HandlerIx, PerHandler};
use heddle_values::mark::{End, Mark};
use heddle_values::names::Names;
use heddle_values::settings::{HandlerSettings, Settings};
use heddle_values::subject::Pattern;

/// For each handler: from one sequence up to another, N events were not done. None: it is not known.
pub type Expected = PerHandler<Option<(u64, u64, u64)>>;

/// What the host before has left.
#[derive(Debug, Default)]
pub struct Remains {
    /// What each handler had still to be given, as the mark of the host before says. None: no mark says it.
    pub expected: Expected,
    /// What was lost since.
    pub losses: Vec<(HandlerIx, Loss)>,
}

/// Finds out what the host before has left.
pub(super) async fn left(
    broker: &Broker,
    settings: &Settings,
    names: &Names,
    found: &[(u64, Checkpoint)],
    streams: &BTreeMap<String, StreamState>,
) -> Result<Remains, broker::Error> {
    let mark = broker.last(&settings.stream.name, &names.mark()).await?;
    let place = mark.as_ref().map(|stored| stored.sequence);
    let mark = mark.and_then(|stored| serde_json::from_slice::<Mark>(&stored.payload).ok());
    // A host that has committed since knew more.
    let is_last =
        |mark: &Mark| found.iter().all(|(_, last)| last.host == mark.host && last.commit <= mark.commit);
    let mark = mark.filter(is_last);
    let expected = settings.handlers.map(|_| None);
    let mut remains = Remains { expected, ..Remains::default() };
    let mut since = BTreeMap::new();
    for (index, handler) in settings.handlers.rows() {
        let known = streams.get(&*handler.stream).and_then(|state| {
            let mark = mark.as_ref()?;
            let end = mark.streams.get(&*handler.stream).filter(|end| end.created == state.created)?;
            Some((mark, state, *end, *mark.handlers.get(&*handler.name)?))
        });
        let Some((mark, state, end, left)) = known else {
            // What is expected of it is not known.
            let gone =
                streams.get(&*handler.stream).and_then(|state| before_the_first(handler, found, state));
            let is_own = handler.stream == settings.stream.name;
            remains.losses.extend(gone.filter(|_| !is_own).map(|loss| (index, loss)));
            continue;
        };
        remains.expected[index] = Some((left.low, end.last, left.events));
        if mark.paused {
            continue;
        }
        let gone = match since.get(&*handler.stream) {
            Some(gone) => *gone,
            None => {
                let is_own = handler.stream == settings.stream.name;
                gone_since(broker, &handler.stream, state, (end, place.filter(|_| is_own))).await?
            }
        };
        since.insert(handler.stream.to_string(), gone);
        let exact = sees_all(handler, names, state);
        remains.losses.extend(gone.map(|loss| (index, Loss { exact, ..loss })));
    }
    Ok(remains)
}

/// What is gone of what was stored after a stream ended, with the mark's own place if it is in that stream. No host ran
/// meanwhile, so nothing else of it was Heddle's.
async fn gone_since(
    broker: &Broker,
    stream: &str,
    state: &StreamState,
    (end, mark): (End, Option<u64>),
) -> Result<Option<Loss>, broker::Error> {
    let from = if mark == Some(end.last + 1) { end.last + 2 } else { end.last + 1 };
    // Counted after the stream's end was read, so that what is stored meanwhile never looks like a loss.
    let there = broker.count_from::<String>(stream, &[], from).await?.pending;
    let events = (state.last + 1).saturating_sub(from).saturating_sub(there);
    if events == 0 {
        return Ok(None);
    }
    let first = broker.next_of(stream, ">", from).await?.map_or(state.last + 1, |message| message.sequence);
    let to = if first.saturating_sub(from) == events { first - 1 } else { state.last };
    Ok(Some(Loss { events, exact: false, from, to }))
}

/// What is gone between a handler's progress and the first message of its stream.
fn before_the_first(
    handler: &HandlerSettings,
    found: &[(u64, Checkpoint)],
    state: &StreamState,
) -> Option<Loss> {
    let of_handler = |(_, checkpoint): &'_ (u64, Checkpoint)| -> Option<Progress> {
        let is_this = checkpoint.created(&handler.name, &handler.stream) == Some(state.created);
        let progress = checkpoint.handlers.get(&*handler.name)?;
        (is_this && *progress.stream == *handler.stream).then(|| progress.clone())
    };
    let progress: Vec<Progress> = found.iter().filter_map(of_handler).collect();
    let from = progress.iter().map(|progress| progress.low).min()?;
    let done: u64 = progress.iter().map(|progress| progress.done.range_cardinality(from..state.first)).sum();
    let events = state.first.saturating_sub(from).saturating_sub(done);
    (events > 0).then(|| Loss { events, exact: false, from, to: state.first - 1 })
}

/// Whether a handler subscribes to every event that its stream may hold.
fn sees_all(handler: &HandlerSettings, names: &Names, state: &StreamState) -> bool {
    let internal = names.stream_subjects();
    let mut events = state.subjects.iter().filter(|subject| !internal.contains(subject)).peekable();
    events.peek().is_some()
        && events.all(|subject| {
            subject
                .parse()
                .is_ok_and(|subject: Pattern| handler.subscribe.iter().any(|of| of.covers(&subject)))
        })
}
