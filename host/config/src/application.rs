//! The application's part of the file: name, shards, server and stream.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_spanned::Spanned;
use toml::de::DeTable;

use super::Needs;
use super::handler;
use super::nats;
use super::registries;
use super::scope::Scope;
use super::section::{Blame, Fault, FaultList, Placed, Section};
use super::units::parse_duration;
use heddle_source::signature;
use heddle_values::effects::RESERVED_TOKENS;
use heddle_values::names::LIVE;
use heddle_values::settings::{Settings, StreamSettings, Trust};
use heddle_values::subject::Pattern;

/// Measured: a removal holds the server for some milliseconds at least.
const DEFAULT_STALE_STATES: u64 = 50_000;
const MIN_STALE_STATES: u64 = 100;

/// What the server takes as the age of messages.
const MIN_AGE: Duration = Duration::from_millis(100);
const MAX_AGE: Duration = Duration::from_nanos(i64::MAX as u64);

/// All checkpoints must fit into one batch, and shards cost a message in most commits.
const MAX_SHARDS: u64 = 512;

const DEFAULT_SHARDS: NonZeroU16 = NonZeroU16::new(16).expect("16 is not 0");

/// With a machine that need not have everything, faults of what it need not have do not count.
pub(super) fn resolve(
    document: &Spanned<DeTable<'_>>,
    folder: &Path,
    needs: Needs,
) -> Result<Settings, Vec<Fault>> {
    let faults = FaultList::default();
    let settings = resolve_all(document, folder, &faults);
    let mut faults = faults.into_inner();
    faults.retain(|fault| match fault.blame {
        Blame::File => true,
        Blame::Machine => needs != Needs::File,
        Blame::Sources => needs == Needs::Sources,
    });
    match settings {
        Some(settings) if faults.is_empty() => Ok(settings),
        _ => Err(faults),
    }
}

fn resolve_all(document: &Spanned<DeTable<'_>>, folder: &Path, faults: &FaultList) -> Option<Settings> {
    let mut root = Section::new("", document, faults);
    let app = root.required("app").and_then(|text| name(&root, "app", &text));
    let shards =
        root.integer("shards", 1..=MAX_SHARDS).and_then(|n| u16::try_from(n).ok()).and_then(NonZeroU16::new);
    let nats = root.section("nats").map(|section| nats::resolve(section, folder)).unwrap_or_default();
    let stream = match root.section("stream") {
        Some(section) => stream(section, &nats.inbox_prefix),
        None => {
            if root.value("stream").is_none() {
                root.fault(root.span(), "section [stream] is missing: it needs `name` and `subjects`");
            }
            None
        }
    };
    let dead_letters_max_age = root.section("dead-letters").and_then(|mut section| {
        let max_age = section.parsed("max-age", parse_duration).map(|age| age.value);
        section.finish();
        max_age
    });
    // Handlers are checked even where the stream is faulty, so that their faults show at once.
    let scope = Scope {
        folder,
        secret_files: RefCell::default(),
        stream: stream.as_ref().map_or_else(|| "".into(), |stream| Arc::clone(&stream.name)),
        subjects: stream.as_ref().map(|stream| stream.subjects.clone()).unwrap_or_default(),
    };
    let trust = trust(&mut root);
    let insecure_registries = root.section("registries").map(registries::resolve).unwrap_or_default();
    let mut handlers = Vec::new();
    if let Some(section) = root.section("handlers") {
        for (key, span, value) in section.entries() {
            let place = Placed { value: key, span };
            let handler_name = name(&section, "handlers", &place);
            if let Some(table) = section.as_section(key, value) {
                let handler = handler::resolve(table, &scope);
                handlers.extend(handler.zip(handler_name).map(|(mut handler, name)| {
                    handler.name = name.into();
                    Arc::new(handler)
                }));
            }
        }
    }
    if root.value("handlers").is_none() {
        root.fault(root.span(), "no handler: add a section [handlers.NAME] with `plugin` and `subscribe`");
    }
    root.finish();
    Some(Settings {
        app: app?,
        shards: shards.unwrap_or(DEFAULT_SHARDS),
        nats,
        stream: stream?,
        dead_letters_max_age,
        trust,
        insecure_registries,
        handlers: handlers.into(),
        folder: folder.to_owned(),
        secret_files: scope.secret_files.into_inner(),
    })
}

/// The public keys of those whose plugins are accepted, and what their signatures must say.
fn trust(root: &mut Section<'_>) -> Trust {
    let mut keys = Vec::new();
    for Placed { value, span } in root.texts("trust") {
        match signature::key(value) {
            Ok(key) => keys.push(key.to_owned()),
            Err(message) => root.fault(span, format!("`trust`: {message}")),
        }
    }
    let named = root.boolean("require-named-signatures").unwrap_or(false);
    if let Some(value) =
        root.value("require-named-signatures").filter(|_| named && root.value("trust").is_none())
    {
        root.fault(value.span(), "`require-named-signatures` needs `trust`: the keys that sign");
    }
    Trust { keys, named }
}

/// Names stand in subjects and consumer names: letters, digits, `-` and `_`.
fn name(section: &Section<'_>, key: &str, text: &Placed<&str>) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.value.is_empty() || text.value.len() > 64 || !text.value.chars().all(legal) {
        let message =
            format!("`{key}`: `{}` cannot be a name: use 1 to 64 letters, digits, `-` and `_`", text.value);
        section.fault(text.span.clone(), message);
        return None;
    }
    Some(text.value.to_owned())
}

fn stream(mut section: Section<'_>, inbox_prefix: &str) -> Option<StreamSettings> {
    let name = section.required("name").and_then(|text| name(&section, "name", &text));
    let subjects = section.list::<Pattern>("subjects");
    if subjects.is_empty() && section.value("subjects").is_none_or(|value| value.get_ref().is_array()) {
        section.fault(section.span(), "`subjects` needs at least one subject, such as \"order.>\"");
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, Placed { value, span }) in subjects.iter().enumerate() {
        // What the server answers would come back as events.
        let inbox = Some(inbox_prefix).filter(|prefix| !RESERVED_TOKENS.contains(prefix));
        for reserved in RESERVED_TOKENS.into_iter().chain(["$JS", LIVE]).chain(inbox) {
            let reserved: Pattern = format!("{reserved}.>").parse().ok()?;
            if value.overlaps(&reserved) {
                section.fault(
                    span.clone(),
                    format!("`subjects`: `{value}` overlaps `{reserved}`, which is reserved"),
                );
            }
        }
        let overlap = subjects.iter().take(index).find(|other| other.value.overlaps(value));
        if let Some(other) = overlap.filter(|_| seen.insert(value.as_str())) {
            section.fault(span.clone(), format!("`subjects`: `{value}` overlaps `{}`", other.value));
        }
    }
    let max_age = section.parsed("max-age", parse_duration).map(|age| age.value);
    if max_age.is_some_and(|age| !(MIN_AGE..=MAX_AGE).contains(&age)) {
        section
            .fault(section.span(), "`max-age` should be between 100ms and 292 years, as the server takes it");
    }
    let replicas = section.integer("replicas", 1..=5).unwrap_or(1);
    let stale_states = section.integer("stale-states", MIN_STALE_STATES..=u64::from(u32::MAX));
    section.finish();
    Some(StreamSettings {
        name: name?.into(),
        subjects: subjects.into_iter().map(|subject| subject.value).collect(),
        max_age,
        replicas: usize::try_from(replicas).unwrap_or(1),
        stale_states: stale_states.unwrap_or(DEFAULT_STALE_STATES),
    })
}
