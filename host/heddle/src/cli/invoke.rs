//! `heddle invoke`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use serde_json::{Value, json};

use super::fault::Code;
use super::fixture::{self, Given};
use super::{CacheArgs, FileArgs};
use crate::admission::{Place, Users};
use crate::host;
use crate::print::{self, complain, say, visible};
use heddle_config::Needs;
use heddle_sandbox::{self as sandbox, Call, Policy, Run};
use heddle_values::effects::{Effects, Message, StateChange, When};
use heddle_values::key::{Key, KeyTemplate};
use heddle_values::secret::Secret;
use heddle_values::verdict::Verdict;

/// Run one event through a plugin, without a server
///
/// Prints the verdict, the effects, the state, the log lines, and the time and
/// memory used. The event's file is JSON:
///
///   {"subject": "order.created.c1", "payload": {"amount": 5},
///    "headers": {"Kind": "x"}, "key": "c1", "time": "2026-11-01T12:00:00Z", "sequence": 7}
///
/// or a fixture that `heddle dead-letters fixture` has written (`.toml`).
///
/// Only `subject` is needed. `payload` may be any JSON; a text is taken as it is.
/// Without --handler everything may be published. Limits and grants are those of
/// the handlers of the application's file that use the component; where there are
/// none, the defaults hold and nothing is granted.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Command {
    /// The component.
    plugin: PathBuf,
    /// The event's file; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    event: PathBuf,
    /// The key's state before the event: a text, or `@FILE`.
    #[arg(long, value_name = "TEXT")]
    state: Option<String>,
    /// The attempt that this run counts as.
    #[arg(long, default_value_t = 1)]
    attempt: u32,
    /// A name and value of the handler's `config`; may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Use the policy and key template of this handler in the application's file.
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

