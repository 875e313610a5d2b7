//! Lists: everything that lies under a filter at a moment, read whole or not at all.
//!
//! Promises that a list which ends without an error holds every message that was there when it began and is there still,
//! in the order of the stream. A list that cannot be read whole ends with [`Error::NotWhole`]: whoever decides by it
//! begins again and never believes the part that came. No wait is without a bound. Refuses to know what is listed.
//!
//! A list is a consumer without acks that the server gives up by itself. What the server has sent into a connection that
//! broke is not sent again, and nobody says so. Therefore:
//!
//! - The consumer's own count of what it sent must run 1, 2, 3, … A gap is a loss.
//! - The list ends with what the stream's leader says at the beginning is its last message. Where that was removed
//!   meanwhile, or a copy of the stream lags behind its leader and does not have it yet, the consumer is asked what it has
//!   sent and whether more waits, and then the leader whether it has anything behind what came.
//! - A consumer that lost something, or says nothing for [`IDLE`], is replaced by one that begins behind the last message
//!   that came. Only a list of last messages begins at its own beginning: in the middle it would be another list.

mod count;
mod singly;

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{DeliverPolicy, PullConsumer, pull};
use futures::{Stream, StreamExt, stream};

use super::observe::observing;
use super::{Broker, Error, Part, Stored, delivered};
use count::{Came, Count, Word};
use heddle_values::errors::chain;
use heddle_values::policy::Backoff;

/// Messages that are asked for at once, unless a list says otherwise.
pub(super) const PAGE: usize = 2_000;

/// Bytes that are asked for at once, if no message is larger: what lies in memory beside what the caller keeps.
const PAGE_BYTES: usize = 8 << 20;

/// A request that the server has forgotten is noticed after this.
const EXPIRES: Duration = Duration::from_secs(5);

/// A server or connection that has died is noticed after twice this.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long nothing comes before the consumer is asked what it has sent; doubled from look to look.
const FIRST_LOOK: Duration = Duration::from_millis(25);
const MAX_LOOK: Duration = Duration::from_secs(1);

/// A consumer that says to have sent what has not arrived this long after the last message has sent it into a broken
/// connection.
const IN_FLIGHT: Duration = Duration::from_secs(2);

/// A consumer from which nothing comes for so long, though it has more, is given up.
const IDLE: Duration = Duration::from_secs(8);

/// How often in a row a list may break at one place. With the waits in between and a server that answers nothing, that
/// takes about 40 s.
const MAX_FAILURES: u32 = 6;

/// After N breaks at one place, the message there may be the reason, and is read by itself.
const READ_SINGLY_AFTER: u32 = 3;

/// How often a list of last messages is begun before it is given up.
const MAX_BEGINNINGS: u32 = 5;

/// The waits before a list goes on or begins again.
const PAUSES: Backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(2));

/// Where a list begins, and what it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// Every message at or above a sequence.
    At(u64),
    /// The last message of each subject. One that is written meanwhile comes again; the later one counts.
    LastOfEach,
}

/// What a list is to hold.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) stream: String,
    /// One subject, with wildcards; none: everything.
    pub(super) filter: Option<String>,
    pub(super) begin: Begin,
    pub(super) part: Part,
    /// How many messages are asked for at once.
    pub(super) page: usize,
}

/// A list that is being read.
pub(super) struct List {
    broker: Broker,
    wanted: Wanted,
    what: String,
    /// The last message that belonged to the list when it began, or one behind it; none: not known yet.
    until: Option<u64>,
    source: Option<Source>,
    /// The last message that was handed on; 0: none yet.
    last: u64,
    ended: bool,
    /// How often it broke since.
    failures: u32,
    began: Instant,
}

/// The consumer that delivers at present.
struct Source {
    consumer: PullConsumer,
    messages: pull::Stream,
    /// What has come from it.
    count: Count,
}

/// Why a list cannot go on.
enum Break {
    /// It may go on with another consumer.
    Passing(String),
    Final(Error),
}

