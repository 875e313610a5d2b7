//! A guest: its file under `tests/guests/hostile`, and the plugin and the events that come of it.
//!
//! A file ends with `.wat` (see [`assemble`](heddle_tests::assemble)), and a comment in it may add to the handler's section of
//! `heddle.toml`; or it ends with `.json`, says in `about` what a comment says in the others, and has one of these:
//! - `do`: instructions for the plugin `contrary`, where the standard library is needed; and perhaps `keys` of the events,
//!   `inbox`: where they want an answer, and `then`: what the plugin's file contains once the host runs;
//! - `bytes`: a text that is taken for a plugin;
//! - `half`: the first half of a plugin of that name.

use std::path::PathBuf;

use heddle_tests::{assemble, workspace};
use serde_json::{Value, json};

/// What a file asks for.
pub(crate) struct Guest {
    /// The plugin's bytes.
    pub(crate) plugin: Vec<u8>,
    /// What its events tell it to do, if it listens at all.
    pub(crate) instructions: Value,
    /// The keys of its events in each round.
    pub(crate) keys: Vec<String>,
    /// Where its events want an answer.
    pub(crate) inbox: Option<String>,
    /// What its section of `heddle.toml` says besides.
    pub(crate) section: String,
    /// What its file contains once the host runs.
    pub(crate) then: Option<String>,
}

/// The folder of the guests.
pub(crate) fn folder() -> PathBuf {
    workspace().join("tests/guests/hostile")
}

impl Guest {
    /// One that does no harm, and nothing else.
    pub(crate) fn idle() -> Self {
        let plugin = std::fs::read(heddle_tests::plugin("contrary")).expect("the plugins are built");
        Guest::of(plugin)
    }

    fn of(plugin: Vec<u8>) -> Self {
        let keys = (0..6).map(|n| format!("b{n}")).collect();
        Guest { plugin, instructions: json!([]), keys, inbox: None, section: String::new(), then: None }
    }

    /// Reads the guest of this name.
    pub(crate) fn read(name: &str) -> Self {
        let text = |ending| std::fs::read_to_string(folder().join(format!("{name}.{ending}")));
        if let Ok(text) = text("wat") {
            assert!(text.starts_with(";; "), "`{name}` does not say what it does");
            let plugin = assemble(&text).unwrap_or_else(|error| panic!("`{name}`: {error:?}"));
            let section = text.lines().filter_map(|line| line.strip_prefix(";; In heddle.toml: ")).collect();
            return Guest { section, ..Guest::of(plugin) };
        }
        let text = text("json").unwrap_or_else(|error| panic!("`{name}`: {error}"));
        let told: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("`{name}`: {error}"));
        assert!(told["about"].is_string(), "`{name}` does not say what it does");
        let read = |plugin: &Value| {
            let plugin = plugin.as_str().unwrap_or("contrary");
            std::fs::read(heddle_tests::plugin(plugin)).expect("the plugins are built")
        };
        let plugin = match (&told["bytes"], &told["half"]) {
            (Value::String(bytes), _) => bytes.clone().into_bytes(),
            (_, half @ Value::String(_)) => {
                let whole = read(half);
                whole[..whole.len() / 2].to_vec()
            }
            _ => read(&Value::Null),
        };
        let inbox = told["inbox"].as_str().map(str::to_owned);
        let then = told["then"].as_str().map(str::to_owned);
        let mut guest = Guest { instructions: told["do"].clone(), inbox, then, ..Guest::of(plugin) };
        if let Some(keys) = told["keys"].as_array() {
            guest.keys = keys.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        }
        guest
    }
}
