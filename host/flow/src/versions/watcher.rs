//! The watcher: tells the controllers when something may have changed at their sources, and hands them their commands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{mpsc, watch};

use super::controller::Input;
use super::{HostCommand, HostCommands, Tasks, Tools, answer};
use heddle_broker::{Broker, CursorPlan, Delivery};
use heddle_source::watch::{Error, Watch};
use heddle_values::command::{Answer, OperatorCommand};
use heddle_values::event::Event;
use heddle_values::handlers::{HandlerIx, PerHandler};
use heddle_values::plugin::PluginPlace;

/// The wait before a bucket is watched again that cannot be, or is not there yet.
const PAUSE: Duration = Duration::from_secs(2);

type Controllers = Arc<PerHandler<mpsc::Sender<Input>>>;

/// Starts to watch, in tasks of `tasks`.
pub(super) fn start(
    tools: &Arc<Tools>,
    reading: &Broker,
    (created, cursor): (u64, String),
    (controllers, commands): (PerHandler<mpsc::Sender<Input>>, watch::Sender<HostCommands>),
    tasks: &mut Tasks,
) -> Result<(), Error> {
    let controllers: Controllers = Arc::new(controllers);
    let (mut files, mut buckets) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
    for (handler, settings) in tools.settings.handlers.rows() {
        match &settings.plugin.place {
            PluginPlace::File(path) => {
                let mut signature = path.clone().into_os_string();
                signature.push(".minisig");
                for path in [path.clone(), PathBuf::from(signature)] {
                    files.entry(path).or_default().push(handler);
                }
            }
            PluginPlace::Object(object) => {
                buckets.entry(object.bucket().to_owned()).or_default().push((object.stored_name(), handler));
            }
            PluginPlace::Oci(_) => {}
        }
    }
    if !files.is_empty() {
        let watch = Watch::files(files.keys().cloned())?;
        tasks.spawn(watch_files(watch, files, Arc::clone(&controllers)).map(Ok));
    }
    for (bucket, objects) in buckets {
        tasks.spawn(watch_bucket(tools.broker.clone(), bucket, objects, Arc::clone(&controllers)).map(Ok));
    }
    let stream = Arc::clone(&tools.settings.stream.name);
    let filter = tools.names.commands().parse().ok();
    let (cursor, task) = reading.cursor(CursorPlan { stream, created, name: cursor, start: 1, filter });
    tasks.spawn(task.map(Ok));
    tasks.spawn(hand_out(Arc::clone(tools), cursor, controllers, commands).map(Ok));
    Ok(())
}

async fn poll(controllers: &Controllers, which: impl IntoIterator<Item = HandlerIx>) {
    for handler in which.into_iter().collect::<BTreeSet<_>>() {
        // One that has ended needs nothing any more.
        controllers[handler].send(Input::Poll).await.ok();
    }
}

async fn watch_files(mut watch: Watch, files: BTreeMap<PathBuf, Vec<HandlerIx>>, controllers: Controllers) {
    loop {
        let changed = watch.changed().await;
        let mut meant = BTreeSet::new();
        for path in &changed {
            meant.extend(files.get(path).into_iter().flatten().copied());
        }
        poll(&controllers, meant).await;
    }
}

/// Begins again whenever the watch breaks; what changed in between shows at the beginning.
async fn watch_bucket(
    broker: Broker,
    bucket: String,
    objects: Vec<(String, HandlerIx)>,
    controllers: Controllers,
) {
    loop {
        match broker.watch_objects(&bucket).await {
            Ok(mut watch) => loop {
                match watch.next().await {
                    Ok(facts) => {
                        let meant = objects.iter().filter(|(name, _)| *name == facts.name);
                        poll(&controllers, meant.map(|(_, controller)| *controller)).await;
                    }
                    Err(error) => {
                        tracing::debug!(%error, bucket, "bucket is watched again");
                        break;
                    }
                }
            },
            Err(error) => tracing::debug!(%error, bucket, "bucket cannot be watched yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Hands out all commands, from the first one that is there.
async fn hand_out(
    tools: Arc<Tools>,
    mut cursor: heddle_broker::Cursor,
    controllers: Controllers,
    commands: watch::Sender<HostCommands>,
) {
    loop {
        match std::future::poll_fn(|context| cursor.poll_next(context)).await {
            Some(Delivery::Events(events)) => {
                for event in events.events {
                    hand(&tools, event, &controllers, &commands).await;
                }
            }
            // The engine finds out by itself.
            Some(Delivery::Lost(_)) | None => return,
        }
    }
}

async fn hand(
    tools: &Tools,
    event: Event,
    controllers: &Controllers,
    commands: &watch::Sender<HostCommands>,
) {
    let sequence = event.sequence;
    let Ok(command) = serde_json::from_slice::<OperatorCommand>(&event.payload) else {
        tracing::warn!(sequence, "removing a command that is not understood");
        tools.broker.delete(&event.stream, sequence).await.ok();
        return;
    };
    let refuse = async |text: String| {
        tracing::warn!(sequence, text, "command is refused");
        answer(&tools.broker, &tools.names, &event.stream, sequence, &Answer { done: false, text }).await;
    };
    match (tools.names.parse_command(&event.subject), command) {
        (None, OperatorCommand::Reload { forget, restart }) => {
            commands.send_modify(|waiting| {
                waiting.insert(sequence, HostCommand { sequence, forget, restart });
            });
        }
        (Some(name), command) => {
            match tools.settings.handlers.find(|handler| *handler.name == *name) {
                // One that has ended takes the host with it, and the command stays for the next one.
                Some(handler) => {
                    let input = Input::OperatorCommand { sequence, command };
                    controllers[handler].send(input).await.unwrap_or_default();
                }
                None => refuse(format!("the running host has no handler `{name}`")).await,
            }
        }
        (None, _) => refuse("is not a command to a host".to_owned()).await,
    }
}
