//! Whether the settings of a stream let an application work with it. Pure: judges what was found and changes nothing.
//!
//! Promises that everything that cannot work is named at once, each with its value, the value that is needed, why, and the
//! way out. What works but is not what `heddle.toml` says is a difference and never a fault: an operator may well keep
//! events longer, or on more servers, than the file asks for.

mod limits;
mod republish;

use std::fmt;
use std::time::Duration;

use async_nats::jetstream::stream::{
    Config, ConsumerLimits, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType,
};

use super::consumer::INACTIVE;
use heddle_values::names::Names;
use heddle_values::settings::StreamSettings;
use heddle_values::subject::Pattern;

pub(super) use limits::{inboxes, sequences};
pub(super) use republish::republished;

/// Consumers that the application's own stream has at the most, besides the cursors: requests, commands, and the lists of
/// the command line, which the server keeps for half a minute.
const OWN_CONSUMERS: usize = 64;

/// Consumers that a stream of others has at the most, besides the cursors.
const FOREIGN_CONSUMERS: usize = 8;

/// Cursors of a handler at the most: its own, a shared one, and those of before a reload that are on their way out.
const CURSORS: usize = 4;

/// The configuration of a stream that was found on the server.
#[derive(Debug, Clone)]
pub struct StreamFacts(pub(super) Config);

/// A setting under which the application cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// As the server calls it.
    pub setting: &'static str,
    /// The value that was found, as text.
    pub is: String,
    /// The value, or the range of values, with which the application works.
    pub needed: String,
    /// What would go wrong with the value as it is: a clause without a full stop.
    pub why: String,
    /// What an operator can do, as a clause: a command of `nats`, another setting, or how to replace the stream.
    pub way_out: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { setting, is, needed, why, way_out } = self;
        write!(f, "`{setting}` is {is}, should be {needed}: {why}; {way_out}")
    }
}

/// What follows from the settings of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suitability {
    /// What cannot work.
    pub faults: Vec<Fault>,
    /// What works and should be known.
    pub differences: Vec<String>,
}

impl Suitability {
    /// What else follows.
    pub(super) fn add(&mut self, other: Suitability) {
        self.faults.extend(other.faults);
        self.differences.extend(other.differences);
    }
}

/// What an application wants of a stream that it reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub stream: &'a str,
    pub names: &'a Names,
    /// How many handlers read it.
    pub handlers: usize,
    /// The largest message that the server accepts, in bytes.
    pub max_payload: usize,
}

/// What is wrong with a setting, before it is known how to fix it.
struct Wrong {
    setting: &'static str,
    is: String,
    needed: &'static str,
    why: &'static str,
}

impl Wrong {
    fn new(setting: &'static str, is: impl fmt::Display, needed: &'static str, why: &'static str) -> Self {
        Wrong { setting, is: is.to_string(), needed, why }
    }

    /// A fault that an operator can edit away.
    fn edit(self, stream: &str) -> Fault {
        self.mended_by(format!("change it with `nats stream edit {stream}`"))
    }

    /// A fault of a setting that cannot be changed on an existing stream.
    fn fixed(self, stream: &str) -> Fault {
        self.mended_by(format!(
            "it cannot be changed on an existing stream: back the stream up (`nats stream backup {stream} FOLDER`), remove it and restore it with other settings (`nats stream restore FOLDER --config FILE`), or give [stream] another `name`"
        ))
    }

    fn mended_by(self, way_out: String) -> Fault {
        let Wrong { setting, is, needed, why } = self;
        Fault { setting, is, needed: needed.to_owned(), why: why.to_owned(), way_out }
    }
}

/// Judges the application's own stream.
pub(super) fn own(settings: &StreamSettings, reading: Reading<'_>, found: &StreamFacts) -> Suitability {
    let (stream, config) = (reading.stream, &found.0);
    let mut faults: Vec<Fault> =
        missing_subjects(settings, reading.names, config, stream).into_iter().collect();
    faults.extend(whole(config, stream));
    faults.extend(unbounded(config, stream));
    faults.extend(abilities(config, stream));
    faults.extend(unchanged(config, stream));
    faults.extend(message_size(config, reading));
    faults.extend(consumers(config, reading, OWN_CONSUMERS));
    Suitability { faults, differences: differences(settings, reading.names, config) }
}

