//! The command line. One module for each command; this one holds what they share.

mod audit;
mod build;
mod check;
mod commands;
mod consent;
mod dead_letters;
mod dev;
mod dev_server;
mod doctor;
#[cfg(test)]
mod documents;
mod fault;
mod fixture;
mod graph;
mod invoke;
mod new;
mod permissions;
mod plugins;
mod publish;
mod push;
mod run;
mod sdk;
mod shell;
mod stale;
mod state;
mod status;
mod table;
mod tail;
mod target;
mod test;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use super::host::Workshop;
use super::print;
use super::service::Service;
use super::systemd::Systemd;
use super::telemetry::{self, LogFormat};
use fault::Code;
use heddle_broker::Broker;
use heddle_flow::acquire::members;
use heddle_sandbox::{self as sandbox, Fault, Sandbox};
use heddle_values::errors::chain;
use heddle_values::names::Names;
use heddle_values::settings::Settings;
use target::{FileArgs, TargetArgs};

#[derive(Debug, Parser)]
#[command(
    name = "heddle",
    version,
    about = "An event processor for NATS JetStream",
    long_about = "Reads events from NATS JetStream, hands each to a sandboxed WebAssembly handler, keeps the events of a key in order, and commits everything a handler did (messages, state, progress) in one atomic batch: every event takes effect exactly once.\n\nStart with `heddle new NAME --lang LANGUAGE`: it makes a project, and says what to run next. `heddle dev` runs it with a nats-server of its own.",
    after_help = "To begin:\n  heddle new loyalty --lang rust   # or ts, js, python, go, c\n  cd loyalty\n  heddle build\n  heddle test\n  heddle dev                       # with a nats-server of its own\n\nExit codes: 0 done, 1 failed, 2 faulty command line, file or plugin, 3 another host has the application, 130 interrupted by a second signal, 141 nobody reads the output any more."
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
    /// Print facts as JSON on standard output, and an error as one JSON object on standard error.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(new::Command),
    Build(build::Command),
    Test(test::Command),
    Dev(dev::Command),
    Run(run::Command),
    Check(check::Command),
    Doctor(doctor::Command),
    Sdk(sdk::Command),
    Permissions(permissions::Command),
    Graph(graph::Command),
    Invoke(invoke::Command),
    Push(push::Command),
    Publish(publish::Command),
    Tail(tail::Command),
    Status(status::Command),
    Plugins(plugins::Command),
    #[command(name = "rollback")]
    RollBack(commands::RollBack),
    Pin(commands::Pin),
    Unpin(commands::Unpin),
    Reload(commands::Reload),
    State(state::Command),
    #[command(alias = "dl")]
    DeadLetters(dead_letters::Command),
    Completions(shell::Completions),
    Man(shell::Man),
    /// Compile a plugin from standard input to standard output. Used by the host itself.
    #[command(name = heddle_sandbox::COMPILE_COMMAND, hide = true)]
    CompilePlugin,
}

/// Reads a path that may be empty, as that of a variable that is set to nothing.
fn maybe_empty() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
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

    /// A sandbox for one plugin that may use `max_memory` bytes.
    fn sandbox(&self, max_memory: u64) -> anyhow::Result<Sandbox> {
        Ok(self.workshop()?.sandbox(max_memory)?)
    }
}

/// Whether a host runs the application that can do what is asked for.
async fn check_host(broker: &Broker, settings: &Settings, names: &Names) -> anyhow::Result<()> {
    if members(broker, &settings.stream.name, names).await?.is_empty() {
        let message = format!(
            "no host runs application `{}`: start it first, or give --no-wait and it is done once one runs",
            settings.app
        );
        return Err(Code::NoHost.fault(message).into());
    }
    Ok(())
}

/// Where a test wants the process to die.
#[cfg(feature = "failpoints")]
#[expect(clippy::disallowed_methods, reason = "a test says it in the environment")]
fn arm_failpoint() {
    if let Ok(spec) = std::env::var("HEDDLE_FAILPOINT") {
        heddle_flow::failpoint::arm(&spec);
    }
}

/// The exit code on Unix of a program whose reader has gone: 128 and the number of SIGPIPE.
const READER_GONE: u8 = 141;

