//! Workers: run events on threads of their own, a few at a time.
//!
//! Most events run to their end at once, so a worker takes several, runs them one after the other and hands their
//! ends on together: waking a thread for each would cost more than the run. One that waits or uses up its slice of
//! time makes way for the next ones and goes on beside them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::jobs::{self, Done, Job, Knowledge, Runner};

/// Events that a worker takes at once.
const TAKE: usize = 16;

/// Ends that wait to be taken in, in groups.
const WAITING: usize = 1024;

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
pub(super) fn start(threads: &Handle, jobs: &mut JoinSet<Done>) -> (Arc<Queue>, mpsc::Receiver<Vec<Done>>) {
    let queue = Arc::new(Queue::default());
    let (sender, ends) = mpsc::channel(WAITING);
    for _ in 0..threads.metrics().num_workers() {
        jobs.spawn_on(work(Arc::clone(&queue), sender.clone()), threads);
    }
    (queue, ends)
}

/// Runs events until nobody wants their ends any more.
async fn work(queue: Arc<Queue>, ends: mpsc::Sender<Vec<Done>>) -> Done {
    let mut slow: FuturesUnordered<BoxFuture<'static, Done>> = FuturesUnordered::new();
    let mut taken = Vec::with_capacity(TAKE);
    let mut short: Vec<Arc<Runner>> = Vec::new();
    loop {
        queue.take(&mut taken);
        let mut ended = Vec::with_capacity(taken.len());
        for Task { runner, job, knowledge } in taken.drain(..) {
            let keeps = runner.plugin.keeps_instances().then(|| Arc::clone(&runner));
            let mut run = jobs::run(runner, job, knowledge).boxed();
            match futures::poll!(&mut run) {
                std::task::Poll::Ready(end) => ended.push(end),
                std::task::Poll::Pending => slow.push(run),
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
