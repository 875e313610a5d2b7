//! Objects: components that lie in a JetStream object store.
//!
//! Promises that whoever reads an object gets the bytes that its digest says, or an error. Refuses to know what a
//! component is. Links from one object to another are not followed: nobody could say what such a name holds.
//!
//! Source: ADR-20 of NATS, "JetStream based Object Stores".

mod push;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::object_store::ObjectInfo;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use futures::TryStreamExt;
use sha2::{Digest, Sha256};

use super::listing::{Begin, Wanted};
use super::observe::StreamTail;
use super::{Broker, Error, Part};

/// Chunks that are asked for at once: no more than that lies in memory beyond what was allowed.
const PAGE: usize = 16;

/// What an object's digest begins with in the store.
const DIGEST_PREFIX: &str = "SHA-256=";

/// Names of an object's metadata.
const SIGNATURE: &str = "heddle-signature";
const VERSION: &str = "heddle-version";

/// What is known of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// The name within the bucket, which may be any text.
    pub name: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// In bytes.
    pub size: u64,
    /// The text of a minisign signature.
    pub signature: Option<String>,
    /// What the component says of its version.
    pub version: Option<String>,
}

/// What is to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewObject<'a> {
    /// The name within the bucket. An existing object of this name is replaced once the new one is stored whole.
    pub name: &'a str,
    /// The component's bytes, which are stored as they are: nothing is checked here.
    pub wasm: &'a [u8],
    /// The text of a minisign signature.
    pub signature: Option<&'a str>,
    /// What the component says of its version.
    pub version: Option<&'a str>,
}

/// The objects of a bucket, and their changes as they come.
pub struct ObjectWatch {
    tail: StreamTail,
}

impl ObjectWatch {
    /// The next object: first each that is there, then each that is stored. An object that is removed is not told.
    ///
    /// It never ends quietly: when it cannot go on that is an error, and a new watch begins with all that is there.
    pub async fn next(&mut self) -> Result<ObjectFacts, Error> {
        loop {
            let message = self.tail.next_without_gap().await?;
            match read_info(&message.payload) {
                Ok(Some(info)) => return Ok(info.facts),
                Ok(None) => {}
                // Whoever can write into the bucket could stop the watch otherwise.
                Err(cause) => tracing::warn!(subject = message.subject, cause, "skipping object"),
            }
        }
    }
}

/// Where the bytes of an object are, beside what is known of it.
struct Info {
    nuid: String,
    facts: ObjectFacts,
}

fn stream_of(bucket: &str) -> String {
    format!("OBJ_{bucket}")
}

/// The subject under which an object's bytes lie.
fn chunks_of(bucket: &str, nuid: &str) -> String {
    format!("$O.{bucket}.C.{nuid}")
}

/// The subject under which lies what is known of an object.
fn info_of(bucket: &str, name: &str) -> String {
    format!("$O.{bucket}.M.{}", URL_SAFE.encode(name))
}

/// What the store says of an object; none if it was removed.
fn read_info(payload: &[u8]) -> Result<Option<Info>, String> {
    let info: ObjectInfo = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    if info.deleted {
        return Ok(None);
    }
    facts_of(info).map(Some)
}

fn facts_of(mut info: ObjectInfo) -> Result<Info, String> {
    if info.options.is_some_and(|options| options.link.is_some()) {
        return Err(format!("`{}` is a link to another object, which is not followed", info.name));
    }
    let digest = info.digest.as_deref().and_then(hex_digest);
    let digest = digest.ok_or_else(|| format!("`{}` has no SHA-256 digest", info.name))?;
    let facts = ObjectFacts {
        name: info.name,
        digest,
        size: info.size as u64,
        signature: info.metadata.remove(SIGNATURE),
        version: info.metadata.remove(VERSION),
    };
    Ok(Info { nuid: info.nuid, facts })
}

/// The store's digest as the rest of Heddle writes it.
fn hex_digest(stored: &str) -> Option<String> {
    let digest = URL_SAFE.decode(stored.strip_prefix(DIGEST_PREFIX)?).ok()?;
    (digest.len() == 32).then(|| sha256_text(&digest))
}