/// Judges a stream that belongs to others.
pub(super) fn foreign(reading: Reading<'_>, found: &StreamFacts) -> Suitability {
    let (stream, config) = (reading.stream, &found.0);
    let mut faults = Vec::new();
    if config.retention != RetentionPolicy::Limits {
        let wrong = Wrong::new(
            "retention",
            retention(config.retention),
            "limits",
            "the server removes events that a reader without acks was handed, or that arrive while nobody reads, so they would be lost",
        );
        faults.push(wrong.mended_by(format!(
            "have a stream with limits mirror it (`nats stream add {stream}-LOG --mirror {stream} --retention limits`) and read that one, or have its events stored in the application's own stream"
        )));
    }
    faults.extend(consumers(config, reading, FOREIGN_CONSUMERS));
    let mut differences = Vec::new();
    if config.storage == StorageType::Memory {
        differences.push(
            "`storage` is memory: a restart of the server loses its events and stops its handlers".to_owned(),
        );
    }
    if config.subject_delete_marker_ttl.is_some() {
        differences
            .push("the server writes delete markers into it: they are not handed to handlers".to_owned());
    }
    Suitability { faults, differences }
}

/// Subjects that the file names and the stream does not store.
fn missing_subjects(
    settings: &StreamSettings,
    names: &Names,
    config: &Config,
    stream: &str,
) -> Option<Fault> {
    let stored: Vec<Pattern> = config.subjects.iter().filter_map(|subject| subject.parse().ok()).collect();
    let is_stored = |wanted: &String| {
        wanted.parse().is_ok_and(|wanted: Pattern| stored.iter().any(|subject| subject.covers(&wanted)))
    };
    let mut missing = wanted_subjects(settings, names);
    missing.retain(|wanted| !is_stored(wanted));
    if missing.is_empty() {
        return None;
    }
    let mut fault = Wrong::new("subjects", format!("{:?}", config.subjects), "", "").edit(stream);
    fault.needed = format!("{:?}", wanted_subjects(settings, names));
    fault.why = format!("{} would not be stored", missing.join(", "));
    Some(fault)
}

fn wanted_subjects(settings: &StreamSettings, names: &Names) -> Vec<String> {
    let events = settings.subjects.iter().map(ToString::to_string);
    events.chain(names.stream_subjects()).collect()
}

/// Settings under which what is stored is not what was published, or is not stored for good.
fn whole(config: &Config, stream: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    if config.retention != RetentionPolicy::Limits {
        let why = "the server would remove events, states and progress that somebody has read";
        faults.push(Wrong::new("retention", retention(config.retention), "limits", why).fixed(stream));
    }
    if config.storage == StorageType::Memory {
        let why = "a restart of the server would lose events, states and progress";
        faults.push(Wrong::new("storage", "memory", "file", why).fixed(stream));
    }
    if config.persist_mode == Some(PersistenceMode::Async) {
        let why = "the server would confirm what it has not stored";
        faults.push(Wrong::new("persist_mode", "async", "default", why).fixed(stream));
    }
    if config.no_ack {
        let why = "the server would never confirm a commit";
        faults.push(Wrong::new("no_ack", true, "false", why).edit(stream));
    }
    if config.allow_message_counter {
        let why = "the server would refuse everything but counts";
        faults.push(Wrong::new("allow_msg_counter", true, "false", why).fixed(stream));
    }
    if config.mirror.is_some() {
        let why = "nobody can publish into a mirror";
        faults.push(Wrong::new("mirror", "set", "unset", why).fixed(stream));
    }
    if config.sources.as_ref().is_some_and(|sources| !sources.is_empty()) {
        let why = "the server allows no schedules in a stream with sources";
        let wrong = Wrong::new("sources", "set", "unset", why);
        faults.push(
            wrong.mended_by(
                "source into a stream of its own and have handlers read that one (`stream` of a handler)"
                    .to_owned(),
            ),
        );
    }
    faults
}

