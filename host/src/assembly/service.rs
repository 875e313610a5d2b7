//! A running host: one engine after the other, as often as the application's file changes.
//!
//! Promises that a file with a fault changes nothing, and that events flow on with the old settings if they cannot with
//! the new ones. What changes is prepared while events flow; then the engine ends what runs, and another one goes on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::host::{Workshop, admit_all, policy, sandbox_settings, this_host};
use super::patience;
use crate::broker::{Broker, connection_name};
use crate::flow::acquire::{acquire, forget};
use crate::flow::activity::Snapshot;
use crate::flow::engine::{Course, Engine, Parts};
use crate::flow::registry::{HostOrder, LOOKS, Registry, Tools, answer};
use crate::sandbox::{Plugin, Sandbox};
use crate::source::watch::Watch;
use crate::values::member::Member;
use crate::values::names::Names;
use crate::values::order::Answer;
use crate::values::settings::Settings;

/// Reads the application's file.
pub type Load = Box<dyn Fn() -> anyhow::Result<Settings> + Send + Sync>;

/// What a host is made of.
pub struct Service {
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
    orders: watch::Sender<Option<HostOrder>>,
    /// Counts the engines, and their resets.
    generation: u64,
    now: Shift,
}

/// What calls for another look at the file.
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
    tasks: JoinSet<()>,
}

/// What is ready to go on with.
struct Ready {
    settings: Arc<Settings>,
    sandbox: Arc<Sandbox>,
    /// Keeps their code in memory.
    _plugins: Vec<Arc<Plugin>>,
    /// Handlers that are to be forgotten.
    forget: Vec<String>,
}

/// Why the file is read again.
#[derive(Debug, Clone)]
struct Cause {
    what: &'static str,
    order: Option<HostOrder>,
}

