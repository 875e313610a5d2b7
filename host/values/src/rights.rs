//! The least rights of those who have to do with an application: which subjects they publish and subscribe to, derived
//! from its settings.
//!
//! Refuses to know how a server is configured with them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::names::Names;
use super::permissions::{Action, Missing, Permissions};
use super::plugin::PluginPlace;
use super::settings::{NatsSettings, Settings};
use super::subject::Pattern;

/// Answers what a user may do, to that user.
pub const USER_INFO: &str = "$SYS.REQ.USER.INFO";

/// Who is granted something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs the application: `heddle run`.
    Host,
    /// Inspects it and gives it commands: `heddle status`, `heddle dl`, `heddle reload`.
    Operator,
    /// Stores events: `heddle publish`, and programs of others.
    Publisher,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 3] = [Role::Host, Role::Operator, Role::Publisher];

    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Role::Host => "host",
            Role::Operator => "operator",
            Role::Publisher => "publisher",
        }
    }

    /// What the role is for.
    pub fn purpose(self) -> &'static str {
        match self {
            Role::Host => "runs the application (`heddle run`)",
            Role::Operator => {
                "inspects it and gives it commands (`heddle status`, `heddle dl`, `heddle reload`)"
            }
            Role::Publisher => "stores events (`heddle publish`, and programs of others)",
        }
    }
}

/// What a role needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// What it publishes on: sorted, and none covers another.
    pub publish: Vec<Pattern>,
    /// What it subscribes to: sorted, and none covers another.
    pub subscribe: Vec<Pattern>,
}

impl Rights {
    /// The least rights of a role in an application.
    pub fn of(role: Role, settings: &Settings) -> Self {
        let names = Names::new(&settings.app);
        let (own, inbox) = (&*settings.stream.name, format!("{}.>", settings.nats.inbox_prefix));
        let mut rights = Gathered::new(&settings.nats);
        rights.subscribe(&inbox);
        match role {
            Role::Publisher => {
                rights.client();
                rights.publish.extend(settings.stream.subjects.iter().cloned());
            }
            Role::Operator => {
                rights.publish.extend(settings.stream.subjects.iter().cloned());
                rights.client();
                rights.publish_all(names.stream_subjects());
                rights.changed(own);
                streams(settings).iter().for_each(|stream| rights.followed(stream));
            }
            Role::Host => {
                rights.client();
                rights.publish_all(names.stream_subjects());
                let publishes = settings.handlers.iter().flat_map(|handler| &handler.publishes);
                rights.publish.extend(publishes.cloned());
                // Answers to those who published with an inbox.
                rights.publish_all([inbox]);
                rights.ask([format!("STREAM.CREATE.{own}")]);
                rights.changed(own);
                for stream in streams(settings) {
                    rights.followed(&stream);
                }
                buckets(settings).iter().for_each(|stream| rights.observed(stream));
                // The host hears itself here: that is how it knows that a connection still carries something.
                let live = names.all_live();
                rights.subscribe(&live);
                rights.publish_all([live]);
            }
        }
        rights.sorted()
    }

    /// What a user lacks of these rights, a line for each.
    pub fn lacking(&self, permissions: &Permissions) -> Vec<String> {
        let mut lines = Vec::new();
        for (action, patterns) in [(Action::Publish, &self.publish), (Action::Subscribe, &self.subscribe)] {
            for pattern in patterns.iter().filter(|pattern| pattern.as_str() != USER_INFO) {
                match permissions.of(action).missing(pattern) {
                    None => {}
                    Some(Missing::NotAllowed) => lines.push(format!("{action} on `{pattern}`")),
                    Some(Missing::Denied(denied)) => {
                        lines.push(format!("{action} on `{pattern}` (`{denied}` is denied)"));
                    }
                }
            }
        }
        lines
    }
}

/// What is denied of what handlers declare in `publishes`, a line for each.
pub fn denied_publishes(settings: &Settings, permissions: &Permissions) -> Vec<String> {
    let mut lines = Vec::new();
    for handler in &settings.handlers {
        for pattern in &handler.publishes {
            let denied = match permissions.publish.missing(pattern) {
                None => continue,
                Some(Missing::NotAllowed) => pattern.clone(),
                Some(Missing::Denied(denied)) => denied,
            };
            lines.push(format!(
                "handler `{}` declares `publishes` of `{pattern}`, but the server denies this user to publish on `{denied}`: events that publish there become dead letters (`refused`)",
                handler.name
            ));
        }
    }
    lines
}

