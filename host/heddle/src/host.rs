//! A host: an application, its plugins and a connection, put together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use futures::StreamExt;

use heddle_broker::Broker;
use heddle_flow::acquire::started;
use heddle_flow::versions::{self, Refusal, Sources, prepare_first};
use heddle_sandbox::{self as sandbox, Plugin, Policy, Sandbox, SandboxSettings};
use heddle_values::effects::{Allowance, HEADER_RESERVE, MAX_STORED};
use heddle_values::member::{Member, Process};
use heddle_values::policy::{Instances, Limits, MAX_CONCURRENCY};
use heddle_values::settings::{Grants, HandlerSettings, Settings};

/// Plugins that are prepared at once.
const PREPARING: usize = 2;

/// Instances that the sandbox has slots for at the most.
const MAX_INSTANCES: usize = 4_096;

/// Where compiled plugins are kept and what compiles them.
#[derive(Debug, Clone)]
pub struct Workshop {
    /// The folder for compiled plugins. It must be this user's alone, for what lies there is run.
    pub artifacts: PathBuf,
    /// The program `heddle`, which is started to compile.
    pub compiler: PathBuf,
}

impl Workshop {
    /// This program as compiler, as it runs, whatever has come to stand in its file since; and `folder` or else this user's cache for the results.
    pub fn new(folder: Option<PathBuf>) -> anyhow::Result<Self> {
        let compiler = PathBuf::from("/proc/self/exe");
        let artifacts = match folder {
            Some(folder) => folder,
            None => user_cache().context("no folder for compiled plugins: give --cache or set HOME")?,
        };
        Ok(Workshop { artifacts, compiler })
    }

    /// A sandbox for one plugin that may use up to `max_memory` bytes.
    pub(super) fn sandbox(self, max_memory: u64) -> Result<Sandbox, sandbox::Error> {
        let Workshop { artifacts, compiler } = self;
        Sandbox::new(SandboxSettings { instances: 4, max_memory, artifacts, compiler })
    }
}

#[expect(clippy::disallowed_methods, reason = "where a user's cache is stands in the environment")]
fn user_cache() -> Option<PathBuf> {
    let absolute = |name| std::env::var(name).ok().map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("heddle").join("artifacts"))
}

/// How the sandbox for some handlers is set up.
pub(super) fn sandbox_settings(settings: &Settings, workshop: &Workshop) -> SandboxSettings {
    let handlers = settings.handlers.len().max(1);
    let max_memory = settings.handlers.iter().map(|handler| handler.limits.memory).max().unwrap_or(0);
    SandboxSettings {
        // Twice what can run at once: an instance that ends and its successor overlap.
        // The slots' address space has an end; an event that finds none waits for one.
        instances: u32::try_from((2 * handlers * MAX_CONCURRENCY as usize).min(MAX_INSTANCES))
            .unwrap_or(u32::MAX),
        max_memory,
        artifacts: workshop.artifacts.clone(),
        compiler: workshop.compiler.clone(),
    }
}

/// The sandbox for some handlers.
pub(super) fn sandbox(settings: &Settings, workshop: &Workshop) -> Result<Sandbox, sandbox::Error> {
    Sandbox::new(sandbox_settings(settings, workshop))
}

/// What a handler's plugin may do. `max_payload` is the server's, in bytes.
pub(super) fn policy(settings: &Settings, handler: &HandlerSettings, max_payload: usize) -> Policy {
    Policy {
        handler: Arc::clone(&handler.name),
        allowance: Allowance {
            publishes: handler.publishes.clone(),
            messages: handler.limits.messages,
            output: handler.limits.output,
            message: max_payload.min(MAX_STORED).saturating_sub(HEADER_RESERVE) as u64,
            state: handler.limits.state,
            inbox_prefix: settings.nats.inbox_prefix.as_str().into(),
        },
        limits: handler.limits,
        instances: handler.instances,
        config: handler.config.clone(),
        grants: handler.grants.clone(),
    }
}

/// A policy under which everything may be published.
pub fn everything(handler: &str, limits: Limits) -> Policy {
    Policy {
        handler: handler.into(),
        allowance: Allowance {
            publishes: vec![">".parse().expect("`>` is a pattern")],
            messages: limits.messages,
            output: limits.output,
            message: limits.output,
            state: limits.state,
            inbox_prefix: "_INBOX".into(),
        },
        limits,
        instances: Instances::Fresh,
        config: BTreeMap::new(),
        grants: Grants::default(),
    }
}

/// Takes what every handler's source offers now, or says everything that is wrong with any of them. Without a `broker`,
/// what is on the server is wrong.
pub(super) async fn admit_all(
    sandbox: &Sandbox,
    settings: &Settings,
    broker: Option<&Broker>,
    max_payload: usize,
) -> Result<Vec<Arc<Plugin>>, versions::Error> {
    let registry = &super::docker_login::registry(&settings.insecure_registries);
    let sources = Sources { broker, registry };
    let admit = |handler: &Arc<HandlerSettings>| {
        let (handler, policy) = (Arc::clone(handler), Arc::new(policy(settings, handler, max_payload)));
        async move {
            let admitted = prepare_first(sources, sandbox, (&handler, &settings.trust), policy).await;
            admitted.map_err(|refusal| (handler.name.to_string(), refusal))
        }
    };
    let results: Vec<_> =
        futures::stream::iter(&settings.handlers).map(admit).buffered(PREPARING).collect().await;
    let (mut plugins, mut faults): (Vec<Arc<Plugin>>, Vec<(String, Refusal)>) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(plugin) => plugins.push(plugin),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(plugins) } else { Err(versions::Error::Plugins(faults)) }
}

/// This process, as it announces itself.
pub(super) fn this_host() -> Member {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let boot = read("/proc/sys/kernel/random/boot_id");
    Member {
        host: format!("h{:012x}", rand::random::<u64>() >> 16),
        process: Process {
            machine: format!("{boot} {}", namespace.display()),
            pid: std::process::id(),
            started: started(std::process::id()).unwrap_or(0),
            hostname: read("/proc/sys/kernel/hostname"),
        },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        draining: false,
        tasks: 0,
        handlers: BTreeMap::new(),
    }
}
