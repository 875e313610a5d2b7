//! Taking over: a new host reads what the one before has left, and writes all checkpoints in its own name.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use heddle_flow::batch::{Origins, checkpoint_message};
use heddle_flow::flow::{Beginning, Flow};
use heddle_flow::shards::{Claimed, Place, PlacedGate, Plan, PlannedHandler};
use heddle_values::batch::{BatchMessage, Keep};
use heddle_values::checkpoint::{Checkpoint, Progress};
use heddle_values::gate::Phase;
use heddle_values::handlers::PerHandler;
use heddle_values::names::Names;
use heddle_values::policy::OnDeadLetter;

use crate::host::Host;
use crate::model::{Checked, Fault, Model, Promise, Retry, TaskId};
use crate::replays::Replays;
use crate::sabotage::Sabotage;
use crate::scene::{Handler, STREAM, Scene};
use crate::server::{Refusal, Server};

impl Host {
    /// Takes the application over from whoever had it: all checkpoints are written again, in one batch.
    pub(crate) fn acquire(
        scene: &Scene,
        name: String,
        handlers: PerHandler<usize>,
        now: u64,
        (server, model, sabotage): (&mut Server, &mut Model, Option<Sabotage>),
    ) -> Checked<Self> {
        let names = Names::new("app");
        let mut host = Host::new(scene, (name, names.clone()), handlers, 1, now);
        let mut checkpoints = take_over(scene, &host, server, model)?;
        if sabotage == Some(Sabotage::ForgetsReplays) {
            let checkpoints = checkpoints.iter_mut().map(|(_, checkpoint)| checkpoint);
            let progress = checkpoints.flat_map(|checkpoint| checkpoint.handlers.values_mut());
            progress.for_each(|progress| progress.replayed.clear());
        }
        let mut gates = gates(host.flow.plan(), &names, server);
        gates.retain(|_| sabotage != Some(Sabotage::ForgetsGates));
        model.forgotten(|_| true, &retries(scene, checkpoints.iter().map(|(_, checkpoint)| checkpoint)));
        let is_stateless = |of: &PlannedHandler| {
            (0..scene.shards.get()).all(|shard| server.is_stateless(&names, shard, &of.name))
        };
        let stateless = host.flow.plan().handlers.map(is_stateless);
        host.flow.claim(Claimed::all(checkpoints, gates), &stateless, now);
        host.positions = host.lows();
        Ok(host)
    }

    /// A host that owns nothing yet, and reads from a sequence on.
    pub(crate) fn new(
        scene: &Scene,
        (name, names): (String, Names),
        handlers: PerHandler<usize>,
        next: u64,
        now: u64,
    ) -> Self {
        let of_host =
            handlers.map(|number| scene.handlers.get(*number).expect("a host has handlers of the scene"));
        let origins = Origins {
            names,
            stream: STREAM.into(),
            host: name.clone(),
            handlers: of_host.map(|handler| Arc::<str>::from(handler.name.as_str())),
            keep_dead_letters: Keep::Always,
            max_payload: 1 << 20,
        };
        let plan = Plan {
            host: name,
            shards: scene.shards,
            handlers: of_host.map(|handler| planned(handler)),
            streams: [(STREAM.to_owned(), 1)].into(),
            checkpoint_bytes: scene.checkpoint_bytes,
        };
        let beginning = Beginning {
            plan,
            origins: Arc::new(origins),
            claimed: Vec::new(),
            // It knows all states of what it owns.
            stateless: handlers.map(|_| true),
            full: scene.full,
            generation: 0,
        };
        Host {
            positions: handlers.map(|_| next).into(),
            lost: BTreeSet::new(),
            handlers,
            flow: Flow::new(beginning, now),
            under_way: Vec::new(),
            ready: Vec::new(),
            running: Vec::new(),
            fetches: Vec::new(),
            moved: false,
            replays: Replays::default(),
            outages: BTreeSet::new(),
            kept_back: VecDeque::new(),
        }
    }
}

