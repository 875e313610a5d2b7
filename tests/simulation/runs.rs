//! Runs: what events come to, and what the shards make of it.

use std::collections::HashSet;
use std::sync::LazyLock;

use bytes::Bytes;
use heddle_flow::flow::{Job, Start};
use heddle_flow::shard::{Action, Blame, Hurry, Rules};
use heddle_flow::shards::Placed;
use heddle_flow::states::State;
use heddle_values::effects::{Effects, Message, StateChange, When};
use heddle_values::event::Headers;
use heddle_values::handlers::HandlerIx;
use heddle_values::limit::{Breach, Limit};
use heddle_values::verdict::{CauseClass, Failure, Verdict};
use rand::RngExt;

use crate::host::Run;
use crate::ledger::COUNTED;
use crate::model::{Checked, Retry, Task};
use crate::sabotage::Sabotage;
use crate::scene::Fate;
use crate::server::REFUSED;
use crate::world::{World, choose};

/// A third of what fits into a batch.
static BULK: LazyLock<Bytes> = LazyLock::new(|| vec![0; 3 << 20].into());

impl World {
    /// Begins one of the runs that are ready.
    pub(crate) fn begin(&mut self) -> Checked<bool> {
        let Some(index) = choose(&mut self.random, self.host.ready.len()) else { return Ok(false) };
        let job = self.host.ready.swap_remove(index);
        if !self.host.flow.may_begin(job.place.shard, job.generation) {
            return Ok(true);
        }
        let forgets = self.is(Sabotage::ForgetsStates);
        let state = match self.host.flow.start(&job, self.now) {
            Start::Refused(failure) => {
                self.ran(&job, Verdict::Failed(Box::new(failure)), None, 0)?;
                return Ok(true);
            }
            Start::With(state) if !forgets => (state, false),
            Start::With(_) => {
                let names = &self.host.flow.origins().names;
                let name = self.host.flow.name(job.place.handler);
                (self.server.state(&names.state(job.place.shard, name, &job.key)), true)
            }
            Start::After(subject) => (self.server.state(&subject), true),
        };
        if self.host.is_owner(job.place.shard) {
            self.model.begins(self.host.id_of(&job), &job.key, job.attempt, self.now)?;
        }
        self.host.running.push(Run { job, state });
        Ok(true)
    }

    /// Ends one of the runs.
    pub(crate) fn end(&mut self) -> Checked<bool> {
        let Some(index) = choose(&mut self.random, self.host.running.len()) else { return Ok(false) };
        let Run { job, state: (state, loaded) } = self.host.running.swap_remove(index);
        if !self.host.flow.hears(job.place.shard, job.generation) {
            return Ok(true);
        }
        let id = self.host.id_of(&job);
        if self.host.is_owner(job.place.shard) {
            self.model.ended(id, &job.key);
        }
        let Task { runs, fate, event, .. } = *self.model.task(id)?;
        let verdict = self.verdict(&job, &state, runs, (event, fate));
        let random = self.random.random();
        self.ran(&job, verdict, loaded.then_some(state), random)?;
        Ok(true)
    }

    fn verdict(&self, job: &Job, state: &State, runs: u32, (event, fate): (u64, Fate)) -> Verdict {
        let reason = || format!("run {runs}");
        let (handler, _) = self.host.id_of(job);
        Verdict::Failed(Box::new(match fate {
            Fate::Flaky { runs: fails, traps: true } if runs <= fails => Failure::trap(reason()),
            Fate::Flaky { runs: fails, .. } if runs <= fails => Failure::retry(reason()),
            Fate::Hopeless => Failure::retry(reason()),
            Fate::Deferred { runs: puts_off, delay } if runs <= puts_off => {
                let delay = std::time::Duration::from_millis(delay.into());
                Failure::defer(delay, reason())
            }
            Fate::Rejected => Failure::reject(reason()),
            Fate::OverLimit => Failure::limit(Breach { limit: Limit::Stack, allowed: 1, used: None }),
            fate => return Verdict::Done(self.effects((handler, event), fate, state)),
        }))
    }

