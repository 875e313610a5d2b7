//! Checkpoints: how far a shard has come, for each handler.
//!
//! A checkpoint is one message: a version byte and a postcard document (<https://postcard.jamesmunns.com>).
//! The done events above the low mark are a Roaring bitmap in its portable format
//! (<https://github.com/RoaringBitmap/RoaringFormatSpec>), counted from the low mark. It also says how what belongs to its
//! events is [derived](super::derivation), so that no host goes on with other seeds and ids.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::attempt::Attempt;
use super::derivation;

/// 4: the checkpoint says by which claim its host owns the shard, and whether it has given the shard up.
const VERSION: u8 = 4;

/// Why bytes are not a checkpoint.
#[derive(Debug, Error)]
pub enum Error {
    /// Not even a version byte is there: no host writes such a message.
    #[error("checkpoint is empty")]
    Empty,
    /// A host wrote it that stores checkpoints in this other format: nothing of it is read, and this host cannot go on.
    #[error("checkpoint has version {0}; this host knows version {VERSION}: run the host that wrote it")]
    Version(u8),
    /// Its host derives seeds and ids by this other version of the rules: here, an event that runs again would differ.
    #[error(
        "checkpoint belongs to events whose seeds and ids are derived by version {0} of the rules; this host knows version {known}: run the host that wrote it",
        known = derivation::VERSION
    )]
    Derivation(u8),
    /// The format is known, but the bytes end early or make no sense. Holds the reason.
    #[error("checkpoint is damaged: {0}")]
    Damaged(String),
}

/// How far one handler has come in one shard.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// The stream that the sequences belong to.
    pub stream: String,
    /// The handler's key template: with another one, its events are in other shards.
    pub key: String,
    /// Everything below is done.
    pub low: u64,
    /// What is done above.
    pub done: RoaringTreemap,
    /// In the order of their positions.
    pub attempts: Vec<Attempt>,
    /// The sequences of requests that are done and not removed yet.
    pub replayed: RoaringTreemap,
}

/// How far a shard has come.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checkpoint {
    /// The host that wrote it: the owner.
    pub host: String,
    /// Drawn at random whenever a host makes the shard its own, by a checkpoint with a new one. After lost data a sequence
    /// may come round again, and with it the place that a commit expects: the claim does not, so whoever reads the
    /// checkpoint back knows whether the shard is still his.
    pub claim: u64,
    /// Whether its host has given the shard up: it is free, and whoever claims it need not wait for that host.
    pub released: bool,
    /// Counts the commits of that host, so that it recognises its own.
    pub commit: u64,
    /// How many shards the application has.
    pub shards: u16,
    /// When each stream was created, in nanoseconds since 1970: tells a recreated stream from the old one. By the stream's
    /// name; for a handler whose progress belongs to an earlier stream of that name, by [`earlier`](Self::earlier).
    pub streams: BTreeMap<String, u64>,
    /// By the handler's name.
    pub handlers: BTreeMap<String, Progress>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    derivation: u8,
    host: String,
    claim: u64,
    released: bool,
    commit: u64,
    shards: u16,
    streams: BTreeMap<String, u64>,
    handlers: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    name: String,
    stream: String,
    key: String,
    low: u64,
    done: Vec<u8>,
    attempts: Vec<Attempt>,
    replayed: Vec<u8>,
}

impl Checkpoint {
    /// The name under which `streams` has the stream that a handler's progress belongs to, where that is not the one that
    /// is read now. No stream has a name with a slash.
    pub fn earlier(stream: &str, handler: &str) -> String {
        format!("{stream}/{handler}")
    }

    /// When the stream was created that a handler's progress belongs to, if that is known.
    pub fn created(&self, handler: &str, stream: &str) -> Option<u64> {
        self.streams.get(&Self::earlier(stream, handler)).or_else(|| self.streams.get(stream)).copied()
    }