impl Service {
    /// Connects, prepares the plugins and takes the application over. Events flow once it [runs](Self::run).
    ///
    /// The plugins run on `threads`: a runtime of their own.
    pub async fn start(
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
            orders: watch::Sender::default(),
            generation: 0,
            now: Shift { settings, sandbox, engine: None, tasks: JoinSet::new() },
        };
        let (settings, sandbox) = (Arc::clone(&service.now.settings), Arc::clone(&service.now.sandbox));
        let begin = || service.begin(Arc::clone(&settings), Arc::clone(&sandbox), &[]);
        service.now = patience::until_there(begin).await?;
        let Settings { app, shards, .. } = &*service.now.settings;
        tracing::info!(app, host = service.me.host, shards, "application is taken over");
        Ok(service)
    }

    /// What the host does, once a second.
    pub fn snapshots(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.subscribe()
    }

    async fn begin(
        &self,
        settings: Arc<Settings>,
        sandbox: Arc<Sandbox>,
        forgotten: &[String],
    ) -> anyhow::Result<Shift> {
        let names = Names::new(&settings.app);
        let max_payload = self.broker.max_payload();
        let policies =
            settings.handlers.iter().map(|handler| Arc::new(policy(&settings, handler, max_payload)));
        let tools = Arc::new(Tools {
            policies: policies.collect(),
            settings: Arc::clone(&settings),
            names: names.clone(),
            broker: self.broker.clone(),
            sandbox: Arc::clone(&sandbox),
            registry: super::registry::registry(),
            threads: self.threads.clone(),
            looks: Semaphore::new(LOOKS),
        });
        // Whoever has the application now decides about its versions.
        self.broker.provision(&settings.stream, &names).await?;
        let acquired = acquire(&self.broker, &settings, &names, &self.me, forgotten).await?;
        forget(&self.broker, &settings, &names, forgotten).await?;
        let (registry, ties) = Registry::open(&tools).await?;
        let created = acquired.streams.get(&*settings.stream.name).map_or(0, |stream| stream.created);
        let cursor = format!("heddle-{}-{}-orders-{}", settings.app, self.me.host, self.generation);
        let mut tasks = JoinSet::new();
        for (connection, role) in [(&self.broker, "commit"), (&self.reading, "read")] {
            let subject = names.live(&format!("{}.{role}", self.me.host));
            tasks.spawn(connection.clone().listen_to_itself(subject));
        }
        registry.start(&tools, &self.reading, (created, cursor), self.orders.clone(), &mut tasks)?;
        let engine = Engine::new(Parts {
            settings: Arc::clone(&settings),
            names,
            broker: self.broker.clone(),
            reading: self.reading.clone(),
            ties,
            sandbox: Arc::clone(&sandbox),
            threads: self.threads.clone(),
            acquired,
            me: self.me.clone(),
            generation: self.generation,
            snapshots: self.snapshots.clone(),
        });
        Ok(Shift { settings, sandbox, engine: Some(engine), tasks })
    }

    /// Carries events until `stop` becomes true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let Calls { mut file, mut hangup } = self.calls.take().context("a host runs once")?;
        let mut orders = self.orders.subscribe();
        let mut look_again = false;
        loop {
            let engine = self.now.engine.take().context("no engine was made")?;
            let (course, set) = watch::channel(Course::Run);
            let running = engine.run(set);
            tokio::pin!(running);
            let mut preparing: Option<BoxFuture<'_, (Cause, anyhow::Result<Option<Ready>>)>> = None;
            if std::mem::take(&mut look_again) {
                preparing = Some(self.prepare(Cause { what: "it has changed", order: None }).boxed());
            }
            let (cause, ready) = loop {
                let idle = preparing.is_none();
                // Every arm is cancel-safe: signals stay pending, and the engine and what is prepared are only borrowed.
                tokio::select! {
                    ended = &mut running => return Ok(ended.map(drop)?),
                    stopped = stop.wait_for(|stop| *stop) => {
                        // A closed channel is a stop too: nobody is left who could ask for one.
                        drop(stopped);
                        course.send_replace(Course::Stop);
                        return Ok(running.await.map(drop)?);
                    }
                    (cause, prepared) = async { preparing.as_mut().expect("it is asked for below").await }, if !idle => {
                        preparing = None;
                        match prepared {
                            Ok(Some(ready)) => break (cause, ready),
                            Ok(None) => self.unchanged(&cause).await,
                            Err(error) => self.refused(&cause, &error).await,
                        }
                    }
                    _ = file.changed(), if idle => preparing = Some(self.prepare(Cause { what: "it has changed", order: None }).boxed()),
                    _ = hangup.recv(), if idle => preparing = Some(self.prepare(Cause { what: "SIGHUP", order: None }).boxed()),
                    Ok(()) = orders.changed(), if idle => {
                        let order = orders.borrow_and_update().clone();
                        preparing = Some(self.prepare(Cause { what: "order", order }).boxed());
                    }
                }
            };
            drop(preparing);
            let began = Instant::now();
            course.send_replace(Course::Pause);
            self.generation = running.await? + 1;
            let before = Arc::clone(&self.now.settings);
            self.go_on(cause, ready, began).await?;
            if self.now.settings.secret_files != before.secret_files {
                file = watch(&self.path, &self.now.settings)?;
                // They were read before they were watched.
                look_again = true;
            }
        }
    }

    /// Another engine goes on, with the old settings if it cannot with the new ones.
    async fn go_on(&mut self, cause: Cause, ready: Ready, began: Instant) -> anyhow::Result<()> {
        // Whoever decides about versions must have ended before another one begins.
        self.now.tasks.shutdown().await;
        let (settings, sandbox) = (Arc::clone(&self.now.settings), Arc::clone(&self.now.sandbox));
        let changes = changes(&settings, &ready.settings);
        match self.begin(ready.settings, ready.sandbox, &ready.forget).await {
            Ok(shift) => {
                self.now = shift;
                let milliseconds = began.elapsed().as_millis() as u64;
                tracing::info!(
                    because = cause.what,
                    changes,
                    milliseconds,
                    "file is read again, and events flow on"
                );
                self.tell(&cause, true, changes).await;
            }
            Err(error) => {
                self.refused(&cause, &error).await;
                self.generation += 1;
                self.now = self.begin(settings, sandbox, &[]).await?;
            }
        }
        Ok(())
    }

    /// Reads the file, and prepares what is new in it. None: nothing is.
    async fn prepare(&self, cause: Cause) -> (Cause, anyhow::Result<Option<Ready>>) {
        let order = cause.order.clone();
        if let Some(order) = &order {
            // It would come again to the next engine.
            self.broker.delete(&self.now.settings.stream.name, order.sequence).await.ok();
        }
        let forget = order.map(|order| order.forget).unwrap_or_default();
        (cause, self.prepare_with(forget).await)
    }

    async fn prepare_with(&self, forget: Vec<String>) -> anyhow::Result<Option<Ready>> {
        let load = Arc::clone(&self.load);
        let settings = tokio::task::spawn_blocking(move || load()).await??;
        if settings == *self.now.settings && forget.is_empty() {
            return Ok(None);
        }
        check_fixed(&self.now.settings, &settings)?;
        if let Some(name) = forget.iter().find(|name| settings.handler(name).is_some()) {
            bail!("handler `{name}` is in the file: only what is no longer there can be forgotten");
        }
        let streams: BTreeSet<_> = settings.handlers.iter().map(|handler| &handler.stream).collect();
        for stream in streams {
            self.broker.stream_state(stream).await?;
        }
        let wanted = sandbox_settings(&settings, &self.workshop);
        let sandbox = match *self.now.sandbox.settings() == wanted {
            true => Arc::clone(&self.now.sandbox),
            false => Arc::new(Sandbox::new(wanted)?),
        };
        // Only what is new can keep the file from being taken; the others have versions that run.
        let is_new = |name: &str| match (settings.handler(name), self.now.settings.handler(name)) {
            (Some(new), Some(old)) => new.plugin != old.plugin || new.grants != old.grants,
            _ => true,
        };
        let mut new = settings.clone();
        new.handlers.retain(|handler| is_new(&handler.name));
        let plugins = admit_all(&sandbox, &new, Some(&self.broker), self.broker.max_payload()).await?;
        Ok(Some(Ready { settings: Arc::new(settings), sandbox, _plugins: plugins, forget }))
    }

    async fn unchanged(&self, cause: &Cause) {
        tracing::debug!(because = cause.what, "file is read again: nothing has changed");
        self.tell(cause, true, "nothing has changed".to_owned()).await;
    }

    async fn refused(&self, cause: &Cause, error: &anyhow::Error) {
        let text = super::cli::explain(error);
        tracing::error!(because = cause.what, "file is not taken, everything stays as it is: {text}");
        self.tell(cause, false, text).await;
    }

    async fn tell(&self, cause: &Cause, done: bool, text: String) {
        if let Some(order) = &cause.order {
            let settings = &self.now.settings;
            let names = Names::new(&settings.app);
            answer(&self.broker, &names, &settings.stream.name, order.sequence, &Answer { done, text }).await;
        }
    }
}

/// The file, read while it and the files of its secrets are watched already: nothing that happens to them is missed.
fn watched(file: &Path, load: &Load) -> anyhow::Result<(Watch, Settings)> {
    let mut settings = load()?;
    loop {
        let watch = watch(file, &settings)?;
        let again = load()?;
        if again.secret_files == settings.secret_files {
            return Ok((watch, again));
        }
        settings = again;
    }
}

fn watch(file: &Path, settings: &Settings) -> anyhow::Result<Watch> {
    let secrets = settings.secret_files.iter().cloned();
    Ok(Watch::files(std::iter::once(file.to_owned()).chain(secrets))?)
}

/// What cannot change while the host runs.
fn check_fixed(old: &Settings, new: &Settings) -> anyhow::Result<()> {
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
fn changes(old: &Settings, new: &Settings) -> String {
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
    for (word, names) in [("added", added), ("removed", removed), ("changed", changed)] {
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
    if parts.is_empty() { "nothing has changed".to_owned() } else { parts.join("; ") }
}
