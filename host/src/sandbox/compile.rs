//! Compilation, in a process of its own with limits: a hostile component can cost the compiler minutes and
//! gigabytes.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, nice, setrlimit};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use wasmtime::Engine;

use super::engine::code_config;

/// Address space of the compiling process, in bytes. CPython, the largest known guest, needs under 1 GiB.
const MEMORY: u64 = 3 << 30;

/// CPU time of the compiling process, in seconds.
const CPU_SECONDS: u64 = 120;

/// The longest a compilation may take.
const TIMEOUT: Duration = Duration::from_secs(180);

/// How far the compiling process steps back behind others.
const NICE: i32 = 10;

/// The longest message taken from the compiling process, in bytes.
const MAX_MESSAGE: usize = 4096;

/// Why a component was not compiled.
#[derive(Debug, Error)]
pub enum CompileError {
    #[error("{0}")]
    Invalid(String),
    #[error(
        "compiler was stopped ({status}): the component needs more than {CPU_SECONDS} s of CPU time or {gib} GiB of memory",
        gib = MEMORY >> 30
    )]
    TooDear { status: String },
    #[error("took longer than {TIMEOUT:?}")]
    TooSlow,
    #[error("failed to run the compiler: {0}")]
    Process(#[from] std::io::Error),
}

/// Compiles `wasm` with `program compile`, which is [`compile_here`].
pub(super) async fn compile_in_child(program: &Path, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
    let child = Command::new(program)
        .arg(COMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env_clear()
        .kill_on_drop(true)
        .spawn()?;
    tokio::time::timeout(TIMEOUT, exchange(child, wasm)).await.map_err(|_| CompileError::TooSlow)?
}

/// The hidden command of `heddle` that compiles from standard input to standard output.
pub const COMMAND: &str = "compile-plugin";

async fn exchange(mut child: Child, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
    let mut input = child.stdin.take();
    let mut output = child.stdout.take();
    let mut errors = child.stderr.take();
    let (mut code, mut message) = (Vec::new(), Vec::new());
    let write = async {
        if let Some(input) = &mut input {
            // A compiler that ends early says why on its own.
            input.write_all(wasm).await.ok();
        }
        drop(input.take());
    };
    let read_code = async {
        match &mut output {
            Some(output) => output.read_to_end(&mut code).await,
            None => Ok(0),
        }
    };
    let read_message = async {
        match &mut errors {
            Some(errors) => errors.read_to_end(&mut message).await,
            None => Ok(0),
        }
    };
    let ((), code_read, message_read) = tokio::join!(write, read_code, read_message);
    code_read?;
    message_read?;
    let status = child.wait().await?;
    match status.code() {
        Some(0) => Ok(code),
        Some(1) => {
            message.truncate(MAX_MESSAGE);
            Err(CompileError::Invalid(String::from_utf8_lossy(&message).trim().to_owned()))
        }
        _ => Err(CompileError::TooDear { status: status.to_string() }),
    }
}

/// Limits this process, then compiles a component. To be called in a process of its own.
pub fn compile_here(wasm: &[u8]) -> Result<Vec<u8>, String> {
    for (resource, limit) in [(Resource::As, MEMORY), (Resource::Cpu, CPU_SECONDS), (Resource::Core, 0)] {
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        setrlimit(resource, limit).map_err(|error| format!("failed to set a limit: {error}"))?;
    }
    // Events go before: whoever waits for this only waits for a new version.
    nice(NICE).ok();
    let engine = Engine::new(&code_config()).map_err(|error| format!("{error:#}"))?;
    engine.precompile_component(wasm).map_err(|error| format!("{error:#}"))
}
