//! One handler's part of the file.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::build;
use super::failure;
use super::grants;
use super::rollout;
use super::scope::Scope;
use super::secret;
use super::section::{Placed, Section, integer};
use super::units::{parse_duration, parse_size};
use heddle_values::key::KeyTemplate;
use heddle_values::policy::{Instances, Limits, MAX_MESSAGES};
use heddle_values::secret::{Given, Secret};
use heddle_values::settings::{HandlerSettings, Start};
use heddle_values::subject::{Pattern, Token};

const MAX_TIME: Duration = Duration::from_secs(600);
const MIN_MEMORY: u64 = 64 << 10;
const MAX_MEMORY: u64 = 4 << 30;
const MAX_OUTPUT: u64 = 64 << 20;

/// The handler, without its name. None where something that has no default is faulty.
pub(super) fn resolve(mut section: Section<'_>, scope: &Scope<'_>) -> Option<HandlerSettings> {
    let plugin = rollout::plugin(&mut section, scope);
    let canary = rollout::canary(&mut section);
    let build = section.section("build").and_then(|section| build::resolve(section, scope));
    let stream = section.text("stream").map_or_else(|| Arc::clone(&scope.stream), |text| text.value.into());
    let own_stream = stream == scope.stream;
    let subscribe = subscribe(&mut section, scope, own_stream);
    let key = key(&mut section, &subscribe);
    let start = section.parsed("start", start).map_or(Start::All, |start| start.value);
    let publishes = publishes(&mut section, scope);
    let instances = instances(&mut section);
    let config = section.section("config").map(|section| config(section, scope)).unwrap_or_default();
    let failure = failure::resolve(&mut section);
    let limits = section.section("limits").map(limits).unwrap_or_default();
    let grants = section.section("grants").map(|section| grants::resolve(section, scope)).unwrap_or_default();
    let shadow = rollout::shadow(&mut section, &grants);
    section.finish();
    Some(HandlerSettings {
        name: "".into(),
        plugin: plugin?,
        build,
        canary,
        shadow,
        stream,
        subscribe,
        key: key?,
        start,
        publishes,
        instances: instances?,
        config,
        retry: failure.retry,
        on_dead_letter: failure.on_dead_letter,
        max_held: failure.max_held,
        outage: failure.outage.resolve(&grants),
        pace: failure.pace,
        limits,
        grants,
    })
}

fn subscribe(section: &mut Section<'_>, scope: &Scope<'_>, own_stream: bool) -> Vec<Pattern> {
    if section.value("subscribe").is_none() {
        section.required("subscribe");
    }
    let subscribe = section.list::<Pattern>("subscribe");
    if let Some(value) =
        section.value("subscribe").filter(|value| value.get_ref().as_array().is_some_and(|a| a.is_empty()))
    {
        section.fault(value.span(), "`subscribe` needs at least one subject");
    }
    for Placed { value, span } in &subscribe {
        let fed = scope.subjects.is_empty() || scope.subjects.iter().any(|subject| subject.overlaps(value));
        if own_stream && !fed {
            let message = format!("`subscribe`: no event of stream `{}` falls under `{value}`", scope.stream);
            section.fault(span.clone(), message);
        }
    }
    subscribe.into_iter().map(|pattern| pattern.value).collect()
}

fn publishes(section: &mut Section<'_>, scope: &Scope<'_>) -> Vec<Pattern> {
    let publishes = section.list::<Pattern>("publishes");
    for Placed { value, span } in &publishes {
        let stored = scope.subjects.is_empty() || scope.subjects.iter().any(|subject| subject.covers(value));
        if !stored {
            let message = format!(
                "`publishes`: `{value}` is not within the subjects of stream `{}`, and a commit has one stream",
                scope.stream
            );
            section.fault(span.clone(), message);
        }
    }
    publishes.into_iter().map(|pattern| pattern.value).collect()
}

fn key(section: &mut Section<'_>, subscribe: &[Pattern]) -> Option<KeyTemplate> {
    let Some(Placed { value: text, span }) = section.text("key") else {
        return section.value("key").is_none().then(|| "{subject}".parse().ok()).flatten();
    };
    let template = match text.parse::<KeyTemplate>() {
        Ok(template) => template,
        Err(error) => {
            section.fault(span, format!("`key`: {error}"));
            return None;
        }
    };
    if let Some(token) = template.last_token() {
        let lacks = |pattern: &&Pattern| {
            pattern.tokens().len() <= token && pattern.tokens().last() != Some(&Token::Tail)
        };
        if let Some(pattern) = subscribe.iter().find(lacks) {
            let message =
                format!("`key`: subjects under `{pattern}` have no token {token} (tokens count from 0)");
            section.fault(span, message);
        }
    }
    Some(template)
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "all" => Ok(Start::All),
        "new" => Ok(Start::New),
        time => {
            let format = &time::format_description::well_known::Rfc3339;
            let wrong =
                |_| format!("`{time}` is not \"all\", \"new\" or a time such as \"2026-11-01T00:00:00Z\"");
            let time = time::OffsetDateTime::parse(time, format).map_err(wrong)?;
            // What the server counts, nanoseconds since 1970, ends in 2262.
            let nanos = i64::try_from(time.unix_timestamp_nanos())
                .map_err(|_| format!("`{time}` is out of range: the years 1970 to 2262 are possible"))?;
            Ok(Start::At(u64::try_from(nanos).unwrap_or(0)))
        }
    }
}

