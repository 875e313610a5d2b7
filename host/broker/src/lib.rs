//! The broker: NATS JetStream, as far as Heddle needs it.
//!
//! The only module that names `async_nats`. It promises that nothing of the library's types or errors
//! leaves it, and refuses to know what a shard, a lane or a handler is.

mod answer;
mod commit;
mod compact;
mod connect;
mod consumer;
mod cursor;
mod denials;
mod headers;
mod listing;
mod live;
mod living;
mod login;
mod messages;
mod objects;
mod observe;
mod permissions;
mod persist;
mod provision;
mod raw;
mod rotation;
mod shortage;
mod suitability;
mod tail;

use std::fmt::Display;
use std::sync::Arc;

use async_nats::jetstream;
use bytes::Bytes;
use thiserror::Error;
use tokio::sync::watch;

pub use commit::{CommitAnswer, CommitError, Listen};
pub use compact::Carried;
pub use connect::connection_name;
pub use cursor::{Cursor, CursorEvents, CursorPlan, Delivery};
pub use messages::Part;
pub use objects::{NewObject, ObjectFacts, ObjectWatch};
pub use observe::{ConsumerLag, Published};
pub use persist::persist;
pub use provision::{Inspected, StreamState};
pub use raw::RawStored;
pub use suitability::{Fault, Suitability};
pub use tail::EventTail;

use heddle_values::errors::chain;
use heddle_values::event::{Event, Headers, Source};
use heddle_values::names::STATE_CLEARED;

/// The oldest server that Heddle works with. Older ones keep expired messages in memory for ever and skip syncs while they
/// compact files (nats-server#8456, #8475, #8629).
pub const OLDEST_SERVER: (u64, u64, u64) = (2, 15, 1);

