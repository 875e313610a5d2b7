//! The engine: one for all plugins of a host.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use tokio::io::AsyncReadExt;
use wasmparser::Payload;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::artifact::{Artifacts, Digest};
use super::guest::{Guest, TICK};
use super::{CompileError, Error, Plugin, Policy, bindings, compile};

/// Memory that stays in place between two instances of a slot: cheaper than giving it back.
const KEEP_RESIDENT: usize = 256 * 1024;

/// The stack of a plugin, in bytes.
pub(super) const WASM_STACK: usize = 1 << 20;

/// How the sandbox is set up.
#[derive(Debug, Clone)]
pub struct SandboxSettings {
    /// How many instances may live at once.
    pub instances: u32,
    /// The largest `limits.memory` of all handlers, in bytes.
    pub max_memory: u64,
    /// Where compiled plugins are kept: a folder that only this user can read.
    pub artifacts: PathBuf,
    /// The program that compiles: `heddle` itself.
    pub compiler: PathBuf,
}

/// Compiles, admits and runs plugins.
pub struct Sandbox {
    engine: Engine,
    linker: Linker<Guest>,
    artifacts: Artifacts,
    compiler: PathBuf,
    /// Ends the clock when the sandbox is dropped.
    _clock: mpsc::Sender<()>,
}

/// What compiled code depends on; the same in the host and in the process that compiles.
pub(super) fn code_config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(2 * WASM_STACK)
        .memory_init_cow(true)
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Enable);
    config
}

fn pool(settings: &SandboxSettings) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    let count = settings.instances;
    // A Python component has 38 core instances, a Rust one 3.
    pool.total_component_instances(count)
        .total_core_instances(count.saturating_mul(8).max(400))
        .total_memories(count.saturating_mul(2).max(100))
        .total_tables(count.saturating_mul(4).max(400))
        .total_stacks(count)
        .max_core_instances_per_component(200)
        .max_memories_per_component(20)
        .max_tables_per_component(100)
        .max_core_instance_size(8 << 20)
        .max_component_instance_size(8 << 20)
        .table_elements(50_000)
        .max_memory_size(usize::try_from(settings.max_memory).unwrap_or(usize::MAX).max(64 << 20))
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(16 * 1024)
        .pagemap_scan(Enabled::Auto);
    pool
}

impl Sandbox {
    /// Starts the engine and its clock.
    pub fn new(settings: SandboxSettings) -> Result<Self, Error> {
        let failed = |error: wasmtime::Error| Error::Engine(format!("{error:#}"));
        let mut config = code_config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(&settings)));
        let engine = Engine::new(&config).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(failed)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).map_err(failed)?;
        bindings::Plugin::add_to_linker::<_, wasmtime::component::HasSelf<_>>(&mut linker, |guest| guest)
            .map_err(failed)?;
        let artifacts = Artifacts::open(&settings.artifacts)?;
        let clock = start_clock(&engine)?;
        Ok(Sandbox { engine, linker, artifacts, compiler: settings.compiler, _clock: clock })
    }

    /// Takes a plugin: reads it, compiles it unless that was done before, checks that it fits the world and
    /// makes a first instance of it.
    pub async fn admit(&self, path: &Path, policy: Arc<Policy>) -> Result<Plugin, Error> {
        let wasm = read(path).await?;
        check_header(&wasm)?;
        let digest = Digest::of(&wasm);
        let component = self.component(&wasm, digest).await?;
        let version = version(&wasm);
        Plugin::admit(&self.engine, &self.linker, component, (digest, version), policy).await
    }

    async fn component(&self, wasm: &[u8], digest: Digest) -> Result<Component, Error> {
        if let Some(component) = self.artifacts.load(&self.engine, digest) {
            return Ok(component);
        }
        tracing::info!(plugin = %digest.short(), bytes = wasm.len(), "compiling");
        let code = compile::compile_in_child(&self.compiler, wasm).await.map_err(|error| match error {
            CompileError::Invalid(text) if text.contains(ASYNC_TEXT) => Error::NeedsAsync,
            error => error.into(),
        })?;
        self.artifacts.store(&self.engine, digest, &code)
    }
}

/// What the engine says of components that need async functions.
pub(super) const ASYNC_TEXT: &str = "async feature";

/// The largest component, in bytes: CPython has 18 MiB.
const MAX_COMPONENT: u64 = 256 << 20;

/// Reads a component's file, which must be one.
async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let unreadable = |cause: std::io::Error| Error::Unreadable { path: path.to_owned(), cause };
    let facts = tokio::fs::metadata(path).await.map_err(unreadable)?;
    if !facts.is_file() {
        return Err(unreadable(std::io::Error::other("not a file")));
    }
    let mut wasm = Vec::new();
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    // It may grow while it is read.
    file.take(MAX_COMPONENT + 1).read_to_end(&mut wasm).await.map_err(unreadable)?;
    if wasm.len() as u64 > MAX_COMPONENT { Err(Error::TooBig(MAX_COMPONENT)) } else { Ok(wasm) }
}

/// Looks whether a file begins as a component does.
pub fn check_header(wasm: &[u8]) -> Result<(), Error> {
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    match wasm.get(..8) {
        Some(COMPONENT) => Ok(()),
        Some(MODULE) => Err(Error::CoreModule),
        _ => Err(Error::NotWasm),
    }
}

/// The text of the component's custom section `version`, which tools write there.
///
/// Source: the crate `wasm-metadata`, <https://docs.rs/wasm-metadata>.
fn version(wasm: &[u8]) -> Option<String> {
    let mut depth = 0_u32;
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        match payload.ok()? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == "version" => {
                return std::str::from_utf8(section.data()).ok().map(str::to_owned);
            }
            _ => {}
        }
    }
    None
}

/// A thread of its own, because a plugin that loops may hold every thread of the runtime.
fn start_clock(engine: &Engine) -> Result<mpsc::Sender<()>, Error> {
    let (alive, ended) = mpsc::channel::<()>();
    let engine = engine.weak();
    let tick = move || {
        while let (Err(mpsc::RecvTimeoutError::Timeout), Some(engine)) =
            (ended.recv_timeout(TICK), engine.upgrade())
        {
            engine.increment_epoch();
        }
    };
    std::thread::Builder::new()
        .name("heddle-clock".to_owned())
        .spawn(tick)
        .map_err(|error| Error::Engine(format!("no thread for the clock: {error}")))?;
    Ok(alive)
}
