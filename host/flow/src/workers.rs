//! Workers: run events on threads of their own, a few at a time.
//!
//! Most events run to their end at once, so a worker takes several, runs them one after the other and hands their
//! ends on together: waking a thread for each would cost more than the run. One that waits or uses up its slice of
//! time makes way for the next ones and goes on beside them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::flow::Job;
use super::jobs::Done;
use super::plugin_log::{LineRate, report};
use super::states::State;
use heddle_broker::{Broker, Stored, persist};
use heddle_sandbox::{Call, Outside, Plugin};
use heddle_values::plugin::PluginId;
use heddle_values::verdict::{Failure, Verdict};

/// Events that a worker takes at once.
const TAKE: usize = 16;

/// Ends that wait to be taken in, in groups.
const WAITING: usize = 1024;

/// What the runs of one handler need, whatever the version of its plugin.
pub(super) struct Shared {
    /// Bounds how many events of the handler run at once.
    pub(super) permits: Semaphore,
    pub(super) broker: Broker,
    /// The application's stream: it holds the states.
    pub(super) stream: Arc<str>,
    /// Bounds how much the plugin writes into the log.
    pub(super) lines: LineRate,
}

/// Runs the events of one handler with one version of its plugin.
pub(super) struct Runner {
    pub(super) plugin: Arc<Plugin>,
    shared: Arc<Shared>,
}

impl Runner {
    pub(super) fn new(shared: Arc<Shared>, plugin: Arc<Plugin>) -> Arc<Self> {
        Arc::new(Runner { plugin, shared })
    }
}

/// What is known of the state of a job's key.
#[derive(Debug)]
pub(super) enum Knowledge {
    Known(State),
    /// To be read from this subject if the plugin can ask for it.
    Stored(String),
}

/// A run that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) job: Job,
    pub(super) verdict: Verdict,
    /// The version that ran it, or would have.
    pub(super) by: Arc<PluginId>,
    /// Zero if it did not come to the plugin.
    pub(super) elapsed: Duration,
    /// What it came to know of what it depends on.
    pub(super) outside: Outside,
    /// The state, if it had to be read from the stream.
    pub(super) loaded: Option<State>,
}

impl Ended {
    /// The end of an event that failed without running.
    pub(super) fn without_run(job: Job, runner: &Runner, failure: Failure) -> Self {
        Ended {
            job,
            verdict: Verdict::Failed(failure.into()),
            by: Arc::clone(runner.plugin.code().id()),
            elapsed: Duration::ZERO,
            outside: Outside::Untouched,
            loaded: None,
        }
    }
}

/// An event that is to be run.
pub(super) struct Task {
    pub(super) runner: Arc<Runner>,
    pub(super) job: Job,
    pub(super) knowledge: Knowledge,
}

/// Where workers take their events from.
#[derive(Default)]
pub(super) struct Queue {
    /// A lock, because whichever worker is free takes the next events; it is held for some pushes or pops.
    tasks: Mutex<VecDeque<Task>>,
    more: Notify,
}

impl Queue {
    /// Adds events; `tasks` is empty afterwards.
    pub(super) fn add(&self, tasks: &mut Vec<Task>) {
        if tasks.is_empty() {
            return;
        }
        let many = tasks.len() > 1;
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(tasks.drain(..));
        self.more.notify_one();
        if many {
            self.more.notify_one();
        }
    }

    fn take(&self, taken: &mut Vec<Task>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let count = tasks.len().min(TAKE);
        taken.extend(tasks.drain(..count));
        if !tasks.is_empty() {
            self.more.notify_one();
        }
    }
}

/// Starts a worker on each thread. What they take their events from, and where the ends of the runs arrive.
pub(super) fn start(threads: &Handle, jobs: &mut JoinSet<Done>) -> (Arc<Queue>, mpsc::Receiver<Vec<Ended>>) {
    let queue = Arc::new(Queue::default());
    let (sender, ends) = mpsc::channel(WAITING);
    for _ in 0..threads.metrics().num_workers() {
        jobs.spawn_on(work(Arc::clone(&queue), sender.clone()), threads);
    }
    (queue, ends)
}

/// Runs events until nobody wants their ends any more.
async fn work(queue: Arc<Queue>, ends: mpsc::Sender<Vec<Ended>>) -> Done {
    let mut slow: FuturesUnordered<BoxFuture<'static, Ended>> = FuturesUnordered::new();
    let mut taken = Vec::with_capacity(TAKE);
    let mut short: Vec<Arc<Runner>> = Vec::new();
    loop {
        queue.take(&mut taken);
        let mut ended = Vec::with_capacity(taken.len());
        for Task { runner, job, knowledge } in taken.drain(..) {
            let keeps = runner.plugin.keeps_instances().then(|| Arc::clone(&runner));
            let mut end = run(runner, job, knowledge).boxed();
            match futures::poll!(&mut end) {
                std::task::Poll::Ready(end) => ended.push(end),
                std::task::Poll::Pending => slow.push(end),
            }
            short.extend(keeps.filter(|runner| runner.plugin.is_short()));
        }
        while let Some(Some(end)) = slow.next().now_or_never() {
            ended.push(end);
        }
        if ended.is_empty() {
            // Cancel-safe: a notice that comes meanwhile is kept, and what ends is taken only when it is chosen.
            tokio::select! {
                () = queue.more.notified() => {}
                Some(end) = slow.next() => ended.push(end),
            }
        }
        if !ended.is_empty() && ends.send(ended).await.is_err() {
            return Done::Nothing;
        }
        // Instances that have gone are replaced between events, so that none waits for one to be made.
        for runner in short.drain(..) {
            runner.plugin.refill().await;
        }
    }
}

/// Runs an event to its verdict.
async fn run(runner: Arc<Runner>, job: Job, knowledge: Knowledge) -> Ended {
    let _permit = runner.shared.permits.acquire().await.expect("the permits are never closed");
    let (state, loaded) = match knowledge {
        Knowledge::Known(state) => (state, None),
        Knowledge::Stored(_) if !runner.plugin.uses_state() => (None, None),
        Knowledge::Stored(subject) => {
            let state = load_state(&runner.shared.broker, &runner.shared.stream, &subject).await;
            (state.clone(), Some(state))
        }
    };
    let call = Call { event: Arc::clone(&job.event), key: job.key.clone(), attempt: job.attempt, state };
    let run = runner.plugin.run(call).await;
    report(&runner.plugin.policy().handler, &runner.shared.lines, &job, &run);
    let by = Arc::clone(runner.plugin.code().id());
    let (elapsed, outside) = (run.usage.elapsed, run.usage.outside);
    Ended { job, verdict: run.verdict, by, elapsed, outside, loaded }
}

/// Reads a state from the stream's leader, for as long as it takes: that the server cannot be reached is
/// not the handler's fault.
async fn load_state(broker: &Broker, stream: &str, subject: &str) -> State {
    persist(|| broker.last(stream, subject)).await.and_then(Stored::into_state)
}
