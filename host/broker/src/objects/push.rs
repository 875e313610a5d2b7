//! Storing objects: chunk by chunk, and what is known of them last.
//!
//! Promises that a name holds what it held before until all of the new object is stored, and that what was stored of an
//! object that never came to be does not stay: it is removed at once where that is known, and by a later push otherwise.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_ROLLUP;
use async_nats::jetstream::object_store::{Config, ObjectInfo, ObjectOptions};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use sha2::{Digest, Sha256};

use super::{
    DIGEST_PREFIX, NewObject, ObjectFacts, SIGNATURE, VERSION, chunks_of, facts_of, info_of, stream_of,
};
use crate::listing::{Begin, PAGE, Wanted};
use crate::{Broker, Error, Part, Stored};
use heddle_values::errors::chain;

/// The size of a chunk, in bytes, unless the server takes less: what the object store's other clients use.
const CHUNK: usize = 128 << 10;

/// Chunks that are under way at once.
const UNDER_WAY: usize = 8;

/// Chunks that belong to no object are of a push that has ended, if none has come for so long.
const ABANDONED: Duration = Duration::from_secs(3600);

/// What is stored of an object's bytes.
struct Chunks {
    count: usize,
    digest: String,
}

impl Broker {
    /// Stores an object, in a bucket that is made with `replicas` copies if it is missing.
    ///
    /// What is known of an object is written last: until then, the name holds what it held before.
    pub async fn put_object(
        &self,
        bucket: &str,
        replicas: usize,
        object: NewObject<'_>,
    ) -> Result<ObjectFacts, Error> {
        self.make_bucket(bucket, replicas).await?;
        // What cannot be read is replaced, as if it were not there.
        let before = self.object_info(bucket, object.name).await.ok().flatten();
        let nuid = format!("{:032x}", rand::random::<u128>());
        let subject = chunks_of(bucket, &nuid);
        let chunks = match self.put_chunks(&subject, object.wasm).await {
            Ok(chunks) => chunks,
            Err(cause) => {
                // If this fails too, a later push removes them.
                self.purge(&stream_of(bucket), &subject).await.ok();
                return Err(Error::request(format!("store object `{bucket}/{}`", object.name), cause));
            }
        };
        // Whether it was stored is not known where this fails: then its chunks stay until they are abandoned.
        let facts = self.put_info(bucket, nuid, &object, chunks).await?;
        // The object is stored: what cannot be cleared away now does not undo that.
        if let Some(before) = before
            && let Err(error) = self.purge(&stream_of(bucket), &chunks_of(bucket, &before.nuid)).await
        {
            tracing::warn!(%error, bucket, "chunks of the object before are not removed; a later push does that");
        }
        if let Err(error) = self.remove_abandoned(bucket, object.name).await {
            tracing::warn!(%error, bucket, "chunks of pushes that failed are not removed; the next push tries again");
        }
        Ok(facts)
    }

    async fn make_bucket(&self, bucket: &str, replicas: usize) -> Result<(), Error> {
        if self.stream_facts(&stream_of(bucket)).await?.is_some() {
            return Ok(());
        }
        let config = Config {
            bucket: bucket.to_owned(),
            description: Some("plugins of Heddle".to_owned()),
            num_replicas: replicas,
            ..Config::default()
        };
        // Of two who make it at once, the second is told that it is there as it wants it.
        let made = self.jetstream.create_object_store(config).await;
        made.map_err(|e| Error::asked(format!("create object store `{bucket}`"), &e))?;
        tracing::info!(bucket, "created the object store");
        Ok(())
    }

    async fn put_chunks(&self, subject: &str, wasm: &[u8]) -> Result<Chunks, String> {
        let (mut hasher, mut count, mut outcome) = (Sha256::new(), 0, Ok(()));
        let mut under_way = FuturesOrdered::new();
        for chunk in wasm.chunks(self.chunk_size()) {
            if under_way.len() >= UNDER_WAY
                && let Some(stored) = under_way.next().await
            {
                outcome = stored;
            }
            if outcome.is_err() {
                break;
            }
            hasher.update(chunk);
            count += 1;
            match self.jetstream.publish(subject.to_owned(), Bytes::copy_from_slice(chunk)).await {
                Ok(sent) => {
                    under_way.push_back(async { sent.await.map(drop).map_err(|error| chain(&error)) });
                }
                Err(error) => outcome = Err(chain(&error)),
            }
        }
        // After a failure too: what is under way would be stored behind whoever removes the others.
        while let Some(stored) = under_way.next().await {
            outcome = outcome.and(stored);
        }
        outcome?;
        Ok(Chunks { count, digest: format!("{DIGEST_PREFIX}{}", URL_SAFE.encode(hasher.finalize())) })
    }

    fn chunk_size(&self) -> usize {
        CHUNK.min(self.max_payload()).max(1)
    }

