//! Which world a component is written for: ours, or one of another host whose handlers run here unchanged.
//!
//! Promises that what runs an event need not know which it is. What the others import comes down to the same effects,
//! under the same rules, as the contract's own; what they answer becomes a verdict.

mod environment;
mod wasi_messaging;
mod wasmcloud;

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Engine, Store};

use super::Error;
use super::bindings::heddle::plugin::types;
use super::bindings::{Plugin, PluginPre};
use super::guest::{Guest, lower};

/// What a handler said that did not handle its event.
#[derive(Debug)]
pub(super) enum GivenUp {
    Retry(String),
    Defer(types::Deferral),
    Reject(String),
    /// The world has errors but no word for whether another try may help.
    Failed(String),
}

impl From<types::Failure> for GivenUp {
    fn from(failure: types::Failure) -> Self {
        match failure {
            types::Failure::Retry(reason) => GivenUp::Retry(reason),
            types::Failure::Defer(deferral) => GivenUp::Defer(deferral),
            types::Failure::Reject(reason) => GivenUp::Reject(reason),
        }
    }
}

/// A world that handlers are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Heddle,
    Wasmcloud,
    WasiMessaging,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Heddle, Kind::Wasmcloud, Kind::WasiMessaging];

    /// What the name of the interface that a handler of this world exports begins with.
    fn export(self) -> &'static str {
        match self {
            Kind::Heddle => "heddle:plugin/handler@",
            Kind::Wasmcloud => "wasmcloud:messaging/handler@",
            Kind::WasiMessaging => "wasi:messaging/incoming-handler@",
        }
    }

    /// The world that a component with these exports is written for. One without a handler is taken for one of ours, to
    /// be refused for what it lacks.
    pub(super) fn of(exports: &[String]) -> Result<Self, Error> {
        let kind = |name: &String| Kind::ALL.into_iter().find(|kind| name.starts_with(kind.export()));
        let handlers: Vec<_> = exports.iter().filter_map(|name| Some((kind(name)?, name))).collect();
        match handlers.as_slice() {
            [] => Ok(Kind::Heddle),
            [(kind, _)] => Ok(*kind),
            several => {
                Err(Error::SeveralHandlers(several.iter().map(|(_, name)| format!("`{name}`")).collect()))
            }
        }
    }

    /// Its name, as messages have it.
    pub(super) fn world(self) -> &'static str {
        match self {
            Kind::Heddle => "heddle:plugin/plugin@0.1.0",
            Kind::Wasmcloud => "wasmcloud:messaging@0.2.0",
            Kind::WasiMessaging => "wasi:messaging/messaging-request-reply@0.2.0-draft",
        }
    }

    /// The function that handles an event.
    pub(super) fn function(self) -> &'static str {
        match self {
            Kind::Heddle | Kind::WasiMessaging => "handle",
            Kind::Wasmcloud => "handle-message",
        }
    }
}

/// Packages of others that are answered here, with the versions that are. A final `x` stands for any number.
const PACKAGES: [(&str, &[&str]); 4] = [
    ("wasmcloud:messaging/", &["0.2.x"]),
    ("wasi:messaging/", &["0.2.0-draft"]),
    ("wasi:logging/", &["0.1.0-draft"]),
    ("wasi:config/", &["0.2.0-rc.1", "0.2.0-draft"]),
];

/// Whether an interface belongs to a package that only this module answers.
pub(super) fn knows(name: &str) -> bool {
    PACKAGES.iter().any(|(package, _)| name.starts_with(package))
}

/// The versions that are answered, if an interface has another one.
pub(super) fn other_version(name: &str) -> Option<String> {
    let (_, answered) = PACKAGES.iter().find(|(package, _)| name.starts_with(package))?;
    let version = name.split_once('@').map_or("", |(_, version)| version);
    let same = |known: &&str| match known.strip_suffix('x') {
        Some(track) => version
            .strip_prefix(track)
            .is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit())),
        None => version == *known,
    };
    (!answered.iter().any(same)).then(|| answered.join(" or "))
}

/// Answers all that the worlds of others import.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmcloud::Wasmcloud::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    wasi_messaging::MessagingRequestReply::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    environment::add_to_linker(linker)
}

/// A component whose imports are answered.
pub(super) enum Pre {
    Heddle(PluginPre<Guest>),
    Wasmcloud(wasmcloud::WasmcloudPre<Guest>),
    WasiMessaging(wasi_messaging::MessagingRequestReplyPre<Guest>),
}