/// What the host itself needs: without the messages of its handlers, which only their own events miss.
pub fn needed_to_run(settings: &Settings) -> Rights {
    let mut bare = settings.clone();
    for handler in &mut bare.handlers {
        Arc::make_mut(handler).publishes.clear();
    }
    let mut rights = Rights::of(Role::Host, &bare);
    // A stream that is there need not be created, and only handlers answer.
    let dispensable = [
        format!("{}.STREAM.CREATE.{}", settings.nats.api.prefix(), settings.stream.name),
        format!("{}.>", settings.nats.inbox_prefix),
        Names::new(&settings.app).all_live(),
    ];
    rights.publish.retain(|pattern| !dispensable.iter().any(|one| one == pattern.as_str()));
    rights.subscribe.retain(|pattern| pattern.as_str() != Names::new(&settings.app).all_live());
    rights
}

/// The streams that are read: the application's own, and those of others.
fn streams(settings: &Settings) -> BTreeSet<String> {
    let read = settings.handlers.iter().map(|handler| &handler.stream);
    read.chain([&settings.stream.name]).map(ToString::to_string).collect()
}

/// The streams of the object stores that plugins come from.
fn buckets(settings: &Settings) -> BTreeSet<String> {
    let objects = settings.handlers.iter().filter_map(|handler| match &handler.plugin.place {
        PluginPlace::Object(object) => Some(format!("OBJ_{}", object.bucket())),
        PluginPlace::File(_) | PluginPlace::Oci(_) => None,
    });
    objects.collect()
}

struct Gathered {
    /// What begins the subjects of the JetStream API.
    api: String,
    publish: Vec<Pattern>,
    subscribe: Vec<Pattern>,
}

impl Gathered {
    fn new(settings: &NatsSettings) -> Self {
        Gathered { api: settings.api.prefix().into_owned(), publish: Vec::new(), subscribe: Vec::new() }
    }

    /// Requests to the JetStream API.
    fn ask(&mut self, requests: impl IntoIterator<Item = String>) {
        let api = &self.api;
        self.publish.extend(requests.into_iter().map(|request| pattern(&format!("{api}.{request}"))));
    }

    fn publish_all(&mut self, subjects: impl IntoIterator<Item = String>) {
        self.publish.extend(subjects.into_iter().map(|subject| pattern(&subject)));
    }

    fn subscribe(&mut self, subject: &str) {
        self.subscribe.push(pattern(subject));
    }

    /// What every connection of Heddle asks the server.
    fn client(&mut self) {
        self.ask(["INFO".to_owned()]);
        self.publish_all([USER_INFO.to_owned()]);
    }

    /// A stream that is read.
    fn observed(&mut self, stream: &str) {
        self.ask([
            format!("STREAM.INFO.{stream}"),
            format!("STREAM.MSG.GET.{stream}"),
            format!("CONSUMER.CREATE.{stream}"),
            format!("CONSUMER.CREATE.{stream}.>"),
            format!("CONSUMER.INFO.{stream}.*"),
            format!("CONSUMER.MSG.NEXT.{stream}.*"),
            format!("CONSUMER.DELETE.{stream}.*"),
        ]);
    }

    /// A stream that is read or followed from a place on: consumers are moved there.
    fn followed(&mut self, stream: &str) {
        self.observed(stream);
        self.ask([format!("CONSUMER.RESET.{stream}.*")]);
    }

    /// A stream whose old messages are removed.
    fn changed(&mut self, stream: &str) {
        self.ask([format!("STREAM.MSG.DELETE.{stream}"), format!("STREAM.PURGE.{stream}")]);
    }

    fn sorted(self) -> Rights {
        Rights { publish: narrowed(self.publish), subscribe: narrowed(self.subscribe) }
    }
}

/// Sorted, without what another one covers.
fn narrowed(patterns: Vec<Pattern>) -> Vec<Pattern> {
    let covered = |pattern: &Pattern| {
        patterns.iter().any(|other| other.as_str() != pattern.as_str() && other.covers(pattern))
    };
    let mut kept: Vec<Pattern> = patterns.iter().filter(|pattern| !covered(pattern)).cloned().collect();
    kept.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    kept.dedup();
    kept
}

fn pattern(subject: &str) -> Pattern {
    subject.parse().expect("names of applications, streams and buckets are tokens of subjects")
}
