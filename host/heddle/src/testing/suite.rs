//! Runs a test in every way in which it must come out the same: in new and in reused instances, and with keys that take
//! their turns in other orders.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::case::Case;
use super::expect;
use super::given::{Given, given_states, publication};
use super::host::{BEGINNING, TestHost};
use super::record::Ran;
use super::server::{self, Stage};
use super::story::{Story, word};
use crate::host::{Workshop, admit_all, policy, sandbox};
use heddle_config::{self as config, Needs, parse_duration};
use heddle_sandbox::{Code, Sandbox};
use heddle_values::effects::Effects;
use heddle_values::policy::Instances;
use heddle_values::secret::Secret;
use heddle_values::settings::Settings;
use heddle_values::text::parse_rfc3339;
use heddle_values::verdict::Verdict;

/// The server's usual `max_payload`, in bytes.
const MAX_PAYLOAD: usize = 1 << 20;

/// In which instances a test is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Modes {
    /// In new ones and in reused ones, which must make no difference.
    #[default]
    Both,
    /// In a new one for every event.
    Fresh,
    /// In one that serves all events of its handler.
    Reused,
}

/// How tests are run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// In which instances. Default: in new ones and in reused ones.
    pub modes: Modes,
    /// How often a test is run again with keys that take their turns in another order.
    pub shuffles: u32,
    /// What the first of these orders comes from.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { modes: Modes::Both, shuffles: 5, seed: 1 }
    }
}

/// The result of a test.
#[derive(Debug)]
pub struct Outcome {
    /// What is wrong; nothing: it has passed.
    pub faults: Vec<String>,
    /// How often a handler ran in the first of all ways.
    pub runs: usize,
    /// How long the test took in all ways together, in real time.
    pub elapsed: Duration,
}

/// An application whose tests are run: its plugins are loaded once.
pub struct Suite {
    settings: Settings,
    sandbox: Sandbox,
    codes: Vec<Arc<Code>>,
}

impl Suite {
    /// Loads the plugins.
    ///
    /// # Errors
    /// A plugin is missing or faulty.
    pub async fn load(settings: Settings, workshop: &Workshop) -> anyhow::Result<Self> {
        let sandbox = sandbox(&settings, workshop)?;
        let plugins = admit_all(&sandbox, &settings, None, MAX_PAYLOAD).await?;
        let codes = plugins.iter().map(|plugin| Arc::clone(plugin.code())).collect();
        Ok(Suite { settings, sandbox, codes })
    }

    /// Runs a test in every way that is asked for.
    pub async fn run(&self, case: &Case, options: Options) -> Outcome {
        let began = Instant::now();
        let (mut faults, mut runs) = (Vec::new(), 0);
        if let Err(error) = self.try_run(case, options, &mut faults, &mut runs).await {
            faults.push(format!("{error:#}"));
        }
        Outcome { faults, runs, elapsed: began.elapsed() }
    }

    /// Runs a test once over a real server, with the whole host and in real time. What leaves no trace in the stream is
    /// not compared: how each run ended, log lines, replies, and states between two events of a key.
    pub async fn run_on_server(&self, case: &Case, stage: &Stage) -> Outcome {
        let began = Instant::now();
        let played = async { server::play(stage, self.settings_of(case)?, case).await };
        let (faults, runs) = match played.await {
            Ok(story) => (expect::faults(case, &story), story.endings.len()),
            Err(error) => (vec![format!("{error:#}")], 0),
        };
        Outcome { faults, runs, elapsed: began.elapsed() }
    }

    async fn try_run(
        &self,
        case: &Case,
        options: Options,
        faults: &mut Vec<String>,
        runs: &mut usize,
    ) -> anyhow::Result<()> {
        let first = if options.modes == Modes::Reused { reuse() } else { Instances::Fresh };
        let (host, story) = self.play(case, first, None).await?;
        *runs = host.runs().len();
        faults.extend(expect::faults(case, &story));
        if options.modes == Modes::Both {
            let (reused, _) = self.play(case, reuse(), None).await?;
            faults.extend(difference(&host, &reused));
        }
        if !faults.is_empty() || case.events.len() < 2 {
            return Ok(());
        }
        for seed in (options.seed..).take(options.shuffles as usize) {
            let (_, story) = self.play(case, first, Some(seed)).await?;
            let found = expect::faults(case, &story);
            if !found.is_empty() {
                faults.push(format!("only when keys take their turns in another order (--seed {seed}):"));
                faults.extend(found);
                break;
            }
        }
        Ok(())
    }

    /// An application in memory for a test.
    ///
    /// # Errors
    /// The test names a handler that there is not, or an instance cannot be made.
    pub async fn host(
        &self,
        case: &Case,
        instances: Instances,
        seed: Option<u64>,
    ) -> anyhow::Result<TestHost> {
        let mut settings = self.settings_of(case)?;
        for handler in &mut settings.handlers {
            Arc::make_mut(handler).instances = instances;
        }
        let mut plugins = Vec::new();
        for handler in &settings.handlers {
            let all = self.settings.handlers.iter().zip(&self.codes);
            let code = all.into_iter().find(|(of, _)| of.name == handler.name).map(|(_, code)| code);
            let code = code.with_context(|| self.no_handler(&handler.name))?;
            let policy = Arc::new(policy(&settings, handler, MAX_PAYLOAD));
            plugins.push(Arc::new(self.sandbox.plugin(Arc::clone(code), policy).await?));
        }
        let first = case.events.first().and_then(|event| event.time.as_deref());
        let beginning = case.start.as_deref().or(first).map(instant).transpose()?.unwrap_or(BEGINNING);
        Ok(TestHost::new(Arc::new(settings), plugins.into(), beginning, seed))
    }