/// Runs the command line that this process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return faulty_command_line(&error),
    };
    #[cfg(feature = "failpoints")]
    arm_failpoint();
    if matches!(cli.command, Command::CompilePlugin) {
        return compile_plugin();
    }
    // Commands that answer a question are silent unless something is wrong.
    let quiet = !matches!(cli.command, Command::Run(_) | Command::Dev(_));
    let started = telemetry::start(cli.log_format, cli.log.as_deref(), quiet);
    match started.and_then(|()| run_command(cli.command, cli.json)) {
        Ok(code) => code,
        Err(error) if error.downcast_ref().is_some_and(print::Error::is_closed) => {
            ExitCode::from(READER_GONE)
        }
        Err(error) => {
            let code = fault::code(&error);
            fault::report(code, &chain(error.as_ref()), cli.json);
            ExitCode::from(code.exit())
        }
    }
}

/// Says what is wrong with the command line, or what it asks for: help, or the version.
fn faulty_command_line(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && error.use_stderr() {
        let text = error.render().to_string();
        fault::report(Code::Usage, text.trim().trim_start_matches("error: "), true);
    } else {
        // If nobody reads it, no answer is needed.
        error.print().ok();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Code::Usage.exit()))
}

fn run_command(command: Command, json: bool) -> anyhow::Result<ExitCode> {
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
            Command::New(command) => done(command.run(json)),
            Command::Build(command) => done(Box::pin(command.run(json)).await),
            Command::Sdk(command) => done(command.run(json)),
            Command::Run(command) => done(Box::pin(command.run(plugins.handle().clone())).await),
            Command::Dev(command) => done(Box::pin(command.run(plugins.handle().clone())).await),
            Command::Check(command) => command.run(json).await,
            Command::Doctor(command) => command.run(json).await,
            Command::Permissions(command) => done(command.run(json)),
            Command::Graph(command) => done(command.run(json)),
            Command::Invoke(command) => command.run(json).await,
            Command::Test(command) => Box::pin(command.run(plugins.handle().clone(), json)).await,
            Command::Push(command) => done(Box::pin(command.run(json)).await),
            Command::Publish(command) => done(command.run(json).await),
            Command::Tail(command) => done(command.run(json).await),
            Command::Status(command) => done(command.run(json).await),
            Command::Plugins(command) => done(command.run(json).await),
            Command::RollBack(command) => done(command.run(json).await),
            Command::Pin(command) => done(command.run(json).await),
            Command::Unpin(command) => done(command.run(json).await),
            Command::Reload(command) => done(command.run(json).await),
            Command::State(command) => done(command.run(json).await),
            Command::DeadLetters(command) => Box::pin(command.run(json)).await,
            Command::Completions(command) => done(command.run(json)),
            Command::Man(command) => done(command.run(json)),
            Command::CompilePlugin => Ok(compile_plugin()),
        }
    });
    // A plugin may hold a thread until its next tick; nobody waits for it any more.
    plugins.shutdown_background();
    runtime.shutdown_background();
    result
}

fn compile_plugin() -> ExitCode {
    let compile = || -> Result<(), Fault> {
        let process = |error: std::io::Error| Fault::Process(error.to_string());
        let mut wasm = Vec::new();
        std::io::stdin().read_to_end(&mut wasm).map_err(process)?;
        let code = sandbox::compile_here(&wasm)?;
        std::io::stdout().write_all(&code).map_err(process)
    };
    let code = match compile() {
        Ok(()) => return ExitCode::SUCCESS,
        Err(fault @ Fault::Component(_)) => (fault, ExitCode::from(sandbox::INVALID)),
        Err(fault @ Fault::Process(_)) => (fault, ExitCode::FAILURE),
    };
    // Whoever started it may have ended.
    print::complain!("{}", code.0);
    code.1
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
    let Settings { app, handlers, nats, .. } = &**service.settings();
    let next = "`heddle status` shows how it does, `heddle tail` what flows";
    tracing::info!(app, handlers = handlers.len(), server = %nats.url, next, "running");
    let mut systemd = Systemd::running(&format!("runs application {app}"));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = service.run(stopped);
    tokio::pin!(running);
    let mut asked = false;
    loop {
        // Cancel-safe: signals stay pending, and the engine is only borrowed.
        let name = tokio::select! {
            result = &mut running => return result,
            () = systemd.pulse() => continue,
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        if std::mem::replace(&mut asked, true) {
            tracing::warn!(signal = name, "stopping at once; what was not committed will run again");
            return Err(Abandoned.into());
        }
        tracing::info!(signal = name, "stopping; a second signal stops at once");
        systemd.stopping();
        stop.send_replace(true);
    }
}
