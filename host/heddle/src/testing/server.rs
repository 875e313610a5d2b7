//! The same tests over a real server: the whole host, in real time.
//!
//! What happened is read from the stream afterwards, so what leaves no trace there is not known: how each run ended, log
//! lines, replies, and the state between two events of a key.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::TryStreamExt;
use tokio::sync::watch;

use super::case::Case;
use super::given::{Given, given_states, publication};
use super::story::{Ending, Published, Story};
use crate::host::Workshop;
use crate::server::Server;
use crate::service::Service;
use heddle_broker::{Broker, Part, Stored};
use heddle_config::parse_duration;
use heddle_flow::activity::Snapshot;
use heddle_flow::route::Routes;
use heddle_values::dead_letter::DeadLetter;
use heddle_values::event::Headers;
use heddle_values::names::{CAUSE, HANDLER, HEDDLE_PREFIX, Names, STATE_KEY, TRACEPARENT, dead, held};
use heddle_values::settings::Settings;

/// How long an application may take until nothing is left to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a test over a server needs.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The application's file.
    pub file: PathBuf,
    /// The nats-server's program.
    pub program: PathBuf,
    /// What compiles the plugins for the host, and where they are kept.
    pub workshop: Workshop,
    /// Where plugins run.
    pub threads: tokio::runtime::Handle,
}

/// Plays a test with a server of its own.
///
/// # Errors
/// The server or the host does not start, or events do not come to rest.
pub(super) async fn play(stage: &Stage, mut settings: Settings, case: &Case) -> anyhow::Result<Story> {
    if let Some(other) = settings.handlers.iter().find(|handler| handler.stream != settings.stream.name) {
        bail!(
            "handler `{}` reads the stream `{}`, which a server of a test does not have",
            other.name,
            other.stream
        );
    }
    let folder = tempfile::tempdir().context("failed to make a folder for the server")?;
    let server = Server::start(&stage.program, folder.path()).await?;
    settings.use_own_server(server.url.clone());
    let story = Box::pin(on_server(stage, settings, case)).await;
    server.stop().await?;
    story
}

async fn on_server(stage: &Stage, settings: Settings, case: &Case) -> anyhow::Result<Story> {
    let names = Names::new(&settings.app);
    let broker = Broker::connect(&settings.nats, "heddle test").await?;
    broker.provision(&settings, &names).await?;
    for Given { handler, key, state } in given_states(case, &settings)? {
        let of = &settings.handlers[handler];
        let mut headers = Headers::default();
        if key.token() != key.as_str() {
            headers.push(STATE_KEY, key.as_str());
        }
        let subject = names.state(key.shard(settings.shards.get()), &of.name, &key);
        broker.publish_kept(&subject, &headers, state).await?;
    }
    let served = settings.clone();
    let load = Box::new(move || Ok(served.clone()));
    let service =
        Service::start(stage.file.clone(), load, stage.workshop.clone(), stage.threads.clone()).await?;
    let snapshots = service.snapshots();
    let (stop, stopped) = watch::channel(false);
    let running = Box::pin(service.run(stopped));
    tokio::pin!(running);
    let played = async {
        let events = publish_all(&broker, &settings, case).await?;
        let rested = tokio::time::timeout(PATIENCE, rest(&broker, &settings, &names, snapshots)).await;
        rested.with_context(|| format!("events have not come to rest within {PATIENCE:?}"))??;
        Box::pin(read(&broker, &settings, &names, events)).await
    };
    // Neither needs to survive the other: a host that has ended ends the test.
    let story = tokio::select! {
        story = played => story,
        ended = &mut running => {
            ended?;
            bail!("the host has ended");
        }
    };
    stop.send_replace(true);
    running.await?;
    story
}

/// Publishes the events of a test; the ids that they got.
async fn publish_all(broker: &Broker, settings: &Settings, case: &Case) -> anyhow::Result<Vec<String>> {
    let mut events = Vec::new();
    for (index, given) in case.events.iter().enumerate() {
        let place = || format!("event {} `{}`", index + 1, given.subject);
        if let Some(after) = &given.after {
            let after = parse_duration(after).map_err(anyhow::Error::msg).with_context(place)?;
            tokio::time::sleep(after).await;
        }
        let publication = publication(case, given, settings).with_context(place)?;
        let stored = broker.publish(&publication.subject, &publication.headers, publication.payload).await;
        let stored = stored.with_context(place)?;
        events.push(format!("{}/{}", stored.stream, stored.sequence));
    }
    Ok(events)
}

/// Waits until nothing is left to do, as two looks in a row say: what was published last may not be seen by the first.
async fn rest(
    broker: &Broker,
    settings: &Settings,
    names: &Names,
    mut snapshots: watch::Receiver<Snapshot>,
) -> anyhow::Result<()> {
    let mut quiet = 0;
    loop {
        snapshots.changed().await.context("the host has ended")?;
        let idle = {
            let snapshot = snapshots.borrow_and_update();
            snapshot.reading
                && snapshot.lag == 0
                && snapshot
                    .handlers
                    .values()
                    .all(|activity| activity.in_flight == 0 && activity.retrying == 0)
        };
        let waiting = broker.subjects(&settings.stream.name, &names.schedules()).await?;
        quiet = if idle && waiting.is_empty() { quiet + 1 } else { 0 };
        if quiet > 1 {
            return Ok(());
        }
    }
}

