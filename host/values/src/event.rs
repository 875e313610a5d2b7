//! Events: messages of a stream, as handlers see them.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::position::Position;

/// Headers in the order of their names; values of one name in the order in which they were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    pairs: Vec<(Cow<'static, str>, Box<str>)>,
    /// Rare: nearly all headers can be sent again as they are.
    block: Option<Arc<Block>>,
}

/// The bytes of headers that cannot be sent again as headers.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    bytes: Bytes,
    /// Why they cannot be read; none: they can.
    fault: Option<Box<str>>,
}

impl Headers {
    /// Takes name and value pairs as they come.
    pub fn from_pairs<N: Into<Cow<'static, str>>, V: Into<Box<str>>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Headers { pairs, block: None }
    }

    /// Adds a header at the end.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Box<str>>) {
        self.pairs.push((name.into(), value.into()));
    }

    /// Adds those of `others` at the end.
    pub fn extend(&mut self, others: &Headers) {
        self.pairs.extend(others.pairs.iter().cloned());
    }

    /// With the bytes that they were read from, and why not all of these could be read.
    pub fn with_block(self, bytes: Bytes, fault: Option<Box<str>>) -> Self {
        Headers { block: Some(Arc::new(Block { bytes, fault })), ..self }
    }

    /// The bytes that they were read from, if they cannot be sent again as they are.
    pub fn block(&self) -> Option<&Bytes> {
        self.block.as_ref().map(|block| &block.bytes)
    }

    /// Why they cannot be read: then these are only a part of what was sent.
    pub fn fault(&self) -> Option<&str> {
        self.block.as_ref()?.fault.as_deref()
    }

    /// Drops what cannot be read.
    pub fn drop_fault(&mut self) {
        if self.fault().is_some() {
            self.block = None;
        }
    }

    /// All pairs. Names that are known when the program is built are borrowed.
    pub fn pairs(&self) -> &[(Cow<'static, str>, Box<str>)] {
        &self.pairs
    }

    /// The first value of `name`, letter case included.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, _)| **n == *name).map(|(_, value)| &**value)
    }

    /// All pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty() && self.block.is_none()
    }

    /// What the pairs take on the wire, in bytes: names, values and separators.
    pub fn size(&self) -> usize {
        self.pairs.iter().map(|(name, value)| name.len() + value.len() + 4).sum()
    }
}

/// What stands in a subject for each byte that is not UTF-8: the server tells such a subject in no other way.
pub const REPLACEMENT: char = '\u{fffd}';

/// Whether a subject is not the one that was sent, but what the server tells of it. A subject that really holds U+FFFD
/// cannot be told from one.
pub fn is_lossy(subject: &str) -> bool {
    !subject.is_ascii() && subject.contains(REPLACEMENT)
}

/// How an event comes to its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// From its stream.
    #[default]
    Stream,
    /// From a dead letter that is replayed.
    Replay(Replay),
    /// It was held back while its key was held. Where it was held back, as a sequence of the application's stream.
    Held(u64),
}

/// A request to replay a dead letter. Sequences are those of the application's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replay {
    /// The request's own sequence.
    pub request: u64,
    /// The dead letter's; 0: there is none, only a key to be released.
    pub dead_letter: u64,
    /// How often the event was replayed, this time included.
    pub times: u32,
    /// The event is not run: its key is released.
    pub release: bool,
}

/// One event. What it says of its stream is the same whatever way it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The stream's name.
    pub stream: Arc<str>,
    /// The sequence in the stream, from 1.
    pub sequence: u64,
    /// As the server tells it, see [`is_lossy`]; empty where only a key is to be released.
    pub subject: Box<str>,
    /// When the stream stored the event, in nanoseconds since 1970.
    pub time: u64,
    /// The publisher's, without the server's own; only a part of them if they have a [`fault`](Headers::fault).
    pub headers: Headers,
    /// The bytes as published, or as an operator edited them for a replay.
    pub payload: Bytes,
    /// By which way it came this time; part of its [`position`](Self::position).
    pub source: Source,
}

impl Event {
    /// What stands in a lane for a request to release its key.
    pub fn release(stream: Arc<str>, replay: Replay) -> Self {
        Event {
            stream,
            sequence: replay.request,
            subject: "".into(),
            time: 0,
            headers: Headers::default(),
            payload: Bytes::new(),
            source: Source::Replay(replay),
        }
    }

    /// What tells the event from all others of its handler that are under way.
    pub fn position(&self) -> Position {
        match self.source {
            Source::Stream => Position::Stream(self.sequence),
            Source::Replay(replay) => Position::Replay(replay.request),
            Source::Held(at) => Position::Held(at),
        }
    }

    /// The request that replays the event, if there is one.
    pub fn replay(&self) -> Option<Replay> {
        match self.source {
            Source::Replay(replay) => Some(replay),
            _ => None,
        }
    }

    /// `<stream>/<sequence>`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.stream, self.sequence)
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// About how much memory the event holds, in bytes.
    pub fn weight(&self) -> usize {
        let block = self.headers.block().map_or(0, Bytes::len);
        size_of::<Event>() + self.subject.len() + self.headers.size() + block + self.payload.len()
    }
}
