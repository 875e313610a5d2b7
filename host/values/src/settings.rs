//! Settings: what an application is, once its file has been read and found sound.
//!
//! Nothing later sees raw text; every field here is ready to be used.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::event::{Event, is_lossy};
use super::handlers::PerHandler;
use super::http::HttpGrants;
use super::key::{Key, KeyTemplate};
use super::plugin::PluginSource;
use super::policy::{Instances, Limits, OnDeadLetter, OutagePolicy, Pace, RetryPolicy};
use super::refusal::refusal;
use super::rollout::{CanaryPolicy, ShadowPolicy};
use super::secret::{Given, Secret};
use super::servers::Servers;
use super::subject::Pattern;
use super::verdict::{CauseClass, Failure};

/// One application.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Stands in the subjects of all that Heddle stores: 1 to 64 letters, digits, `-` and `_`.
    pub app: String,
    /// Fixed once the application has run. Default 16.
    pub shards: NonZeroU16,
    /// Where the server is, and who logs in.
    pub nats: NatsSettings,
    /// What holds the events and all that Heddle stores.
    pub stream: StreamSettings,
    /// How long dead letters are kept. None: for ever.
    pub dead_letters_max_age: Option<Duration>,
    /// Whose plugins are accepted.
    pub trust: Trust,
    /// OCI registries that are asked without TLS, each as a reference names it. Those on this machine always are.
    pub insecure_registries: BTreeSet<String>,
    /// In the order of the file.
    pub handlers: PerHandler<Arc<HandlerSettings>>,
    /// The folder of the file: relative paths begin here.
    pub folder: PathBuf,
    /// Files whose text is in `handlers`: a change of one is a change of the application.
    pub secret_files: Vec<PathBuf>,
}

impl Settings {
    /// The handler of a name.
    pub fn handler(&self, name: &str) -> Option<&Arc<HandlerSettings>> {
        self.handlers.iter().find(|handler| *handler.name == *name)
    }

    /// Points them to a server of one's own: one alone, on this machine, without logins and TLS. Answers with the keys of
    /// the file that do not count there.
    pub fn use_own_server(&mut self, url: String) -> Vec<&'static str> {
        // Every key, so that a new one is thought of. Where replies go is the same on every server.
        let NatsSettings {
            url: _,
            user,
            token,
            creds,
            nkey,
            tls,
            inbox_prefix,
            api,
            ignore_discovered_servers,
        } = &self.nats;
        let left_out = [
            ("nats.user", user.is_some()),
            ("nats.token", token.is_some()),
            ("nats.creds", creds.is_some()),
            ("nats.nkey", nkey.is_some()),
            ("nats.tls", *tls != TlsSettings::default()),
            ("nats.domain", matches!(api, Api::Domain(_))),
            ("nats.api-prefix", matches!(api, Api::Prefix(_))),
            ("nats.ignore-discovered-servers", *ignore_discovered_servers),
            ("stream.replicas", self.stream.replicas != 1),
        ];
        let inbox_prefix = inbox_prefix.clone();
        self.nats = NatsSettings { url: url.into(), inbox_prefix, ..NatsSettings::default() };
        self.stream.replicas = 1;
        left_out.into_iter().filter(|(_, counts)| *counts).map(|(key, _)| key).collect()
    }
}

/// Whose plugins are accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Keys of minisign. Empty: plugins need no signature.
    pub keys: Vec<String>,
    /// Whether a signature must name its handler and version. Default false.
    pub named: bool,
}

/// How the server is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct NatsSettings {
    /// One or more servers. Default `nats://127.0.0.1:4222`. A login in it takes the place of those below.
    pub url: Servers,
    /// A user's name and password.
    pub user: Option<(Given, Given)>,
    /// A login by token. At most one of `user`, `token`, `creds` and `nkey` is set.
    pub token: Option<Given>,
    /// A file with a user's JWT and seed.
    pub creds: Option<PathBuf>,
    /// A file with a user's nkey seed.
    pub nkey: Option<PathBuf>,
    /// By default TLS only if the server wants it.
    pub tls: TlsSettings,
    /// Default `_INBOX`.
    pub inbox_prefix: String,
    /// Default: the API of the server's own domain.
    pub api: Api,
    /// Whether servers that the named ones tell of are left alone. Default false.
    pub ignore_discovered_servers: bool,
}

impl Default for NatsSettings {
    fn default() -> Self {
        NatsSettings {
            url: "nats://127.0.0.1:4222".to_owned().into(),
            user: None,
            token: None,
            creds: None,
            nkey: None,
            tls: TlsSettings::default(),
            inbox_prefix: "_INBOX".to_owned(),
            api: Api::default(),
            ignore_discovered_servers: false,
        }
    }
}

/// Under which subjects JetStream is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Api {
    /// `$JS.API`
    #[default]
    Own,
    /// `$JS.<domain>.API`
    Domain(String),
    /// A prefix under which another account's API is imported.
    Prefix(String),
}

impl Api {
    /// What begins the subjects, without the final dot.
    pub fn prefix(&self) -> Cow<'_, str> {
        match self {
            Api::Own => Cow::Borrowed("$JS.API"),
            Api::Domain(domain) => Cow::Owned(format!("$JS.{domain}.API")),
            Api::Prefix(prefix) => Cow::Borrowed(prefix),
        }
    }
}