    /// The checkpoint as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let row = |(name, progress): (&String, &Progress)| Row {
            name: name.clone(),
            stream: progress.stream.clone(),
            key: progress.key.clone(),
            low: progress.low,
            done: encode_done(progress),
            attempts: progress.attempts.clone(),
            replayed: encode_bitmap(&progress.replayed),
        };
        let document = Document {
            derivation: derivation::VERSION,
            host: self.host.clone(),
            claim: self.claim,
            released: self.released,
            commit: self.commit,
            shards: self.shards,
            streams: self.streams.clone(),
            handlers: self.handlers.iter().map(row).collect(),
        };
        postcard::to_extend(&document, vec![VERSION]).expect("a Vec takes all that is written to it")
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (version, rest) = bytes.split_first().ok_or(Error::Empty)?;
        if *version != VERSION {
            return Err(Error::Version(*version));
        }
        let document: Document =
            postcard::from_bytes(rest).map_err(|error| Error::Damaged(error.to_string()))?;
        if document.derivation != derivation::VERSION {
            return Err(Error::Derivation(document.derivation));
        }
        let mut handlers = BTreeMap::new();
        for row in document.handlers {
            let done = decode_done(row.low, &row.done)?;
            let replayed = decode_bitmap(&row.replayed)?;
            let Row { stream, key, low, attempts, .. } = row;
            let progress = Progress { stream, key, low, done, attempts, replayed };
            handlers.insert(row.name, progress);
        }
        Ok(Checkpoint {
            host: document.host,
            claim: document.claim,
            released: document.released,
            commit: document.commit,
            shards: document.shards,
            streams: document.streams,
            handlers,
        })
    }
}

/// Offsets from the low mark: they are small, so one inner bitmap holds them in two bytes each or less.
fn encode_done(progress: &Progress) -> Vec<u8> {
    if progress.done.is_empty() {
        return Vec::new();
    }
    // Behind an event that is stuck there are many, and every commit writes them: they are appended, not looked up.
    let offsets = progress.done.iter().filter_map(|sequence| sequence.checked_sub(progress.low));
    let offsets = RoaringTreemap::from_sorted_iter(offsets).expect("a bitmap gives its values in order");
    encode_bitmap(&offsets)
}

fn decode_done(low: u64, bytes: &[u8]) -> Result<RoaringTreemap, Error> {
    Ok(decode_bitmap(bytes)?.iter().map(|offset| low.saturating_add(offset)).collect())
}

fn encode_bitmap(bitmap: &RoaringTreemap) -> Vec<u8> {
    if bitmap.is_empty() {
        return Vec::new();
    }
    let mut bytes = Vec::with_capacity(bitmap.serialized_size());
    bitmap.serialize_into(&mut bytes).expect("a Vec takes all that is written to it");
    bytes
}

fn decode_bitmap(bytes: &[u8]) -> Result<RoaringTreemap, Error> {
    if bytes.is_empty() {
        return Ok(RoaringTreemap::new());
    }
    RoaringTreemap::deserialize_from(bytes).map_err(|error| Error::Damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;
    use crate::verdict::CauseClass;

    fn checkpoint() -> Checkpoint {
        let progress = Progress {
            stream: "SHOP".into(),
            key: "{subject.2}".into(),
            low: 5_000_000_000,
            done: [5_000_000_001, 5_000_000_007, 5_000_100_000].into_iter().collect(),
            attempts: vec![Attempt {
                position: Position::Stream(5_000_000_000),
                attempts: 2,
                first: 3,
                due: 17,
                class: CauseClass::Trap,
                cause: "no".into(),
                times: vec![0, 9],
            }],
            replayed: [5_000_000_009].into_iter().collect(),
        };
        Checkpoint {
            host: "h1".into(),
            claim: u64::MAX,
            released: true,
            commit: 9,
            shards: 16,
            streams: [("SHOP".to_owned(), 3)].into(),
            handlers: [("credit".to_owned(), progress), ("idle".to_owned(), Progress::default())].into(),
        }
    }

    #[test]
    fn a_checkpoint_reads_back_as_it_was() {
        let checkpoint = checkpoint();
        assert_eq!(Checkpoint::decode(&checkpoint.encode()).unwrap(), checkpoint);
    }

    #[test]
    fn a_full_window_stays_small() {
        let mut checkpoint = checkpoint();
        let low = 5_000_000_000;
        checkpoint.handlers.get_mut("credit").unwrap().done = (low + 1..low + 60_000).collect();
        assert!(checkpoint.encode().len() < 10_000);
    }

    #[test]
    fn what_is_not_a_checkpoint_is_refused_and_never_panics() {
        assert!(matches!(Checkpoint::decode(&[]), Err(Error::Empty)));
        assert!(matches!(Checkpoint::decode(&[9, 1]), Err(Error::Version(9))));
        let mut other = checkpoint().encode();
        other[1] = derivation::VERSION + 1;
        let refused = Checkpoint::decode(&other);
        assert!(matches!(refused, Err(Error::Derivation(way)) if way == derivation::VERSION + 1));
        // What came before says so, and names the way out.
        let before = Checkpoint::decode(&[3, 0]).unwrap_err().to_string();
        assert!(before.contains("version 3") && before.contains("run the host that wrote it"), "{before}");
        let bytes = checkpoint().encode();
        for cut in 1..bytes.len() {
            assert!(Checkpoint::decode(&bytes[..cut]).is_err(), "cut at {cut} passed");
        }
    }
}