fn planned(handler: &Handler) -> PlannedHandler {
    PlannedHandler {
        name: handler.name.as_str().into(),
        stream: STREAM.into(),
        key: String::new(),
        on_dead_letter: if handler.holds { OnDeadLetter::HoldKey } else { OnDeadLetter::Continue },
    }
}

/// The retries under way that some checkpoints know.
pub(crate) fn retries<'a>(
    scene: &Scene,
    checkpoints: impl Iterator<Item = &'a Checkpoint>,
) -> HashMap<TaskId, Retry> {
    let mut retries = HashMap::new();
    for (name, progress) in checkpoints.flat_map(|checkpoint| &checkpoint.handlers) {
        let Some(handler) = scene.handlers.iter().position(|handler| handler.name == *name) else { continue };
        for attempt in &progress.attempts {
            let retry = Retry { attempts: attempt.attempts, due: attempt.due };
            retries.insert((handler, attempt.position), retry);
        }
    }
    retries
}

/// The gates that are not open, of the handlers that there are.
pub(crate) fn gates(plan: &Plan, names: &Names, server: &Server) -> Vec<PlacedGate> {
    let mut gates = Vec::new();
    for (subject, gate) in server.gates().filter(|(_, gate)| gate.phase != Phase::Open) {
        let Some((shard, name, _)) = names.parse_gate(subject) else { continue };
        let handler = plan.handlers.find(|handler| *handler.name == *name);
        gates.extend(handler.map(|handler| (Place { shard, handler }, gate.clone())));
    }
    gates
}

/// Writes all checkpoints in the name of a host, in one batch.
fn take_over(
    scene: &Scene,
    host: &Host,
    server: &mut Server,
    model: &mut Model,
) -> Checked<Vec<(u64, Checkpoint)>> {
    let names = &host.flow.origins().names;
    let mut batch: Vec<BatchMessage> = Vec::new();
    let mut checkpoints = Vec::new();
    for shard in 0..scene.shards.get() {
        let (fence, mut checkpoint) = stored_checkpoint(server, names, shard)?;
        adopt(host, server.next(), &mut checkpoint);
        batch.push(checkpoint_message(names, shard, &checkpoint, fence));
        checkpoints.push((fence, checkpoint));
    }
    let first = server.store(&batch).map_err(|refusal| fenced(&refusal))?;
    for (shard, (fence, checkpoint)) in (0_u16..).zip(&mut checkpoints) {
        *fence = first + u64::from(shard);
        model.checkpoint(shard, checkpoint)?;
    }
    Ok(checkpoints)
}

/// A checkpoint becomes a host's, by a claim.
pub(crate) fn adopt(host: &Host, claim: u64, checkpoint: &mut Checkpoint) {
    let plan = host.flow.plan();
    checkpoint.host.clone_from(&plan.host);
    (checkpoint.claim, checkpoint.released) = (claim, false);
    checkpoint.shards = plan.shards.get();
    for PlannedHandler { name, .. } in &plan.handlers {
        let beginning = Progress { stream: STREAM.to_owned(), low: 1, ..Progress::default() };
        checkpoint.handlers.entry(name.to_string()).or_insert(beginning);
    }
}

pub(crate) fn stored_checkpoint(server: &Server, names: &Names, shard: u16) -> Checked<(u64, Checkpoint)> {
    let Some((sequence, bytes)) = server.last(&names.checkpoint(shard)) else {
        return Ok((0, Checkpoint::default()));
    };
    let damaged = |error| Fault { promise: Promise::Checkpoint, text: format!("{error}: {bytes:?}") };
    Ok((sequence, Checkpoint::decode(&bytes).map_err(damaged)?))
}

/// With one host alive, no batch may be fenced.
pub(crate) fn fenced(refusal: &Refusal) -> Fault {
    Fault { promise: Promise::ExactlyOnce, text: format!("the only host is refused: {refusal:?}") }
}
