//! The command line. One module for each command; this one holds what they share.

mod audit;
mod build;
mod check;
mod dead_letters;
mod dev;
mod fixture;
mod graph;
mod invoke;
mod new;
mod orders;
mod plugins;
mod publish;
mod push;
mod run;
mod state;
mod status;
mod table;
mod tail;
mod test;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};

use super::config::{self, Needs};
use super::host::Workshop;
use super::service::Service;
use super::telemetry::{self, LogFormat};
use crate::broker::Broker;
use crate::flow::acquire::members;
use crate::flow::{acquire, engine, registry};
use crate::sandbox::{self, Sandbox};
use crate::values::names::Names;
use crate::values::object;
use crate::values::settings::Settings;

/// Where `heddle dev` keeps what it needs, beside `heddle.toml`.
const DEV_FOLDER: &str = ".heddle";

/// The file in it with the URL of the server that runs.
const DEV_URL: &str = "url";

#[derive(Debug, Parser)]
#[command(
    name = "heddle",
    version,
    about = "An event processor for NATS JetStream",
    long_about = "Reads events from NATS JetStream, hands each to a sandboxed WebAssembly handler, keeps the events of a key in order, and commits everything a handler did (messages, state, progress) in one atomic batch: every event takes effect exactly once.\n\nStart with `heddle dev` in a folder with a heddle.toml: it brings its own nats-server.",
    after_help = "Exit codes: 0 done, 1 failed, 2 faulty command line, file or plugin, 3 another host has the application."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Form of the log lines on standard error.
    #[arg(long, global = true, value_enum, default_value = "text", env = "HEDDLE_LOG_FORMAT")]
    log_format: LogFormat,
    /// What is logged, as `level` or `target=level,…`.
    #[arg(long, global = true, env = "HEDDLE_LOG", value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(new::Command),
    Build(build::Command),
    Run(run::Command),
    Dev(dev::Command),
    Check(check::Command),
    Graph(graph::Command),
    Invoke(invoke::Command),
    Test(test::Command),
    Push(push::Command),
    Publish(publish::Command),
    Tail(tail::Command),
    Status(status::Command),
    Plugins(plugins::Command),
    #[command(name = "rollback")]
    RollBack(orders::RollBack),
    Pin(orders::Pin),
    Unpin(orders::Unpin),
    Reload(orders::Reload),
    State(state::Command),
    #[command(alias = "dl")]
    DeadLetters(dead_letters::Command),
    /// Compile a plugin from standard input to standard output. Used by the host itself.
    #[command(name = crate::sandbox::COMPILE_COMMAND, hide = true)]
    CompilePlugin,
}

/// Which file describes the application.
#[derive(Debug, Args)]
struct FileArgs {
    /// The application's file.
    #[arg(short, long, value_name = "FILE", default_value = "heddle.toml", env = "HEDDLE_CONFIG")]
    config: PathBuf,
}

/// Which application, and which server.
#[derive(Debug, Args)]
struct TargetArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The server. Default: that of a running `heddle dev` beside the file, else `nats.url` of the file.
    #[arg(long, value_name = "URL", env = "HEDDLE_NATS_URL", hide_env_values = true)]
    url: Option<String>,
}

/// Where compiled plugins are kept.
#[derive(Debug, Args)]
struct CacheArgs {
    /// Folder for compiled plugins. Default: `heddle/artifacts` in the user's cache folder.
    #[arg(long, value_name = "FOLDER", env = "HEDDLE_CACHE")]
    cache: Option<PathBuf>,
}

impl CacheArgs {
    fn workshop(&self) -> anyhow::Result<Workshop> {
        Workshop::new(self.cache.clone())
    }

    /// A sandbox for one plugin that may use so many bytes of memory.
    fn sandbox(&self, max_memory: u64) -> anyhow::Result<Sandbox> {
        Ok(self.workshop()?.sandbox(max_memory)?)
    }
}

impl FileArgs {
    fn load(&self, needs: Needs) -> anyhow::Result<Settings> {
        Ok(config::load(&self.config, needs)?)
    }
}

impl TargetArgs {
    /// The settings, with the server that is meant.
    fn load(&self, needs: Needs) -> anyhow::Result<Settings> {
        let mut settings = self.file.load(needs)?;
        if let Some(url) = self.url.clone().or_else(|| dev_url(&settings.folder)) {
            settings.nats.url = url.into();
        }
        Ok(settings)
    }

    async fn connect(&self) -> anyhow::Result<(Settings, Broker)> {
        let settings = self.load(Needs::File)?;
        let broker = Broker::connect(&settings.nats, "heddle cli").await?;
        Ok((settings, broker))
    }
}

/// Whether a host runs the application that can do what is asked for.
async fn check_host(broker: &Broker, settings: &Settings, names: &Names) -> anyhow::Result<()> {
    if members(broker, &settings.stream.name, names).await?.is_empty() {
        bail!(
            "no host runs application `{}`: start it first, or give --no-wait and it is done once one runs",
            settings.app
        );
    }
    Ok(())
}

