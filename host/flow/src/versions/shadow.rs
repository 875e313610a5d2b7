//! Shadow run: a new version runs the last events of its handler beside the live one. What both would have done is compared,
//! and nothing of it is stored.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use tokio::task::JoinSet;

use super::{Refusal, SourceError, Tools};
use heddle_broker::{self as broker, Part};
use heddle_sandbox::{Call, Code, Plugin};
use heddle_values::effects::{Effects, Message, StateChange};
use heddle_values::event::Event;
use heddle_values::handlers::HandlerIx;
use heddle_values::key::Key;
use heddle_values::refusal::refusal;
use heddle_values::rollout::ShadowPolicy;
use heddle_values::settings::HandlerSettings;
use heddle_values::subject::{Pattern, common_cover};
use heddle_values::verdict::Verdict;

/// Differences that are described in words.
const TOLD: usize = 5;

/// How far back the first look goes, for each event that is wanted.
const STRIDE: u64 = 4;

/// What a shadow run showed.
#[derive(Debug, Default)]
pub(super) struct ShadowRun {
    events: usize,
    differ: usize,
    /// The first ones, in words.
    pub(super) differences: Vec<String>,
}

impl fmt::Display for ShadowRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ShadowRun { events, differ, differences } = self;
        if *differ == 0 {
            return write!(f, "compared with {events} events: no difference");
        }
        write!(f, "of {events} events, {differ} differ: {}", differences.join("; "))?;
        if *differ > differences.len() { f.write_str("; …") } else { Ok(()) }
    }
}

/// Runs the last events of a handler with the live and with a new version, on the threads of the plugins.
pub(super) async fn run(
    tools: &Arc<Tools>,
    handler: HandlerIx,
    (live, new): (&Arc<Code>, &Arc<Code>),
    wanted: ShadowPolicy,
) -> Result<ShadowRun, Refusal> {
    let (settings, policy) = (&tools.settings.handlers[handler], &tools.policies[handler]);
    let mut both = Vec::new();
    for code in [live, new] {
        both.push(tools.sandbox.plugin(Arc::clone(code), Arc::clone(policy)).await?);
    }
    let (new, live) = both.pop().zip(both.pop()).expect("two were made");
    let shadow = Shadow {
        tools: Arc::clone(tools),
        settings: Arc::clone(settings),
        live,
        new,
        states: HashMap::new(),
    };
    let mut running = JoinSet::new();
    running.spawn_on(shadow.run(wanted.events.into()), &tools.threads);
    match running.join_next().await {
        Some(Ok(shadow)) => Ok(shadow.map_err(SourceError::Broker)?),
        Some(Err(error)) => Err(heddle_sandbox::Error::Engine(error.to_string()).into()),
        None => Ok(ShadowRun::default()),
    }
}

struct Shadow {
    tools: Arc<Tools>,
    settings: Arc<HandlerSettings>,
    live: Plugin,
    new: Plugin,
    /// As the live version leaves them.
    states: HashMap<Key, Option<Bytes>>,
}

impl Shadow {
    async fn run(mut self, wanted: u64) -> Result<ShadowRun, broker::Error> {
        let mut shadow = ShadowRun::default();
        let (stream, filters) = (Arc::clone(&self.settings.stream), self.settings.subscribe.clone());
        let broker = self.tools.broker.clone();
        let (start, there) = start(&broker, &stream, &self.settings, wanted).await?;
        let cover = common_cover(&filters);
        let cover = cover.as_ref().map_or(">", Pattern::as_str);
        let events = broker.all(&stream, cover, start, Part::Whole).await?;
        let mut events = std::pin::pin!(events);
        let mut seen = 0;
        // Ends with what was the end of the stream when it began, however many were removed before they were read.
        while let Some(stored) = events.try_next().await? {
            if !filters.iter().any(|filter| filter.matches(&stored.subject)) {
                continue;
            }
            seen += 1;
            if seen > there {
                break;
            }
            let early = there - seen >= wanted;
            if early || stored.marker || self.tools.names.is_internal(&stored.subject) {
                continue;
            }
            self.compare(&mut shadow, stored.into_event(&stream)).await?;
            // Events go before.
            tokio::task::yield_now().await;
        }
        Ok(shadow)
    }