/// Bounds that make room by removing the oldest messages: checkpoints and states, too.
fn unbounded(config: &Config, stream: &str) -> Vec<Fault> {
    let why = "to make room, the server would remove checkpoints and states";
    let bounds = [
        ("max_msgs", config.max_messages),
        ("max_bytes", config.max_bytes),
        ("max_msgs_per_subject", config.max_messages_per_subject),
    ];
    // 0 and -1 both mean that there is no bound.
    let bounded = bounds.into_iter().filter(|(_, bound)| *bound > 0);
    let mut faults: Vec<Fault> =
        bounded.map(|(setting, bound)| Wrong::new(setting, bound, "unlimited", why).edit(stream)).collect();
    if config.discard == DiscardPolicy::New {
        let why = "the server allows no schedules with it";
        faults.push(Wrong::new("discard", "new", "old", why).edit(stream));
    }
    faults
}

/// What the stream must allow, and what it must not deny.
fn abilities(config: &Config, stream: &str) -> Vec<Fault> {
    let needed = [
        (
            "allow_rollup_hdrs",
            config.allow_rollup,
            "announcements and cleared states replace what was before",
        ),
        ("allow_direct", config.allow_direct, "states and checkpoints are read without a consumer"),
        ("allow_msg_ttl", config.allow_message_ttl, "checkpoints and states must not age as events do"),
        (
            "allow_atomic",
            config.allow_atomic_publish,
            "effects and progress are stored together or not at all",
        ),
        ("allow_msg_schedules", config.allow_message_schedules, "messages for later are kept by the server"),
    ];
    let lacking = needed.into_iter().filter(|(_, allowed, _)| !allowed);
    let mut faults: Vec<Fault> =
        lacking.map(|(setting, _, why)| Wrong::new(setting, false, "true", why).edit(stream)).collect();
    let denied = [
        ("deny_delete", config.deny_delete, "requests, commands and dead letters that are done are removed"),
        ("deny_purge", config.deny_purge, "old states and checkpoints are removed"),
        ("sealed", config.sealed, "nothing could be stored"),
    ];
    let denied = denied.into_iter().filter(|(_, denied, _)| *denied);
    faults.extend(denied.map(|(setting, _, why)| Wrong::new(setting, true, "false", why).fixed(stream)));
    faults
}

/// Settings under which the server changes what is stored, or adds to it.
fn unchanged(config: &Config, stream: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some(transform) = &config.subject_transform {
        let is = format!("{} to {}", transform.source, transform.destination);
        let why = "what handlers publish and what they subscribe to would be stored under other subjects";
        faults.push(Wrong::new("subject_transform", is, "unset", why).edit(stream));
    }
    if let Some(ttl) = config.subject_delete_marker_ttl.filter(|ttl| !ttl.is_zero()) {
        let why = "the server would write a message for each event and state that expires, and stretch the announcements of hosts";
        faults.push(Wrong::new("subject_delete_marker_ttl", age(ttl), "unset", why).edit(stream));
    }
    faults
}

/// What a handler may publish must fit into the stream: nobody could store it, or its dead letter, otherwise.
fn message_size(config: &Config, reading: Reading<'_>) -> Option<Fault> {
    let bound = usize::try_from(config.max_message_size).ok().filter(|bound| *bound > 0)?;
    (bound < reading.max_payload).then(|| {
        let why = "commits with what the server itself accepts would be refused";
        let mut fault = Wrong::new("max_msg_size", bound, "", why).edit(reading.stream);
        fault.needed = format!("unlimited, or at least the server's max_payload ({})", reading.max_payload);
        fault
    })
}