/// What went wrong between the host and the server.
#[derive(Debug, Error)]
pub enum Error {
    /// No server of the settings could be connected to, because of the network, TLS or the login. Retrying may help.
    #[error("failed to connect to `{url}`: {cause}")]
    Connect {
        /// All servers of the settings, separated by commas, without logins.
        url: String,
        /// How each try ended, and which setting helps where that is known.
        cause: String,
    },
    /// The URL of the settings names no server, or a part of it cannot be parsed. The text quotes no login.
    #[error("failed to find a server: {0}")]
    Address(String),
    /// The file or variable that should hold the login cannot be read, or holds none. No server has been asked yet.
    #[error("failed to log in with `{path}`: {cause}")]
    Credentials {
        /// The path of the file, or the name of the environment variable.
        path: String,
        /// Why it cannot be used, without quoting what it holds.
        cause: String,
    },
    /// The server that was connected to is older than [`OLDEST_SERVER`] and has to be upgraded.
    #[error(
        "server at `{url}` is nats-server {version}: {}.{}.{} or newer is needed: older ones lose memory to expired messages and may skip syncs that they promise",
        OLDEST_SERVER.0, OLDEST_SERVER.1, OLDEST_SERVER.2
    )]
    TooOld {
        /// All servers of the settings, separated by commas, without logins.
        url: String,
        /// As the server says it, such as `2.14.3`.
        version: String,
    },
    /// JetStream is switched off in the server or for the account of this user. Somebody has to switch it on.
    #[error("server at `{url}` has no JetStream: start nats-server with `-js` or a `jetstream` section")]
    NoJetStream {
        /// All servers of the settings, separated by commas, without logins.
        url: String,
    },
    /// The settings of streams do not suit the application: every fault, with the name of its stream in front of it.
    #[error("{}", unsuitable(.0))]
    Unsuitable(Vec<(String, Fault)>),
    /// Connected, but JetStream does not answer: a wrong prefix, a denied subject or an outage. Retrying may help.
    #[error(
        "JetStream does not answer at `{url}` under `{api}`: {cause}; if it is in another domain or behind an imported prefix, name it with `domain` or `api-prefix` in [nats]; a user without the right to publish on `{api}.>` gets no answer either"
    )]
    NoAnswer {
        /// All servers of the settings, separated by commas, without logins.
        url: String,
        /// What the subjects of requests begin with, without the final dot: by default `$JS.API`.
        api: String,
        /// How the first request ended.
        cause: String,
    },
    /// JetStream answers with an error, for example while a cluster elects a leader. Retrying may help.
    #[error("JetStream at `{url}` is not ready: {cause}")]
    NotReady {
        /// All servers of the settings, separated by commas, without logins.
        url: String,
        /// The server's own error.
        cause: String,
    },
    /// The stream of this name must exist and does not: it was never created, or it has been deleted.
    #[error("stream `{0}` does not exist")]
    NoStream(String),
    /// The bucket to watch does not exist. For whoever reads an object, that is a [`NoObject`](Self::NoObject).
    #[error("object store `{0}` does not exist")]
    NoBucket(String),
    /// No object `BUCKET/NAME`: it was never stored or has been removed, or there is no such bucket.
    #[error("object `{0}` does not exist")]
    NoObject(String),
    /// An object is larger than its reader allows, by what the store announces or by what was read.
    #[error("object `{object}` has {size} bytes or more, and {max} are allowed")]
    ObjectTooBig {
        /// The object, as `BUCKET/NAME`.
        object: String,
        /// In bytes: as announced, or as much as had come when the bound was passed.
        size: u64,
        /// The bound of the reader, in bytes.
        max: u64,
    },
    /// The bytes of `BUCKET/NAME` do not fit its digest. If it was being replaced, another try reads the new object.
    #[error(
        "object `{0}` does not have the bytes that its digest says: it was replaced while it was read, or is broken"
    )]
    ObjectChanged(String),
    /// The server denied something to this user during the request. Retrying does not help until it is granted.
    #[error(
        "server denies what is needed; grant this user to {} (see `heddle permissions`): {cause}",
        grants.join(", ")
    )]
    Denied {
        /// What the user lacks, each as ``publish on `SUBJECT` `` or ``subscribe on `SUBJECT` ``.
        grants: Vec<String>,
        /// What the denial led to, such as a time-out.
        cause: String,
    },
    /// A list broke off too often. The part that came must not be believed; another try begins from the start.
    #[error("failed to {what}: it could not be read whole: {cause}")]
    NotWhole {
        /// What was tried, as a phrase that fits behind `failed to`.
        what: String,
        /// Why it broke off the last time.
        cause: String,
    },
    /// The server refused, or its answer cannot be used.
    #[error("failed to {what}: {cause}")]
    Request {
        /// What was tried, as a phrase that fits behind `failed to`.
        what: String,
        /// The server's refusal, or the client library's error with its causes.
        cause: String,
    },
    /// Nobody answered, or nobody who could: something of the connection or the cluster that passes. What was asked for
    /// may have been carried out all the same.
    #[error("failed to {what}: {cause}")]
    Unanswered {
        /// What was tried, as a phrase that fits behind `failed to`.
        what: String,
        /// The client library's error with its causes.
        cause: String,
    },
}

/// Every fault of every stream, a stream's together.
fn unsuitable(faults: &[(String, Fault)]) -> String {
    let mut text = String::new();
    let mut last = None;
    for (stream, fault) in faults {
        if last != Some(stream) {
            let between = if text.is_empty() { "" } else { "; " };
            text.push_str(&format!("{between}stream `{stream}` cannot be used as it is: {fault}"));
        } else {
            text.push_str(&format!("; {fault}"));
        }
        last = Some(stream);
    }
    text.push_str(". An existing stream is never changed by Heddle");
    text
}

impl Error {
    fn request(what: impl Into<String>, cause: impl Display) -> Self {
        Error::Request { what: what.into(), cause: cause.to_string() }
    }

    /// A request that failed with an error of the library, which says whether there was an answer.
    fn asked(what: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        let (what, cause) = (what.into(), chain(error));
        if answer::is_missing(error) {
            Error::Unanswered { what, cause }
        } else {
            Error::Request { what, cause }
        }
    }

    /// Whether the same may succeed later without anybody changing the settings.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Error::Connect { .. }
                | Error::NoAnswer { .. }
                | Error::NotReady { .. }
                | Error::Unanswered { .. }
                | Error::NotWhole { .. }
        )
    }
}