    async fn put_info(
        &self,
        bucket: &str,
        nuid: String,
        object: &NewObject<'_>,
        chunks: Chunks,
    ) -> Result<ObjectFacts, Error> {
        let failed =
            |cause: String| Error::request(format!("store object `{bucket}/{}`", object.name), cause);
        let attached = [(SIGNATURE, object.signature), (VERSION, object.version)];
        let attached =
            attached.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.to_owned())));
        let info = ObjectInfo {
            name: object.name.to_owned(),
            description: None,
            metadata: HashMap::from_iter(attached),
            headers: None,
            options: Some(ObjectOptions { link: None, max_chunk_size: Some(self.chunk_size()) }),
            bucket: bucket.to_owned(),
            nuid,
            size: object.wasm.len(),
            chunks: chunks.count,
            // Readers take the time of the message.
            modified: None,
            digest: Some(chunks.digest),
            deleted: false,
        };
        let payload = serde_json::to_vec(&info).expect("what is known of an object is plain data");
        let mut headers = HeaderMap::new();
        headers.insert(NATS_ROLLUP, "sub");
        let subject = info_of(bucket, object.name);
        let sent = self.jetstream.publish_with_headers(subject, headers, payload.into()).await;
        sent.map_err(|error| failed(chain(&error)))?.await.map_err(|error| failed(chain(&error)))?;
        facts_of(info).map(|info| info.facts).map_err(failed)
    }

    /// Removes chunks that belong to no object and to no push that goes on: what a client that was killed has left. The
    /// object that was stored just now says what time it is on the server.
    async fn remove_abandoned(&self, bucket: &str, stored: &str) -> Result<(), Error> {
        let stream = stream_of(bucket);
        let Some(now) = self.last(&stream, &info_of(bucket, stored)).await?.map(|info| info.time) else {
            return Ok(());
        };
        // Before the objects: one that is stored in between has its chunks in neither list, or in both.
        let chunks = self.last_chunks(&stream, &chunks_of(bucket, ">")).await?;
        let objects = self.last_of_each(&stream, &format!("$O.{bucket}.M.>")).await?;
        for subject in abandoned(now, &chunks, &objects, bucket) {
            tracing::info!(bucket, subject, "chunks of a push that failed are removed");
            self.purge(&stream, subject).await?;
        }
        Ok(())
    }

    /// When the last chunk came on each subject, without its bytes.
    async fn last_chunks(&self, stream: &str, filter: &str) -> Result<HashMap<String, u64>, Error> {
        let (stream, filter) = (stream.to_owned(), Some(filter.to_owned()));
        let wanted = Wanted { stream, filter, begin: Begin::LastOfEach, part: Part::Headers, page: PAGE };
        let rows = self.list(wanted).collect().await?;
        // A chunk that comes meanwhile follows the one before it on its subject, and counts.
        Ok(rows.into_iter().map(|row| (row.subject, row.time)).collect())
    }
}

/// The subjects of chunks that belong to no object, and to which none has come for long. `chunks` says when the last one of
/// each subject came, in nanoseconds since 1970 as `now`.
fn abandoned<'a>(
    now: u64,
    chunks: &'a HashMap<String, u64>,
    objects: &[Stored],
    bucket: &str,
) -> Vec<&'a str> {
    let infos = objects.iter().filter(|info| !info.marker);
    let infos = infos.map(|info| serde_json::from_slice::<ObjectInfo>(&info.payload));
    // Whoever writes what cannot be read here may have chunks all the same.
    let Ok(infos) = infos.collect::<Result<Vec<_>, _>>() else { return Vec::new() };
    let owned: HashSet<String> = infos.iter().map(|info| chunks_of(bucket, &info.nuid)).collect();
    let old = |last: u64| Duration::from_nanos(now.saturating_sub(last)) >= ABANDONED;
    let lost = chunks.iter().filter(|(subject, last)| old(**last) && !owned.contains(*subject));
    lost.map(|(subject, _)| subject.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_values::event::Headers;

    fn stored(subject: &str, hours: u64, payload: &str) -> Stored {
        Stored {
            sequence: 1,
            subject: subject.to_owned(),
            headers: Headers::default(),
            payload: payload.to_owned().into(),
            time: hours * 3_600_000_000_000,
            marker: false,
        }
    }

    #[test]
    fn chunks_are_abandoned_that_belong_to_no_object_and_to_no_push_that_goes_on() {
        let chunks = [("own", 1), ("lost", 1), ("lost-too", 4), ("going-on", 5)];
        let chunks = chunks.map(|(nuid, hours)| (chunks_of("b", nuid), hours * 3_600_000_000_000));
        let chunks = HashMap::from(chunks);
        let own = stored("$O.b.M.bg==", 1, r#"{"name":"n","bucket":"b","nuid":"own","size":1,"chunks":1}"#);
        let now = 5 * 3_600_000_000_000;
        let mut found = abandoned(now, &chunks, std::slice::from_ref(&own), "b");
        found.sort_unstable();
        assert_eq!(found, ["$O.b.C.lost", "$O.b.C.lost-too"]);
        let unreadable = stored("$O.b.M.bQ==", 1, "noise");
        assert!(abandoned(now, &chunks, &[own, unreadable], "b").is_empty());
    }
}