/// Bounds on consumers: cursors are consumers.
fn consumers(config: &Config, reading: Reading<'_>, besides: usize) -> Vec<Fault> {
    let mut faults = Vec::new();
    let needed = besides + CURSORS * reading.handlers;
    if usize::try_from(config.max_consumers).is_ok_and(|bound| bound > 0 && bound < needed) {
        let why = "cursors are consumers, and without one nothing is read";
        let mut fault = Wrong::new("max_consumers", config.max_consumers, "", why).mended_by(format!(
            "it cannot be changed on an existing stream: have another stream mirror or replace `{}`",
            reading.stream
        ));
        fault.needed = format!("unlimited, or at least {needed}");
        faults.push(fault);
    }
    let limit = |limits: &ConsumerLimits| Some(limits.inactive_threshold).filter(|limit| !limit.is_zero());
    if let Some(limit) = config.consumer_limits.as_ref().and_then(limit).filter(|limit| *limit < INACTIVE) {
        let why = "the server would refuse every cursor";
        let wrong = Wrong::new("consumer_limits.inactive_threshold", age(limit), "", why);
        let mut fault = wrong.edit(reading.stream);
        fault.needed = format!("unset, or at least {}", age(INACTIVE));
        faults.push(fault);
    }
    faults
}

/// What is not as the file says, and works all the same.
fn differences(settings: &StreamSettings, names: &Names, config: &Config) -> Vec<String> {
    let mut differences = Vec::new();
    let wanted = settings.max_age.unwrap_or_default();
    if config.max_age != wanted {
        differences.push(format!(
            "`max_age` is {}, and {} in the file: what the stream says counts",
            age(config.max_age),
            age(wanted)
        ));
    }
    if config.num_replicas != settings.replicas {
        differences.push(format!(
            "`num_replicas` is {}, and {} in the file: what the stream says counts",
            config.num_replicas, settings.replicas
        ));
    }
    let wanted = wanted_subjects(settings, names);
    let more: Vec<&str> =
        config.subjects.iter().filter(|subject| !wanted.contains(subject)).map(String::as_str).collect();
    if !more.is_empty() {
        differences.push(format!("`subjects` has more than the file: {}", more.join(", ")));
    }
    differences
}

fn retention(policy: RetentionPolicy) -> &'static str {
    match policy {
        RetentionPolicy::Limits => "limits",
        RetentionPolicy::Interest => "interest",
        RetentionPolicy::WorkQueue => "workqueue",
    }
}

