//! A running host: one engine after the other, as often as the application's file changes.
//!
//! Promises that a file with a fault changes nothing, and that events flow on with the old settings if they cannot with
//! the new ones. What changes is prepared while events flow; then the engine ends what runs, and another one goes on.

mod changes;
mod going_on;
mod watching;

use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinError;

use super::host::{Workshop, admit_all, policy, sandbox_settings, this_host};
use super::patience;
use super::permissions::check_permissions;
use heddle_broker::{Broker, connection_name};
use heddle_flow::acquire::{Fresh, acquire, forget};
use heddle_flow::activity::Snapshot;
use heddle_flow::engine::{Course, Engine, Parts};
use heddle_flow::versions::{
    self, HostCommand, HostCommands, PREPARED_AT_ONCE, Rollouts, Tasks, Tools, answer,
};
use heddle_sandbox::{Plugin, Sandbox};
use heddle_source::watch::Watch;
use heddle_values::command::Answer;
use heddle_values::errors::chain;
use heddle_values::member::Member;
use heddle_values::names::Names;
use heddle_values::settings::Settings;

use changes::{changes, check_fixed};
use going_on::{Next, OwnStream, asked};
use watching::watched;

/// Reads the application's file.
pub(super) type Load = Box<dyn Fn() -> anyhow::Result<Settings> + Send + Sync>;

/// What a host is made of.
pub(super) struct Service {
    load: Arc<Load>,
    /// The file.
    path: PathBuf,
    /// None while it runs.
    calls: Option<Calls>,
    workshop: Workshop,
    threads: tokio::runtime::Handle,
    me: Member,
    broker: Broker,
    reading: Broker,
    snapshots: watch::Sender<Snapshot>,
    /// Commands to the host that wait for their turn.
    commands: watch::Sender<HostCommands>,
    /// Counts the engines, and their resets.
    generation: u64,
    now: Shift,
}

/// What makes the host read the file again.
struct Calls {
    file: Watch,
    hangup: Signal,
}

/// One engine's time.
struct Shift {
    settings: Arc<Settings>,
    sandbox: Arc<Sandbox>,
    engine: Option<Engine>,
    /// What decides about versions.
    tasks: Tasks,
}

/// What is ready to go on with.
struct Ready {
    settings: Arc<Settings>,
    sandbox: Arc<Sandbox>,
    /// Keeps their code in memory.
    _plugins: Vec<Arc<Plugin>>,
    /// Handlers that are to be forgotten.
    forget: Vec<String>,
    /// Handlers that are stopped and are to begin again.
    restart: Vec<String>,
}

/// Why the file is read again.
#[derive(Debug, Clone)]
struct Cause {
    what: &'static str,
    command: Option<HostCommand>,
}

impl Cause {
    fn new(what: &'static str) -> Self {
        Cause { what, command: None }
    }
}

impl Service {
    /// Connects, prepares the plugins and takes the application over. Events flow once it [runs](Self::run).
    ///
    /// The plugins run on `threads`: a runtime of their own.
    pub(super) async fn start(
        file: PathBuf,
        load: Load,
        workshop: Workshop,
        threads: tokio::runtime::Handle,
    ) -> anyhow::Result<Self> {
        let (watch, settings) = watched(&file, &load)?;
        let calls = Calls { file: watch, hangup: signal(SignalKind::hangup())? };
        let settings = Arc::new(settings);
        let me = this_host();
        let connect = |role| {
            let name = connection_name(&settings.app, &me.host, role);
            let nats = &settings.nats;
            async move { patience::until_there(|| async { Ok(Broker::connect(nats, &name).await?) }).await }
        };
        let (broker, reading) = (connect("commit").await?, connect("read").await?);
        broker.read_through(&reading);
        let names = Names::new(&settings.app);
        let provide = || async {
            let began = Instant::now();
            broker.provision(&settings, &names).await.map_err(|error| {
                // What is denied is not answered, and does not pass.
                let denied = broker.denied_since(began, &error.to_string());
                denied.unwrap_or(error).into()
            })
        };
        patience::until_there(provide).await?;
        let sandbox = Arc::new(super::host::sandbox(&settings, &workshop)?);
        let mut service = Service {
            load: Arc::new(load),
            path: file,
            calls: Some(calls),
            workshop,
            threads,
            me,
            broker,
            reading,
            snapshots: watch::Sender::default(),
            commands: watch::Sender::default(),
            generation: 0,
            now: Shift { settings, sandbox, engine: None, tasks: Tasks::new() },
        };
        check_permissions(&service.broker, &service.now.settings).await?;
        let (settings, sandbox) = (Arc::clone(&service.now.settings), Arc::clone(&service.now.sandbox));
        let start = || async {
            let (settings, sandbox) = (Arc::clone(&settings), Arc::clone(&sandbox));
            let (fresh, stream, began) = (Fresh::default(), OwnStream::Provide, Instant::now());
            let begun = service.begin(&Next { settings, sandbox, fresh, stream }).await;
            begun.map_err(|error| service.with_grants(began, error))
        };
        service.now = patience::until_there(start).await?;
        let Settings { app, shards, .. } = &*service.now.settings;
        tracing::info!(app, host = service.me.host, shards, "took over the application");
        Ok(service)
    }

