//! The streams of an application: its own is created if it is missing, and all are looked up to be judged. An existing
//! stream is never changed.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode, context::GetStreamErrorKind};

use super::suitability::{self, Reading, StreamFacts, Suitability};
use super::{Broker, Error, nanos};
use heddle_values::names::Names;
use heddle_values::settings::{Settings, StreamSettings};

/// What is known of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamState {
    /// When it was created, in nanoseconds since 1970: a recreated stream has another one.
    pub created: u64,
    /// Sequence of the first message that is still stored; in an empty stream it is that of no message.
    pub first: u64,
    /// Sequence of the last message ever stored, even if it was removed since; the next message gets the one after it.
    pub last: u64,
    /// How many messages the stream holds now: events, markers and Heddle's own.
    pub messages: u64,
    /// The subjects that the stream stores, as configured: they may have wildcards. Empty for a mirror.
    pub subjects: Vec<String>,
    /// How much the messages take, in bytes.
    pub bytes: u64,
    /// Zero: for ever.
    pub max_age: Duration,
    /// How many messages are kept. None: all.
    pub max_messages: Option<u64>,
    /// How much is kept, in bytes. None: all.
    pub max_bytes: Option<u64>,
    /// Whether the stream is kept in files.
    pub file: bool,
    /// Which server of a cluster leads it and said all this.
    pub leader: Option<String>,
}

pub(super) fn wanted(settings: &StreamSettings, names: &Names) -> Config {
    let mut subjects: Vec<String> = settings.subjects.iter().map(ToString::to_string).collect();
    subjects.extend(names.stream_subjects());
    Config {
        name: settings.name.to_string(),
        subjects,
        description: Some("events, state and progress of a Heddle application".to_owned()),
        retention: RetentionPolicy::Limits,
        // The server allows schedules with this policy only. Without size limits it never comes into play.
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        max_age: settings.max_age.unwrap_or_default(),
        num_replicas: settings.replicas,
        allow_rollup: true,
        allow_direct: true,
        allow_message_ttl: true,
        allow_atomic_publish: true,
        allow_message_schedules: true,
        ..Config::default()
    }
}

/// What was found of a stream that the application reads.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// The stream's name: the application's own stream, or one that a handler reads.
    pub stream: String,
    /// None: it does not exist.
    pub state: Option<StreamState>,
    /// How the settings were judged: without faults and differences if the stream does not exist.
    pub suitability: Suitability,
}

impl Broker {
    /// Sees to it that every stream that the application reads suits it, and then creates its own if that is missing.
    ///
    /// # Errors
    /// Those of [`suitable`](Self::suitable); or the stream cannot be created.
    pub async fn provision(&self, settings: &Settings, names: &Names) -> Result<(), Error> {
        let own = &settings.stream;
        self.suitable(settings, names).await?;
        if self.stream_facts(&own.name).await?.is_none() {
            let what = || format!("create stream `{}`", own.name);
            let created = self.jetstream.create_stream(wanted(own, names)).await;
            created.map_err(|e| Error::asked(what(), &e))?;
            tracing::info!(stream = &*own.name, "created the stream");
        }
        Ok(())
    }

    /// Sees to it that the settings of every stream that the application reads suit it. What differs without harm is
    /// logged. A stream that does not exist is no fault here.
    ///
    /// # Errors
    /// The server cannot be asked, or there are settings under which the application cannot work: all of them are named
    /// at once.
    pub async fn suitable(&self, settings: &Settings, names: &Names) -> Result<(), Error> {
        let mut faults = Vec::new();
        for Inspected { stream, suitability, .. } in self.inspect(settings, names).await? {
            for difference in suitability.differences {
                tracing::warn!(stream, difference, "stream has an unusual setting");
            }
            faults.extend(suitability.faults.into_iter().map(|fault| (stream.clone(), fault)));
        }
        if faults.is_empty() { Ok(()) } else { Err(Error::Unsuitable(faults)) }
    }