/// The server of a `heddle dev` that runs in this folder.
fn dev_url(folder: &Path) -> Option<String> {
    let url = std::fs::read_to_string(folder.join(DEV_FOLDER).join(DEV_URL)).ok()?;
    Some(url.trim().to_owned()).filter(|url| !url.is_empty())
}

/// Where a test wants the process to die.
#[cfg(feature = "failpoints")]
#[expect(clippy::disallowed_methods, reason = "a test says it in the environment")]
fn arm_failpoint() {
    if let Ok(spec) = std::env::var("HEDDLE_FAILPOINT") {
        crate::flow::failpoint::arm(&spec);
    }
}

/// Runs the command line that this process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(feature = "failpoints")]
    arm_failpoint();
    if matches!(cli.command, Command::CompilePlugin) {
        return compile_plugin();
    }
    // Commands that answer a question are silent unless something is wrong.
    let quiet = !matches!(cli.command, Command::Run(_) | Command::Dev(_));
    match telemetry::start(cli.log_format, cli.log.as_deref(), quiet).and_then(|()| run_command(cli.command))
    {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", explain(&error));
            ExitCode::from(exit_code(&error))
        }
    }
}

fn run_command(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let plugins = tokio::runtime::Builder::new_multi_thread()
        .thread_name("heddle-plugins")
        .enable_all()
        .build()
        .context("failed to start the plugins' runtime")?;
    let done = |result: anyhow::Result<()>| result.map(|()| ExitCode::SUCCESS);
    let result = runtime.block_on(async {
        match command {
            Command::New(command) => done(command.run()),
            Command::Build(command) => done(Box::pin(command.run()).await),
            Command::Run(command) => done(Box::pin(command.run(plugins.handle().clone())).await),
            Command::Dev(command) => done(Box::pin(command.run(plugins.handle().clone())).await),
            Command::Check(command) => command.run().await,
            Command::Graph(command) => done(command.run()),
            Command::Invoke(command) => command.run().await,
            Command::Test(command) => Box::pin(command.run(plugins.handle().clone())).await,
            Command::Push(command) => done(command.run().await),
            Command::Publish(command) => done(command.run().await),
            Command::Tail(command) => done(command.run().await),
            Command::Status(command) => done(command.run().await),
            Command::Plugins(command) => done(command.run().await),
            Command::RollBack(command) => done(command.run().await),
            Command::Pin(command) => done(command.run().await),
            Command::Unpin(command) => done(command.run().await),
            Command::Reload(command) => done(command.run().await),
            Command::State(command) => command.run().await,
            Command::DeadLetters(command) => Box::pin(command.run()).await,
            Command::CompilePlugin => Ok(compile_plugin()),
        }
    });
    // A plugin may hold a thread until its next tick; nobody waits for it any more.
    plugins.shutdown_background();
    runtime.shutdown_background();
    result
}

fn compile_plugin() -> ExitCode {
    let compile = || -> Result<(), String> {
        let mut wasm = Vec::new();
        std::io::stdin().read_to_end(&mut wasm).map_err(|error| error.to_string())?;
        let code = sandbox::compile_here(&wasm)?;
        std::io::stdout().write_all(&code).map_err(|error| error.to_string())
    };
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The whole chain of an error; a cause that its effect already quotes is not repeated.
pub(super) fn explain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn exit_code(error: &anyhow::Error) -> u8 {
    let faulty_file =
        error.is::<config::Error>() || error.is::<object::Error>() || error.is::<test::Faulty>();
    let faulty_plugin = matches!(error.downcast_ref(), Some(registry::Error::Plugins(_)))
        || error.is::<registry::Refusal>()
        || error.is::<sandbox::Error>();
    if faulty_file || faulty_plugin {
        return 2;
    }
    if error.is::<Abandoned>() {
        return 130;
    }
    let taken = matches!(error.downcast_ref(), Some(acquire::Error::Taken { .. }));
    let fenced = matches!(error.downcast_ref(), Some(engine::Error::Fenced(_)));
    if taken || fenced { 3 } else { 1 }
}

/// A second signal came.
#[derive(Debug, thiserror::Error)]
#[error("stopped at once by a second signal")]
struct Abandoned;

/// Ends with the first signal that asks the process to stop.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        // Without handlers, signals end the process by themselves.
        _ => std::future::pending().await,
    }
}

/// Runs a host until a signal; a second signal ends the process at once.
async fn run_until_signal(service: Service) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Not earlier: whoever reads it may send a signal.
    tracing::info!("running");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = service.run(stopped);
    tokio::pin!(running);
    let mut asked = false;
    loop {
        // Cancel-safe: signals stay pending, and the engine is only borrowed.
        let name = tokio::select! {
            result = &mut running => return result,
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        if std::mem::replace(&mut asked, true) {
            tracing::warn!(signal = name, "stopping at once; what was not committed will run again");
            return Err(Abandoned.into());
        }
        tracing::info!(signal = name, "stopping; a second signal stops at once");
        stop.send_replace(true);
    }
}
