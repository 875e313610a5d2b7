//! What a handler's part of the file says about failure: retries, what follows a dead letter, outages and pace.

use std::num::NonZeroU32;

use super::section::{Placed, Section};
use super::units::{parse_duration, parse_rate};
use heddle_values::policy::{
    Answer, Answers, Backoff, MAX_CONCURRENCY, OnDeadLetter, OutagePolicy, Pace, RetryPolicy,
};
use heddle_values::settings::Grants;

/// Default of `max-held`.
const MAX_HELD: u64 = 1_000_000;

/// What a handler does about failure.
pub(super) struct Failure {
    pub(super) retry: RetryPolicy,
    pub(super) on_dead_letter: OnDeadLetter,
    pub(super) max_held: u64,
    pub(super) outage: Outage,
    pub(super) pace: Pace,
}

pub(super) fn resolve(section: &mut Section<'_>) -> Failure {
    Failure {
        retry: section.section("retry").map(retry).unwrap_or_default(),
        on_dead_letter: section.parsed("on-dead-letter", on_dead_letter).map(|d| d.value).unwrap_or_default(),
        max_held: section.integer("max-held", 1..=u64::from(u32::MAX)).unwrap_or(MAX_HELD),
        outage: outage(section),
        pace: pace(section),
    }
}

fn on_dead_letter(text: &str) -> Result<OnDeadLetter, String> {
    match text {
        "continue" => Ok(OnDeadLetter::Continue),
        "hold-key" => Ok(OnDeadLetter::HoldKey),
        other => Err(format!("`{other}` should be \"continue\" or \"hold-key\"")),
    }
}

fn retry(mut section: Section<'_>) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    if let Some(attempts) = section.integer("max-attempts", 1..=u64::from(u32::MAX)) {
        let attempts = u32::try_from(attempts).ok().and_then(NonZeroU32::new);
        policy.max_attempts = attempts.unwrap_or(policy.max_attempts);
    }
    policy.max_elapsed =
        section.parsed("max-elapsed", parse_duration).map_or(policy.max_elapsed, |d| d.value);
    if let Some(table) = section.section("backoff") {
        policy.backoff = backoff(table, policy.backoff);
    }
    if let Some(table) = section.section("on") {
        policy.on = answers(table);
    }
    section.finish();
    policy
}

fn backoff(mut section: Section<'_>, mut values: Backoff) -> Backoff {
    let initial = section.parsed("initial", parse_duration).map(|d| d.value);
    values.initial = initial.unwrap_or(values.initial);
    values.factor = section.number("factor", 1.0).unwrap_or(values.factor);
    values.max = section.parsed("max", parse_duration).map_or(values.max, |d| d.value);
    if values.max < values.initial {
        let (max, initial) = (values.max, values.initial);
        section.fault(section.span(), format!("`max` ({max:?}) is below `initial` ({initial:?})"));
    }
    section.finish();
    values
}

fn answers(mut section: Section<'_>) -> Answers {
    let mut on = Answers::default();
    for (key, answer) in [
        ("trap", &mut on.trap),
        ("time", &mut on.time),
        ("memory", &mut on.memory),
        ("stack", &mut on.stack),
        ("output", &mut on.output),
        ("host-calls", &mut on.host_calls),
        ("effect", &mut on.effect),
        ("decode", &mut on.decode),
        ("refused", &mut on.refused),
    ] {
        if let Some(Placed { value, .. }) = section.parsed(key, parse_answer) {
            *answer = value;
        }
    }
    section.finish();
    on
}

fn parse_answer(text: &str) -> Result<Answer, String> {
    match text {
        "retry" => Ok(Answer::Retry),
        "once" => Ok(Answer::Once),
        "dead-letter" => Ok(Answer::DeadLetter),
        other => Err(format!("`{other}` should be \"retry\", \"once\" or \"dead-letter\"")),
    }
}

/// What the file says of outages.
pub(super) enum Outage {
    /// Nothing: only what may call others depends on them.
    Unsaid,
    Said(Option<OutagePolicy>),
}

impl Outage {
    pub(super) fn resolve(self, grants: &Grants) -> Option<OutagePolicy> {
        match self {
            Outage::Said(policy) => policy,
            Outage::Unsaid => (!grants.http.hosts.is_empty()).then(OutagePolicy::default),
        }
    }
}

/// `outage = true`, `false` or a table.
fn outage(section: &mut Section<'_>) -> Outage {
    let Some(value) = section.value("outage") else { return Outage::Unsaid };
    let mut policy = OutagePolicy::default();
    if let Some(wanted) = value.get_ref().as_bool() {
        return Outage::Said(wanted.then_some(policy));
    }
    let Some(mut table) = section.section("outage") else { return Outage::Unsaid };
    if let Some(Placed { value, span }) = table.parsed("window", parse_duration) {
        policy.window = value;
        if value.as_millis() < 100 {
            table.fault(span, "`window` should be at least 100ms");
        }
    }
    if let Some(keys) = table.integer("keys", 1..=100_000) {
        policy.keys = u32::try_from(keys).unwrap_or(policy.keys);
    }
    if let Some(probe) = table.section("probe") {
        policy.probe = backoff(probe, policy.probe);
    }
    policy.max_open = table.parsed("max-open", parse_duration).map_or(policy.max_open, |open| open.value);
    table.finish();
    Outage::Said(Some(policy))
}

fn pace(section: &mut Section<'_>) -> Pace {
    let rate = section.parsed("rate-limit", parse_rate).map(|rate| rate.value);
    let mut pace = Pace { rate, ..Pace::default() };
    if let Some(concurrency) = section.integer("concurrency", 1..=u64::from(MAX_CONCURRENCY)) {
        let concurrency = u32::try_from(concurrency).ok().and_then(NonZeroU32::new);
        pace.concurrency = concurrency.unwrap_or(pace.concurrency);
    }
    pace
}