    /// The part of the application that a test is about.
    fn settings_of(&self, case: &Case) -> anyhow::Result<Settings> {
        let mut settings = self.settings.clone();
        for name in case.handler.iter().chain(case.config.keys()) {
            settings.handler(name).with_context(|| self.no_handler(name))?;
        }
        if let Some(name) = &case.handler {
            settings.handlers.retain(|handler| *handler.name == **name);
        }
        for handler in &mut settings.handlers {
            if let Some(config) = case.config.get(&*handler.name) {
                let config = config.iter().map(|(key, value)| (key.clone(), Secret::new(value.as_str())));
                Arc::make_mut(handler).config.extend(config);
            }
        }
        Ok(settings)
    }

    fn no_handler(&self, name: &str) -> String {
        let names: Vec<&str> = self.settings.handlers.iter().map(|handler| &*handler.name).collect();
        format!("the application has no handler `{name}`, only {}", names.join(", "))
    }

    async fn play(
        &self,
        case: &Case,
        instances: Instances,
        seed: Option<u64>,
    ) -> anyhow::Result<(TestHost, Story)> {
        let mut host = self.host(case, instances, seed).await?;
        for Given { handler, key, state } in given_states(case, host.settings())? {
            host.set_state(handler, key, state);
        }
        let mut events = Vec::new();
        for (index, given) in case.events.iter().enumerate() {
            let place = || format!("event {} `{}`", index + 1, given.subject);
            if let Some(after) = &given.after {
                let after = parse_duration(after).map_err(anyhow::Error::msg).with_context(place)?;
                host.advance(after).await?;
            } else if let Some(time) = &given.time {
                host.advance_to(instant(time).with_context(place)?).await?;
            } else if seed.is_none() {
                host.settle().await?;
            }
            let publication = publication(case, given, host.settings()).with_context(place)?;
            let (event, handlers) = host.publish(publication).with_context(place)?;
            events.push((event.id(), handlers));
        }
        host.finish().await?;
        let story = Story::of(&host, events);
        Ok((host, story))
    }
}

impl TestHost {
    /// The application of a `heddle.toml`, each event in a new instance. `heddle` is the program of that name: it compiles
    /// the plugins.
    ///
    /// # Errors
    /// The file or a plugin is missing or faulty.
    pub async fn open(file: &Path, heddle: &Path) -> anyhow::Result<Self> {
        let workshop = Workshop { compiler: heddle.to_owned(), ..Workshop::new(None)? };
        let suite = Suite::load(config::load(file, Needs::Everything)?, &workshop).await?;
        suite.host(&Case::default(), Instances::Fresh, None).await
    }
}

/// One instance for all events.
fn reuse() -> Instances {
    Instances::Reuse(NonZeroU32::MAX)
}

/// A time in RFC 3339, in nanoseconds since 1970.
fn instant(text: &str) -> anyhow::Result<u64> {
    parse_rfc3339(text).with_context(|| format!("`{text}` is not a time such as \"2026-11-01T12:00:00Z\""))
}

/// Where reused instances answer otherwise than new ones.
fn difference(fresh: &TestHost, reused: &TestHost) -> Option<String> {
    let name = |run: &Ran| fresh.settings().handlers[run.handler].name.to_string();
    let mut pairs = fresh.runs().iter().zip(reused.runs());
    let (one, other) = pairs.find(|(one, other)| answer(one) != answer(other))?;
    Some(format!(
        "`{}` answers event `{}` otherwise in an instance that has run other events before, so it keeps something \
         between events.\n  new instance: {}\n  reused:       {}",
        name(one),
        one.event.id(),
        describe(one),
        describe(other),
    ))
}

/// What must not depend on the instance.
fn answer(run: &Ran) -> (String, String, Option<&Effects>, Vec<&str>) {
    let (reason, effects) = match &run.verdict {
        Verdict::Done(effects) => (String::new(), Some(effects)),
        Verdict::Failed(failure) => (failure.message.clone(), None),
    };
    let logs = run.logs.iter().map(|line| line.text.as_str()).collect();
    (run.event.id(), format!("{}{reason}", word(&run.verdict)), effects, logs)
}

fn describe(run: &Ran) -> String {
    let mut parts = vec![word(&run.verdict)];
    match &run.verdict {
        Verdict::Done(effects) => {
            for (message, _) in &effects.messages {
                let payload = String::from_utf8_lossy(&message.payload).into_owned();
                parts.push(format!("`{}` {payload}", message.subject));
            }
            parts.push(format!(
                "state {}",
                run.state
                    .as_ref()
                    .map_or_else(|| "none".to_owned(), |state| String::from_utf8_lossy(state).into_owned(),)
            ));
        }
        Verdict::Failed(failure) => parts.push(failure.message.clone()),
    }
    parts.extend(run.logs.iter().map(|line| format!("log {:?}", line.text)));
    parts.join("; ")
}