/// `"fresh"` or `{ reuse = 1000 }`.
fn instances(section: &mut Section<'_>) -> Option<Instances> {
    let Some(value) = section.value("instances") else { return Some(Instances::Fresh) };
    const WANTED: &str = "\"fresh\" or { reuse = N }";
    match value.get_ref() {
        DeValue::String(text) if text == "fresh" => Some(Instances::Fresh),
        DeValue::Table(_) => {
            let mut table = section.as_section("instances", value)?;
            let times = table.integer("reuse", 1..=u64::from(u32::MAX));
            if times.is_none() && table.value("reuse").is_none() {
                table.fault(value.span(), format!("`instances` should be {WANTED}"));
            }
            table.finish();
            times.and_then(|times| u32::try_from(times).ok()).and_then(NonZeroU32::new).map(Instances::Reuse)
        }
        _ => {
            section.fault(value.span(), format!("`instances` should be {WANTED}"));
            None
        }
    }
}

fn config(section: Section<'_>, scope: &Scope<'_>) -> BTreeMap<String, Secret> {
    let mut config = BTreeMap::new();
    for (key, _, item) in section.entries() {
        let text = match item.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            // A plugin gets the value, and need not know how TOML writes numbers.
            DeValue::Integer(number) => {
                let value = integer(number).map(|value| value.to_string());
                if value.is_none() {
                    section.fault(item.span(), format!("`{key}` is too large a number: write it in quotes"));
                }
                value
            }
            DeValue::Float(number) => Some(number.as_str().replace('_', "")),
            DeValue::Boolean(truth) => Some(truth.to_string()),
            DeValue::Table(_) => {
                let given = secret::elsewhere(&section, key, item, scope.folder);
                config.extend(given.and_then(|given| read(&section, key, item, scope, given)));
                None
            }
            _ => {
                section.wrong_type(
                    key,
                    item,
                    "a text, a number, true or false, or { env = … } or { file = … }",
                );
                None
            }
        };
        config.extend(text.map(|text| (key.to_owned(), Secret::new(text))));
    }
    config
}

/// The text of a secret that stands elsewhere. A file of it is watched from now on.
fn read(
    section: &Section<'_>,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    scope: &Scope<'_>,
    given: Given,
) -> Option<(String, Secret)> {
    let text = match given {
        Given::Text(text) => Some(text),
        Given::Env { value, .. } => value,
        Given::File(path) => {
            let text = super::read(&path);
            let shown = path.display();
            let text = text.map_err(|e| {
                section.missing(value.span(), format!("`{key}`: failed to read `{shown}`: {e}"))
            });
            scope.secret_files.borrow_mut().push(path);
            text.ok().map(|text| Secret::new(text.trim_end_matches(['\r', '\n'])))
        }
    };
    text.map(|text| (key.to_owned(), text))
}

fn limits(mut section: Section<'_>) -> Limits {
    let mut limits = Limits::default();
    if let Some(Placed { value, span }) = section.parsed("time", parse_duration) {
        limits.time = value;
        if value.is_zero() || value > MAX_TIME {
            section.fault(span, format!("`time` should be between 1ms and {}s", MAX_TIME.as_secs()));
        }
    }
    let mut size = |key, low: u64, high: u64, value: &mut u64| {
        let Some(Placed { value: found, span }) = section.parsed(key, parse_size) else { return };
        *value = found;
        if !(low..=high).contains(&found) {
            section.fault(span, format!("`{key}` should be between {low} and {high} bytes"));
        }
    };
    size("memory", MIN_MEMORY, MAX_MEMORY, &mut limits.memory);
    size("output", 0, MAX_OUTPUT, &mut limits.output);
    size("state", 0, MAX_OUTPUT, &mut limits.state);
    if let Some(messages) = section.integer("messages", 0..=u64::from(MAX_MESSAGES)) {
        limits.messages = u32::try_from(messages).unwrap_or(MAX_MESSAGES);
    }
    if let Some(calls) = section.integer("host-calls", 1..=u64::MAX) {
        limits.host_calls = calls;
    }
    section.finish();
    limits
}
