//! How a handler's part of the file says where its plugin comes from, and how a new version of it takes over.

use std::sync::Arc;

use super::scope::Scope;
use super::section::{Placed, Section};
use super::units::{UnitError, parse_share};
use heddle_source::oci;
use heddle_values::object;
use heddle_values::plugin::{PluginPlace, PluginSource};
use heddle_values::rollout::{CanaryPolicy, ShadowPolicy};
use heddle_values::settings::Grants;

/// The most events that a shadow run runs.
const MAX_SHADOW: u64 = 100_000;

/// The most events of a trial.
const MAX_EVENTS: u64 = 10_000_000;

/// `plugin = "…"`: a file, `object:<bucket>/<name>[:<tag>]` or `oci:<reference>`, each with `@sha256:…` if wanted.
pub(super) fn plugin(section: &mut Section<'_>, scope: &Scope<'_>) -> Option<PluginSource> {
    let Placed { value, span } = section.required("plugin")?;
    match parse_source(value, scope) {
        Ok(source) => Some(source),
        Err(message) => {
            section.fault(span, format!("`plugin`: {message}"));
            None
        }
    }
}

fn parse_source(text: &str, scope: &Scope<'_>) -> Result<PluginSource, String> {
    // The digest in an OCI reference is that of its manifest: it belongs to the reference.
    if let Some(reference) = text.strip_prefix("oci:") {
        reference.parse::<oci::Reference>().map_err(|error| error.to_string())?;
        return Ok(PluginSource { place: PluginPlace::Oci(reference.into()), digest: None });
    }
    let (place, digest) = match text.rsplit_once("@sha256:") {
        Some((place, hex)) => (place, Some(digest(hex)?)),
        None => (text, None),
    };
    let place = match place.strip_prefix(object::SCHEME) {
        Some(object) => {
            PluginPlace::Object(object.parse().map_err(|error: object::Error| error.to_string())?)
        }
        None => PluginPlace::File(scope.folder.join(place)),
    };
    Ok(PluginSource { place, digest })
}

fn digest(hex: &str) -> Result<Arc<str>, String> {
    let sound = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let wrong = || format!("`sha256:{hex}` is not a digest: it has 64 digits, 0 to 9 and a to f");
    if sound { Ok(format!("sha256:{hex}").into()) } else { Err(wrong()) }
}

/// `canary = { share = "5%", events = 1000, max-failures = "1%", max-slowdown = 2.0 }`.
pub(super) fn canary(section: &mut Section<'_>) -> CanaryPolicy {
    let mut policy = CanaryPolicy::default();
    let Some(mut canary) = section.section("canary") else { return policy };
    if let Some(share) = canary.parsed("share", parse_share) {
        policy.share = share.value;
    }
    if let Some(events) = canary.integer("events", 1..=MAX_EVENTS) {
        policy.events = u32::try_from(events).unwrap_or(u32::MAX);
    }
    if let Some(failures) = canary.parsed("max-failures", none_or_share) {
        policy.max_failures = failures.value;
    }
    policy.max_slowdown = canary.number("max-slowdown", 1.0);
    canary.finish();
    policy
}

fn none_or_share(text: &str) -> Result<f64, UnitError> {
    if text.trim() == "0%" { Ok(0.0) } else { parse_share(text) }
}

/// `shadow = N` and `shadow-must-match = true`.
pub(super) fn shadow(section: &mut Section<'_>, grants: &Grants) -> Option<ShadowPolicy> {
    let events = section.integer("shadow", 1..=MAX_SHADOW);
    let must_match = section.boolean("shadow-must-match");
    let Some(value) = section.value("shadow") else {
        if let Some(value) = section.value("shadow-must-match") {
            section.fault(value.span(), "`shadow-must-match` needs `shadow`: how many events are run");
        }
        return None;
    };
    let span = value.span();
    if !grants.http.hosts.is_empty() || grants.files.iter().any(|file| file.write) {
        let message = "`shadow` cannot be had with `http` or with files to write to: what runs in the shadow would change them too";
        section.fault(span, message);
    }
    let events = u32::try_from(events?).ok()?;
    Some(ShadowPolicy { events, must_match: must_match.unwrap_or(false) })
}
