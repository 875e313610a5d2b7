//! Rollouts: decide which versions of the plugins run, from the moment a source offers one.
//!
//! Start-up and every change take one path: found → verified → compiled → checked → compared → on trial → live. What
//! happens is stored before it takes effect, so that a host that dies at any moment goes on where it was. Promises that
//! a version that is refused at any step never touches the one that runs.

mod controller;
mod offer;
mod opening;
mod prepare;
mod record;
mod remembered;
mod shadow;
mod trust;
mod watcher;

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::engine::Ties;
use heddle_broker::{Broker, CommitError};
use heddle_sandbox::{self as sandbox, Policy, Sandbox};
use heddle_source::{oci, signature, watch as files};
use heddle_values::claims;
use heddle_values::handlers::PerHandler;
use heddle_values::names::Names;
use heddle_values::object::Object;
use heddle_values::plugin::short;
use heddle_values::rollout::Hope;
use heddle_values::settings::Settings;

pub use offer::Sources;
pub use prepare::prepare_first;
pub use record::{answer, audit};

use controller::Controller;

/// Changes of versions that wait for the engine.
const WAITING: usize = 64;

/// Why a version is not accepted, by the step at which that was found.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The source gives no component at present; a host that runs asks it again.
    #[error("{0}")]
    Source(#[from] SourceError),
    /// The application's file names the version by its digest, and the source offers another one.
    #[error("its digest is {found}, but `plugin` names {wanted}")]
    Digest {
        /// The digest of what the source offers: `sha256:` and 64 hexadecimal digits.
        found: String,
        /// The digest in the file, in the same form.
        wanted: String,
    },
    /// `trust` is set, and the version is not signed by a trusted key.
    #[error("{0}")]
    Signature(#[from] signature::Error),
    /// The signature holds, but is for another handler or an older release, or does not say what it must say.
    #[error("{0}")]
    Claims(#[from] claims::Error),
    /// The component cannot be compiled, is not what a plugin has to be, or needs what the handler does not grant.
    #[error("{0}")]
    Sandbox(#[from] sandbox::Error),
    /// Both versions ran the handler's last events, and did not do the same; how it differs, in words.
    #[error("differs from the live version in the shadow run, and `shadow-must-match` is set: {0}")]
    ShadowRun(String),
}

/// Why a source gives no component.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The object store has no object of this name, or there is no such bucket.
    #[error("there is no object `{0}`: put it there with `heddle push`")]
    NoObject(Object),
    /// The object store could not be asked, or the streams from which a shadow run takes its events.
    #[error(transparent)]
    Broker(#[from] heddle_broker::Error),
    /// The registry could not be asked, refuses to hand out the component, or has none.
    #[error(transparent)]
    Registry(#[from] oci::Error),
    /// The file is not there, cannot be read, or is too large.
    #[error(transparent)]
    File(heddle_sandbox::Error),
    /// The source is an object store, and there is no [`broker`](Sources::broker) to ask.
    #[error("`{0}` is on the server, which is not asked (--offline)")]
    Offline(String),
}

impl Refusal {
    /// Whether the same version may be taken later.
    fn hope(&self) -> Hope {
        match self {
            Refusal::Source(_) => Hope::Time,
            Refusal::Sandbox(error) if error.may_pass() => Hope::Time,
            // It is a file of its own, and may still be on its way.
            Refusal::Signature(_) | Refusal::Claims(_) => Hope::Outside,
            // The application's file may come to allow it.
            Refusal::Digest { .. }
            | Refusal::ShadowRun(_)
            | Refusal::Sandbox(sandbox::Error::NotGranted(_)) => Hope::Outside,
            Refusal::Sandbox(_) => Hope::None,
        }
    }
}

/// What all handlers' versions are prepared with.
pub struct Tools {
    /// The application as its file says: the sources, whom to trust, and how a new version is tried.
    pub settings: Arc<Settings>,
    /// The subjects of the application.
    pub names: Names,
    /// This host's id: what it remembers of versions bears it.
    pub host: String,
    /// What is remembered is read and stored over it, and object stores are asked.
    pub broker: Broker,
    /// Compiles and checks the plugins, which then run in it.
    pub sandbox: Arc<Sandbox>,
    /// Asks OCI registries, with the logins that it was made with.
    pub registry: oci::Registry,
    /// For each handler, what its plugin may do.
    pub policies: PerHandler<Arc<Policy>>,
    /// Whose threads plugins run on.
    pub threads: tokio::runtime::Handle,
    /// Bounds how many components are in memory at once while they are verified and compiled.
    pub preparing: Semaphore,
}

/// Components that are verified and compiled at once.
pub const PREPARED_AT_ONCE: usize = 2;

/// Why an application cannot begin.
#[derive(Debug, Error)]
pub enum Error {
    /// The server could not be asked for the rollout records.
    #[error(transparent)]
    Broker(#[from] heddle_broker::Error),
    /// A rollout record is not understood.
    #[error("rollout record of handler `{handler}` cannot be read: {cause}")]
    RolloutRecord {
        /// The handler's name.
        handler: String,
        /// What is wrong with it, in the words of the parser.
        cause: String,
    },
    /// The server does not store the rollout records in this host's name; what may pass was tried several times.
    #[error("failed to claim the rollout records of handlers {handlers}: {cause}")]
    Claim {
        /// Their names, with commas between them: what is stored together fails together.
        handlers: String,
        /// How the last try failed.
        cause: CommitError,
    },
    /// Another host writes the rollout records each time that this one wants to claim them.
    #[error("another host decides about the versions of this application")]
    Fenced,
    /// The files of plugins cannot be watched.
    #[error(transparent)]
    Watch(#[from] files::Error),
    /// Handlers have nothing to run: the name of each, and why the version that its source offers is not accepted.
    #[error("{}", faults(.0))]
    Plugins(Vec<(String, Refusal)>),
}

fn faults(faults: &[(String, Refusal)]) -> String {
    let lines: Vec<String> =
        faults.iter().map(|(handler, refusal)| format!("plugin of handler `{handler}`: {refusal}")).collect();
    lines.join("\n")
}

/// Everything that decides about versions, until it is dropped.
pub struct Rollouts {
    controllers: Vec<Controller>,
    changes: mpsc::Sender<super::engine::Change>,
}

/// What decides about versions, while it runs. A task that ends with an error, or panics, is to end the host: without it a
/// handler takes no version and no command any more.
pub type Tasks = JoinSet<Result<(), Error>>;

/// A command to the host itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCommand {
    /// Its sequence in the application's stream.
    pub sequence: u64,
    /// Handlers that are to be forgotten.
    pub forget: Vec<String>,
    /// Handlers that are stopped and are to begin again.
    pub restart: Vec<String>,
}

/// Commands to the host that wait for their turn, by their sequences.
pub type HostCommands = BTreeMap<u64, HostCommand>;

impl Rollouts {
    /// Finds out which versions run, and prepares them. Each handler goes on with what is remembered of it; what its
    /// source offers now is prepared first, so that no event waits for it.
    pub async fn open(tools: &Arc<Tools>) -> Result<(Self, Ties), Error> {
        let (changes, changed) = mpsc::channel(WAITING);
        let opened = Controller::open_all(tools).await?;
        let apart = |(controller, versions, judges)| (controller, (versions, judges));
        let (controllers, handlers): (Vec<_>, Vec<_>) = opened.into_iter().map(apart).unzip();
        Ok((Rollouts { controllers, changes }, Ties { handlers: handlers.into(), changes: changed }))
    }

    /// Follows sources and commands from now on, in tasks of `tasks`. Commands to the host go to `commands`; `created` is when
    /// the application's stream was created, in nanoseconds since 1970.
    pub fn start(
        self,
        tools: &Arc<Tools>,
        reading: &Broker,
        (created, cursor): (u64, String),
        commands: watch::Sender<HostCommands>,
        tasks: &mut Tasks,
    ) -> Result<(), files::Error> {
        let channels = self.controllers.iter().map(|_| mpsc::channel(WAITING));
        let (senders, receivers): (Vec<_>, Vec<_>) = channels.unzip();
        // First: the controllers begin with a poll, and what changes after it must be reported.
        watcher::start(tools, reading, (created, cursor), (senders.into(), commands), tasks)?;
        for (controller, inputs) in self.controllers.into_iter().zip(receivers) {
            tasks.spawn(controller.run(Arc::clone(tools), inputs, self.changes.clone()));
        }
        Ok(())
    }
}