fn age(age: Duration) -> String {
    if age.is_zero() { "unlimited".to_owned() } else { humantime::format_duration(age).to_string() }
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::stream::{Source, SubjectTransform};

    use super::super::provision::wanted;
    use super::*;

    const PAYLOAD: usize = 1 << 20;

    fn settings() -> StreamSettings {
        StreamSettings {
            name: "T".into(),
            subjects: vec!["in.>".parse().unwrap(), "out.>".parse().unwrap()],
            max_age: None,
            replicas: 1,
            stale_states: 50_000,
        }
    }

    fn names() -> Names {
        Names::new("t")
    }

    fn reading<'a>(stream: &'a str, names: &'a Names) -> Reading<'a> {
        Reading { stream, names, handlers: 2, max_payload: PAYLOAD }
    }

    fn judged(change: impl FnOnce(&mut Config)) -> Suitability {
        let names = names();
        let mut config = wanted(&settings(), &names);
        change(&mut config);
        own(&settings(), reading("T", &names), &StreamFacts(config))
    }

    fn judged_foreign(change: impl FnOnce(&mut Config)) -> Suitability {
        let names = names();
        let mut config = Config { name: "EXT".into(), subjects: vec!["ext.>".into()], ..Config::default() };
        change(&mut config);
        foreign(reading("EXT", &names), &StreamFacts(config))
    }

    #[track_caller]
    fn refused(setting: &str, change: impl FnOnce(&mut Config)) -> String {
        let judged = judged(change);
        let found: Vec<&str> = judged.faults.iter().map(|fault| fault.setting).collect();
        assert_eq!(found, [setting]);
        judged.faults[0].to_string()
    }

    #[test]
    fn the_stream_that_heddle_creates_suits_it() {
        assert_eq!(judged(|_| ()), Suitability::default());
        assert_eq!(judged_foreign(|_| ()), Suitability::default());
    }

    #[test]
    fn every_setting_of_the_own_stream_that_cannot_work_is_refused_by_name() {
        refused("retention", |c| c.retention = RetentionPolicy::Interest);
        refused("storage", |c| c.storage = StorageType::Memory);
        refused("persist_mode", |c| c.persist_mode = Some(PersistenceMode::Async));
        refused("no_ack", |c| c.no_ack = true);
        refused("allow_msg_counter", |c| c.allow_message_counter = true);
        refused("mirror", |c| c.mirror = Some(Source::default()));
        refused("sources", |c| c.sources = Some(vec![Source::default()]));
        refused("max_msgs", |c| c.max_messages = 10);
        refused("max_bytes", |c| c.max_bytes = 10);
        refused("max_msgs_per_subject", |c| c.max_messages_per_subject = 1);
        refused("discard", |c| c.discard = DiscardPolicy::New);
        refused("allow_rollup_hdrs", |c| c.allow_rollup = false);
        refused("allow_direct", |c| c.allow_direct = false);
        refused("allow_msg_ttl", |c| c.allow_message_ttl = false);
        refused("allow_atomic", |c| c.allow_atomic_publish = false);
        refused("allow_msg_schedules", |c| c.allow_message_schedules = false);
        refused("deny_delete", |c| c.deny_delete = true);
        refused("deny_purge", |c| c.deny_purge = true);
        refused("sealed", |c| c.sealed = true);
        refused("max_msg_size", |c| c.max_message_size = 1_000);
        refused("max_consumers", |c| c.max_consumers = 1);
        refused("subjects", |c| drop(c.subjects.pop()));
        let transform =
            SubjectTransform { source: "in.*".into(), destination: "in.x.{{wildcard(1)}}".into() };
        refused("subject_transform", |c| c.subject_transform = Some(transform));
        refused("subject_delete_marker_ttl", |c| {
            c.subject_delete_marker_ttl = Some(Duration::from_secs(60));
        });
        let limits = ConsumerLimits { inactive_threshold: Duration::from_secs(60), max_ack_pending: 0 };
        let text = refused("consumer_limits.inactive_threshold", |c| c.consumer_limits = Some(limits));
        for part in ["is 1m, should be unset, or at least 5m", "refuse every cursor", "`nats stream edit T`"]
        {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let judged = judged(|c| (c.no_ack, c.sealed, c.max_bytes) = (true, true, 5));
        assert_eq!(judged.faults.len(), 3, "{judged:?}");
    }

    #[test]
    fn what_works_but_differs_is_no_fault() {
        let judged = judged(|c| {
            (c.max_age, c.num_replicas) = (Duration::from_secs(86_400), 3);
            c.subjects.push("more.>".into());
            (c.max_message_size, c.max_consumers, c.max_messages) = (8 << 20, 1_000, -1);
            c.duplicate_window = Duration::from_millis(100);
        });
        assert_eq!(judged.faults, []);
        assert_eq!(judged.differences.len(), 3, "{judged:?}");
        let wider = self::judged(|c| c.subjects = vec![">".into()]);
        assert_eq!(wider.faults, []);
    }

    #[test]
    fn a_foreign_stream_must_keep_its_events_and_allow_cursors_and_may_be_whatever_else_it_likes() {
        for (policy, name) in
            [(RetentionPolicy::Interest, "interest"), (RetentionPolicy::WorkQueue, "workqueue")]
        {
            let judged = judged_foreign(|c| c.retention = policy);
            let text = judged.faults[0].to_string();
            assert!(text.contains(&format!("`retention` is {name}, should be limits")), "{text}");
            assert!(text.contains("--mirror EXT"), "{text}");
        }
        assert_eq!(judged_foreign(|c| c.max_consumers = 1).faults.len(), 1);
        let judged = judged_foreign(|c| {
            (c.max_messages, c.max_messages_per_subject, c.discard) = (5, 1, DiscardPolicy::New);
            (c.deny_delete, c.deny_purge, c.storage) = (true, true, StorageType::Memory);
            (c.mirror, c.subject_delete_marker_ttl) = (Some(Source::default()), Some(Duration::from_secs(1)));
        });
        assert_eq!((judged.faults.len(), judged.differences.len()), (0, 2), "{judged:?}");
    }
}
