//! A plugin that was taken: makes instances and runs events in them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use super::ambient::hash_seed;
use super::artifact::Digest;
use super::bindings::heddle::plugin::types;
use super::bindings::{Plugin as World, PluginPre};
use super::bounded::{Bounded, GaveWay};
use super::guest::{Guest, lower};
use super::limiter::Breach;
use super::{Call, Error, LogLine, Policy, Run, Usage};
use crate::values::policy::Instances;
use crate::values::verdict::{Failure, Limit, Verdict};

/// What one host call may move into the host's memory, in bytes.
const HOSTCALL_BYTES: usize = 8 << 20;

/// Component-model handles of one instance.
const MAX_HANDLES: usize = 1_000;

/// How long an event waits when the host has no instance for it.
const NO_INSTANCE_DELAY: Duration = Duration::from_millis(500);

/// Log lines that are added to the message of a trap.
const TRAP_LINES: usize = 3;

/// How long a run may wait in host calls, for a limit of run time.
fn wait_limit(time: Duration) -> Duration {
    time.saturating_mul(5)
}

/// A plugin of one handler, ready to run.
pub struct Plugin {
    pre: PluginPre<Guest>,
    digest: Digest,
    policy: Arc<Policy>,
    uses_state: bool,
    /// Instances that wait for their next event. A lock, because runs end on any thread and the critical
    /// section is one push or pop.
    idle: Mutex<Vec<Instance>>,
}

struct Instance {
    store: Store<Guest>,
    world: World,
    runs: u32,
}

impl Plugin {
    pub(super) async fn admit(
        engine: &Engine,
        linker: &Linker<Guest>,
        component: Component,
        digest: Digest,
        policy: Arc<Policy>,
    ) -> Result<Self, Error> {
        let imports: Vec<String> =
            component.component_type().imports(engine).map(|(name, _)| name.to_owned()).collect();
        let known = |name: &&String| !name.starts_with("heddle:plugin/") && !name.starts_with("wasi:");
        if let Some(unknown) = imports.iter().find(known) {
            return Err(Error::UnknownImport(unknown.clone()));
        }
        let wrong = |error: wasmtime::Error| {
            let text = format!("{error:#}");
            if text.contains("async feature") { Error::NeedsAsync } else { Error::WrongWorld(text) }
        };
        let pre = linker.instantiate_pre(&component).and_then(PluginPre::new).map_err(wrong)?;
        let uses_state = imports.iter().any(|name| name.starts_with("heddle:plugin/state"));
        let plugin = Plugin { pre, digest, policy, uses_state, idle: Mutex::default() };
        // Some mismatches of types only show when an instance is made.
        let wait = wait_limit(plugin.policy.limits.time);
        let gave_way = GaveWay::default();
        match Bounded::new(plugin.instantiate(0, gave_way.clone()), gave_way, wait).await {
            Some(Ok(_)) => Ok(plugin),
            Some(Err(Made::Grant(error))) => Err(error),
            Some(Err(Made::Failed(error, lines))) => {
                Err(Error::Instantiate(message(&failure(&error, &lines))))
            }
            None => Err(Error::Instantiate(format!("it waited for more than {wait:?}"))),
        }
    }

    /// The digest of the component.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether the plugin can ask for its key's state.
    pub fn uses_state(&self) -> bool {
        self.uses_state
    }

    /// The policy it runs under.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Runs one event to its verdict.
    pub async fn run(&self, call: Call) -> Run {
        let began = Instant::now();
        let wait = wait_limit(self.policy.limits.time);
        let gave_way = GaveWay::default();
        let mut run = match Bounded::new(self.execute(call, gave_way.clone()), gave_way, wait).await {
            Some(run) => run,
            None => {
                let text = format!("plugin waited for more than {wait:?}");
                Run::failed(Failure::Limit { limit: Limit::Time, message: text })
            }
        };
        run.usage.elapsed = began.elapsed();
        run
    }