impl Broker {
    /// A list. Nothing is asked of the server before the first message is.
    pub(super) fn list(&self, wanted: Wanted) -> List {
        let filter = wanted.filter.as_deref().unwrap_or(">");
        let what = format!("list the messages under `{filter}` of stream `{}`", wanted.stream);
        let broker = self.for_reading();
        let (source, began) = (None, Instant::now());
        List { broker, wanted, what, until: None, source, last: 0, ended: false, failures: 0, began }
    }

    /// Every message under `filter` at or above `start` that is there now, in the order of the stream. An error means
    /// that what came so far is not all.
    pub async fn all(
        &self,
        stream: &str,
        filter: &str,
        start: u64,
        part: Part,
    ) -> Result<impl Stream<Item = Result<Stored, Error>> + use<>, Error> {
        let (stream, filter) = (stream.to_owned(), Some(filter.to_owned()));
        let list = self.list(Wanted { stream, filter, begin: Begin::At(start), part, page: PAGE });
        Ok(list.into_rows())
    }

    /// The last message of every subject under `filter`, each subject once. Never a part of them: where a connection
    /// breaks, the list is begun again, a bounded number of times.
    pub async fn last_of_each(&self, stream: &str, filter: &str) -> Result<Vec<Stored>, Error> {
        let (stream, filter) = (stream.to_owned(), Some(filter.to_owned()));
        let wanted = Wanted { stream, filter, begin: Begin::LastOfEach, part: Part::Whole, page: PAGE };
        let mut beginnings = 0;
        loop {
            beginnings += 1;
            match self.list(wanted.clone()).collect().await {
                Ok(rows) => return Ok(latest(rows)),
                Err(error @ Error::NotWhole { .. }) if beginnings < MAX_BEGINNINGS => {
                    tracing::warn!(%error, "starting the list again");
                    tokio::time::sleep(PAUSES.bound(beginnings)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl List {
    /// The next message; none: the list is whole.
    pub(super) async fn next(&mut self) -> Result<Option<Stored>, Error> {
        while !self.ended {
            let step = match &self.source {
                Some(_) => self.step().await,
                None => self.open().await.map(|()| None),
            };
            match step {
                Ok(None) => {}
                Ok(Some(row)) => {
                    (self.failures, self.last) = (0, row.sequence);
                    return Ok(Some(row));
                }
                Err(Break::Final(error)) => return Err(error),
                Err(Break::Passing(cause)) => {
                    if let Some(row) = self.broken(cause).await? {
                        self.last = row.sequence;
                        return Ok(Some(row));
                    }
                }
            }
        }
        Ok(None)
    }

    /// How many messages waited when the list began: that many come, if none is removed.
    pub(super) async fn announced(&mut self) -> Result<u64, Error> {
        loop {
            match (&self.source, self.ended) {
                (Some(source), _) => return Ok(source.count.announced()),
                (None, true) => return Ok(0),
                (None, false) => match self.open().await {
                    Ok(()) => {}
                    Err(Break::Final(error)) => return Err(error),
                    Err(Break::Passing(cause)) => drop(self.broken(cause).await?),
                },
            }
        }
    }

    /// What is still to come.
    pub(super) fn rows(&mut self) -> impl Stream<Item = Result<Stored, Error>> + '_ {
        stream::try_unfold(self, |list| async move { Ok(list.next().await?.map(|row| (row, list))) })
    }

    /// What is still to come, of a list that is read to its end.
    pub(super) fn into_rows(self) -> impl Stream<Item = Result<Stored, Error>> + use<> {
        stream::try_unfold(self, |mut list| async move {
            match list.next().await? {
                Some(row) => Ok(Some((row, list))),
                None => {
                    list.dismiss().await;
                    Ok(None)
                }
            }
        })
    }

    /// All that is still to come.
    pub(super) async fn collect(mut self) -> Result<Vec<Stored>, Error> {
        let mut rows = Vec::new();
        while let Some(row) = self.next().await? {
            rows.push(row);
        }
        self.dismiss().await;
        Ok(rows)
    }

    /// Takes the consumer away: as long as it is there, the server counts for it whenever something is removed. It would
    /// vanish by itself as well.
    pub(super) async fn dismiss(self) {
        if let Some(source) = self.source {
            self.broker.dismiss(&self.wanted.stream, &source.consumer).await;
        }
    }

    /// Makes the consumer, unless there is nothing to be read.
    async fn open(&mut self) -> Result<(), Break> {
        let until = match self.until {
            Some(until) => until,
            None => self.last_on_leader().await?,
        };
        self.until = Some(until);
        let begin = self.wanted.begin;
        let start_sequence = match begin {
            Begin::At(start) => start.max(self.last + 1),
            Begin::LastOfEach => self.last + 1,
        };
        if start_sequence > until {
            self.ended = true;
            return Ok(());
        }
        let policy = match begin {
            Begin::LastOfEach => DeliverPolicy::LastPerSubject,
            Begin::At(_) => DeliverPolicy::ByStartSequence { start_sequence },
        };
        self.source = Some(self.consume(policy, until).await?);
        Ok(())
    }

    async fn consume(&self, policy: DeliverPolicy, until: u64) -> Result<Source, Break> {
        let filters: Vec<&String> = self.wanted.filter.iter().collect();
        let headers_only = self.wanted.part == Part::Headers;
        let config = pull::Config { headers_only, ..observing(&filters, policy) };
        let stream = self.broker.jetstream.get_stream_no_info(&self.wanted.stream).await;
        let stream = stream.map_err(|error| passing(&error))?;
        let consumer: PullConsumer = stream.create_consumer(config).await.map_err(|error| passing(&error))?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(self.wanted.page)
            .max_bytes_per_batch(PAGE_BYTES.max(2 * self.broker.max_payload()))
            .heartbeat(HEARTBEAT)
            .expires(EXPIRES)
            .messages()
            .await
            .map_err(|error| passing(&error))?;
        let last_of_each = self.wanted.begin == Begin::LastOfEach;
        let count = Count::new(until, last_of_each, consumer.cached_info().num_pending);
        Ok(Source { consumer, messages, count })
    }

    /// The next message of the consumer; none: the list has ended.
    async fn step(&mut self) -> Result<Option<Stored>, Break> {
        let Some(source) = self.source.as_mut().filter(|source| !source.count.is_whole()) else {
            self.ended = true;
            return Ok(None);
        };
        let row = source.next().await?;
        if row.is_none() && !source.count.is_beyond() {
            // The consumer has nothing more. Whoever reads from a copy of the stream may have to wait for it.
            let (filter, until) = (self.wanted.filter.as_deref().unwrap_or(">"), self.until.unwrap_or(0));
            let behind = self.broker.next_of(&self.wanted.stream, filter, self.last + 1).await?;
            if behind.is_some_and(|behind| behind.sequence <= until) {
                return Err(Break::Passing("a copy of the stream lags behind its leader".to_owned()));
            }
        }
        self.ended = row.is_none();
        Ok(row)
    }

    /// The list has broken at a place. Waits, and says what was read there by itself, if anything. An error: it cannot
    /// be read whole.
    async fn broken(&mut self, cause: String) -> Result<Option<Stored>, Error> {
        self.source = None;
        self.failures += 1;
        // What is denied is not answered either, and no other try will be.
        if let Some(denied) = self.broker.denied_since(self.began, &cause) {
            return Err(denied);
        }
        let lost = self.wanted.begin == Begin::LastOfEach && self.last > 0;
        if lost || self.failures >= MAX_FAILURES {
            return Err(Error::NotWhole { what: self.what.clone(), cause });
        }
        tracing::debug!(list = self.what, cause, behind = self.last, "list is interrupted; going on");
        tokio::time::sleep(PAUSES.bound(self.failures)).await;
        // If there is none, the next try says why.
        if let Ok(living) = self.broker.living().await {
            self.broker = living;
        }
        let row = if self.failures == READ_SINGLY_AFTER { self.read_singly().await } else { None };
        self.failures = if row.is_some() { 0 } else { self.failures };
        Ok(row)
    }
}

impl Source {
    /// The next message that belongs to the list; none: the list is whole.
    async fn next(&mut self) -> Result<Option<Stored>, Break> {
        let since = Instant::now();
        let mut look = if self.count.is_last() { Duration::ZERO } else { FIRST_LOOK };
        loop {
            // Cancel-safe: the stream keeps what it has received.
            match tokio::time::timeout(look, self.messages.next()).await {
                Ok(Some(Ok(message))) => return self.take(&message),
                Ok(Some(Err(error))) => return Err(passing(&error)),
                Ok(None) => return Err(Break::Passing("the server ended it".to_owned())),
                Err(_) => {}
            }
            if self.is_whole(since.elapsed()).await? {
                return Ok(None);
            }
            look = look.saturating_mul(2).clamp(FIRST_LOOK, MAX_LOOK);
        }
    }

    fn take(&mut self, message: &async_nats::jetstream::Message) -> Result<Option<Stored>, Break> {
        let info = message.info().map_err(|error| Break::Passing(error.to_string()))?;
        match self.count.came(info.consumer_sequence, info.stream_sequence, info.pending) {
            Came::Row => delivered(message).map(Some).map_err(Break::Passing),
            Came::Beyond => Ok(None),
            Came::Lost(lost) => Err(missing(lost)),
        }
    }

    /// Nothing has come for a while: whether the consumer says that nothing is left. An error: nothing will come.
    async fn is_whole(&self, quiet: Duration) -> Result<bool, Break> {
        let info = self.consumer.get_info().await.map_err(|error| passing(&error))?;
        match self.count.compare(info.delivered.consumer_sequence, info.num_pending) {
            Word::Whole => Ok(true),
            Word::Missing(lost) if quiet >= IN_FLIGHT => Err(missing(lost)),
            Word::More if quiet >= IDLE => {
                let left = info.num_pending;
                Err(Break::Passing(format!("nothing comes, though {left} are left")))
            }
            Word::Missing(_) | Word::More => Ok(false),
        }
    }
}

fn missing(lost: u64) -> Break {
    Break::Passing(format!("{lost} messages were sent and did not arrive"))
}

impl From<Error> for Break {
    fn from(error: Error) -> Self {
        match error {
            Error::Request { cause, .. } | Error::Unanswered { cause, .. } => Break::Passing(cause),
            error => Break::Final(error),
        }
    }
}

fn passing(error: &dyn std::error::Error) -> Break {
    Break::Passing(chain(error))
}

/// The row that came last of each subject, in the order of the stream.
fn latest(rows: Vec<Stored>) -> Vec<Stored> {
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<Stored> =
        rows.into_iter().rev().filter(|row| seen.insert(row.subject.clone())).collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_values::event::Headers;

    #[test]
    fn of_each_subject_the_row_that_came_last_counts() {
        let row = |sequence, subject: &str| Stored {
            sequence,
            subject: subject.to_owned(),
            headers: Headers::default(),
            payload: bytes::Bytes::new(),
            time: 0,
            marker: false,
        };
        let rows = latest(vec![row(1, "a"), row(2, "b"), row(3, "c"), row(7, "a")]);
        let kept: Vec<(u64, &str)> = rows.iter().map(|row| (row.sequence, &*row.subject)).collect();
        assert_eq!(kept, [(2, "b"), (3, "c"), (7, "a")]);
    }

    #[test]
    fn the_waits_between_two_tries_grow_and_have_a_bound() {
        assert_eq!(PAUSES.bound(1), Duration::from_millis(50));
        assert!(PAUSES.bound(2) > PAUSES.bound(1));
        assert_eq!(PAUSES.bound(1_000), Duration::from_secs(2));
    }

    #[test]
    fn a_list_whose_reading_goes_unanswered_is_read_on() {
        let unanswered = Error::Unanswered { what: "read".to_owned(), cause: "timed out".to_owned() };
        assert!(matches!(Break::from(unanswered), Break::Passing(_)));
        assert!(matches!(Break::from(Error::NoStream("T".to_owned())), Break::Final(_)));
    }
}
