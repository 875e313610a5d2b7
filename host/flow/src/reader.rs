//! Reading: one cursor of a stream serves all its handlers; a handler that lags has one of its own.
//!
//! Promises that every handler sees every event of its stream at or above its position once, in order,
//! whatever cursor it comes from. A handler without room leaves the shared cursor after a moment, so that
//! it holds up nobody, and comes back when it has caught up.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::JoinSet;

use heddle_broker::{Broker, Cursor, CursorEvents, CursorPlan, Delivery};
use heddle_values::handlers::HandlerIx;
use heddle_values::subject::{Pattern, common_cover};

/// How long a shared cursor waits for a handler without room before it goes on without it, in
/// milliseconds.
const PATIENCE: u64 = 100;

/// Handlers that are not further apart than this share a cursor from the start.
const NEAR: u64 = 10_000;

/// A handler with no more than this still to be read has caught up.
const NEAR_THE_END: u64 = 256;

/// How much more a handler can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Nothing: no cursor that serves it is read from.
    None,
    /// It is read for, but keeps a cursor of its own if it has one.
    Some,
    /// It has enough room to join the shared cursor: it would not have to leave it at once.
    Plenty,
}

/// One handler as a reader sees it.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The handler's name, for the log and for the name of a cursor of its own.
    pub name: Arc<str>,
    /// What its events are published on. A cursor may deliver more: whoever takes the events routes them.
    pub subscribe: Vec<Pattern>,
    /// The next sequence that it has not seen.
    pub position: u64,
}

/// One stream and the handlers that read it.
#[derive(Debug)]
pub struct Reader {
    /// What the names of its cursors begin with: application and host, so that no two hosts read from one.
    prefix: String,
    stream: Arc<str>,
    created: u64,
    handlers: Vec<(HandlerIx, Subscription)>,
    shared: Option<Active>,
    own: Vec<Active>,
    /// Handlers without a cursor until they have room.
    parked: Vec<HandlerIx>,
    /// Counts the cursors, so that no two have one name.
    made: u32,
}

#[derive(Debug)]
struct Active {
    cursor: Cursor,
    handlers: Vec<HandlerIx>,
    next: u64,
    /// How many messages the stream still holds for it; unknown before the first delivery.
    pending: Option<u64>,
    /// Since when a handler of it has had no room, in milliseconds since 1970.
    blocked_since: Option<u64>,
}

/// What a reader hands on.
#[derive(Debug)]
pub enum Read {
    /// Events, the handlers that they may be for, and the position of those handlers afterwards.
    Events {
        /// In the order of the stream. Their `next` is what [`Reader::seen`] is to be told once they are handed on.
        events: CursorEvents,
        /// Those that the cursor serves. Some may have seen a part of the events already, from another cursor.
        handlers: Vec<HandlerIx>,
    },
    /// The stream is not the one it was.
    Lost(String),
}

impl Reader {
    /// Reads `stream` for the handlers, each from its position on, with cursors whose names begin with `prefix`.
    pub fn new(
        prefix: &str,
        stream: Arc<str>,
        created: u64,
        handlers: Vec<(HandlerIx, Subscription)>,
    ) -> Self {
        let parked = handlers.iter().map(|(handler, _)| *handler).collect();
        let prefix = prefix.to_owned();
        Reader { prefix, stream, created, handlers, shared: None, own: Vec::new(), parked, made: 0 }
    }

    /// The stream that is read.
    pub fn stream(&self) -> &Arc<str> {
        &self.stream
    }

    /// Whether there is nobody to read for.
    pub fn is_idle(&self) -> bool {
        self.handlers.is_empty()
    }

    /// The next sequence that a handler has not seen.
    pub fn position(&self, handler: HandlerIx) -> Option<u64> {
        self.subscription(handler).map(|subscription| subscription.position)
    }

    /// All positions.
    pub fn positions(&self) -> impl Iterator<Item = (HandlerIx, u64)> {
        self.handlers.iter().map(|(handler, subscription)| (*handler, subscription.position))
    }

    /// Whether some handler is not being read for: it has no room.
    pub fn is_held_up(&self, handler: HandlerIx) -> bool {
        self.parked.contains(&handler)
    }

    /// How many messages are still to be read, as far as is known.
    pub fn unread(&self) -> u64 {
        self.own.iter().chain(&self.shared).filter_map(|active| active.pending).sum()
    }

    fn subscription(&self, handler: HandlerIx) -> Option<&Subscription> {
        self.handlers.iter().find(|(h, _)| *h == handler).map(|(_, subscription)| subscription)
    }

    /// The next delivery of a cursor whose handlers all have room. Cancel-safe: nothing is taken before it
    /// is returned.
    pub fn poll_next(&mut self, context: &mut Context<'_>, room: &impl Fn(HandlerIx) -> Room) -> Poll<Read> {
        for active in self.own.iter_mut().chain(&mut self.shared) {
            if !active.handlers.iter().all(|handler| room(*handler) != Room::None) {
                continue;
            }
            match active.cursor.poll_next(context) {
                Poll::Pending => {}
                Poll::Ready(Some(Delivery::Lost(reason))) => return Poll::Ready(Read::Lost(reason)),
                Poll::Ready(None) => {
                    return Poll::Ready(Read::Lost("the task that reads has ended".to_owned()));
                }
                Poll::Ready(Some(Delivery::Events(events))) => {
                    active.next = active.next.max(events.next);
                    active.pending = Some(events.pending);
                    return Poll::Ready(Read::Events { events, handlers: active.handlers.clone() });
                }
            }
        }
        Poll::Pending
    }