    /// The instance lives in this future: dropping it, as a time-out does, drops the instance too.
    async fn execute(&self, call: Call, gave_way: GaveWay) -> Run {
        let mut instance = match self.take(&call, &gave_way).await {
            Ok(instance) => instance,
            Err(Made::Grant(error)) => return Run::failed(not_its_fault(error.to_string())),
            Err(Made::Failed(error, _)) if error.is::<PoolConcurrencyLimitError>() => {
                return Run::failed(not_its_fault(error.to_string()));
            }
            Err(Made::Failed(error, lines)) => {
                let failure = failure(&error, &lines);
                return Run { logs: lines, ..Run::failed(failure) };
            }
        };
        let event = lower(&call);
        let store = &mut instance.store;
        store.data_mut().begin(call, gave_way);
        store.set_epoch_deadline(1);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        let answer = instance.world.heddle_plugin_handler().call_handle(&mut *store, &event).await;
        let guest = store.data_mut();
        let draft = guest.end();
        let (logs, logs_dropped) = guest.lines.take();
        let usage = Usage { counted: guest.used(), memory: guest.limiter.held(), ..Usage::default() };
        let verdict = match answer {
            Ok(answer) => {
                instance.runs += 1;
                self.put_back(instance);
                match answer {
                    Ok(()) => Verdict::Done(draft.finish()),
                    Err(asked) => Verdict::Failed(lift(asked)),
                }
            }
            Err(error) => Verdict::Failed(failure(&error, &logs)),
        };
        Run { verdict, logs, logs_dropped, usage }
    }

    async fn take(&self, call: &Call, gave_way: &GaveWay) -> Result<Instance, Made> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(instance) => Ok(instance),
            None => {
                let seed = hash_seed(&call.event, &self.policy.handler);
                self.instantiate(seed, gave_way.clone()).await
            }
        }
    }

    fn put_back(&self, instance: Instance) {
        if let Instances::Reuse(times) = self.policy.instances
            && instance.runs < times.get()
        {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(instance);
        }
    }

    async fn instantiate(&self, hash_seed: u128, gave_way: GaveWay) -> Result<Instance, Made> {
        let mut guest = Guest::new(Arc::clone(&self.policy), hash_seed).map_err(Made::Grant)?;
        guest.gave_way = gave_way;
        let mut store = Store::new(self.pre.engine(), guest);
        store.limiter(|guest| &mut guest.limiter);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.set_max_component_handles(MAX_HANDLES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut context| {
            let guest = context.data_mut();
            guest.ticks = guest.ticks.saturating_add(1);
            if guest.ticks > guest.allowed_ticks() {
                let text = format!("plugin ran for {:?}", guest.used());
                return Err(Breach { limit: Limit::Time, text }.into());
            }
            guest.gave_way.set();
            Ok(UpdateDeadline::Yield(1))
        });
        match self.pre.instantiate_async(&mut store).await {
            Ok(world) => Ok(Instance { store, world, runs: 0 }),
            Err(error) => Err(Made::Failed(error, store.data().lines.take().0)),
        }
    }
}

/// Why no instance was made.
enum Made {
    Grant(Error),
    Failed(wasmtime::Error, Vec<LogLine>),
}

impl Run {
    fn failed(failure: Failure) -> Self {
        Run { verdict: Verdict::Failed(failure), logs: Vec::new(), logs_dropped: 0, usage: Usage::default() }
    }
}

fn lift(asked: types::Failure) -> Failure {
    match asked {
        types::Failure::Retry(reason) => Failure::Retry { reason },
        types::Failure::Reject(reason) => Failure::Reject { reason },
        types::Failure::Defer(types::Deferral { delay_ms, reason }) => {
            Failure::Defer { delay: Duration::from_millis(delay_ms.into()), reason }
        }
    }
}

/// The host could not make an instance. The event waits; that is not counted as an attempt.
fn not_its_fault(reason: String) -> Failure {
    tracing::warn!(reason, "no instance could be made; the event waits");
    Failure::Defer { delay: NO_INSTANCE_DELAY, reason }
}

fn message(failure: &Failure) -> String {
    failure.cause().message
}

/// What an error of the engine says about the plugin.
fn failure(error: &wasmtime::Error, lines: &[LogLine]) -> Failure {
    if let Some(breach) = error.downcast_ref::<Breach>() {
        return Failure::Limit { limit: breach.limit, message: breach.text.clone() };
    }
    if let Some(Trap::StackOverflow) = error.downcast_ref::<Trap>() {
        return Failure::Limit { limit: Limit::Stack, message: "plugin used up its stack".to_owned() };
    }
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return Failure::Trap { message: format!("plugin exited with code {}", exit.0) };
    }
    let mut message = error.root_cause().to_string();
    // What a plugin prints before it traps is, in most languages, why.
    let last = lines.len().saturating_sub(TRAP_LINES);
    for line in lines.iter().skip(last) {
        message.push_str(" | ");
        message.push_str(&line.text);
    }
    Failure::Trap { message }
}
