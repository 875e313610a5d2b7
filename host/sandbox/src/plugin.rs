//! A plugin that was taken: makes instances and runs events in them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use wasmtime::{PoolConcurrencyLimitError, Store, UpdateDeadline};

use super::adapter::World;
use super::artifact::Digest;
use super::bounded::{Bounded, GaveWay};
use super::code::Code;
use super::config::HOSTCALL_BYTES;
use super::failure::{failure, given_up, not_its_fault};
use super::guest::Guest;
use super::http::Client;
use super::last_words::told_in_one_line;
use super::limiter::Breached;
use super::pool::{Kept, Place, Pool};
use super::{Call, Error, LogLine, Policy, Run, Usage};
use heddle_values::derivation::hash_seed;
use heddle_values::limit::{Breach, Limit};
use heddle_values::policy::Instances;
use heddle_values::verdict::{Failure, Verdict};

/// How long an instance is kept that no event has needed.
const UNUSED: Duration = Duration::from_secs(30);

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
    client: Arc<Client>,
    /// The share of the pool that an instance takes.
    share: u32,
    /// Instances that wait for their next event.
    kept: Arc<Kept<Instance>>,
    /// Instances of these that have gone and are to be replaced before an event needs them. Those that wait, those that
    /// run and those that miss are at most as many as have ever run at once.
    missing: AtomicU32,
    /// Instances that are kept however long no event needs them.
    warm: AtomicUsize,
}

/// The store is dropped before the place that it takes.
struct Instance {
    store: Store<Guest>,
    world: World,
    runs: u32,
    _place: Place,
}

