//! What happened in a test, in memory or over a server.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::host::TestHost;
use super::record::Ran;
use heddle_flow::shard::Outcome;
use heddle_values::effects::{Message, When};
use heddle_values::event::Headers;
use heddle_values::handlers::HandlerIx;
use heddle_values::key::Key;
use heddle_values::verdict::{Failure, Verdict};

/// What one handler made of one event. What is not known is none.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    /// The event's id.
    pub(super) event: String,
    /// The event's subject.
    pub(super) subject: String,
    pub(super) handler: Arc<str>,
    /// `done`, `held`, or the cause of the dead letter with its limit, such as `limit:time`.
    pub(super) verdict: String,
    /// Why it became a dead letter.
    pub(super) reason: Option<String>,
    pub(super) attempts: Option<u32>,
    /// How each run ended.
    pub(super) verdicts: Option<Vec<String>>,
    /// In their order.
    pub(super) messages: Vec<Published>,
    /// None if it is not known whether there is one.
    pub(super) reply: Option<Option<Bytes>>,
    /// The state of its key after it.
    pub(super) state: Option<Option<Bytes>>,
    pub(super) logs: Option<Vec<String>>,
}

/// A message of a handler.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) subject: String,
    /// As the handler gave them.
    pub(super) headers: Headers,
    pub(super) payload: Bytes,
    /// In seconds. None: it is not known.
    pub(super) delay: Option<u32>,
}

/// A whole test.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// The ids of the events that the test published, in its order; and how many handlers each has.
    pub(super) events: Vec<(String, usize)>,
    /// In the order in which they ended.
    pub(super) endings: Vec<Ending>,
    /// States at the end, by handler and key.
    pub(super) states: BTreeMap<(String, String), Bytes>,
}

/// How a run ended, in one word.
pub(super) fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Done(_) => "done".to_owned(),
        Verdict::Failed(failure) => failure.kind(),
    }
}

impl Story {
    /// What a test host has seen.
    pub(super) fn of(host: &TestHost, events: Vec<(String, usize)>) -> Self {
        let mut story = Story { events, ..Story::default() };
        let mut all_runs: HashMap<(HandlerIx, &str, u64), Vec<&Ran>> = HashMap::new();
        for run in host.runs() {
            all_runs.entry((run.handler, &*run.event.stream, run.event.sequence)).or_default().push(run);
        }
        for (handler, settled) in host.ends() {
            let settings = &host.settings().handlers[handler];
            let of_event = (handler, &*settled.event.stream, settled.event.sequence);
            let runs = all_runs.remove(&of_event).unwrap_or_default();
            let last = runs.last();
            let (verdict, reason, attempts) = match &settled.outcome {
                Outcome::Done(_) => ("done".to_owned(), None, last.map(|run| run.attempt)),
                Outcome::Dead(death) => {
                    let Failure { message, .. } = &*death.failure;
                    (death.failure.kind(), Some(message.clone()), Some(death.attempts))
                }
                Outcome::HeldBack | Outcome::Released => ("held".to_owned(), None, None),
            };
            let effects = match &settled.outcome {
                Outcome::Done(effects) => effects.clone(),
                _ => Default::default(),
            };
            let messages = effects.messages.iter().map(published).collect();
            story.endings.push(Ending {
                event: settled.event.id(),
                subject: settled.event.subject.to_string(),
                handler: Arc::clone(&settings.name),
                verdict,
                reason,
                attempts,
                verdicts: Some(runs.iter().map(|run| word(&run.verdict)).collect()),
                messages,
                reply: Some(effects.replies.first().map(|reply| reply.payload.clone())),
                state: Some(last.and_then(|run| run.state.clone())),
                logs: Some(runs.iter().flat_map(|run| &run.logs).map(|line| line.text.clone()).collect()),
            });
        }
        for (handler, settings) in host.settings().handlers.rows() {
            for (key, state) in host.states_of(handler) {
                story.states.insert((settings.name.to_string(), Key::as_str(key).to_owned()), state.clone());
            }
        }
        story
    }
}

fn published((message, when): &(Message, When)) -> Published {
    Published {
        subject: message.subject.to_string(),
        headers: message.headers.clone(),
        payload: message.payload.clone(),
        delay: Some(if let When::After(seconds) = when { *seconds } else { 0 }),
    }
}
