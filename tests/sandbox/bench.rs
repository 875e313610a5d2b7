//! A workbench: a sandbox of the test's own, the plugin `contrary`, and events for it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails here fails a test"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use heddle_sandbox::{Call, Error, Plugin, Policy, Run, Sandbox, SandboxSettings};
use heddle_tests::{heddle, plugin, workspace};
use heddle_values::effects::{Allowance, Effects};
use heddle_values::event::{Event, Headers, Source};
use heddle_values::key::Key;
use heddle_values::policy::{Instances, Limits};
use heddle_values::secret::Secret;
use heddle_values::settings::Grants;
use heddle_values::verdict::{Failure, Verdict};
use serde_json::{Value, json};

pub(crate) const TIME: u64 = 1_700_000_000_123_456_789;

/// A policy under which `contrary` may publish on `out.>`.
pub(crate) fn policy() -> Policy {
    let limits = Limits::default();
    Policy {
        handler: "h".into(),
        allowance: Allowance {
            publishes: vec!["out.>".parse().unwrap()],
            messages: limits.messages,
            output: limits.output,
            message: 1 << 20,
            state: limits.state,
            inbox_prefix: "_INBOX".into(),
        },
        limits,
        instances: Instances::Fresh,
        config: BTreeMap::from([("colour".to_owned(), Secret::new("blue"))]),
        grants: Grants::default(),
    }
}

pub(crate) fn sandbox_with(artifacts: PathBuf, compiler: PathBuf) -> Sandbox {
    Sandbox::new(SandboxSettings { instances: 200, max_memory: 64 << 20, artifacts, compiler }).unwrap()
}

/// A sandbox and a plugin in it.
pub(crate) struct Bench {
    pub(crate) plugin: Plugin,
    _sandbox: Sandbox,
}

impl Bench {
    pub(crate) async fn new(policy: Policy) -> Self {
        Self::admit(policy).await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) async fn admit(policy: Policy) -> Result<Self, Error> {
        Self::of("contrary", policy).await
    }

    /// With another plugin than `contrary`.
    pub(crate) async fn of(name: &str, policy: Policy) -> Result<Self, Error> {
        let sandbox = sandbox_with(workspace().join("target/test-artifacts"), heddle());
        let plugin = sandbox.admit(&plugin(name), Arc::new(policy)).await?;
        Ok(Bench { plugin, _sandbox: sandbox })
    }

    pub(crate) async fn run(&self, instructions: Value) -> Run {
        self.plugin.run(call(7, instructions)).await
    }

    /// The effects of instructions that must succeed.
    pub(crate) async fn effects(&self, instructions: Value) -> Effects {
        effects(self.run(instructions).await)
    }

    /// The cause of instructions that must fail.
    pub(crate) async fn cause(&self, instructions: Value) -> Failure {
        match self.run(instructions).await.verdict {
            Verdict::Failed(failure) => *failure,
            Verdict::Done(effects) => panic!("done: {effects:?}"),
        }
    }
}

pub(crate) fn effects(run: Run) -> Effects {
    match run.verdict {
        Verdict::Done(effects) => effects,
        Verdict::Failed(failure) => panic!("{failure:?}"),
    }
}

/// The payload of the only message, as JSON.
pub(crate) fn only_message(effects: &Effects) -> Value {
    assert_eq!(effects.messages.len(), 1, "{effects:?}");
    serde_json::from_slice(&effects.messages[0].0.payload).unwrap()
}

pub(crate) fn call(sequence: u64, instructions: Value) -> Call {
    let headers = [("Heddle-Reply-To", "_INBOX.x.y"), ("Kind", "first"), ("Kind", "second")];
    let event = Event {
        stream: "S".into(),
        sequence,
        subject: "in.a".into(),
        time: TIME,
        headers: Headers::from_pairs(headers),
        payload: json!({ "do": instructions }).to_string().into(),
        source: Source::Stream,
    };
    Call { event: Arc::new(event), key: Key::new("a"), attempt: 1, state: Some("41".into()) }
}
