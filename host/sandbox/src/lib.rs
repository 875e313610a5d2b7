//! The sandbox: runs plugins, and lets them reach nothing but what was granted.
//!
//! The only module that names `wasmtime`. It promises that a plugin cannot use more time, memory, output
//! or log lines than its policy allows, and that a run depends on its event, its key's state and its
//! policy alone, unless a grant opens the outside. It refuses to know where events come from.

mod adapter;
mod artifact;
mod bindings;
mod bounded;
mod capture;
mod code;
mod compile;
mod config;
mod engine;
mod failure;
mod guest;
mod http;
mod last_words;
mod limiter;
mod needs;
mod plugin;
mod pool;
mod traffic;
mod wasi_environment;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

pub use artifact::Digest;
pub use code::{Code, check_header};
pub use compile::{COMMAND as COMPILE_COMMAND, CompileError, Fault, INVALID, compile_here};
pub use engine::{MAX_COMPONENT, Sandbox, SandboxSettings, off_thread, read};
pub use plugin::Plugin;

use heddle_values::effects::Allowance;
use heddle_values::event::Event;
use heddle_values::key::Key;
use heddle_values::policy::{Instances, Limits};
use heddle_values::secret::Secret;
use heddle_values::settings::Grants;
use heddle_values::verdict::Verdict;

/// Why a plugin is rejected.
#[derive(Debug, Error)]
pub enum Error {
    /// The file cannot be opened or read, or it is a folder. Retrying may help.
    #[error("failed to read `{path}`: {cause}{}", advice(.cause))]
    Unreadable {
        /// The path as it was given.
        path: PathBuf,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// The bytes do not begin as WebAssembly does: another kind of file, or one that was cut off.
    #[error("not a WebAssembly file: it does not begin with `\\0asm`")]
    NotWasm,
    /// The file is a core module. It has to be built or wrapped as a component.
    #[error(
        "a core module, not a component: build it for the target `wasm32-wasip2`, or make a component of it with `wasm-tools component new`"
    )]
    CoreModule,
    /// The file is larger than [`MAX_COMPONENT`], which is the number of bytes in the error.
    #[error("has more than {0} bytes, the most that a plugin may have")]
    TooBig(u64),
    /// One instance needs more than the whole instance pool has, or the code more than the engine allows.
    #[error("needs more than a plugin may have: {0}")]
    TooLarge(String),
    /// The component could not be compiled. Retrying may help, unless it is [`CompileError::Invalid`].
    #[error("failed to compile: {0}")]
    Compile(#[from] CompileError),
    /// The component imports this interface of a package that the host does not know. An unknown interface of `wasi:`
    /// is a [`WrongWorld`](Self::WrongWorld).
    #[error(
        "imports `{0}`, which no host function answers: only `heddle:plugin`, `wasi` and `wasmcloud:messaging` interfaces may be imported"
    )]
    UnknownImport(String),
    /// The host does not provide an import of the component, or its handler is missing or has another type.
    #[error("does not fit the world `{world}`: {cause}")]
    WrongWorld {
        /// The world that its exported handler belongs to; Heddle's own if it exports none.
        world: &'static str,
        /// What the engine says about the import or export that does not fit.
        cause: String,
    },
    /// The component exports handlers of several worlds, named here in backticks: it is not clear which one to call.
    #[error("has more than one handler: it exports {}; a plugin has one", .0.join(" and "))]
    SeveralHandlers(Vec<String>),
    /// The component uses an interface of another host, such as `wasmcloud:messaging`, in a version not provided here.
    #[error("is built for `{interface}`, of which this host has version {answered}")]
    OtherVersion {
        /// The whole name of the interface, with its version.
        interface: String,
        /// The versions that are provided, joined by "or"; a final `x` stands for any number.
        answered: String,
    },
    /// The component was built for this version of the contract `heddle:plugin`, which the host does not provide.
    #[error(
        "is built for the world `heddle:plugin@{0}`, this host has `heddle:plugin@{TRACK}.0`: build it with the SDK of this host"
    )]
    OtherTrack(String),
    /// The component imports this interface to call over HTTP, but the policy grants no host to call.
    #[error(
        "imports `{0}`, but the handler has no grant for it: add `http` to its `grants`, or build without it"
    )]
    NotGranted(String),
    /// The component was built with async functions of the component model, which the engine does not run.
    #[error(
        "needs the component model's async functions, which this world does not use; build without async (for JavaScript: without the async runtime)"
    )]
    NeedsAsync,
    /// The first instance trapped, broke a limit of the policy, or waited in host calls for too long.
    #[error("fails when an instance is made: {0}")]
    Instantiate(String),
    /// A folder or certificate file that the policy grants cannot be used on this machine. Retrying may help.
    #[error("grant `{what}` cannot be given: {cause}")]
    Grant {
        /// The grant and its path: `files: PATH` or `http-ca: PATH`.
        what: String,
        /// Why it cannot be opened, or what is wrong with the certificates in it.
        cause: String,
    },
    /// The folder of compiled plugins cannot be made or written, or belongs to another user. Retrying may help.
    #[error("artifact store `{path}` cannot be used: {cause}")]
    Artifacts {
        /// The folder, as [`SandboxSettings::artifacts`] has it.
        path: PathBuf,
        /// The error of the operating system, or that the folder belongs to another user.
        cause: String,
    },
    /// The system denies executable memory, so no plugin can run until it is allowed; with the engine's message.
    #[error(
        "this process may not make memory executable, as the code of every plugin has to be ({0}): systemd denies it with `MemoryDenyWriteExecute`, others by a policy of the system"
    )]
    NotExecutable(String),
    /// The engine or its clock could not be started, or a task that worked for them panicked: the host's fault.
    #[error("failed to start the engine: {0}")]
    Engine(String),
}