fn sha256_text(digest: &[u8]) -> String {
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

impl Broker {
    /// What is known of an object; none if it or its bucket does not exist.
    pub async fn object(&self, bucket: &str, name: &str) -> Result<Option<ObjectFacts>, Error> {
        Ok(self.object_info(bucket, name).await?.map(|info| info.facts))
    }

    async fn object_info(&self, bucket: &str, name: &str) -> Result<Option<Info>, Error> {
        let stream = stream_of(bucket);
        if self.stream_facts(&stream).await?.is_none() {
            return Ok(None);
        }
        // Read from the leader: a follower may not have heard of an object that a watch has just told.
        let Some(message) = self.last(&stream, &info_of(bucket, name)).await? else { return Ok(None) };
        read_info(&message.payload)
            .map_err(|cause| Error::request(format!("read object `{bucket}/{name}`"), cause))
    }

    /// The bytes of an object, which are those that its digest says.
    pub async fn read_object(&self, bucket: &str, name: &str, max_bytes: u64) -> Result<Bytes, Error> {
        let object = || format!("{bucket}/{name}");
        let too_big = |size| Error::ObjectTooBig { object: object(), size, max: max_bytes };
        let info = self.object_info(bucket, name).await?;
        let Info { nuid, facts } = info.ok_or_else(|| Error::NoObject(object()))?;
        if facts.size > max_bytes {
            return Err(too_big(facts.size));
        }
        let chunks = self.list(Wanted {
            stream: stream_of(bucket),
            filter: Some(chunks_of(bucket, &nuid)),
            begin: Begin::At(1),
            part: Part::Whole,
            page: PAGE,
        });
        // The sizes that were announced may be wrong.
        let room = usize::try_from(facts.size).unwrap_or_default();
        let begin = (Vec::with_capacity(room), Sha256::new());
        let read = chunks.into_rows().try_fold(begin, |(mut wasm, mut hasher), chunk| {
            wasm.extend_from_slice(&chunk.payload);
            // Chunk by chunk: at once, it would hold up the thread for as long as the object is large.
            hasher.update(&chunk.payload);
            let size = wasm.len() as u64;
            let read = if size > max_bytes { Err(too_big(size)) } else { Ok((wasm, hasher)) };
            std::future::ready(read)
        });
        let (wasm, hasher) = read.await?;
        if sha256_text(&hasher.finalize()) != facts.digest {
            return Err(Error::ObjectChanged(object()));
        }
        Ok(wasm.into())
    }

    /// Watches the objects of a bucket, which must exist.
    pub async fn watch_objects(&self, bucket: &str) -> Result<ObjectWatch, Error> {
        let stream = stream_of(bucket);
        if self.stream_facts(&stream).await?.is_none() {
            return Err(Error::NoBucket(bucket.to_owned()));
        }
        let filters = [format!("$O.{bucket}.M.>")];
        let tail = self.follow(&stream, &filters, DeliverPolicy::LastPerSubject).await?;
        Ok(ObjectWatch { tail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stores_digest_becomes_hexadecimal() {
        let text = format!("{DIGEST_PREFIX}{}", URL_SAFE.encode(Sha256::digest(b"abc")));
        let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex_digest(&text).as_deref(), Some(expected));
        for wrong in ["", "SHA-256=", "SHA-256=YWJj", "SHA-512=YWJj", "SHA-256=?"] {
            assert_eq!(hex_digest(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn links_and_objects_without_a_digest_are_faults_and_removed_ones_are_not() {
        let read = |more: &str| {
            let text = format!(r#"{{"name":"n","bucket":"b","nuid":"x","size":1,"chunks":1{more}}}"#);
            read_info(text.as_bytes()).map(|info| info.map(|info| info.facts.name))
        };
        let digest = format!(r#","digest":"SHA-256={}""#, URL_SAFE.encode([0; 32]));
        assert_eq!(read(&digest), Ok(Some("n".to_owned())));
        assert_eq!(read(r#","deleted":true"#), Ok(None));
        assert!(read("").is_err_and(|cause| cause.contains("no SHA-256 digest")));
        let link = r#","options":{"link":{"bucket":"b","name":"m"}}"#;
        assert!(read(link).is_err_and(|cause| cause.contains("is a link")));
    }
}
