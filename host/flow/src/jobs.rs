//! Jobs: what the engine has done beside itself. Each is one task that ends with a [`Done`].

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::compact::{self, Left, Pass};
use super::failpoint;
use super::flow::Ticket;
use super::leftovers::{self, Gated, Leftover};
use super::loss::Question;
use super::replays::{Replays, Taken};
use super::shards::Place;
use super::store::End;
use heddle_broker::{self as broker, Broker, Inspected, StreamState, persist};
use heddle_values::effects::Reply;
use heddle_values::event::{Event, Replay};
use heddle_values::handlers::HandlerIx;
use heddle_values::names::Names;
use heddle_values::permissions::Permissions;
use heddle_values::position::Position;
use heddle_values::settings::Settings;
use heddle_values::subject::Pattern;

/// The longest reason that is logged, in bytes.
pub(super) const MAX_LOGGED: usize = 1024;

/// How a job ended. `generation` tells jobs of before a reset from those after it.
#[derive(Debug)]
pub(super) enum Done {
    Fetched {
        ticket: Ticket,
        position: Position,
        event: Option<Arc<Event>>,
    },
    /// What was held back of a key.
    TakenBack {
        ticket: Ticket,
        taken: Taken,
    },
    /// Requests and their dead letters are removed; where they ran, if they did.
    Removed {
        generation: u64,
        requests: Vec<(Option<Place>, u64)>,
    },
    /// A batch has come to its end; its number.
    Committed(u64, End),
    /// What a pass of old states left; none: it failed. How long the server worked for it, in milliseconds.
    Compacted {
        left: Option<Left>,
        took: u64,
    },
    /// What the host's user may do; none: the server does not tell.
    Permissions(Option<Permissions>),
    /// The streams were inspected; none: they could not be.
    Surveyed(Option<Vec<Inspected>>),
    /// The events in front of a handler were counted.
    Counted(Box<(Count, Counted, StreamState)>),
    /// Old checkpoints were removed, as far as that was possible.
    Cleaned,
    /// Events that were held back and have run are removed: how many of those that each handler's count still held.
    LeftoversRemoved(Vec<(HandlerIx, u64)>),
    /// Nothing follows.
    Nothing,
}

/// Bytes of events that are on their way to be read again, if each is as large as the server allows.
const FETCHING_BYTES: usize = 64 << 20;

/// Events that are read again at once.
const FETCHING: usize = 64;

/// The room for events that are read again: a permit for each that is on its way. How large one is is known only when it
/// is here, so each counts as the largest that there may be.
pub(super) fn fetching_room(max_payload: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((FETCHING_BYTES / max_payload.max(1)).clamp(1, FETCHING)))
}

/// Reads an event again, once there is room for it.
pub(super) async fn fetch(
    replays: Replays,
    room: Arc<Semaphore>,
    (ticket, stream): (Ticket, Arc<str>),
    position: Position,
) -> Done {
    let _permit = room.acquire().await.expect("the room is never closed");
    let event = match position {
        Position::Stream(sequence) => {
            let message = persist(|| replays.broker.at(&stream, sequence)).await;
            message.map(|message| message.into_event(&stream))
        }
        Position::Held(at) => replays.fetch_held_back(at).await,
        Position::Replay(request) => replays.fetch_replayed(request).await,
    };
    Done::Fetched { ticket, position, event: event.map(Arc::new) }
}

/// Inspects the streams that the application reads.
pub(super) async fn survey(broker: Broker, settings: Arc<Settings>, names: Names) -> Done {
    let found = broker.inspect(&settings, &names).await;
    Done::Surveyed(found.inspect_err(|error| tracing::debug!(%error, "streams could not be inspected")).ok())
}

/// What is to be counted in front of a handler.
#[derive(Debug)]
pub(super) struct Count {
    pub(super) generation: u64,
    pub(super) handler: HandlerIx,
    pub(super) stream: Arc<str>,
    pub(super) filters: Vec<Pattern>,
    /// None: only the lowest event is to be looked up.
    pub(super) question: Option<Question>,
    /// What was counted before and has not come, if nothing comes any more.
    pub(super) rest: Option<Question>,
    /// The lowest event that is not done.
    pub(super) low: u64,
}

/// What was counted, as far as it was asked for and could be.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) events: Option<u64>,
    pub(super) rest: Option<u64>,
    /// The lowest event that is still there, and when it was stored, in milliseconds since 1970.
    pub(super) lowest: Option<(u64, u64)>,
}

