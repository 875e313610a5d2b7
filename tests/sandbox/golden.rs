//! A golden history: events go in, and what comes out of them is the same to the byte in every build.
//!
//! From the event to the messages of a batch everything is the host's own code: sandbox, shards and batches. What differs
//! from the file was agreed upon otherwise before: either it is a mistake, or how Heddle derives what belongs to an event
//! has a new version (`values/derivation.rs`). `HEDDLE_BLESS=1` agrees upon what is there.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use heddle_flow::batch::Origins;
use heddle_flow::commit::FULL_MESSAGES;
use heddle_flow::flow::{Beginning, Flow, Job, Start, Work};
use heddle_flow::shard::{Blame, Rules};
use heddle_flow::shards::{Claimed, Plan, PlannedHandler};
use heddle_sandbox::{Call, Plugin};
use heddle_tests::{assemble, heddle, workspace};
use heddle_values::batch::{BatchMessage, Keep};
use heddle_values::checkpoint::{Checkpoint, Progress};
use heddle_values::event::{Event, Headers, Source};
use heddle_values::handlers::HandlerIx;
use heddle_values::key::KeyTemplate;
use heddle_values::names::Names;
use heddle_values::policy::{OnDeadLetter, RetryPolicy};

use crate::bench::{TIME, policy, sandbox_with};

const STREAM: &str = "S";

/// Subject, header and payload of an event.
type Given = (&'static str, Option<(&'static str, &'static str)>, &'static str);

/// In the order of their sequences.
const EVENTS: [Given; 6] = [
    ("in.a", None, "1"),
    ("in.b", Some(("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")), "2"),
    ("in.a", Some(("Heddle-Correlation", "order-7")), "3"),
    ("in.c", Some(("Heddle-Hops", "4")), "reject"),
    ("in.größe", None, "5"),
    ("in.a", None, "6"),
];

fn events() -> impl Iterator<Item = Arc<Event>> {
    EVENTS.iter().zip(1_u64..).map(|((subject, header, payload), sequence)| {
        Arc::new(Event {
            stream: STREAM.into(),
            sequence,
            subject: (*subject).into(),
            time: TIME + sequence,
            headers: Headers::from_pairs(*header),
            payload: Bytes::from_static(payload.as_bytes()),
            source: Source::Stream,
        })
    })
}

fn plan() -> Plan {
    Plan {
        host: "h0123456789ab".into(),
        shards: NonZeroU16::new(4).expect("4 is not 0"),
        handlers: vec![PlannedHandler {
            name: "h".into(),
            stream: STREAM.into(),
            key: "{subject.1}".into(),
            on_dead_letter: OnDeadLetter::Continue,
        }]
        .into(),
        streams: BTreeMap::from([(STREAM.to_owned(), 1)]),
        checkpoint_bytes: 400_000,
    }
}

/// All that an application begins with: nothing is done.
fn beginning(plan: &Plan) -> Vec<Checkpoint> {
    let progress =
        Progress { stream: STREAM.into(), key: "{subject.1}".into(), low: 1, ..Progress::default() };
    let checkpoint = Checkpoint {
        host: plan.host.clone(),
        shards: plan.shards.get(),
        streams: plan.streams.clone(),
        handlers: BTreeMap::from([("h".to_owned(), progress)]),
        ..Checkpoint::default()
    };
    vec![checkpoint; plan.shards.get().into()]
}

/// The batches that come of the events.
async fn history(plugin: &Plugin) -> Vec<BatchMessage> {
    let template: KeyTemplate = "{subject.1}".parse().expect("the template is sound");
    let mut flow = flow();
    for event in events() {
        let key = template.key(&event).expect("every event has a key");
        flow.read(HandlerIx::FIRST, event, (key, None), 0);
        // One after the other, so that each sees the state that the one before it left.
        for placed in flow.actions() {
            if let Some(Work::Run(job)) = flow.perform(placed) {
                run(&mut flow, plugin, &job).await;
            }
        }
        while let [_, ..] = flow.waiting() {
            for placed in flow.actions() {
                assert!(flow.perform(placed).is_none(), "a lane is done before the next event is read");
            }
        }
    }
    let (mut messages, mut end) = (Vec::new(), 100);
    while let Some(batch) = flow.next_batch(&vec![EVENTS.len() as u64 + 1].into(), 1_700_000_000_000) {
        let (number, of_batch) = (batch.number, Arc::clone(&batch.messages));
        messages.extend(of_batch.iter().cloned());
        flow.stored(number, end, 1_700_000_000_000).expect("the batch is under way");
        end += of_batch.len() as u64;
    }
    messages
}

async fn run(flow: &mut Flow, plugin: &Plugin, job: &Job) {
    let (state, loaded) = match flow.start(job, 0) {
        Start::With(state) => (state, None),
        // Nothing is stored yet.
        Start::After(_) => (None, Some(None)),
        Start::Refused(failure) => unreachable!("no event of the history is refused: {}", failure.message),
    };
    let (event, key) = (Arc::clone(&job.event), job.key.clone());
    let verdict = plugin.run(Call { event, key, attempt: job.attempt, state }).await.verdict;
    let rules = Rules { retry: &RetryPolicy::default(), blame: Blame::Event, ran_by: None };
    flow.ran(job, verdict, loaded, rules, (1_700_000_001_000, 0));
}

fn flow() -> Flow {
    let plan = plan();
    let origins = Origins {
        names: Names::new("golden"),
        stream: STREAM.into(),
        host: plan.host.clone(),
        handlers: vec!["h".into()].into(),
        keep_dead_letters: Keep::Always,
        max_payload: 1 << 20,
    };
    let beginning = Beginning {
        claimed: Claimed::all(beginning(&plan).into_iter().map(|checkpoint| (1, checkpoint)), []),
        plan,
        origins: Arc::new(origins),
        stateless: vec![false].into(),
        full: FULL_MESSAGES,
        generation: 0,
    };
    Flow::new(beginning, 0)
}

fn written(messages: &[BatchMessage]) -> String {
    let mut text = String::new();
    for message in messages {
        text += &format!("{}\n", message.subject);
        for (name, value) in message.headers.iter() {
            text += &format!("  {name}: {value}\n");
        }
        for row in message.payload.chunks(32) {
            let bytes: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
            text += &format!("  {}\n", bytes.join(" "));
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_build_reproduces_the_golden_history_bit_for_bit() {
    let guest = heddle_tests::guest_text("golden");
    let sandbox = sandbox_with(workspace().join("target/test-artifacts"), heddle());
    let code = sandbox.load(assemble(&guest).unwrap()).await.unwrap();
    let plugin = sandbox.plugin(code, Arc::new(policy())).await.unwrap();
    let written = written(&history(&plugin).await);
    let file = workspace().join("tests/sandbox/golden/history.txt");
    if std::env::var_os("HEDDLE_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &written).unwrap();
    }
    let agreed = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(written, agreed, "the history differs from `{}`", file.display());
}