/// Reads from the stream what happened.
async fn read(
    broker: &Broker,
    settings: &Settings,
    names: &Names,
    published: Vec<String>,
) -> anyhow::Result<Story> {
    let stream = &settings.stream.name;
    let stored: Vec<Stored> = broker.all(stream, ">", 1, Part::Whole).await?.try_collect().await?;
    let mut routes = Routes::default();
    for (handler, of) in settings.handlers.rows() {
        of.subscribe.iter().for_each(|pattern| routes.add(pattern, handler));
    }
    let (mut story, mut found, mut places) = (Story::default(), Vec::new(), BTreeMap::new());
    let mut events = BTreeMap::new();
    for message in stored.iter().filter(|message| !names.is_internal(&message.subject)) {
        routes.find(&message.subject, &mut found);
        let id = format!("{stream}/{}", message.sequence);
        for of in found.iter().map(|handler| &settings.handlers[*handler]) {
            places.insert((id.clone(), of.name.to_string()), story.endings.len());
            story.endings.push(unknown(&id, message, &of.name));
        }
        if let Some(index) = published.iter().position(|event| *event == id) {
            events.insert(index, (id, found.len()));
        }
    }
    story.events = events.into_values().collect();
    for message in stored {
        record(&mut story, &places, settings, names, message);
    }
    Ok(story)
}

/// What is true of an event of which nothing else is found: it is done.
fn unknown(id: &str, message: &Stored, handler: &Arc<str>) -> Ending {
    Ending {
        event: id.to_owned(),
        subject: message.subject.clone(),
        handler: Arc::clone(handler),
        verdict: "done".to_owned(),
        reason: None,
        attempts: None,
        verdicts: None,
        messages: Vec::new(),
        reply: None,
        state: None,
        logs: None,
    }
}

/// Where the ending of an event and a handler stands.
type Places = BTreeMap<(String, String), usize>;

/// Adds what a message says of an event, or of a state.
fn record(story: &mut Story, places: &Places, settings: &Settings, names: &Names, message: Stored) {
    let place = |event: String, handler: &str| places.get(&(event, handler.to_owned())).copied();
    let ending = match (message.headers.get(CAUSE), message.headers.get(HANDLER)) {
        (Some(cause), Some(handler)) if !names.is_internal(&message.subject) => {
            place(cause.to_owned(), handler)
        }
        _ => None,
    };
    if let Some(ending) = ending.and_then(|index| story.endings.get_mut(index)) {
        ending.messages.push(published(&message));
    }
    for of in &settings.handlers {
        if is_below(&message.subject, &names.dead_letters(&of.name)) {
            let dead_letter = dead_letter(&message);
            let index = place(dead_letter.event_id(), dead_letter.handler());
            if let Some(ending) = index.and_then(|index| story.endings.get_mut(index)) {
                gave_up(ending, &dead_letter);
            }
        } else if names.parse_held(&message.subject).is_some_and(|(_, handler, _)| *handler == *of.name) {
            let header = |name| message.headers.get(name).unwrap_or_default();
            let index = place(format!("{}/{}", header(held::STREAM), header(held::SEQUENCE)), &of.name);
            if let Some(ending) = index.and_then(|index| story.endings.get_mut(index)) {
                ending.verdict = "held".to_owned();
            }
        }
    }
    if let Some((_, handler, token)) = names.parse_state(&message.subject) {
        let key = message.headers.get(STATE_KEY).unwrap_or(token);
        let id = (handler.to_owned(), key.to_owned());
        match message.clone().into_state() {
            Some(state) => story.states.insert(id, state),
            None => story.states.remove(&id),
        };
    }
}

/// Whether a subject falls under a pattern that ends with `>`.
fn is_below(subject: &str, pattern: &str) -> bool {
    subject.starts_with(pattern.trim_end_matches('>'))
}

/// A message as its handler gave it.
fn published(message: &Stored) -> Published {
    let own =
        message.headers.iter().filter(|(name, _)| !name.starts_with(HEDDLE_PREFIX) && *name != TRACEPARENT);
    Published {
        subject: message.subject.clone(),
        headers: Headers::from_pairs(own.map(|(name, value)| (name.to_owned(), value))),
        payload: message.payload.clone(),
        delay: None,
    }
}

fn dead_letter(message: &Stored) -> DeadLetter {
    let headers = message.headers.clone();
    DeadLetter { sequence: message.sequence, stored: message.time, headers, payload: Bytes::new() }
}

/// An event became a dead letter.
fn gave_up(ending: &mut Ending, dead_letter: &DeadLetter) {
    let class = dead_letter.text(dead::CAUSE_CLASS);
    ending.verdict = match dead_letter.headers.get(dead::LIMIT) {
        Some(limit) => format!("{class}:{limit}"),
        None => class.to_owned(),
    };
    ending.reason = Some(dead_letter.text(dead::MESSAGE).to_owned());
    ending.attempts = dead_letter.text(dead::ATTEMPTS).parse().ok();
}
