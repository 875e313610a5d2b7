//! The watcher: tells the keepers when something may have changed at their sources, and hands them their orders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{mpsc, watch};

use super::keeper::Input;
use super::{HostOrder, HostOrders, Tasks, Tools, answer};
use heddle_broker::{Broker, CursorPlan, Delivery};
use heddle_source::watch::{Error, Watch};
use heddle_values::event::Event;
use heddle_values::order::{Answer, Order};
use heddle_values::plugin::PluginPlace;

/// The wait before a bucket is watched again that cannot be, or is not there yet.
const PAUSE: Duration = Duration::from_secs(2);

type Keepers = Arc<[mpsc::Sender<Input>]>;

/// Starts to watch, in tasks of `tasks`.
pub(super) fn start(
    tools: &Arc<Tools>,
    reading: &Broker,
    (created, cursor): (u64, String),
    (keepers, orders): (Vec<mpsc::Sender<Input>>, watch::Sender<HostOrders>),
    tasks: &mut Tasks,
) -> Result<(), Error> {
    let keepers: Keepers = keepers.into();
    let (mut files, mut buckets) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
    for (index, handler) in tools.settings.handlers.iter().enumerate() {
        match &handler.plugin.place {
            PluginPlace::File(path) => {
                let mut signature = path.clone().into_os_string();
                signature.push(".minisig");
                for path in [path.clone(), PathBuf::from(signature)] {
                    files.entry(path).or_default().push(index);
                }
            }
            PluginPlace::Object(object) => {
                buckets.entry(object.bucket().to_owned()).or_default().push((object.stored_name(), index));
            }
            PluginPlace::Oci(_) => {}
        }
    }
    if !files.is_empty() {
        let watch = Watch::files(files.keys().cloned())?;
        tasks.spawn(watch_files(watch, files, Arc::clone(&keepers)).map(Ok));
    }
    for (bucket, objects) in buckets {
        tasks.spawn(watch_bucket(tools.broker.clone(), bucket, objects, Arc::clone(&keepers)).map(Ok));
    }
    let stream = Arc::clone(&tools.settings.stream.name);
    let filter = tools.names.orders().parse().ok();
    let (cursor, task) = reading.cursor(CursorPlan { stream, created, name: cursor, start: 1, filter });
    tasks.spawn(task.map(Ok));
    tasks.spawn(hand_out(Arc::clone(tools), cursor, keepers, orders).map(Ok));
    Ok(())
}

async fn look(keepers: &Keepers, which: impl IntoIterator<Item = usize>) {
    for keeper in which.into_iter().collect::<BTreeSet<_>>() {
        if let Some(keeper) = keepers.get(keeper) {
            // One that has ended needs nothing any more.
            keeper.send(Input::Look).await.ok();
        }
    }
}

async fn watch_files(mut watch: Watch, files: BTreeMap<PathBuf, Vec<usize>>, keepers: Keepers) {
    loop {
        let changed = watch.changed().await;
        let mut meant = BTreeSet::new();
        for path in &changed {
            meant.extend(files.get(path).into_iter().flatten().copied());
        }
        look(&keepers, meant).await;
    }
}

/// Begins anew whenever the watch breaks; what changed in between shows at the beginning.
async fn watch_bucket(broker: Broker, bucket: String, objects: Vec<(String, usize)>, keepers: Keepers) {
    loop {
        match broker.watch_objects(&bucket).await {
            Ok(mut watch) => loop {
                match watch.next().await {
                    Ok(facts) => {
                        let meant = objects.iter().filter(|(name, _)| *name == facts.name);
                        look(&keepers, meant.map(|(_, keeper)| *keeper)).await;
                    }
                    Err(error) => {
                        tracing::debug!(%error, bucket, "bucket is watched anew");
                        break;
                    }
                }
            },
            Err(error) => tracing::debug!(%error, bucket, "bucket cannot be watched yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Hands out all orders, from the first one that is there.
async fn hand_out(
    tools: Arc<Tools>,
    mut cursor: heddle_broker::Cursor,
    keepers: Keepers,
    orders: watch::Sender<HostOrders>,
) {
    loop {
        match std::future::poll_fn(|context| cursor.poll_next(context)).await {
            Some(Delivery::Events(events)) => {
                for event in events.events {
                    hand(&tools, event, &keepers, &orders).await;
                }
            }
            // The engine finds out by itself.
            Some(Delivery::Lost(_)) | None => return,
        }
    }
}

async fn hand(tools: &Tools, event: Event, keepers: &Keepers, orders: &watch::Sender<HostOrders>) {
    let sequence = event.sequence;
    let Ok(order) = serde_json::from_slice::<Order>(&event.payload) else {
        tracing::warn!(sequence, "removing a command that is not understood");
        tools.broker.delete(&event.stream, sequence).await.ok();
        return;
    };
    let refuse = async |text: String| {
        tracing::warn!(sequence, text, "command is refused");
        answer(&tools.broker, &tools.names, &event.stream, sequence, &Answer { done: false, text }).await;
    };
    match (tools.names.parse_order(&event.subject), order) {
        (None, Order::Reload { forget, restart }) => {
            orders.send_modify(|waiting| {
                waiting.insert(sequence, HostOrder { sequence, forget, restart });
            });
        }
        (Some(name), order) => {
            let index = tools.settings.handlers.iter().position(|handler| *handler.name == *name);
            match index.and_then(|index| keepers.get(index)) {
                // One that has ended takes the host with it, and the order stays for the next one.
                Some(keeper) => keeper.send(Input::Order { sequence, order }).await.unwrap_or_default(),
                None => refuse(format!("the running host has no handler `{name}`")).await,
            }
        }
        (None, _) => refuse("is not a command to a host".to_owned()).await,
    }
}
