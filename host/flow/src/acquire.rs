//! Taking over an application: from the host that had it before, or for the first time.
//!
//! One atomic batch writes the checkpoints of all shards in this host's name and announces the host. From
//! then on nothing that an earlier owner still has under way can be stored.

mod error;
mod losses;
mod presence;
mod stored;
mod streams;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::batch::checkpoint_message;
use super::gates::{self, StoredGate};
use super::leftovers::{self, HeldBack};
use super::shards::{Place, PlacedGate};
use heddle_broker::{self as broker, Broker, Listen, StreamState};
use heddle_values::batch::{BatchMessage, Keep};
use heddle_values::checkpoint::{Checkpoint, Progress};
use heddle_values::gate::Phase;
use heddle_values::handlers::PerHandler;
use heddle_values::member::{Member, TTL_SECONDS};
use heddle_values::names::Names;
use heddle_values::settings::{HandlerSettings, Settings, Start};

pub use error::Error;
pub use losses::{Expected, Remains};
pub use presence::{members, started};
pub use streams::way_back;

use presence::wait_for_others;
use streams::settle;

/// Requests under way at once while checkpoints are read.
const PARALLEL: usize = 32;

/// How often another host may come in between before this one gives up.
const MAX_RACES: u32 = 20;

/// How often the server may fail to answer, or a connection break, before it gives up.
const MAX_FAILURES: u32 = 5;

/// An application that belongs to this host.
#[derive(Debug)]
pub struct Acquired {
    /// For each shard: the sequence of its checkpoint, and the checkpoint.
    pub checkpoints: Vec<(u64, Checkpoint)>,
    /// All streams that are there and are to be read.
    pub streams: BTreeMap<String, StreamState>,
    /// What the checkpoints say of when streams were created.
    pub created: BTreeMap<String, u64>,
    /// For each handler, why it cannot go on in its stream; none: it can.
    pub stopped: PerHandler<Option<String>>,
    /// What the host before has left, and what was lost since.
    pub left: Remains,
    /// What the keys of the handlers have beside the checkpoints: states, gates, and events that are held back.
    pub kept: Kept,
}

/// What is kept of the keys of the handlers, beside the checkpoints.
#[derive(Debug)]
pub struct Kept {
    /// For each handler, whether no key of it has a state.
    pub stateless: PerHandler<bool>,
    /// The gates that are not open.
    pub gates: Vec<PlacedGate>,
    /// What is held back, about, and what an earlier host has left of it.
    pub held_back: HeldBack,
}

impl Kept {
    /// Reads it once the application is taken over, by a batch that begins at `first`: from then on nobody else writes
    /// states, gates, or what is held back.
    async fn read(broker: &Broker, settings: &Settings, names: &Names, first: u64) -> Result<Self, Error> {
        let stateless = stateless(broker, settings, names).await?;
        let mut stored = gates::read_all(broker, &settings.stream.name, names).await?;
        let held_back = leftovers::find(broker, settings, names, &stored, first).await?;
        stored.retain(|stored| stored.gate.phase != Phase::Open);
        Ok(Kept { stateless, gates: placed(settings, stored), held_back })
    }
}

/// Handlers whose progress does not count any more.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fresh<'a> {
    /// They are no longer in the settings, and nothing of them stays.
    pub forgotten: &'a [String],
    /// They were stopped because of their stream, and begin in it as if they were new. Their states stay.
    pub restarted: &'a [String],
}