    /// What it runs now.
    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.now.settings
    }

    /// What the host does, once a second.
    pub(super) fn snapshots(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.subscribe()
    }

    async fn begin(&self, next: &Next<'_>) -> anyhow::Result<Shift> {
        let Next { settings, sandbox, fresh, stream } = next;
        let names = Names::new(&settings.app);
        let max_payload = self.broker.max_payload();
        let policies =
            settings.handlers.iter().map(|handler| Arc::new(policy(settings, handler, max_payload)));
        let tools = Arc::new(Tools {
            policies: policies.collect(),
            settings: Arc::clone(settings),
            names: names.clone(),
            host: self.me.host.clone(),
            broker: self.broker.clone(),
            sandbox: Arc::clone(sandbox),
            registry: super::docker_login::registry(&settings.insecure_registries),
            threads: self.threads.clone(),
            preparing: Semaphore::new(PREPARED_AT_ONCE),
        });
        // The host that has the application now decides about its versions.
        self.look_at_stream(settings, *stream).await?;
        let acquired = acquire(&self.broker, settings, &names, &self.me, *fresh).await?;
        forget(&self.broker, settings, &names, fresh.forgotten).await?;
        let (rollouts, ties) = Rollouts::open(&tools).await?;
        let own = acquired.streams.get(&*settings.stream.name);
        let created = own.expect("the application's own stream was there when it was taken over").created;
        let cursor = format!("heddle-{}-{}-commands-{}", settings.app, self.me.host, self.generation);
        let mut tasks = Tasks::new();
        for (connection, role) in [(&self.broker, "commit"), (&self.reading, "read")] {
            let subject = names.live(&format!("{}.{role}", self.me.host));
            tasks.spawn(connection.clone().listen_to_itself(subject).map(Ok));
        }
        rollouts.start(&tools, &self.reading, (created, cursor), self.commands.clone(), &mut tasks)?;
        let engine = Engine::new(Parts {
            settings: Arc::clone(settings),
            names,
            broker: self.broker.clone(),
            reading: self.reading.clone(),
            ties,
            sandbox: Arc::clone(sandbox),
            threads: self.threads.clone(),
            acquired,
            me: self.me.clone(),
            generation: self.generation,
            snapshots: self.snapshots.clone(),
        });
        let (settings, sandbox) = (Arc::clone(settings), Arc::clone(sandbox));
        Ok(Shift { settings, sandbox, engine: Some(engine), tasks })
    }

    /// Carries events until `stop` becomes true.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let Calls { mut file, mut hangup } = self.calls.take().context("a host runs once")?;
        let mut commands = self.commands.subscribe();
        // The last command that was begun: it stays in the stream until it is done, so that no crash loses it.
        let (mut begun, mut look_again) = (0, false);
        loop {
            let engine = self.now.engine.take().context("no engine was made")?;
            let (course, set) = watch::channel(Course::Run);
            let running = engine.run(set);
            tokio::pin!(running);
            let mut tasks = std::mem::take(&mut self.now.tasks);
            let mut preparing: Option<BoxFuture<'_, (Cause, anyhow::Result<Option<Ready>>)>> =
                std::mem::take(&mut look_again).then(|| self.prepare(Cause::new("it has changed")).boxed());
            let (cause, ready) = loop {
                let idle = preparing.is_none();
                // Every arm is cancel-safe: signals stay pending, and the engine and what is prepared are only borrowed.
                tokio::select! {
                    ended = &mut running => return Ok(ended.map(drop)?),
                    () = asked(&mut stop) => {
                        course.send_replace(Course::Stop);
                        return Ok(running.await.map(drop)?);
                    }
                    Some(ended) = tasks.join_next(), if !tasks.is_empty() => if let Some(error) = failed(ended) {
                        course.send_replace(Course::Stop);
                        running.await?;
                        return Err(error);
                    },
                    (cause, prepared) = async { preparing.as_mut().expect("it is asked for below").await }, if !idle => {
                        preparing = None;
                        match prepared {
                            Ok(Some(ready)) => break (cause, ready),
                            Ok(None) => self.unchanged(&cause).await,
                            Err(error) => self.refused(&cause, &error).await,
                        }
                    }
                    _ = file.changed(), if idle => preparing = Some(self.prepare(Cause::new("it has changed")).boxed()),
                    _ = hangup.recv(), if idle => preparing = Some(self.prepare(Cause::new("SIGHUP")).boxed()),
                    Some(command) = next_command(&mut commands, begun), if idle => {
                        begun = self.take_up(&command);
                        preparing = Some(self.prepare(Cause { what: "command", command: Some(command) }).boxed());
                    },
                }
            };
            drop(preparing);
            self.now.tasks = tasks;
            let began = Instant::now();
            tracing::info!(because = cause.what, "reload accepted; finishing running events");
            course.send_replace(Course::Pause);
            self.generation = running.await? + 1;
            let before = Arc::clone(&self.now.settings);
            if Box::pin(self.go_on(cause, ready, began, &mut stop)).await? {
                return Ok(());
            }
            if let Some(watch) = self.watch_again(&before) {
                // The secrets were read before their files were watched.
                (file, look_again) = (watch, true);
            }
        }
    }

    /// A command is carried out from now on.
    fn take_up(&self, command: &HostCommand) -> u64 {
        self.commands.send_modify(|waiting| waiting.retain(|sequence, _| *sequence > command.sequence));
        command.sequence
    }

    /// Reads the file, and prepares what is new in it. None: nothing is.
    async fn prepare(&self, cause: Cause) -> (Cause, anyhow::Result<Option<Ready>>) {
        let (forget, restart) =
            cause.command.clone().map(|command| (command.forget, command.restart)).unwrap_or_default();
        (cause, self.prepare_with(forget, restart).await)
    }

    async fn prepare_with(&self, forget: Vec<String>, restart: Vec<String>) -> anyhow::Result<Option<Ready>> {
        let load = Arc::clone(&self.load);
        let settings = tokio::task::spawn_blocking(move || load()).await??;
        if settings == *self.now.settings && forget.is_empty() && restart.is_empty() {
            return Ok(None);
        }
        check_fixed(&self.now.settings, &settings)?;
        if let Some(name) = forget.iter().find(|name| settings.handler(name).is_some()) {
            bail!("handler `{name}` is in the file: only what is no longer there can be forgotten");
        }
        self.check_restart(&settings, &restart).await?;
        // Before the engine pauses: what cannot work must change nothing.
        self.look_at_stream(&settings, OwnStream::Check).await?;
        for handler in &settings.handlers {
            // The stream of one that is there already may be gone: then it stands still, and the others do not.
            if self.now.settings.handler(&handler.name).is_none_or(|old| old.stream != handler.stream) {
                self.broker.stream_state(&handler.stream).await?;
            }
        }
        let wanted = sandbox_settings(&settings, &self.workshop);
        let sandbox = match *self.now.sandbox.settings() == wanted {
            true => Arc::clone(&self.now.sandbox),
            false => Arc::new(tokio::task::spawn_blocking(|| Sandbox::new(wanted)).await??),
        };
        // Only what is new can keep the file from being taken; the others have versions that run.
        let is_new = |name: &str| match (settings.handler(name), self.now.settings.handler(name)) {
            (Some(new), Some(old)) => new.plugin != old.plugin || new.grants != old.grants,
            _ => true,
        };
        let mut new = settings.clone();
        new.handlers.retain(|handler| is_new(&handler.name));
        let plugins = admit_all(&sandbox, &new, Some(&self.broker), self.broker.max_payload()).await?;
        Ok(Some(Ready { settings: Arc::new(settings), sandbox, _plugins: plugins, forget, restart }))
    }

    /// Only a handler that is stopped because of its stream may begin again: any other would handle its events twice.
    async fn check_restart(&self, settings: &Settings, restart: &[String]) -> anyhow::Result<()> {
        for name in restart {
            let handler =
                settings.handler(name).with_context(|| format!("the file has no handler `{name}`"))?;
            let is_stopped =
                self.snapshots.borrow().handlers.get(name).is_some_and(|activity| activity.stopped.is_some());
            if !is_stopped {
                bail!("handler `{name}` is not stopped: it would handle its events a second time");
            }
            self.broker.stream_state(&handler.stream).await?;
        }
        Ok(())
    }

    async fn unchanged(&self, cause: &Cause) {
        tracing::debug!(because = cause.what, "reload: nothing has changed");
        self.notify(cause, true, "nothing has changed".to_owned()).await;
    }

    async fn refused(&self, cause: &Cause, error: &anyhow::Error) {
        let text = chain(error.as_ref());
        tracing::error!(because = cause.what, "reload rejected; keeping the current configuration: {text}");
        self.notify(cause, false, text).await;
    }

    async fn notify(&self, cause: &Cause, done: bool, text: String) {
        if let Some(command) = &cause.command {
            let settings = &self.now.settings;
            let names = Names::new(&settings.app);
            answer(&self.broker, &names, &settings.stream.name, command.sequence, &Answer { done, text })
                .await;
        }
    }
}

/// The first command after those that were begun, as soon as there is one: what was begun is found again by the next engine's
/// cursor before it is answered. Cancel-safe: nothing is taken.
async fn next_command(commands: &mut watch::Receiver<HostCommands>, begun: u64) -> Option<HostCommand> {
    let after = (Bound::Excluded(begun), Bound::Unbounded);
    let waiting = commands.wait_for(|waiting| waiting.range(after).next().is_some()).await.ok()?;
    waiting.range(after).next().map(|(_, command)| command.clone())
}

/// Why the host cannot go on, if a task that decides about versions has ended because of it.
fn failed(ended: Result<Result<(), versions::Error>, JoinError>) -> Option<anyhow::Error> {
    match ended {
        // One whose stream is lost ends so: the engine finds out by itself, and says which.
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.into()),
        Err(error) => {
            Some(anyhow::Error::from(error).context("what decides about versions has failed, which is a bug"))
        }
    }
}