/// TLS towards the server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TlsSettings {
    /// Whether a connection without TLS is refused. `tls://` in the URL does the same.
    pub required: bool,
    /// Whether TLS begins before the server has said anything (`handshake_first` of nats-server). Default false.
    pub first: bool,
    /// Certificates to trust, instead of the system's.
    pub ca: Option<PathBuf>,
    /// The client's certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The application's own stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamSettings {
    /// What NATS calls it: 1 to 64 letters, digits, `-` and `_`.
    pub name: Arc<str>,
    /// The events.
    pub subjects: Vec<Pattern>,
    /// How long events are kept. None: for ever.
    pub max_age: Option<Duration>,
    /// Copies in a cluster. Default 1.
    pub replicas: usize,
    /// How many states that later ones have replaced are left in the stream before they are removed, about. One weighs 1,
    /// and 1 for each KiB. Default 50,000.
    pub stale_states: u64,
}

/// Where a handler that is new to the stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest event.
    All,
    /// With the next event to be stored.
    New,
    /// With the first event stored at or after this time, in nanoseconds since 1970.
    At(u64),
}

/// A directory that a plugin may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileGrant {
    /// On the host.
    pub host: PathBuf,
    /// In the plugin.
    pub guest: String,
    /// Whether the plugin may change what is there. Default false.
    pub write: bool,
}

/// What a plugin may reach beyond its event. Nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Environment variables, with the values they have at start.
    pub env: Vec<(String, Secret)>,
    /// Directories of the host, each at a place of its own in the plugin.
    pub files: Vec<FileGrant>,
    /// Hosts that it may call over HTTP, and at which addresses.
    pub http: HttpGrants,
}

/// How a plugin is built while it is developed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Run in the application's folder.
    pub command: BuildCommand,
    /// Files, and folders with everything below: a change calls for a build.
    pub watch: Vec<PathBuf>,
}

/// What builds a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildCommand {
    /// A line for `sh`.
    Shell(String),
    /// A program that is run without a shell.
    Program {
        /// A path, or a name that is searched for in the PATH.
        program: String,
        /// Handed over as they are.
        arguments: Vec<String>,
    },
}

impl fmt::Display for BuildCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildCommand::Shell(line) => f.write_str(line),
            BuildCommand::Program { program, arguments } => {
                f.write_str(program)?;
                arguments.iter().try_for_each(|argument| write!(f, " {argument}"))
            }
        }
    }
}

/// A name, a subscription, a plugin and a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct HandlerSettings {
    /// Progress and states are kept by it: 1 to 64 letters, digits, `-` and `_`.
    pub name: Arc<str>,
    /// Where its plugin comes from.
    pub plugin: PluginSource,
    /// How a new version of it is tried.
    pub canary: CanaryPolicy,
    /// How a new version is compared with the live one first. None: it is not.
    pub shadow: Option<ShadowPolicy>,
    /// None: it is not built here. Only `heddle dev` builds.
    pub build: Option<Build>,
    /// The stream it reads.
    pub stream: Arc<str>,
    /// It gets the events that match any of these; at least one.
    pub subscribe: Vec<Pattern>,
    /// Default `{subject}`.
    pub key: KeyTemplate,
    /// Default all.
    pub start: Start,
    /// Where its plugin may publish, within the application's own stream. Empty: nowhere.
    pub publishes: Vec<Pattern>,
    /// Default fresh.
    pub instances: Instances,
    /// What its plugin can ask for by name. Default empty.
    pub config: BTreeMap<String, Secret>,
    /// When a failed event runs again, and when it becomes a dead letter.
    pub retry: RetryPolicy,
    /// Default continue.
    pub on_dead_letter: OnDeadLetter,
    /// N events held back stop the handler's reading. Default 1,000,000.
    pub max_held: u64,
    /// None: an outage is not looked for.
    pub outage: Option<OutagePolicy>,
    /// How many events run at once, and how many are begun per second.
    pub pace: Pace,
    /// What one event may use; more ends its run.
    pub limits: Limits,
    /// What its plugin may reach beyond the event. Default nothing.
    pub grants: Grants,
}

impl HandlerSettings {
    /// Whether it gets the events of a subject, if they are in its stream.
    pub fn subscribes_to(&self, subject: &str) -> bool {
        self.subscribe.iter().any(|pattern| pattern.matches(subject))
    }

    /// The key of an event. One without a key fails, in a lane of its own.
    pub fn key_of(&self, event: &Event) -> (Key, Option<Failure>) {
        let own_lane = || Key::new(&event.id());
        match self.key.key(event) {
            // A key that is made from what is not known of a subject is not the event's.
            Ok(key) if is_lossy(&event.subject) && is_lossy(key.as_str()) => (own_lane(), refusal(event)),
            Ok(key) => (key, None),
            Err(error) => {
                let no_key = || Failure::new(CauseClass::Key, error.to_string());
                (own_lane(), Some(refusal(event).unwrap_or_else(no_key)))
            }
        }
    }
}