    /// Looks up and judges the application's own stream and all others that it reads, the own one first.
    pub async fn inspect(&self, settings: &Settings, names: &Names) -> Result<Vec<Inspected>, Error> {
        let own = &*settings.stream.name;
        let foreign = settings.handlers.iter().map(|handler| &*handler.stream).filter(|name| *name != own);
        let foreign: BTreeSet<&str> = foreign.collect();
        let mut found = Vec::new();
        for stream in std::iter::once(own).chain(foreign) {
            found.push((stream, self.stream_facts(stream).await?));
        }
        let subjects = |(name, facts): &(&'_ str, Option<(StreamFacts, StreamState)>)| {
            let missing = || if *name == own { wanted(&settings.stream, names).subjects } else { Vec::new() };
            let subjects = facts.as_ref().map(|(_, state)| state.subjects.clone());
            (name.to_string(), subjects.unwrap_or_else(missing))
        };
        let subjects: Vec<(String, Vec<String>)> = found.iter().map(subjects).collect();
        let judge = |(stream, facts): (&str, Option<(StreamFacts, StreamState)>)| {
            let handlers = settings.handlers.iter().filter(|handler| *handler.stream == *stream).count();
            let reading = Reading { stream, names, handlers, max_payload: self.max_payload() };
            let Some((facts, state)) = facts else {
                return Inspected {
                    stream: stream.to_owned(),
                    state: None,
                    suitability: Suitability::default(),
                };
            };
            let others = subjects.iter().filter(|(name, _)| *name != stream);
            let others: Vec<(&str, &[String])> = others.map(|(name, of)| (&**name, &**of)).collect();
            let mut suitability = match stream == own {
                true => suitability::own(&settings.stream, reading, &facts),
                false => suitability::foreign(reading, &facts),
            };
            suitability.add(suitability::republished(reading, &facts, stream == own, &others));
            suitability.faults.extend(suitability::sequences(stream, state.last));
            suitability.faults.extend(suitability::inboxes(stream, &facts, &settings.nats.inbox_prefix));
            Inspected { stream: stream.to_owned(), state: Some(state), suitability }
        };
        Ok(found.into_iter().map(judge).collect())
    }

    /// What is known of a stream; none if it does not exist.
    pub async fn stream_facts(&self, name: &str) -> Result<Option<(StreamFacts, StreamState)>, Error> {
        let look = |jetstream: Context| async move {
            match jetstream.get_stream(name).await {
                Ok(stream) => {
                    let info = stream.cached_info();
                    Ok(Some((StreamFacts(info.config.clone()), state(info))))
                }
                Err(error) => match error.kind() {
                    GetStreamErrorKind::JetStream(cause)
                        if cause.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                    {
                        Ok(None)
                    }
                    _ => Err(Error::asked(format!("look up stream `{name}`"), &error)),
                },
            }
        };
        self.ask(look).await
    }

    /// What is known of a stream that must exist.
    pub async fn stream_state(&self, name: &str) -> Result<StreamState, Error> {
        let facts = self.stream_facts(name).await?;
        facts.map(|(_, state)| state).ok_or_else(|| Error::NoStream(name.to_owned()))
    }
}

fn state(info: &async_nats::jetstream::stream::Info) -> StreamState {
    StreamState {
        created: nanos(info.created),
        first: info.state.first_sequence,
        last: info.state.last_sequence,
        messages: info.state.messages,
        subjects: info.config.subjects.clone(),
        bytes: info.state.bytes,
        max_age: info.config.max_age,
        max_messages: u64::try_from(info.config.max_messages).ok().filter(|bound| *bound > 0),
        max_bytes: u64::try_from(info.config.max_bytes).ok().filter(|bound| *bound > 0),
        file: info.config.storage == StorageType::File,
        leader: info.cluster.as_ref().and_then(|cluster| cluster.leader.clone()),
    }
}
