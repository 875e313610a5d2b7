//! A plugin that was taken: makes instances and runs events in them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::{PoolConcurrencyLimitError, Store, UpdateDeadline};

use super::adapter::World;
use super::artifact::Digest;
use super::bounded::{Bounded, GaveWay};
use super::code::Code;
use super::failure::{failure, given_up, not_its_fault};
use super::guest::Guest;
use super::http::Outside;
use super::limiter::Breached;
use super::{Call, Error, LogLine, Policy, Run, Usage};
use crate::values::derivation::hash_seed;
use crate::values::policy::Instances;
use crate::values::verdict::{Breach, Failure, Limit, Verdict};

/// What one host call may move into the host's memory, in bytes.
pub(super) const HOSTCALL_BYTES: usize = 8 << 20;

/// Component-model handles of one instance.
const MAX_HANDLES: usize = 1_000;

/// How long a run may wait in host calls, for a limit of run time.
fn wait_limit(time: Duration) -> Duration {
    time.saturating_mul(5)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A plugin of one handler, ready to run.
pub struct Plugin {
    code: Arc<Code>,
    policy: Arc<Policy>,
    /// What its instances call over HTTP with.
    outside: Arc<Outside>,
    /// Instances that wait for their next event. A lock, because runs end on any thread and the critical
    /// section is one push or pop.
    idle: Mutex<Vec<Instance>>,
    /// Instances of these that have gone and are to be replaced before an event needs them. Those that wait, those that
    /// run and those that miss are as many as have ever run at once.
    missing: AtomicU32,
}

struct Instance {
    store: Store<Guest>,
    world: World,
    runs: u32,
}

impl Plugin {
    /// The code under a policy, if an instance of it can be made.
    pub(super) async fn admit(code: Arc<Code>, policy: Arc<Policy>) -> Result<Self, Error> {
        let outside = Outside::open(&policy.grants.http).await?;
        let plugin = Plugin { code, policy, outside, idle: Mutex::default(), missing: AtomicU32::new(0) };
        // Some mismatches of types only show when an instance is made.
        let wait = wait_limit(plugin.policy.limits.time);
        match plugin.make_ahead(wait).await {
            Some(Ok(instance)) => {
                if plugin.keeps_instances() {
                    plugin.idle().push(instance);
                }
                Ok(plugin)
            }
            Some(Err(Made::Grant(error))) => Err(error),
            Some(Err(Made::Failed(error, lines))) => {
                let message = failure(&error, &lines).message;
                // Whether the exported function has the right type shows only now.
                Err(match message.contains("-tuple, found") || message.contains("type mismatch") {
                    true => {
                        let kind = plugin.code.pre().kind();
                        let cause = format!("function `{}`: {message}", kind.function());
                        Error::WrongWorld { world: kind.world(), cause }
                    }
                    false => Error::Instantiate(message),
                })
            }
            None => Err(Error::Instantiate(format!("it waited for more than {wait:?}"))),
        }
    }

    /// What it runs.
    pub fn code(&self) -> &Arc<Code> {
        &self.code
    }

    /// The digest of the component.
    pub fn digest(&self) -> Digest {
        self.code.digest()
    }

    /// Whether the plugin can ask for its key's state.
    pub fn uses_state(&self) -> bool {
        self.code.uses_state()
    }

    /// The policy it runs under.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Has so many instances ready, if they serve more than one event: then no event waits until one is made.
    pub async fn warm(&self, instances: usize) {
        if self.keeps_instances() {
            let idle = self.idle().len();
            let missing = u32::try_from(instances.saturating_sub(idle)).unwrap_or(u32::MAX);
            self.missing.fetch_max(missing, Ordering::Relaxed);
            self.refill().await;
        }
    }

    /// Whether instances serve more than one event.
    pub fn keeps_instances(&self) -> bool {
        matches!(self.policy.instances, Instances::Reuse(_))
    }

    /// Whether instances have gone that [`refill`](Self::refill) would replace.
    pub fn is_short(&self) -> bool {
        self.missing.load(Ordering::Relaxed) > 0
    }

    /// Replaces the instances that have gone: to be called between events rather than in one.
    pub async fn refill(&self) {
        while self.replaces_one() {
            match self.make_ahead(wait_limit(self.policy.limits.time)).await {
                Some(Ok(instance)) => self.idle().push(instance),
                // The event that needs one says why there is none.
                Some(Err(_)) | None => self.missing.store(0, Ordering::Relaxed),
            }
        }
    }

    /// How many instances wait for an event.
    pub fn ready(&self) -> usize {
        self.idle().len()
    }

    /// Runs one event to its verdict.
    pub async fn run(&self, call: Call) -> Run {
        let began = Instant::now();
        let wait = wait_limit(self.policy.limits.time);
        let gave_way = GaveWay::default();
        let kept = self.is_kept(&call);
        let mut run = match Bounded::new(self.execute(call, gave_way.clone()), gave_way, wait).await {
            Some(run) => run,
            None => {
                self.lose(kept);
                let (allowed, used) = (milliseconds(self.policy.limits.time), milliseconds(wait));
                let mut failure = Failure::limit(Breach { limit: Limit::Time, allowed, used: Some(used) });
                failure.message = format!("time: waited {used} ms in host calls, {wait:?} allowed");
                Run::failed(failure)
            }
        };
        run.usage.elapsed = began.elapsed();
        run
    }

    /// The instance lives in this future: dropping it, as a time-out does, drops the instance too.
    async fn execute(&self, call: Call, gave_way: GaveWay) -> Run {
        let kept = self.is_kept(&call);
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
        let store = &mut instance.store;
        store.data_mut().begin(call, gave_way);
        store.set_epoch_deadline(1);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        let answer = instance.world.handle(store).await;
        let guest = store.data_mut();
        let draft = guest.end();
        let (logs, logs_dropped) = guest.lines.take();
        let usage = Usage { counted: guest.used(), memory: guest.limiter.held(), ..Usage::default() };
        let refused = guest.calls_out.refused().map(str::to_owned);
        let verdict = match answer {
            Ok(answer) => {
                instance.runs += 1;
                if kept {
                    self.put_back(instance);
                }
                match answer {
                    Ok(()) => Verdict::Done(draft.finish()),
                    Err(asked) => Verdict::Failed(given_up(asked, &draft, &logs).after(refused).into()),
                }
            }
            Err(error) => {
                self.lose(kept);
                Verdict::Failed(failure(&error, &logs).after(refused).into())
            }
        };
        Run { verdict, logs, logs_dropped, usage }
    }

    async fn take(&self, call: &Call, gave_way: &GaveWay) -> Result<Instance, Made> {
        let idle = if self.is_kept(call) { self.idle().pop() } else { None };
        match idle {
            Some(instance) => Ok(instance),
            None => {
                if self.is_kept(call) {
                    self.replaces_one();
                }
                let seed = hash_seed(&call.event, &self.policy.handler);
                self.instantiate(seed, gave_way.clone()).await
            }
        }
    }

    /// Keeps an instance for its next event, or notes that it has gone.
    fn put_back(&self, instance: Instance) {
        let Instances::Reuse(times) = self.policy.instances else { return };
        if instance.runs < times.get() { self.idle().push(instance) } else { self.lose(true) }
    }

    /// Whether a run has one of the instances that are kept. What failed once runs in a new instance, which is not: what
    /// earlier events left in the old one may be why.
    fn is_kept(&self, call: &Call) -> bool {
        self.keeps_instances() && call.attempt == 1
    }

    /// An instance has gone.
    fn lose(&self, kept: bool) {
        if kept {
            self.missing.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether an instance that is made now stands for one that has gone.
    fn replaces_one(&self) -> bool {
        let less = |missing: u32| missing.checked_sub(1);
        self.missing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Instance>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An instance for no event in particular. None: it waited for too long.
    async fn make_ahead(&self, wait: Duration) -> Option<Result<Instance, Made>> {
        let gave_way = GaveWay::default();
        Bounded::new(self.instantiate(0, gave_way.clone()), gave_way, wait).await
    }

    async fn instantiate(&self, hash_seed: u128, gave_way: GaveWay) -> Result<Instance, Made> {
        let mut guest = Guest::new(Arc::clone(&self.policy), Arc::clone(&self.outside), hash_seed)
            .map_err(Made::Grant)?;
        guest.gave_way = gave_way;
        let mut store = Store::new(self.code.pre().engine(), guest);
        store.limiter(|guest| &mut guest.limiter);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.set_max_component_handles(MAX_HANDLES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut context| {
            let guest = context.data_mut();
            guest.ticks = guest.ticks.saturating_add(1);
            if guest.ticks > guest.allowed_ticks() {
                let used = Some(milliseconds(guest.used()));
                let allowed = milliseconds(guest.policy().limits.time);
                return Err(Breached(Breach { limit: Limit::Time, allowed, used }).into());
            }
            guest.gave_way.set();
            Ok(UpdateDeadline::Yield(1))
        });
        match self.code.pre().instantiate(&mut store).await {
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
        Run {
            verdict: Verdict::Failed(failure.into()),
            logs: Vec::new(),
            logs_dropped: 0,
            usage: Usage::default(),
        }
    }
}