impl Plugin {
    /// The code under a policy, if an instance of it can be made.
    pub(super) async fn admit(code: Arc<Code>, policy: Arc<Policy>, pool: &Arc<Pool>) -> Result<Self, Error> {
        let too_large = || {
            Error::TooLarge(format!(
                "an instance takes {:?}, the pool has {:?}",
                code.needs(),
                pool.capacity()
            ))
        };
        let share = pool.capacity().share(code.needs()).ok_or_else(too_large)?;
        let client = Client::open(&policy.grants.http).await?;
        let (missing, warm) = (AtomicU32::new(0), AtomicUsize::new(0));
        let plugin = Plugin { code, policy, client, share, kept: Kept::new(pool), missing, warm };
        // Some mismatches of types only show when an instance is made.
        let place = pool.place(share).await;
        match plugin.make_ahead(place).await {
            Some(Ok(instance)) => {
                if plugin.keeps_instances() {
                    plugin.kept.put(instance);
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
            None => {
                let wait = wait_limit(plugin.policy.limits.time);
                Err(Error::Instantiate(format!("it waited for more than {wait:?}")))
            }
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

    /// Has this number of instances ready, if they serve more than one event: then no event waits until one is made.
    pub async fn warm(&self, instances: usize) {
        if self.keeps_instances() {
            self.warm.fetch_max(instances, Ordering::Relaxed);
            let missing = u32::try_from(instances.saturating_sub(self.kept.count())).unwrap_or(u32::MAX);
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

    /// Replaces the instances that have gone: to be called between events rather than in one. It waits for no place and
    /// takes none from others.
    pub async fn refill(&self) {
        while self.replaces_one() {
            let made = match self.kept.pool().try_place(self.share) {
                Some(place) => self.make_ahead(place).await,
                None => None,
            };
            match made {
                Some(Ok(instance)) => self.kept.put(instance),
                // The event that needs one says why there is none.
                Some(Err(_)) | None => self.missing.store(0, Ordering::Relaxed),
            }
        }
    }

    /// How many instances wait for an event.
    pub fn ready(&self) -> usize {
        self.kept.count()
    }

    /// Lets instances go that no event has needed for 30 s, but for those that are kept [warm](Self::warm).
    pub fn trim(&self) {
        self.kept.trim(UNUSED, self.warm.load(Ordering::Relaxed));
    }

    /// Runs one event to its verdict. It waits until there is a place for an instance.
    pub async fn run(&self, call: Call) -> Run {
        let kept = self.is_kept(&call);
        let from = match kept.then(|| self.kept.take()).flatten() {
            Some(instance) => From::Kept(instance),
            None => From::Place(self.kept.pool().place(self.share).await),
        };
        let began = Instant::now();
        let wait = wait_limit(self.policy.limits.time);
        let gave_way = GaveWay::default();
        let executed = Bounded::new(self.execute(call, from, gave_way.clone()), gave_way, wait).await;
        let mut run = executed.unwrap_or_else(|| {
            self.lose(kept);
            let (allowed, used) = (milliseconds(self.policy.limits.time), milliseconds(wait));
            let mut failure = Failure::limit(Breach { limit: Limit::Time, allowed, used: Some(used) });
            failure.message = format!("time: waited {used} ms in host calls, {wait:?} allowed");
            let usage = Usage { outside: Guest::waited_for(&self.policy.grants), ..Usage::default() };
            Run { usage, ..Run::failed(failure) }
        });
        run.usage.elapsed = began.elapsed();
        run
    }

    /// The instance lives in this future: dropping it, as a time-out does, drops the instance too.
    async fn execute(&self, call: Call, from: From, gave_way: GaveWay) -> Run {
        let kept = self.is_kept(&call);
        let mut instance = match self.instance(&call, from, &gave_way).await {
            Ok(instance) => instance,
            Err(Made::Grant(error)) => return Run::failed(not_its_fault(error.to_string())),
            // Its needs were counted too low: it is tried again once others have ended.
            Err(Made::Failed(error, _)) if error.is::<PoolConcurrencyLimitError>() => {
                return Run::failed(not_its_fault(error.to_string()));
            }
            Err(Made::Failed(error, lines)) => {
                let failure = failure(&error, &lines);
                return Run { logs: told_in_one_line(lines), ..Run::failed(failure) };
            }
        };
        let store = &mut instance.store;
        store.data_mut().begin(call, gave_way);
        store.set_epoch_deadline(1);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        let answer = instance.world.handle(store).await;
        let guest = store.data_mut();
        let draft = guest.end();
        let (mut logs, logs_dropped) = guest.lines.take();
        let usage = Usage {
            counted: guest.used(),
            memory: guest.limiter.held(),
            outside: guest.outside(),
            ..Usage::default()
        };
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
                let failure = failure(&error, &logs);
                logs = told_in_one_line(logs);
                Verdict::Failed(failure.after(refused).into())
            }
        };
        Run { verdict, logs, logs_dropped, usage }
    }

    async fn instance(&self, call: &Call, from: From, gave_way: &GaveWay) -> Result<Instance, Made> {
        match from {
            From::Kept(instance) => Ok(instance),
            From::Place(place) => {
                if self.is_kept(call) {
                    self.replaces_one();
                }
                let seed = hash_seed(&call.event, &self.policy.handler);
                self.instantiate(seed, place, gave_way.clone()).await
            }
        }
    }

    /// Keeps an instance for its next event, or notes that it has gone.
    fn put_back(&self, instance: Instance) {
        let Instances::Reuse(times) = self.policy.instances else { return };
        if instance.runs < times.get() { self.kept.put(instance) } else { self.lose(true) }
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

    /// An instance for no event in particular. None: it waited for too long.
    async fn make_ahead(&self, place: Place) -> Option<Result<Instance, Made>> {
        let gave_way = GaveWay::default();
        let wait = wait_limit(self.policy.limits.time);
        Bounded::new(self.instantiate(0, place, gave_way.clone()), gave_way, wait).await
    }

    async fn instantiate(&self, hash_seed: u128, place: Place, gave_way: GaveWay) -> Result<Instance, Made> {
        let mut guest =
            Guest::new(Arc::clone(&self.policy), Arc::clone(&self.client), hash_seed).map_err(Made::Grant)?;
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
            Ok(world) => Ok(Instance { store, world, runs: 0, _place: place }),
            Err(error) => Err(Made::Failed(error, store.data().lines.take().0)),
        }
    }
}

/// What an event runs in.
enum From {
    Kept(Instance),
    /// An instance that is made for it.
    Place(Place),
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