impl Command {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<ExitCode> {
        let Given { event, key: given_key, state: given_state } = fixture::read(&self.event)?;
        let Chosen { policy, template, users } = self.policy()?;
        let key = match (given_key, template) {
            (Some(key), _) => Key::new(&key),
            (None, Some(template)) => template
                .key(&event)
                .map_err(|error| Code::EventFile.fault(format!("the event has no key: {error}")))?,
            (None, None) => Key::new(&event.subject),
        };
        let state = match &self.state {
            None => given_state,
            Some(text) => Some(match text.strip_prefix('@') {
                Some(path) => std::fs::read(path)
                    .map_err(|error| Code::Usage.fault(format!("failed to read `{path}`: {error}")))?
                    .into(),
                None => Bytes::copy_from_slice(text.as_bytes()),
            }),
        };
        let sandbox = self.cache.sandbox(policy.limits.memory)?;
        let code = sandbox.load(sandbox::read(&self.plugin).await?).await?;
        if let Some(missing) = users.as_ref().and_then(|users| users.missing(&code)) {
            complain!("note: nothing is granted here; the component needs {missing}");
        }
        let policy = Arc::new(policy);
        let plugin = match users {
            Some(_) => sandbox.plugin_of_nobody(code, policy).await?,
            None => sandbox.plugin(code, policy).await?,
        };
        let call = Call { event: Arc::new(event), key, attempt: self.attempt, state };
        let run = plugin.run(call).await;
        let report = report(&run);
        if json {
            print::json(&report)?
        } else {
            print_text(&report)?
        }
        Ok(if matches!(run.verdict, Verdict::Done(_)) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn policy(&self) -> anyhow::Result<Chosen> {
        const MAX_PAYLOAD: usize = 1 << 20;
        let mut chosen = match &self.handler {
            Some(name) => {
                let settings = self.file.load(Needs::Everything)?;
                let handler = settings.handler(name);
                let handler = handler.ok_or_else(|| {
                    Code::NotFound.fault(format!("no handler `{name}` in `{}`", self.file.config.display()))
                })?;
                let policy = host::policy(&settings, handler, MAX_PAYLOAD);
                Chosen { policy, template: Some(handler.key.clone()), users: None }
            }
            None => {
                let settings = self.file.load_if_there(Needs::File)?;
                let users = Users::of(settings.as_ref(), &[Place::File(&self.plugin)]);
                let limits = users.limits().unwrap_or_default();
                let policy = Policy { grants: users.grants(), ..host::everything("invoke", limits) };
                Chosen { policy, template: None, users: Some(users) }
            }
        };
        for pair in &self.set {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| Code::Usage.fault(format!("`{pair}` is not NAME=VALUE")))?;
            chosen.policy.config.insert(name.to_owned(), Secret::new(value));
        }
        Ok(chosen)
    }
}

/// Under what the plugin runs.
struct Chosen {
    policy: Policy,
    template: Option<KeyTemplate>,
    /// The handlers that use the component. None: one was named.
    users: Option<Users>,
}

fn report(run: &Run) -> Value {
    let logs: Vec<Value> = run
        .logs
        .iter()
        .map(|line| json!({ "level": format!("{:?}", line.level).to_lowercase(), "text": line.text }))
        .collect();
    let verdict = match &run.verdict {
        Verdict::Done(_) => json!({ "verdict": "done" }),
        Verdict::Failed(failure) => {
            json!({ "verdict": failure.class.as_str(), "message": failure.message, "backtrace": failure.backtrace })
        }
    };
    let nothing = Effects::default();
    let effects = if let Verdict::Done(effects) = &run.verdict { effects } else { &nothing };
    let state = match &effects.state {
        StateChange::Keep => json!("unchanged"),
        StateChange::Clear => json!("cleared"),
        StateChange::Set(value) => json!({ "set": text_or_json(value) }),
    };
    json!({
        "verdict": verdict,
        "messages": effects.messages.iter().map(message).collect::<Vec<_>>(),
        "replies": effects.replies.iter().map(|reply| text_or_json(&reply.payload)).collect::<Vec<_>>(),
        "state": state,
        "logs": logs,
        "logs_dropped": run.logs_dropped,
        "elapsed_us": u64::try_from(run.usage.elapsed.as_micros()).unwrap_or(u64::MAX),
        "memory_bytes": run.usage.memory,
    })
}

fn message((message, when): &(Message, When)) -> Value {
    let headers: BTreeMap<&str, &str> = message.headers.iter().collect();
    let after = if let When::After(seconds) = when { *seconds } else { 0 };
    json!({
        "subject": message.subject,
        "headers": headers,
        "payload": text_or_json(&message.payload),
        "after_seconds": after,
    })
}

/// JSON where it is JSON, else text, else the number of bytes.
pub(super) fn text_or_json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!(format!("<{} bytes>", bytes.len())),
    })
}

fn print_text(report: &Value) -> Result<(), print::Error> {
    let get = |name: &str| report.get(name).cloned().unwrap_or_default();
    let verdict = get("verdict");
    let text =
        |value: Option<&Value>| visible(value.and_then(Value::as_str).unwrap_or_default()).into_owned();
    let line = format!("verdict  {} {}", text(verdict.get("verdict")), text(verdict.get("message")));
    say!("{}", line.trim_end())?;
    for message in get("messages").as_array().into_iter().flatten() {
        let payload = message.get("payload").cloned().unwrap_or_default();
        say!("publish  {} {payload}", text(message.get("subject")))?;
    }
    for reply in get("replies").as_array().into_iter().flatten() {
        say!("reply    {reply}")?;
    }
    say!("state    {}", get("state"))?;
    for line in get("logs").as_array().into_iter().flatten() {
        say!("log      {} {}", text(line.get("level")), text(line.get("text")))?;
    }
    say!(
        "used     {} µs, {} KiB of memory",
        get("elapsed_us"),
        get("memory_bytes").as_u64().unwrap_or(0) / 1024
    )
}
