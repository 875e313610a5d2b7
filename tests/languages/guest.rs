//! The conformance guest of one language, in a sandbox of its own.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails here fails a test"
)]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heddle::host::everything;
use heddle_sandbox::{Call, LogLevel, Plugin, Policy, Run, Sandbox, SandboxSettings};
use heddle_tests::{heddle, language_guest, workspace};
use heddle_values::effects::Effects;
use heddle_values::event::{Event, Headers, Source};
use heddle_values::key::Key;
use heddle_values::policy::{Instances, Limits};
use heddle_values::secret::Secret;
use heddle_values::verdict::{Failure, Verdict};
use serde_json::Value;

/// When every event is stored, in nanoseconds since 1970.
pub(crate) const TIME: u64 = 1_700_000_000_123_456_789;

/// What is asked of a guest.
#[derive(Clone)]
pub(crate) struct Ask {
    verb: &'static str,
    payload: Bytes,
    headers: Vec<(String, String)>,
    state: Option<Bytes>,
    sequence: u64,
    attempt: u32,
}

/// A verb without a payload.
pub(crate) fn ask(verb: &'static str) -> Ask {
    let headers = vec![("Heddle-Reply-To".to_owned(), "_INBOX.x.y".to_owned())];
    Ask { verb, payload: Bytes::new(), headers, state: None, sequence: 7, attempt: 1 }
}

impl Ask {
    pub(crate) fn json(self, payload: Value) -> Self {
        Ask { payload: payload.to_string().into(), ..self }
    }

    pub(crate) fn bytes(self, payload: impl Into<Bytes>) -> Self {
        Ask { payload: payload.into(), ..self }
    }

    pub(crate) fn state(self, state: impl Into<Bytes>) -> Self {
        Ask { state: Some(state.into()), ..self }
    }

    pub(crate) fn sequence(self, sequence: u64) -> Self {
        Ask { sequence, ..self }
    }

    pub(crate) fn attempt(self, attempt: u32) -> Self {
        Ask { attempt, ..self }
    }

    pub(crate) fn headers(self, headers: &[(String, String)]) -> Self {
        Ask { headers: headers.to_vec(), ..self }
    }

    fn call(self) -> Call {
        let event = Event {
            stream: "S".into(),
            sequence: self.sequence,
            subject: format!("probe.{}.k", self.verb).into(),
            time: TIME,
            headers: Headers::from_pairs(self.headers),
            payload: self.payload,
            source: Source::Stream,
        };
        Call { event: Arc::new(event), key: Key::new("k"), attempt: self.attempt, state: self.state }
    }
}

/// A guest that is loaded.
pub(crate) struct Guest {
    plugin: Plugin,
    _sandbox: Sandbox,
}

/// The policy of the suite: it may publish on `out.>`.
pub(crate) fn policy(instances: Instances, limits: Limits) -> Policy {
    let config = BTreeMap::from([("colour".to_owned(), Secret::new("blau\u{df}"))]);
    let mut policy = Policy { instances, config, ..everything("probe", limits) };
    policy.allowance.publishes = vec!["out.>".parse().unwrap()];
    policy
}

pub(crate) fn sandbox() -> Sandbox {
    let artifacts = workspace().join("target/test-artifacts");
    Sandbox::new(SandboxSettings { instances: 50, max_memory: 256 << 20, artifacts, compiler: heddle() })
        .unwrap()
}

impl Guest {
    async fn new(language: &str, instances: Instances, limits: Limits) -> Self {
        let sandbox = sandbox();
        let policy = Arc::new(policy(instances, limits));
        let plugin = sandbox.admit(&language_guest(language, "probe"), policy).await;
        Guest { plugin: plugin.unwrap_or_else(|error| panic!("{error}")), _sandbox: sandbox }
    }

    /// Every event gets an instance of its own.
    pub(crate) async fn fresh(language: &str) -> Self {
        Self::new(language, Instances::Fresh, Limits { time: Duration::from_secs(10), ..Limits::default() })
            .await
    }

    /// One instance serves all events.
    pub(crate) async fn reused(language: &str) -> Self {
        let limits = Limits { time: Duration::from_secs(10), ..Limits::default() };
        Self::new(language, Instances::Reuse(NonZeroU32::MAX), limits).await
    }

    /// The same with other limits.
    pub(crate) async fn limited(language: &str, limits: Limits) -> Self {
        Self::new(language, Instances::Reuse(NonZeroU32::MAX), limits).await
    }

    pub(crate) async fn run(&self, ask: Ask) -> Run {
        self.plugin.run(ask.call()).await
    }

    /// The effects of what must succeed.
    pub(crate) async fn effects(&self, ask: Ask) -> Effects {
        let run = self.run(ask).await;
        match run.verdict {
            Verdict::Done(effects) => effects,
            Verdict::Failed(failure) => panic!("{failure:?}; {:?}", run.logs),
        }
    }

    /// The cause of what must fail.
    pub(crate) async fn failure(&self, ask: Ask) -> Failure {
        match self.run(ask).await.verdict {
            Verdict::Failed(failure) => *failure,
            Verdict::Done(effects) => panic!("done: {effects:?}"),
        }
    }

    /// The payload of the only message.
    pub(crate) async fn payload(&self, ask: Ask) -> Bytes {
        let verb = ask.verb;
        let effects = self.effects(ask).await;
        assert_eq!(effects.messages.len(), 1, "{effects:?}");
        assert_eq!(&*effects.messages[0].0.subject, format!("out.{verb}.k"));
        effects.messages[0].0.payload.clone()
    }

    /// The same as JSON.
    pub(crate) async fn answer(&self, ask: Ask) -> Value {
        let payload = self.payload(ask).await;
        serde_json::from_slice(&payload).unwrap_or_else(|error| panic!("{error}: {payload:?}"))
    }

    /// Level and text of all log lines of what must succeed.
    pub(crate) async fn lines(&self, ask: Ask) -> Vec<(LogLevel, String)> {
        let run = self.run(ask).await;
        assert!(matches!(run.verdict, Verdict::Done(_)), "{:?}", run.verdict);
        run.logs.into_iter().map(|line| (line.level, line.text)).collect()
    }
}