    /// All events of a delivery below `next` have been handed to these handlers.
    pub fn seen(&mut self, handlers: &[HandlerIx], next: u64) {
        for (handler, subscription) in &mut self.handlers {
            if handlers.contains(handler) {
                subscription.position = subscription.position.max(next);
            }
        }
    }

    /// Moves handlers between cursors. To be called now and then, and whenever room may have changed.
    pub fn balance(
        &mut self,
        broker: &Broker,
        tasks: &mut JoinSet<()>,
        now: u64,
        room: &impl Fn(HandlerIx) -> Room,
    ) {
        self.detach(now, room);
        self.start_parked(broker, tasks, room);
        self.join(broker, tasks, room);
    }

    /// Takes handlers that have had no room for a while off the shared cursor.
    fn detach(&mut self, now: u64, room: &impl Fn(HandlerIx) -> Room) {
        let Some(shared) = &mut self.shared else { return };
        let (free, full): (Vec<_>, Vec<_>) =
            shared.handlers.iter().partition(|handler| room(**handler) != Room::None);
        if full.is_empty() {
            shared.blocked_since = None;
            return;
        }
        let since = *shared.blocked_since.get_or_insert(now);
        if free.is_empty() || now.saturating_sub(since) < PATIENCE {
            return;
        }
        for handler in &full {
            if let Some((_, subscription)) = self.handlers.iter().find(|(h, _)| h == handler) {
                tracing::info!(
                    handler = &*subscription.name,
                    "handler is lagging; it now has its own consumer"
                );
            }
        }
        shared.handlers = free;
        shared.blocked_since = None;
        self.parked.extend(full);
    }

    /// Gives handlers that have room again a cursor; those near each other share one.
    fn start_parked(&mut self, broker: &Broker, tasks: &mut JoinSet<()>, room: &impl Fn(HandlerIx) -> Room) {
        let ready: Vec<HandlerIx> =
            self.parked.iter().copied().filter(|handler| room(*handler) != Room::None).collect();
        if ready.is_empty() {
            return;
        }
        self.parked.retain(|handler| !ready.contains(handler));
        let highest = ready.iter().filter_map(|handler| self.position(*handler)).max().unwrap_or(1);
        let is_near = |reader: &Self, handler: HandlerIx| {
            reader.position(handler).is_some_and(|position| position + NEAR >= highest)
        };
        let first = self.shared.is_none() && self.own.is_empty();
        let (near, far): (Vec<_>, Vec<_>) =
            ready.into_iter().partition(|handler| first && is_near(self, *handler));
        if !near.is_empty() {
            self.shared = Some(self.open(broker, tasks, near, None));
        }
        for handler in far {
            let name = self.subscription(handler).map(|subscription| Arc::clone(&subscription.name));
            let active = self.open(broker, tasks, vec![handler], name);
            self.own.push(active);
        }
    }

    /// Lets handlers that have caught up share a cursor again: both cursors are thrown away, and a new one
    /// begins where the one that is behind stood. What a handler has seen already it is not given again.
    fn join(&mut self, broker: &Broker, tasks: &mut JoinSet<()>, room: &impl Fn(HandlerIx) -> Room) {
        let shared_next = self.shared.as_ref().map(|shared| shared.next);
        let caught_up = |active: &Active| {
            let level = shared_next.is_some_and(|next| active.next >= next);
            let near_the_end = active.pending.is_some_and(|pending| pending <= NEAR_THE_END);
            // Only with room to spare: else it would have to leave again at once.
            (level || near_the_end) && active.handlers.iter().all(|handler| room(*handler) == Room::Plenty)
        };
        let (joining, own): (Vec<_>, Vec<_>) = std::mem::take(&mut self.own).into_iter().partition(caught_up);
        self.own = own;
        if joining.is_empty() {
            return;
        }
        let mut handlers: Vec<HandlerIx> = joining.into_iter().flat_map(|active| active.handlers).collect();
        handlers.extend(self.shared.take().into_iter().flat_map(|active| active.handlers));
        handlers.sort_unstable();
        self.shared = Some(self.open(broker, tasks, handlers, None));
    }

    fn open(
        &mut self,
        broker: &Broker,
        tasks: &mut JoinSet<()>,
        handlers: Vec<HandlerIx>,
        own: Option<Arc<str>>,
    ) -> Active {
        let subscriptions = || handlers.iter().filter_map(|handler| self.subscription(*handler));
        let start = subscriptions().map(|subscription| subscription.position).min().unwrap_or(1);
        let filter = common_cover(subscriptions().flat_map(|subscription| &subscription.subscribe));
        let mut name = self.prefix.clone();
        for part in
            own.iter().map(|name| name.to_string()).chain((self.made > 0).then(|| self.made.to_string()))
        {
            name.push('-');
            name.push_str(&part);
        }
        self.made += 1;
        let stream = Arc::clone(&self.stream);
        let (cursor, task) = broker.cursor(CursorPlan { stream, created: self.created, name, start, filter });
        tasks.spawn(task);
        Active { cursor, handlers, next: start, pending: None, blocked_since: None }
    }
}