/// Takes the application over, whose stream is there, or says why not. The progress of handlers that are `fresh` is left
/// out. Waits up to the time an announcement counts if it is not known whether the host that had it is alive.
pub async fn acquire(
    broker: &Broker,
    settings: &Settings,
    names: &Names,
    me: &Member,
    fresh: Fresh<'_>,
) -> Result<Acquired, Error> {
    let (mut starts, mut races, mut failures) = (BTreeMap::new(), 0, 0);
    loop {
        races += 1;
        let error = match take_over(broker, settings, names, me, fresh, &mut starts).await {
            Ok(acquired) => return Ok(acquired),
            Err(error) => error,
        };
        failures += u32::from(matches!(error, Error::Broker(_)));
        if !error.may_pass() || races == MAX_RACES || failures == MAX_FAILURES {
            return Err(error);
        }
        tracing::warn!(%error, "application could not be taken over yet; trying again");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// One try. It may be repeated wherever it fails: a commit that was stored after all is taken over like any other.
async fn take_over(
    broker: &Broker,
    settings: &Settings,
    names: &Names,
    me: &Member,
    fresh: Fresh<'_>,
    starts: &mut BTreeMap<Arc<str>, u64>,
) -> Result<Acquired, Error> {
    wait_for_others(broker, settings, names, me).await?;
    let mut found = stored::checkpoints(broker, settings, names).await?;
    // Read after the checkpoints: the host that wrote them may have gone on until now.
    let streams = stream_states(broker, settings).await?;
    check_keys(settings, &found)?;
    let left = losses::left(broker, settings, names, &found, &streams).await?;
    for (_, checkpoint) in &mut found {
        checkpoint.handlers.retain(|name, _| !fresh.forgotten.contains(name));
    }
    let (stopped, created) = settle(settings, &streams, &mut found, fresh.restarted)?;
    let mut checkpoints = Vec::new();
    for (fence, mut checkpoint) in found {
        checkpoint.streams.clone_from(&created);
        let adopted = adopt(broker, settings, (&streams, &stopped), starts, checkpoint, me).await?;
        checkpoints.push((fence, adopted));
    }
    let mut batch: Vec<BatchMessage> = (0_u16..)
        .zip(&checkpoints)
        .map(|(shard, (fence, checkpoint))| checkpoint_message(names, shard, checkpoint, *fence))
        .collect();
    batch.push(announcement(names, me));
    let id = format!("{}-0-{:08x}", me.host, rand::random::<u32>());
    let stream = &settings.stream.name;
    let first = broker.commit(stream, &id, &batch, Listen::Last).await.map_err(Error::Commit)?.first;
    for (index, (fence, _)) in (0_u64..).zip(&mut checkpoints) {
        *fence = first + index;
    }
    // What it says is known now. If it stays, nobody believes it after the next commit.
    if let Err(error) = broker.purge(stream, &names.mark()).await {
        tracing::debug!(%error, "mark of the host before stays");
    }
    let kept = Kept::read(broker, settings, names, first).await?;
    Ok(Acquired { checkpoints, streams, created, stopped, left, kept })
}

/// For each handler, whether no key of it has a state.
async fn stateless(broker: &Broker, settings: &Settings, names: &Names) -> Result<PerHandler<bool>, Error> {
    let mut stateless = Vec::new();
    for handler in &settings.handlers {
        let last = broker.last(&settings.stream.name, &names.states_of(&handler.name)).await?;
        stateless.push(last.is_none());
    }
    Ok(stateless.into())
}

/// The gates of the handlers that there are.
fn placed(settings: &Settings, gates: Vec<StoredGate>) -> Vec<PlacedGate> {
    let place = |stored: StoredGate| {
        let handler = settings.handlers.find(|handler| *handler.name == *stored.handler)?;
        Some((Place { shard: stored.shard, handler }, stored.gate))
    };
    gates.into_iter().filter_map(place).collect()
}

/// Removes what handlers have left whose progress is forgotten: states, held keys, versions. Their dead letters stay.
pub async fn forget(
    broker: &Broker,
    settings: &Settings,
    names: &Names,
    forgotten: &[String],
) -> Result<(), broker::Error> {
    for handler in forgotten {
        for subject in names.left_by(handler) {
            broker.purge(&settings.stream.name, &subject).await?;
        }
        tracing::info!(handler, "handler is forgotten");
    }
    Ok(())
}

/// Every stream that is to be read and is there. The application's own must be.
async fn stream_states(broker: &Broker, settings: &Settings) -> Result<BTreeMap<String, StreamState>, Error> {
    let own = &settings.stream.name;
    let mut streams = BTreeMap::from([(own.to_string(), broker.stream_state(own).await?)]);
    for stream in settings.handlers.iter().map(|handler| &handler.stream) {
        if !streams.contains_key(&**stream)
            && let Some((_, state)) = broker.stream_facts(stream).await?
        {
            streams.insert(stream.to_string(), state);
        }
    }
    Ok(streams)
}

/// The announcement of a host.
pub fn announcement(names: &Names, me: &Member) -> BatchMessage {
    BatchMessage {
        subject: names.member(&me.host),
        payload: serde_json::to_vec(me).expect("a member is plain data").into(),
        rollup: true,
        keep: Keep::Seconds(TTL_SECONDS),
        ..BatchMessage::default()
    }
}

/// The checkpoint in this host's name, with a progress for every handler.
async fn adopt(
    broker: &Broker,
    settings: &Settings,
    (streams, stopped): (&BTreeMap<String, StreamState>, &PerHandler<Option<String>>),
    starts: &mut BTreeMap<Arc<str>, u64>,
    mut checkpoint: Checkpoint,
    me: &Member,
) -> Result<Checkpoint, Error> {
    for (handler, stopped) in settings.handlers.iter().zip(stopped) {
        if stopped.is_some() {
            continue;
        }
        let Some(state) = streams.get(&*handler.stream) else {
            return Err(broker::Error::NoStream(handler.stream.to_string()).into());
        };
        let found = checkpoint.handlers.remove(&*handler.name);
        let progress = match found {
            Some(progress) if progress.low > 0 => {
                check_progress(handler, &progress, state)?;
                progress
            }
            before => {
                let low = match starts.get(&handler.name) {
                    Some(low) => *low,
                    None => first_event(broker, handler, state).await?,
                };
                starts.insert(Arc::clone(&handler.name), low);
                let (stream, key) = (handler.stream.to_string(), handler.key.as_str().to_owned());
                Progress { stream, key, low, ..before.unwrap_or_default() }
            }
        };
        checkpoint.handlers.insert(handler.name.to_string(), progress);
    }
    checkpoint.host = me.host.clone();
    (checkpoint.claim, checkpoint.released) = (rand::random(), false);
    checkpoint.shards = settings.shards.get();
    Ok(checkpoint)
}

/// A handler's key may change only where all shards stand at the same event: an unfinished event would be looked for in
/// another shard than the one that knows of it.
fn check_keys(settings: &Settings, found: &[(u64, Checkpoint)]) -> Result<(), Error> {
    for handler in &settings.handlers {
        let tracks: Vec<&Progress> =
            found.iter().filter_map(|(_, checkpoint)| checkpoint.handlers.get(&*handler.name)).collect();
        let Some(first) = tracks.first() else { continue };
        let level = tracks
            .iter()
            .all(|track| track.low == first.low && track.done.is_empty() && track.attempts.is_empty());
        let changed = tracks.iter().find(|track| track.key != handler.key.as_str());
        if let Some(track) = changed.filter(|_| !level) {
            return Err(Error::KeyChanged {
                handler: handler.name.to_string(),
                found: track.key.clone(),
                wanted: handler.key.as_str().to_owned(),
            });
        }
    }
    Ok(())
}

fn check_progress(handler: &HandlerSettings, progress: &Progress, state: &StreamState) -> Result<(), Error> {
    if *progress.stream != *handler.stream {
        return Err(Error::OtherStream {
            handler: handler.name.to_string(),
            found: progress.stream.clone(),
            wanted: handler.stream.to_string(),
        });
    }
    let highest = progress.done.max().map_or(progress.low, |done| done + 1);
    if highest > state.last + 1 {
        return Err(Error::Truncated {
            stream: handler.stream.to_string(),
            handler: handler.name.to_string(),
            last: state.last,
            low: highest,
        });
    }
    Ok(())
}

async fn first_event(broker: &Broker, handler: &HandlerSettings, state: &StreamState) -> Result<u64, Error> {
    Ok(match handler.start {
        // What was gone before it came is not lost to it.
        Start::All => state.first.max(1),
        Start::New => state.last + 1,
        Start::At(time) => broker.first_at(&handler.stream, time).await?,
    })
}