fn advice(cause: &std::io::Error) -> &'static str {
    match cause.kind() {
        std::io::ErrorKind::NotFound => "; `heddle build` builds the plugin of a project",
        _ => "",
    }
}

impl Error {
    /// Whether the same component may be taken later.
    pub fn may_pass(&self) -> bool {
        match self {
            Error::Unreadable { .. }
            | Error::Grant { .. }
            | Error::Artifacts { .. }
            | Error::NotExecutable(_)
            | Error::Engine(_) => true,
            Error::Compile(error) => !matches!(error, CompileError::Invalid(_)),
            _ => false,
        }
    }
}

/// The versions of the contract that go together with this host's.
pub(crate) const TRACK: &str = "0.1";

/// What a handler's plugin may do.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The handler's name. The plugin can ask for it; with the event, it seeds the random numbers of a run.
    pub handler: Arc<str>,
    /// The bounds on effects: each is judged by them when the plugin asks for it.
    pub allowance: Allowance,
    /// The bounds on run time, memory and host calls. Those on effects are taken from `allowance`.
    pub limits: Limits,
    /// Whether an instance serves one event or several. An event that is tried again gets one of its own in any case.
    pub instances: Instances,
    /// The handler's configuration, which the plugin reads by name. Empty if it has none.
    pub config: BTreeMap<String, Secret>,
    /// What the plugin may reach outside: environment variables, files and HTTP hosts. Nothing by default.
    pub grants: Grants,
}

/// One run of one event.
#[derive(Debug, Clone)]
pub struct Call {
    /// The event to handle. The time at which it was stored is what the plugin sees as the current time.
    pub event: Arc<Event>,
    /// The key that the handler's key template gave for the event.
    pub key: Key,
    /// From 1.
    pub attempt: u32,
    /// The state of the key.
    pub state: Option<Bytes>,
}

/// How severe a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Set through the log interface only: printed text never has it.
    Trace,
    /// Set through the log interface only: printed text never has it.
    Debug,
    /// Also the level of what a plugin prints to standard output.
    Info,
    /// Also the level of what a plugin prints to standard error, and of HTTP calls that were refused.
    Warn,
    /// Also the level of what `wasi:logging` calls critical.
    Error,
}

/// A line that a plugin wrote, without control characters and bounded in length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The level that the plugin gave, or that of the output stream it printed to.
    pub level: LogLevel,
    /// One line of at most 4,096 bytes; control characters are escaped, and `…` ends one that was cut off.
    pub text: String,
}

/// What a run used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// From taking an instance to the verdict.
    pub elapsed: Duration,
    /// Run time of the plugin as it counts against its limit, in steps of 2 ms.
    pub counted: Duration,
    /// The largest linear memory, in bytes.
    pub memory: u64,
    /// What it came to know of what it depends on.
    pub outside: Outside,
}

/// What a run came to know of what lies outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outside {
    /// It made no request, though requests are all that it could make.
    #[default]
    Untouched,
    /// All that it asked over HTTP answered, with a status below 500.
    Answered,
    /// A request over HTTP failed, or was answered with a status of 500 or above.
    Failed,
    /// It may depend on what is not seen here: on files, or on something that only its user knows of.
    Unseen,
}

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    /// The effects of a run that succeeded, or why it failed and whether another try may help.
    pub verdict: Verdict,
    /// At most 100 lines, in the order of writing. They are lost if the run waited in host calls for too long.
    pub logs: Vec<LogLine>,
    /// Lines that were beyond the bound.
    pub logs_dropped: u32,
    /// If no instance was made only `elapsed` is set; if the run waited in host calls for too long, `outside` as well.
    pub usage: Usage,
}
