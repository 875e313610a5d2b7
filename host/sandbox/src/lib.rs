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
mod engine;
mod failure;
mod guest;
mod http;
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

/// Why a plugin is not taken.
#[derive(Debug, Error)]
pub enum Error {
    #[error("failed to read `{path}`: {cause}{}", advice(.cause))]
    Unreadable { path: PathBuf, cause: std::io::Error },
    #[error("not a WebAssembly file: it does not begin with `\\0asm`")]
    NotWasm,
    #[error(
        "a core module, not a component: build it for the target `wasm32-wasip2`, or make a component of it with `wasm-tools component new`"
    )]
    CoreModule,
    #[error("has more than {0} bytes, the most that a plugin may have")]
    TooBig(u64),
    #[error("needs more than a plugin may have: {0}")]
    TooLarge(String),
    #[error("failed to compile: {0}")]
    Compile(#[from] CompileError),
    #[error(
        "imports `{0}`, which no host function answers: only `heddle:plugin`, `wasi` and `wasmcloud:messaging` interfaces may be imported"
    )]
    UnknownImport(String),
    #[error("does not fit the world `{world}`: {cause}")]
    WrongWorld { world: &'static str, cause: String },
    #[error("has more than one handler: it exports {}; a plugin has one", .0.join(" and "))]
    SeveralHandlers(Vec<String>),
    #[error("is built for `{interface}`, of which this host has version {answered}")]
    OtherVersion { interface: String, answered: String },
    #[error(
        "is built for the world `heddle:plugin@{0}`, this host has `heddle:plugin@{TRACK}.0`: build it with the SDK of this host"
    )]
    OtherTrack(String),
    #[error(
        "imports `{0}`, but the handler has no grant for it: add `http` to its `grants`, or build without it"
    )]
    NotGranted(String),
    #[error(
        "needs the component model's async functions, which this world does not use; build without async (for JavaScript: without the async runtime)"
    )]
    NeedsAsync,
    #[error("fails when an instance is made: {0}")]
    Instantiate(String),
    #[error("grant `{what}` cannot be given: {cause}")]
    Grant { what: String, cause: String },
    #[error("artifact store `{path}` cannot be used: {cause}")]
    Artifacts { path: PathBuf, cause: String },
    #[error(
        "this process may not make memory executable, as the code of every plugin has to be ({0}): systemd denies it with `MemoryDenyWriteExecute`, others by a policy of the system"
    )]
    NotExecutable(String),
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
    pub handler: Arc<str>,
    pub allowance: Allowance,
    pub limits: Limits,
    pub instances: Instances,
    pub config: BTreeMap<String, Secret>,
    pub grants: Grants,
}

/// One run of one event.
#[derive(Debug, Clone)]
pub struct Call {
    pub event: Arc<Event>,
    pub key: Key,
    /// From 1.
    pub attempt: u32,
    /// The state of the key.
    pub state: Option<Bytes>,
}

/// How severe a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// A line that a plugin wrote, without control characters and bounded in length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub level: LogLevel,
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
    pub verdict: Verdict,
    pub logs: Vec<LogLine>,
    /// Lines that were beyond the bound.
    pub logs_dropped: u32,
    pub usage: Usage,
}
