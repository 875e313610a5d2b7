//! The application's stream: created if it is missing, refused with the difference if it is not what the
//! application needs. An existing stream is never changed.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode, context::GetStreamErrorKind};

use super::{Broker, Error, nanos};
use crate::values::names::Names;
use crate::values::settings::StreamSettings;

/// What is known of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// When it was created, in nanoseconds since 1970: a stream made anew has another one.
    pub created: u64,
    pub first: u64,
    pub last: u64,
    pub messages: u64,
    pub subjects: Vec<String>,
    pub max_age: Duration,
    /// Whether the stream is kept in files.
    pub file: bool,
}

fn wanted(settings: &StreamSettings, names: &Names) -> Config {
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

/// How an existing stream differs from what the application needs; empty if it will do.
pub fn difference(settings: &StreamSettings, names: &Names, found: &StreamFacts) -> Vec<String> {
    let want = wanted(settings, names);
    let mut differences = Vec::new();
    let mut differ = |what: &str, is: String, should: String| {
        if is != should {
            differences.push(format!("`{what}` is {is}, should be {should}"));
        }
    };
    let sorted = |subjects: &[String]| {
        let mut subjects = subjects.to_vec();
        subjects.sort_unstable();
        format!("{subjects:?}")
    };
    let found = &found.0;
    differ("subjects", sorted(&found.subjects), sorted(&want.subjects));
    differ("max_age", age(found.max_age), age(want.max_age));
    differ("num_replicas", found.num_replicas.to_string(), want.num_replicas.to_string());
    differ("retention", format!("{:?}", found.retention), format!("{:?}", want.retention));
    // 0 and -1 both mean that there is no bound.
    differ("max_msgs_per_subject", found.max_messages_per_subject.max(0).to_string(), "0".to_owned());
    differ("allow_rollup_hdrs", found.allow_rollup.to_string(), true.to_string());
    differ("allow_direct", found.allow_direct.to_string(), true.to_string());
    differ("allow_msg_ttl", found.allow_message_ttl.to_string(), true.to_string());
    differ("allow_atomic", found.allow_atomic_publish.to_string(), true.to_string());
    differ("allow_msg_schedules", found.allow_message_schedules.to_string(), true.to_string());
    differ("deny_purge", found.deny_purge.to_string(), false.to_string());
    differ("sealed", found.sealed.to_string(), false.to_string());
    // A stream of a bounded size makes room by removing its oldest messages: checkpoints and state.
    differ("max_bytes", found.max_bytes.max(0).to_string(), "0".to_owned());
    differ("max_msg_size", found.max_message_size.max(0).to_string(), "0".to_owned());
    differ("max_msgs", found.max_messages.max(0).to_string(), "0".to_owned());
    differences
}

fn age(age: Duration) -> String {
    if age.is_zero() { "unlimited".to_owned() } else { humantime::format_duration(age).to_string() }
}

/// The configuration of a stream that was found on the server.
#[derive(Debug, Clone)]
pub struct StreamFacts(Config);

impl Broker {
    /// Creates the application's stream or checks the one that is there.
    pub async fn provision(&self, settings: &StreamSettings, names: &Names) -> Result<StreamState, Error> {
        let what = || format!("create stream `{}`", settings.name);
        match self.stream_facts(&settings.name).await? {
            Some((facts, state)) => {
                let differences = difference(settings, names, &facts);
                if differences.is_empty() {
                    return Ok(state);
                }
                Err(Error::Differs { stream: settings.name.to_string(), differences })
            }
            None => {
                let created = self.jetstream.create_stream(wanted(settings, names)).await;
                let created = created.map_err(|e| Error::asked(what(), &e))?;
                tracing::info!(stream = &*settings.name, "stream is created");
                Ok(state(created.cached_info()))
            }
        }
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
        max_age: info.config.max_age,
        file: info.config.storage == StorageType::File,
    }
}
