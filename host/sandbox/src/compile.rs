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

use super::config::code_config;

/// Address space of the compiling process, in bytes. CPython, the largest known guest, needs under 1 GiB.
const MEMORY: u64 = 3 << 30;

/// CPU time of the compiling process, in seconds.
const CPU_SECONDS: u64 = 120;

/// The longest a compilation may take.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The niceness of the compiling process: events come first.
const NICE: i32 = 10;

/// The most code that is taken from the compiling process, in bytes. CPython has 60 MiB.
const MAX_CODE: u64 = 1 << 30;

/// How the compiling process ends if the component is at fault, as `EX_DATAERR` of `sysexits.h`. Any other end but by a limit
/// is a fault of the process.
pub const INVALID: u8 = 65;

/// The longest message taken from the compiling process, in bytes.
const MAX_MESSAGE: u64 = 4096;

/// Why a component was not compiled.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The compiler rejects the component, as it would on every try. All other errors may pass.
    #[error("{0}")]
    Invalid(String),
    /// A signal ended the compiler: it reached its limits (120 s of CPU time, 3 GiB of address space), or was killed.
    #[error(
        "compiler was stopped ({status}): the component needs more than {CPU_SECONDS} s of CPU time or {gib} GiB of memory",
        gib = MEMORY >> 30
    )]
    TooDear {
        /// The exit status as text, which names the signal.
        status: String,
    },
    /// The compiler ran for 180 s and was killed. On a machine that is less busy, another try may succeed.
    #[error("took longer than {TIMEOUT:?}")]
    TooSlow,
    /// The compiler wrote more than 1 GiB of machine code and was killed.
    #[error("code has more than {} MiB", MAX_CODE >> 20)]
    TooMuch,
    /// The compiling program could not be started, or its output could not be read: the host's fault.
    #[error("failed to run the compiler: {0}")]
    Process(#[from] std::io::Error),
    /// The host's fault, not the component's.
    #[error("compiler failed by itself ({status}): {message}")]
    Failed {
        /// The exit status as text: neither 0 nor [`INVALID`].
        status: String,
        /// What it wrote to standard error, at most 4,096 bytes; may be empty.
        message: String,
    },
}

/// Compiles `wasm` with `program compile`, which is [`compile_here`].
pub(super) async fn compile_in_child(program: &Path, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
    let child = Command::new(program)
        .arg0("heddle")
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
            Some(output) => output.take(MAX_CODE + 1).read_to_end(&mut code).await,
            None => Ok(0),
        }
    };
    let read_message = async {
        match &mut errors {
            // What is more is not read, and its writer ends.
            Some(errors) => errors.take(MAX_MESSAGE).read_to_end(&mut message).await,
            None => Ok(0),
        }
    };
    let ((), code_read, message_read) = tokio::join!(write, read_code, read_message);
    code_read?;
    message_read?;
    if code.len() as u64 > MAX_CODE {
        // It is killed as it is dropped.
        return Err(CompileError::TooMuch);
    }
    let status = child.wait().await?;
    let message = String::from_utf8_lossy(&message).trim().to_owned();
    match status.code() {
        Some(0) => Ok(code),
        Some(code) if code == i32::from(INVALID) => Err(CompileError::Invalid(message)),
        Some(_) => Err(CompileError::Failed { status: status.to_string(), message }),
        // A limit ends it with a signal.
        None => Err(CompileError::TooDear { status: status.to_string() }),
    }
}

/// Why nothing was compiled in this process.
#[derive(Debug, Error)]
pub enum Fault {
    /// The component is at fault: the compiling process must exit with [`INVALID`].
    #[error("{0}")]
    Component(String),
    /// The compiling process is at fault, for example if it cannot limit itself: it must exit with another code.
    #[error("{0}")]
    Process(String),
}

/// Limits this process, then compiles a component. To be called in a process of its own.
pub fn compile_here(wasm: &[u8]) -> Result<Vec<u8>, Fault> {
    for (resource, limit) in [(Resource::As, MEMORY), (Resource::Cpu, CPU_SECONDS), (Resource::Core, 0)] {
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        setrlimit(resource, limit)
            .map_err(|error| Fault::Process(format!("failed to set a limit: {error}")))?;
    }
    // Events come first: nothing but a new version waits for this.
    nice(NICE).ok();
    let engine = Engine::new(&code_config()).map_err(|error| Fault::Process(format!("{error:#}")))?;
    engine.precompile_component(wasm).map_err(|error| Fault::Component(format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_helper_that_fails_by_itself_is_no_fault_of_the_component() {
        let folder = tempfile::tempdir().unwrap();
        for (script, may_pass) in [
            ("exit 1", true),
            ("echo gone >&2; exit 127", true),
            ("exec 1>&-; kill -9 $$", true),
            ("echo 'no component' >&2; exit 65", false),
        ] {
            let program = folder.path().join(format!("helper-{}", script.len()));
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            let error = compile_in_child(&program, b"x").await.unwrap_err();
            let error = super::super::Error::from(error);
            assert_eq!(error.may_pass(), may_pass, "{script}: {error}");
        }
        let gone = compile_in_child(&folder.path().join("gone"), b"x").await.unwrap_err();
        assert!(super::super::Error::from(gone).may_pass());
    }
}