/// Counts what is in front of a handler.
pub(super) async fn count(broker: Broker, count: Count, state: StreamState) -> Done {
    let counted = async |question: Option<Question>| {
        let counted = count_events(&broker, &count.stream, &count.filters, question?).await;
        counted.inspect_err(|error| tracing::debug!(%error, "events could not be counted")).ok()
    };
    let rest = counted(count.rest).await;
    let events = counted(count.question).await;
    let is_bounded = !state.max_age.is_zero() || state.max_messages.or(state.max_bytes).is_some();
    let mut lowest: Option<(u64, u64)> = None;
    for filter in count.filters.iter().filter(|_| is_bounded) {
        // Without an answer there is no warning this time.
        let found = broker.next_of(&count.stream, filter.as_str(), count.low).await.ok().flatten();
        let found = found.map(|message| (message.sequence, message.time / 1_000_000));
        lowest = lowest.into_iter().chain(found).min();
    }
    Done::Counted(Box::new((count, Counted { events, rest, lowest }, state)))
}

/// Counts events under `filters`. What is stored meanwhile makes it fewer, never more.
pub(super) async fn count_events(
    broker: &Broker,
    stream: &str,
    filters: &[Pattern],
    Question { from, to }: Question,
) -> Result<u64, broker::Error> {
    if filters.is_empty() || from > to {
        return Ok(0);
    }
    let all = broker.count_from(stream, filters, from).await?.pending;
    let behind = broker.count_from(stream, filters, to + 1).await?.pending;
    Ok(all.saturating_sub(behind))
}

/// Reads what was held back of a key, on a subject, at or above a sequence.
pub(super) async fn take_back(replays: Replays, ticket: Ticket, subject: String, next: u64) -> Done {
    let taken = replays.take_back(&subject, next).await;
    Done::TakenBack { ticket, taken }
}

/// Removes requests that are done, each after its dead letter.
pub(super) async fn remove(replays: Replays, generation: u64, done: Vec<(Option<Place>, Replay)>) -> Done {
    let messages: Vec<_> = done.iter().map(|(_, replay)| (replay.dead_letter, replay.request)).collect();
    replays.remove(&messages).await;
    let requests = done.into_iter().map(|(place, replay)| (place, replay.request)).collect();
    Done::Removed { generation, requests }
}

/// Removes the events of a key that were held back and have run: its gate is open. If the host dies before, the next one
/// finds them.
pub(super) async fn forget(replays: Replays, subject: String, below: u64) -> Done {
    failpoint::hit(failpoint::GATE_OPENED);
    let stream = Arc::clone(&replays.origins.stream);
    remove_leftovers(replays.broker, stream, vec![Leftover { subject, below, gate: Gated::Open }]).await
}

/// Removes events that were held back and have run.
pub(super) async fn remove_leftovers(broker: Broker, stream: Arc<str>, leftovers: Vec<Leftover>) -> Done {
    Done::LeftoversRemoved(leftovers::remove(broker, stream, leftovers).await)
}

/// Removes old states.
pub(super) async fn compact(broker: Broker, stream: Arc<str>, names: Names, pass: Pass) -> Done {
    let (left, took) = compact::run(broker, stream, names, pass).await;
    Done::Compacted { left, took }
}

/// Removes old checkpoints.
pub(super) async fn clean(broker: Broker, stream: Arc<str>, filter: String, below: u64) -> Done {
    compact::remove(broker, stream, filter, below).await;
    Done::Cleaned
}

/// Sends the answers of committed events.
pub(super) async fn reply(broker: Broker, replies: Vec<Reply>) -> Done {
    for reply in replies {
        if let Err(error) = broker.send(&reply.subject, &reply.headers, reply.payload).await {
            tracing::warn!(%error, subject = &*reply.subject, "reply was not sent");
        }
    }
    Done::Nothing
}

/// Asks what this host's user may do.
pub(super) async fn permissions(broker: Broker) -> Done {
    Done::Permissions(broker.permissions().await)
}

/// Announces this host again.
pub(super) async fn announce(broker: Broker, subject: String, payload: Vec<u8>, ttl_seconds: u32) -> Done {
    if let Err(error) = broker.announce(&subject, payload.into(), ttl_seconds).await {
        tracing::warn!(%error, "host could not announce itself; trying again soon");
    }
    Done::Nothing
}