/// A message as the stream holds it.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The sequence number in the stream, from 1.
    pub sequence: u64,
    /// The subject; each byte that is not UTF-8 is replaced by U+FFFD.
    pub subject: String,
    /// The headers in the order of their names, without the server's own, which begin with `Nats-`.
    pub headers: Headers,
    /// The payload; empty if only headers were asked for ([`Part::Headers`]).
    pub payload: Bytes,
    /// In nanoseconds since 1970.
    pub time: u64,
    /// Whether the server wrote it itself, for an expired or deleted subject: then it is no event.
    pub marker: bool,
}

impl Stored {
    /// The state that the message holds; none if it is the mark of a cleared one.
    pub fn into_state(self) -> Option<Bytes> {
        (!self.is_cleared()).then_some(self.payload)
    }

    /// Whether the message is the mark of a cleared state, or what the server wrote when such a mark expired.
    pub fn is_cleared(&self) -> bool {
        self.marker || self.headers.get(STATE_CLEARED).is_some()
    }

    /// The message as an event of `stream`.
    pub fn into_event(self, stream: &Arc<str>) -> Event {
        Event {
            stream: Arc::clone(stream),
            sequence: self.sequence,
            subject: self.subject.into(),
            time: self.time,
            headers: self.headers,
            payload: self.payload,
            source: Source::Stream,
        }
    }
}

/// A connection to the server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Broker {
    client: async_nats::Client,
    jetstream: jetstream::Context,
    /// Without logins.
    url: Arc<str>,
    /// Under which subjects JetStream is asked.
    api: Arc<str>,
    /// How often the connection was lost.
    losses: watch::Sender<u64>,
    /// What the server did not let this connection do.
    denials: denials::Denials,
    origin: Arc<living::Origin>,
}

impl Broker {
    /// The largest message that the server takes, headers included, in bytes.
    pub fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// The id of the server that this is connected to: another one for every start of a server.
    pub fn server_id(&self) -> String {
        self.client.server_info().server_id
    }

    /// The version of that server.
    pub fn server_version(&self) -> String {
        self.client.server_info().version
    }

    /// The last message of a subject, read from the stream's leader.
    pub async fn last(&self, stream: &str, subject: &str) -> Result<Option<Stored>, Error> {
        Ok(self.raw_last(stream, subject).await?.map(Stored::from))
    }

    /// The message at a sequence, read from the stream's leader; none if it is gone.
    pub async fn at(&self, stream: &str, sequence: u64) -> Result<Option<Stored>, Error> {
        Ok(self.raw_at(stream, sequence).await?.map(Stored::from))
    }

    /// Removes all messages of a subject.
    pub async fn purge(&self, stream: &str, subject: &str) -> Result<(), Error> {
        let what = || format!("purge `{subject}`");
        let handle = self.jetstream.get_stream_no_info(stream).await.map_err(|e| Error::asked(what(), &e))?;
        let answer = handle.purge().filter(subject).await;
        answer.map(drop).map_err(|e| Error::asked(what(), &e))
    }

    /// Publishes outside any stream, once, without an answer.
    pub async fn send(&self, subject: &str, headers: &Headers, payload: Bytes) -> Result<(), Error> {
        let what = || format!("publish on `{subject}`");
        let headers = headers::to_nats(headers).map_err(|e| Error::request(what(), e))?;
        self.client
            .publish_with_headers(subject.to_owned(), headers, payload)
            .await
            .map_err(|e| Error::request(what(), e))
    }

    /// Waits until everything that was sent has reached the server.
    pub async fn flush(&self) -> Result<(), Error> {
        self.client.flush().await.map_err(|e| Error::request("flush", e))
    }
}

/// A message that a consumer delivered, or why it cannot be told where it was stored.
fn delivered(message: &jetstream::Message) -> Result<Stored, String> {
    let info = message.info().map_err(|error| error.to_string())?;
    Ok(Stored {
        sequence: info.stream_sequence,
        subject: message.subject.to_string(),
        headers: headers::from_nats(message.headers.as_ref()),
        payload: message.payload.clone(),
        time: nanos(info.published),
        marker: headers::is_marker(message.headers.as_ref(), &message.payload),
    })
}

fn nanos(time: time::OffsetDateTime) -> u64 {
    u64::try_from(time.unix_timestamp_nanos()).unwrap_or(0)
}