impl Pre {
    pub(super) fn new(kind: Kind, linker: &Linker<Guest>, component: &Component) -> wasmtime::Result<Self> {
        let pre = linker.instantiate_pre(component)?;
        Ok(match kind {
            Kind::Heddle => Pre::Heddle(PluginPre::new(pre)?),
            Kind::Wasmcloud => Pre::Wasmcloud(wasmcloud::WasmcloudPre::new(pre)?),
            Kind::WasiMessaging => Pre::WasiMessaging(wasi_messaging::MessagingRequestReplyPre::new(pre)?),
        })
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Pre::Heddle(_) => Kind::Heddle,
            Pre::Wasmcloud(_) => Kind::Wasmcloud,
            Pre::WasiMessaging(_) => Kind::WasiMessaging,
        }
    }

    pub(super) fn engine(&self) -> &Engine {
        match self {
            Pre::Heddle(pre) => pre.engine(),
            Pre::Wasmcloud(pre) => pre.engine(),
            Pre::WasiMessaging(pre) => pre.engine(),
        }
    }

    /// Makes an instance.
    pub(super) async fn instantiate(&self, store: &mut Store<Guest>) -> wasmtime::Result<World> {
        Ok(match self {
            Pre::Heddle(pre) => World::Heddle(pre.instantiate_async(store).await?),
            Pre::Wasmcloud(pre) => World::Wasmcloud(pre.instantiate_async(store).await?),
            Pre::WasiMessaging(pre) => World::WasiMessaging(pre.instantiate_async(store).await?),
        })
    }
}

/// The functions that an instance exports.
pub(super) enum World {
    Heddle(Plugin),
    Wasmcloud(wasmcloud::Wasmcloud),
    WasiMessaging(wasi_messaging::MessagingRequestReply),
}

impl World {
    /// Hands the handler the event of the run that the store has begun.
    pub(super) async fn handle(&self, store: &mut Store<Guest>) -> wasmtime::Result<Result<(), GivenUp>> {
        match self {
            World::Heddle(plugin) => {
                let event = lower(store.data().running());
                let answer = plugin.heddle_plugin_handler().call_handle(store, &event).await?;
                Ok(answer.map_err(GivenUp::from))
            }
            World::Wasmcloud(handler) => wasmcloud::handle(handler, store).await,
            World::WasiMessaging(handler) => wasi_messaging::handle(handler, store).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_has_one_handler() {
        let of =
            |exports: &[&str]| Kind::of(&exports.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let (ours, theirs) = ("heddle:plugin/handler@0.1.0", "wasmcloud:messaging/handler@0.2.1");
        assert!(matches!(of(&["wasi:cli/run@0.2.0", ours]), Ok(Kind::Heddle)));
        assert!(matches!(of(&[theirs]), Ok(Kind::Wasmcloud)));
        assert!(matches!(of(&["wasi:messaging/incoming-handler@0.2.0-draft"]), Ok(Kind::WasiMessaging)));
        assert!(matches!(of(&[]), Ok(Kind::Heddle)));
        let text = of(&[ours, theirs]).unwrap_err().to_string();
        assert!(text.contains(ours) && text.contains(theirs), "{text}");
    }

    #[test]
    fn other_versions_are_told_from_those_that_are_answered() {
        for name in [
            "wasmcloud:messaging/consumer@0.2.0",
            "wasmcloud:messaging/handler@0.2.11",
            "wasi:messaging/types@0.2.0-draft",
            "wasi:logging/logging@0.1.0-draft",
            "wasi:config/store@0.2.0-rc.1",
            "wasi:config/runtime@0.2.0-draft",
            "wasi:cli/run@0.2.0",
            "wasi:messaging-of-others/types@7.0.0",
        ] {
            assert_eq!(other_version(name), None, "{name}");
        }
        for name in [
            "wasmcloud:messaging/consumer@0.3.0",
            "wasmcloud:messaging/consumer@0.2.0-rc.1",
            "wasmcloud:messaging/consumer@0.2.",
            "wasmcloud:messaging/consumer",
            "wasi:messaging/types@0.2.0",
            "wasi:messaging/types@0.3.0-draft",
            "wasi:config/store@0.2.0-rc.2",
        ] {
            assert!(other_version(name).is_some(), "{name}");
        }
    }
}