    /// Runs an event with both versions, if one of them would be given it.
    async fn compare(&mut self, shadow: &mut ShadowRun, event: Event) -> Result<(), broker::Error> {
        let Ok(key) = self.settings.key.key(&event) else { return Ok(()) };
        if refusal(&event).is_some() {
            return Ok(());
        }
        let event = Arc::new(event);
        let state = self.state(&key).await?;
        let call = Call { event: Arc::clone(&event), key: key.clone(), attempt: 1, state };
        let before = self.live.run(call.clone()).await.verdict;
        let after = self.new.run(call).await.verdict;
        shadow.events += 1;
        if let Some(difference) = difference(&before, &after) {
            shadow.differ += 1;
            if shadow.differences.len() < TOLD {
                shadow.differences.push(format!("{}: {difference}", event.id()));
            }
        }
        self.keep(key, before);
        Ok(())
    }

    /// The state that the key has now, or that the live version has left here.
    async fn state(&mut self, key: &Key) -> Result<Option<Bytes>, broker::Error> {
        if !self.live.uses_state() && !self.new.uses_state() {
            return Ok(None);
        }
        if let Some(state) = self.states.get(key) {
            return Ok(state.clone());
        }
        let Tools { names, settings, broker, .. } = &*self.tools;
        let subject = names.state(key.shard(settings.shards.get()), &self.settings.name, key);
        let stored = broker.last(&settings.stream.name, &subject).await?;
        let state = stored.and_then(broker::Stored::into_state);
        self.states.insert(key.clone(), state.clone());
        Ok(state)
    }

    fn keep(&mut self, key: Key, verdict: Verdict) {
        let Verdict::Done(effects) = verdict else { return };
        if effects.state != StateChange::Keep {
            effects.state.apply(self.states.entry(key).or_default());
        }
    }
}

/// Where to begin to read so that at least `wanted` events come, if there are as many; and how many will come.
async fn start(
    broker: &broker::Broker,
    stream: &str,
    settings: &HandlerSettings,
    wanted: u64,
) -> Result<(u64, u64), broker::Error> {
    let state = broker.stream_state(stream).await?;
    let mut back = wanted.saturating_mul(STRIDE);
    loop {
        let start = state.last.saturating_sub(back).max(state.first);
        let there = broker.count_from(stream, &settings.subscribe, start).await?.pending;
        if there >= wanted || start <= state.first {
            return Ok((start, there));
        }
        back = back.saturating_mul(STRIDE);
    }
}

/// What is different between two ends of an event, if anything is.
fn difference(before: &Verdict, after: &Verdict) -> Option<String> {
    match (before, after) {
        (Verdict::Done(before), Verdict::Done(after)) => of_effects(before, after),
        (Verdict::Failed(before), Verdict::Failed(after)) if before.kind() == after.kind() => None,
        _ => Some(format!("{} → {}", word(before), word(after))),
    }
}

fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Done(_) => "done".to_owned(),
        Verdict::Failed(failure) => format!("{} ({})", failure.kind(), failure.message),
    }
}

fn of_effects(before: &Effects, after: &Effects) -> Option<String> {
    let (old, new) = (before.messages.len(), after.messages.len());
    if old != new {
        return Some(format!("{old} messages → {new}"));
    }
    for (index, (old, new)) in before.messages.iter().zip(&after.messages).enumerate() {
        if let Some(what) = of_messages(&old.0, &new.0) {
            return Some(format!("message {}: {what}", index + 1));
        }
        if old.1 != new.1 {
            return Some(format!("message {}: another time", index + 1));
        }
    }
    if before.replies != after.replies {
        return Some("another reply".to_owned());
    }
    (before.state != after.state).then(|| "another state".to_owned())
}

fn of_messages(old: &Message, new: &Message) -> Option<String> {
    if old.subject != new.subject {
        return Some(format!("subject {} → {}", old.subject, new.subject));
    }
    if old.headers != new.headers {
        return Some("other headers".to_owned());
    }
    (old.payload != new.payload).then(|| "another payload".to_owned())
}
