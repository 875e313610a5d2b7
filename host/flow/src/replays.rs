//! Replays: events that come to their handler a second time, from dead letters or from where they were held back.
//!
//! A request names a dead letter; the dead letter is what is replayed. A request whose dead letter is gone is done:
//! dead letters are removed before their requests, so nothing is replayed twice.

use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::batch::Origins;
use super::failpoint;
use heddle_broker::{Broker, Cursor, CursorPlan, Delivery, Stored, persist};
use heddle_values::dead_letter::DeadLetter;
use heddle_values::event::{Event, Headers, Replay, Source};
use heddle_values::gate::taken_back;
use heddle_values::handlers::HandlerIx;
use heddle_values::key::Key;
use heddle_values::names;

/// Dead letters that are read at once.
const READING: usize = 64;

/// What waits to be taken in.
const WAITING: usize = 64;

/// Events that are taken back at once.
const TAKE_BACK: usize = 32;

/// What a request asks for, once it is read.
#[derive(Debug)]
pub(super) enum Replayed {
    /// An event to be run again, or whose key is to be released.
    Event { handler: HandlerIx, event: Event },
    /// A key to be released.
    Release { handler: HandlerIx, key: Key, replay: Replay },
    /// There is no such dead letter any more.
    Gone { request: u64 },
    /// The stream is not the one it was.
    Lost(String),
}

/// Events that were held back, taken back.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) events: Vec<Arc<Event>>,
    /// How many of them are lost.
    pub(super) lost: u64,
    /// Whether nothing more was held back.
    pub(super) all: bool,
}

/// What a message that was held back stands for.
enum Held {
    Event(Event),
    /// Its event is no longer stored anywhere.
    Lost,
    Unreadable,
}

/// What replays need: where dead letters are found, and whose.
#[derive(Debug, Clone)]
pub(super) struct Replays {
    pub(super) broker: Broker,
    pub(super) origins: Arc<Origins>,
}

/// Reads all requests with a cursor of this name, until nobody wants them any more.
pub(super) fn start(
    replays: Replays,
    reading: &Broker,
    created: u64,
    name: String,
    tasks: &mut JoinSet<()>,
) -> mpsc::Receiver<Replayed> {
    let (sender, replayed) = mpsc::channel(WAITING);
    let filter = replays.origins.names.replays().parse().ok();
    let plan = CursorPlan { stream: Arc::clone(&replays.origins.stream), created, name, start: 1, filter };
    let (cursor, task) = reading.cursor(plan);
    tasks.spawn(task);
    tasks.spawn(forward(replays, cursor, sender));
    replayed
}

async fn forward(replays: Replays, mut cursor: Cursor, sender: mpsc::Sender<Replayed>) {
    let replays = &replays;
    let deliveries = stream::poll_fn(move |context| cursor.poll_next(context));
    let requests = deliveries.flat_map(|delivery| match delivery {
        Delivery::Events(events) => stream::iter(events.events.into_iter().map(Ok).collect::<Vec<_>>()),
        Delivery::Lost(reason) => stream::iter(vec![Err(reason)]),
    });
    let resolved = requests.map(|request| async move {
        match request {
            Ok(request) => {
                replays.replayed(&request.subject, request.sequence, &request.headers, request.payload).await
            }
            Err(reason) => Some(Replayed::Lost(reason)),
        }
    });
    let mut resolved = std::pin::pin!(resolved.buffered(READING));
    while let Some(returned) = resolved.next().await {
        if let Some(returned) = returned
            && sender.send(returned).await.is_err()
        {
            return;
        }
    }
}

impl Replays {
    async fn replayed(
        &self,
        subject: &str,
        request: u64,
        headers: &Headers,
        payload: bytes::Bytes,
    ) -> Option<Replayed> {
        // What nobody can carry out is removed like what is done.
        let Some((name, what)) = self.origins.names.parse_replay(subject) else {
            return Some(Replayed::Gone { request });
        };
        let Some(handler) = self.origins.handlers.find(|handler| **handler == *name) else {
            tracing::warn!(handler = name, request, "request is for a handler that no longer exists");
            return None;
        };
        let release = headers.get(names::replay::RELEASE).is_some();
        if headers.get(names::replay::KEY).is_some() {
            let replay = Replay { request, dead_letter: 0, times: 0, release: true };
            let key = Key::new(&String::from_utf8_lossy(&payload));
            return Some(Replayed::Release { handler, key, replay });
        }
        let dead_letter = what.parse().ok();
        let edited = headers.get(names::replay::EDITED).map(|_| payload);
        let event = match dead_letter {
            Some(dead_letter) => self.event(dead_letter, name, request, release, edited).await,
            None => None,
        };
        Some(event.map_or(Replayed::Gone { request }, |event| Replayed::Event { handler, event }))
    }

