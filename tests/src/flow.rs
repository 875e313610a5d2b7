//! A flow of events: at a steady pace, by one publisher, so that the events of a key are stored in the order they were
//! meant.

use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Server;
use crate::checker::counting;

/// How often some are published.
const TICK: Duration = Duration::from_millis(10);

/// Events that count, for keys in turn (see [`Checker`](crate::Checker)). It ends when it is dropped.
pub struct Flow {
    stop: watch::Sender<bool>,
    published: watch::Receiver<usize>,
    task: JoinSet<()>,
}

impl Flow {
    /// Begins to publish N events a second, for N keys in turn.
    pub async fn start(server: &Server, keys: usize, rate: usize) -> Self {
        let jetstream = server.jetstream().await;
        let (stop, stopped) = watch::channel(false);
        let (count, published) = watch::channel(0);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            let (mut number, mut due) = (0, 0.0);
            while !*stopped.borrow() {
                ticks.tick().await;
                due += rate as f64 * TICK.as_secs_f64();
                let mut stored = Vec::new();
                while (number as f64) < due {
                    let key = format!("k{}", number % keys);
                    let payload = json!({ "do": counting(&key, &[]) }).to_string();
                    let sent = jetstream.publish(format!("in.{key}"), payload.into()).await;
                    stored.push(sent.expect("an event is sent"));
                    number += 1;
                }
                for stored in stored {
                    stored.await.expect("the server stores every event");
                }
                count.send_replace(number);
            }
        });
        Flow { stop, published, task }
    }

    /// Waits until N more events are stored.
    pub async fn pass(&mut self, events: usize) {
        let goal = *self.published.borrow() + events;
        let passed = self.published.wait_for(|published| *published >= goal);
        let passed = tokio::time::timeout(crate::PATIENCE, passed).await;
        assert!(passed.is_ok_and(|passed| passed.is_ok()), "events do not flow");
    }

    /// Ends it; how many events are stored.
    pub async fn end(mut self) -> usize {
        self.stop.send_replace(true);
        self.task.join_next().await.expect("there is one task").expect("every event was stored");
        *self.published.borrow()
    }
}
