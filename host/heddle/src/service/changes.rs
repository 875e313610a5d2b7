//! What differs between the settings that run and those that are to run.

use anyhow::bail;

use super::Ready;
use heddle_values::settings::Settings;

/// What cannot change while the host runs.
pub(super) fn check_fixed(old: &Settings, new: &Settings) -> anyhow::Result<()> {
    let fixed = [
        ("app", old.app == new.app),
        ("shards", old.shards == new.shards),
        ("[nats]", old.nats == new.nats),
        ("[stream]", old.stream == new.stream),
    ];
    let changed: Vec<&str> = fixed.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect();
    if changed.is_empty() {
        return Ok(());
    }
    bail!("{} cannot change while the host runs: stop it and start it again", changed.join(", "))
}

/// What is different, in words.
pub(super) fn changes(old: &Settings, ready: &Ready) -> String {
    let new = &*ready.settings;
    let names = |of: &Settings, keep: &dyn Fn(&str) -> bool| -> Vec<String> {
        of.handlers
            .iter()
            .filter(|handler| keep(&handler.name))
            .map(|handler| handler.name.to_string())
            .collect()
    };
    let added = names(new, &|name| old.handler(name).is_none());
    let removed = names(old, &|name| new.handler(name).is_none());
    let changed =
        names(new, &|name| old.handler(name).is_some_and(|before| Some(before) != new.handler(name)));
    let mut parts = Vec::new();
    let (forgotten, restarted) = (ready.forget.clone(), ready.restart.clone());
    let all = [
        ("added", added),
        ("removed", removed),
        ("changed", changed),
        ("forgotten", forgotten),
        ("restarted", restarted),
    ];
    for (word, names) in all {
        if !names.is_empty() {
            parts.push(format!("{word} {}", names.join(", ")));
        }
    }
    if old.dead_letters_max_age != new.dead_letters_max_age {
        parts.push("changed [dead-letters]".to_owned());
    }
    if old.trust != new.trust {
        parts.push("changed `trust`".to_owned());
    }
    if old.insecure_registries != new.insecure_registries {
        parts.push("changed [registries]".to_owned());
    }
    if parts.is_empty() { "nothing has changed".to_owned() } else { parts.join("; ") }
}