    /// The event of a dead letter, as a request replays it.
    async fn event(
        &self,
        dead_letter: u64,
        handler: &str,
        request: u64,
        release: bool,
        edited: Option<bytes::Bytes>,
    ) -> Option<Event> {
        let stored = persist(|| self.broker.at(&self.origins.stream, dead_letter)).await?;
        let dead_letter = DeadLetter::from(stored);
        if dead_letter.handler() != handler {
            return None;
        }
        let mut event = dead_letter.sent_again(request, release)?;
        if dead_letter.is_partial() && !release {
            let (stream, sequence) = dead_letter.place()?;
            let Some(whole) = persist(|| self.broker.at(stream, sequence)).await else {
                tracing::error!(
                    event.id = event.id(),
                    "dead letter is not whole, and its event is no longer in the stream"
                );
                return None;
            };
            event.headers = whole.headers;
            event.payload = whole.payload;
        }
        if let Some(payload) = edited {
            event.payload = payload;
            // Whoever edits an event that cannot be read lets it run without what cannot be read of its headers.
            event.headers.drop_fault();
        }
        Some(event)
    }

    /// Reads again the event that a request replays.
    pub(super) async fn fetch_replayed(&self, request: u64) -> Option<Event> {
        let stored = persist(|| self.broker.at(&self.origins.stream, request)).await?;
        match self.replayed(&stored.subject, request, &stored.headers, stored.payload.clone()).await? {
            Replayed::Event { event, .. } => Some(event),
            Replayed::Release { replay, .. } => {
                Some(Event::release(Arc::clone(&self.origins.stream), replay))
            }
            _ => None,
        }
    }

    /// Reads an event again that was held back.
    pub(super) async fn fetch_held_back(&self, at: u64) -> Option<Event> {
        let Some(stored) = persist(|| self.broker.at(&self.origins.stream, at)).await else {
            tracing::error!(sequence = at, "event that was held back is no longer in the stream: it is lost");
            return None;
        };
        match self.held_back(stored).await {
            Held::Event(event) => Some(event),
            Held::Lost | Held::Unreadable => None,
        }
    }

    /// What was held back on a subject at or above a sequence, in order.
    pub(super) async fn take_back(&self, subject: &str, mut next: u64) -> Taken {
        let mut taken = Taken::default();
        // Counts events, not messages: whoever asks goes on behind the last event.
        while taken.events.len() < TAKE_BACK {
            let read = || self.broker.next_of(&self.origins.stream, subject, next);
            let Some(stored) = persist(read).await else {
                taken.all = true;
                break;
            };
            next = stored.sequence + 1;
            match self.held_back(stored).await {
                Held::Event(event) => taken.events.push(Arc::new(event)),
                Held::Lost => taken.lost += 1,
                Held::Unreadable => {}
            }
        }
        taken
    }

    /// What a message that was held back stands for. One whose event is nowhere any more is removed, so that its loss counts
    /// once.
    async fn held_back(&self, stored: Stored) -> Held {
        let at = stored.sequence;
        let Some(known) = taken_back(at, &stored.headers, stored.payload) else {
            tracing::warn!(sequence = at, "message does not say which event was held back; it is left alone");
            return Held::Unreadable;
        };
        let (stream, sequence) = match known {
            Ok(event) => return Held::Event(event),
            Err(place) => place,
        };
        if let Some(whole) = persist(|| self.broker.at(&stream, sequence)).await {
            let event = whole.into_event(&stream.as_str().into());
            return Held::Event(Event { source: Source::Held(at), ..event });
        }
        tracing::error!(
            stream,
            sequence,
            "event was held back without its payload and is no longer in its stream: it is lost"
        );
        persist(|| self.broker.delete(&self.origins.stream, at)).await;
        Held::Lost
    }

    /// Removes requests that are done, each after its dead letter (0: it has none).
    pub(super) async fn remove(&self, done: &[(u64, u64)]) {
        let remove = |&(dead_letter, request): &(u64, u64)| async move {
            failpoint::hit(failpoint::BEFORE_REMOVAL);
            if dead_letter > 0 {
                persist(|| self.broker.delete(&self.origins.stream, dead_letter)).await;
            }
            failpoint::hit(failpoint::BETWEEN_REMOVALS);
            persist(|| self.broker.delete(&self.origins.stream, request)).await;
        };
        stream::iter(done).map(remove).buffer_unordered(READING).collect::<()>().await;
    }
}