    fn effects(&self, (handler, event): (usize, u64), fate: Fate, state: &State) -> Effects {
        let text = state.as_ref().and_then(|value| std::str::from_utf8(value).ok());
        let count = text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) + 1;
        let message = |subject: &str, payload: Bytes| {
            (Message { subject: subject.into(), headers: Headers::default(), payload }, When::Now)
        };
        let mut messages = vec![message(COUNTED, count.to_string().into())];
        if self.scene.is_bulky(handler, event) {
            messages.push(message("out.bulk", BULK.clone()));
        }
        if fate == Fate::Refused {
            messages.push(message(REFUSED, Bytes::new()));
        }
        let state = match fate {
            Fate::Done { clears: true } => StateChange::Clear,
            _ => StateChange::Set(count.to_string().into()),
        };
        Effects { messages, state, ..Effects::default() }
    }

    /// A run came to its verdict.
    fn ran(&mut self, job: &Job, verdict: Verdict, loaded: Option<State>, random: u64) -> Checked {
        let id = self.host.id_of(job);
        let Some(handler) = self.scene.handlers.get(id.0) else { return Ok(()) };
        let policy = handler.policy;
        let used = self.model.task(id)?.retry.map_or(0, |retry| retry.attempts);
        let outage = self.host.outages.contains(&job.place.handler);
        let delay = match &verdict {
            Verdict::Failed(failure) => match failure.class {
                CauseClass::Retry | CauseClass::Trap | CauseClass::Limit if outage => {
                    Some((policy.backoff.delay(used + 1, random), used))
                }
                CauseClass::Defer => failure.delay.map(|delay| (delay, used)),
                CauseClass::Retry | CauseClass::Trap if used + 1 < policy.max_attempts.get() => {
                    Some((policy.backoff.delay(used + 1, random), used + 1))
                }
                _ => None,
            },
            _ => None,
        };
        if let Some((delay, attempts)) = delay.filter(|_| self.host.is_owner(job.place.shard)) {
            let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            self.model.failed(id, Retry { attempts, due: self.now + delay }, outage)?;
        }
        let counts = self.is(Sabotage::CountsOutages);
        let blame = if outage && !counts { Blame::Outage } else { Blame::Event };
        let rules = Rules { retry: &policy, blame, ran_by: None };
        self.host.flow.ran(job, verdict, loaded, rules, (self.now, random));
        Ok(())
    }

    /// Answers one of the fetches.
    pub(crate) fn fetch(&mut self) -> bool {
        let Some(index) = choose(&mut self.random, self.host.fetches.len()) else { return false };
        let (ticket, position) = self.host.fetches.swap_remove(index);
        let event = self.host.read_again(position, &self.server);
        let is_nowhere = event.is_none();
        let heard = self.host.flow.fetched(&ticket, position, event, self.now);
        if heard && is_nowhere && self.host.is_owner(ticket.place.shard) {
            self.model.not_found(self.host.id(ticket.place.handler, position));
        }
        true
    }

    /// What a handler depends on fails, or comes back: then nobody who waited for it need wait any longer.
    pub(crate) fn turn(&mut self) -> Checked {
        let Some(place) = choose(&mut self.random, self.host.handlers.len()) else { return Ok(()) };
        let handler = HandlerIx::new(place);
        let is_over = self.host.outages.contains(&handler);
        // All hosts depend on the same.
        for _ in 0..=self.others.len() {
            self.turn_to_next();
            if !is_over {
                self.host.outages.insert(handler);
            } else if self.host.outages.remove(&handler) {
                self.hurry(handler, Hurry::Probed)?;
            }
        }
        Ok(())
    }

    /// Some lanes are woken before their time.
    pub(crate) fn hurry(&mut self, handler: HandlerIx, which: Hurry) -> Checked {
        let begun = self.host.flow.waiting().len();
        self.host.flow.hurry(handler, which, self.now);
        let mut running = HashSet::new();
        for Placed { place, action } in self.host.flow.waiting().iter().skip(begun) {
            let (key, first) = match action {
                Action::Run { key, event, .. } => (key, event.position()),
                Action::Fetch { key, positions } => match positions.first() {
                    Some(first) => (key, *first),
                    None => continue,
                },
                _ => continue,
            };
            // What comes after the first run of a key are fetches of later events.
            if running.insert(key.clone()) && self.host.is_owner(place.shard) {
                let id = self.host.id(place.handler, first);
                self.model.hurried(id, which == Hurry::Probed, self.now)?;
            }
        }
        Ok(())
    }
}
