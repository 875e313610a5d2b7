//! The engine: one for all plugins of a host.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};

use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use wasmtime::component::{Component, Linker};
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::artifact::{Artifacts, Digest, MAX_HELD};
use super::code::{Code, check_header};
use super::config::{ASYNC_TEXT, code_config};
use super::guest::{Guest, TICK};
use super::pool::{Capacity, Pool};
use super::{CompileError, Error, Plugin, Policy, adapter, bindings, compile};

/// Memory that stays in place between two instances of a slot: cheaper than giving it back.
const KEEP_RESIDENT: usize = 256 * 1024;

/// Plugins that are compiled at once: each takes a core.
const COMPILATIONS: usize = 2;

/// How the sandbox is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    linker: Arc<Linker<Guest>>,
    artifacts: Arc<Artifacts>,
    settings: SandboxSettings,
    pool: Arc<Pool>,
    compilations: Semaphore,
    /// What is loaded, so that all handlers of one plugin share its code. A lock, because plugins are taken by several
    /// tasks at once; it is held for a look-up.
    loaded: Mutex<HashMap<Digest, Arc<Slot>>>,
    /// Ends the clock when the sandbox is dropped.
    _clock: mpsc::Sender<()>,
}

/// Code as long as it is in use. The task that loads it holds the lock, so that it is compiled once.
type Slot = tokio::sync::Mutex<Weak<Code>>;

fn allocation(capacity: &Capacity, max_memory: u64) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(capacity.instances)
        .total_core_instances(capacity.core_instances)
        .total_memories(capacity.memories)
        .total_tables(capacity.tables)
        .total_stacks(capacity.instances)
        .max_core_instances_per_component(200)
        .max_memories_per_component(20)
        .max_tables_per_component(100)
        .max_core_instance_size(8 << 20)
        .max_component_instance_size(8 << 20)
        .table_elements(50_000)
        .max_memory_size(usize::try_from(max_memory).unwrap_or(usize::MAX).max(64 << 20))
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
        let capacity = Capacity::new(settings.instances);
        let allocation = allocation(&capacity, settings.max_memory);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(allocation));
        let engine = Engine::new(&config).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(failed)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).map_err(failed)?;
        bindings::Plugin::add_to_linker::<_, wasmtime::component::HasSelf<_>>(&mut linker, |guest| guest)
            .map_err(failed)?;
        adapter::add_to_linker(&mut linker).map_err(failed)?;
        let artifacts = Arc::new(Artifacts::open(&settings.artifacts)?);
        let clock = start_clock(&engine)?;
        let compilations = Semaphore::new(COMPILATIONS);
        let loaded = Mutex::default();
        let (pool, linker) = (Pool::new(capacity), Arc::new(linker));
        Ok(Sandbox { engine, linker, artifacts, settings, pool, compilations, loaded, _clock: clock })
    }

    /// How it was set up.
    pub fn settings(&self) -> &SandboxSettings {
        &self.settings
    }

    /// Takes a plugin from a file, to run under a policy.
    pub async fn admit(&self, path: &Path, policy: Arc<Policy>) -> Result<Plugin, Error> {
        let code = self.load(read(path).await?).await?;
        self.plugin(code, policy).await
    }

    /// Code under a policy: checks that the policy grants what the code cannot do without, and makes a first instance.
    pub async fn plugin(&self, code: Arc<Code>, policy: Arc<Policy>) -> Result<Plugin, Error> {
        code.check(&policy)?;
        Plugin::admit(code, policy, &self.pool).await
    }

    /// Code that is no handler's yet: makes a first instance, whatever the code will need of grants. What is not granted
    /// is denied when it is used.
    pub async fn plugin_of_nobody(&self, code: Arc<Code>, policy: Arc<Policy>) -> Result<Plugin, Error> {
        Plugin::admit(code, policy, &self.pool).await
    }

    /// Loads a component: compiles it unless that was done before, and checks that it fits the world.
    ///
    /// The component is kept, so that it can be [`found`](Self::stored) again.
    pub async fn load(&self, wasm: Vec<u8>) -> Result<Arc<Code>, Error> {
        let (digest, wasm) = off_thread(move || (Digest::of(&wasm), wasm)).await?;
        self.load_known(wasm, digest).await
    }

    /// Loads a component whose digest is known, as [`load`](Self::load) does.
    pub async fn load_known(&self, wasm: Vec<u8>, digest: Digest) -> Result<Arc<Code>, Error> {
        check_header(&wasm)?;
        let slot = self.slot(digest);
        let mut loaded = slot.lock().await;
        if let Some(code) = loaded.upgrade() {
            return Ok(code);
        }
        let wasm: Arc<[u8]> = wasm.into();
        let component = self.component(&wasm, digest).await?;
        let (engine, linker) = (self.engine.clone(), Arc::clone(&self.linker));
        let code = off_thread(move || Code::new(&engine, &linker, component, digest, &wasm)).await?;
        let code = Arc::new(code?);
        *loaded = Arc::downgrade(&code);
        Ok(code)
    }

    /// Compiles a small component and loads its code: whether plugins can run in this process at all.
    ///
    /// # Errors
    /// What keeps every plugin from running.
    pub async fn try_out(&self) -> Result<(), Error> {
        match self.load(SMALL.to_vec()).await {
            // It is no handler, which shows once its code is loaded.
            Ok(_) | Err(Error::WrongWorld { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Loads a component that was loaded before, on this machine. None: it is not there any more.
    pub async fn stored(&self, digest: Digest) -> Result<Option<Arc<Code>>, Error> {
        if let Some(code) = self.slot(digest).lock().await.upgrade() {
            return Ok(Some(code));
        }
        match self.stored_component(digest).await? {
            Some(wasm) => self.load_known(wasm, digest).await.map(Some),
            None => Ok(None),
        }
    }

    /// The bytes of a component that was loaded before, on this machine. None: they are not there any more.
    pub async fn stored_component(&self, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        let artifacts = Arc::clone(&self.artifacts);
        off_thread(move || artifacts.wasm(digest)).await
    }

    fn slot(&self, digest: Digest) -> Arc<Slot> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody uses any more is forgotten.
        loaded.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|code| code.strong_count() > 0)
        });
        Arc::clone(loaded.entry(digest).or_default())
    }

    async fn component(&self, wasm: &Arc<[u8]>, digest: Digest) -> Result<Component, Error> {
        let (engine, artifacts) = (self.engine.clone(), Arc::clone(&self.artifacts));
        let bytes = Arc::clone(wasm);
        if let Some(component) = off_thread(move || artifacts.load(&engine, digest, &bytes)).await? {
            return Ok(component);
        }
        let _permit = self.compilations.acquire().await.expect("the permits are never closed");
        tracing::info!(plugin = %digest.short(), bytes = wasm.len(), "compiling");
        let code = compile::compile_in_child(&self.settings.compiler, wasm).await;
        let code = code.map_err(|error| match error {
            CompileError::Invalid(text) if text.contains(ASYNC_TEXT) => Error::NeedsAsync,
            error => error.into(),
        })?;
        let (engine, artifacts) = (self.engine.clone(), Arc::clone(&self.artifacts));
        let wasm = Arc::clone(wasm);
        let used = self.used();
        off_thread(move || {
            let component = artifacts.store(&engine, digest, &code, &wasm);
            artifacts.prune(MAX_HELD, &used);
            component
        })
        .await?
    }

    /// What some handler has in use, or is about to.
    fn used(&self) -> HashSet<Digest> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let used =
            loaded.iter().filter(|(_, slot)| slot.try_lock().map_or(true, |code| code.strong_count() > 0));
        used.map(|(digest, _)| *digest).collect()
    }

    /// Marks these compiled plugins as in use, for every host that shares their folder. To be repeated now and then.
    pub async fn keep(&self, digests: Vec<Digest>) {
        let (engine, artifacts) = (self.engine.clone(), Arc::clone(&self.artifacts));
        // If it fails, they are as old as they were.
        off_thread(move || digests.into_iter().for_each(|digest| artifacts.touch(&engine, digest)))
            .await
            .ok();
    }
}

/// A component with one function: `(component (core module (func)))`.
const SMALL: &[u8] =
    b"\0asm\x0d\0\x01\0\x01\x18\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b";

/// Does what takes long on a thread of its own.
pub async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Engine(error.to_string()))
}

/// The largest component, in bytes: CPython has 18 MiB.
pub const MAX_COMPONENT: u64 = 256 << 20;

/// Reads a component's file, which must be one.
pub async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let unreadable = |cause: std::io::Error| Error::Unreadable { path: path.to_owned(), cause };
    let facts = tokio::fs::metadata(path).await.map_err(unreadable)?;
    if !facts.is_file() {
        return Err(unreadable(std::io::Error::other("not a file")));
    }
    let size = usize::try_from(facts.len().min(MAX_COMPONENT)).unwrap_or_default();
    let mut wasm = Vec::with_capacity(size + 1);
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    // It may grow while it is read.
    file.take(MAX_COMPONENT + 1).read_to_end(&mut wasm).await.map_err(unreadable)?;
    if wasm.len() as u64 > MAX_COMPONENT { Err(Error::TooBig(MAX_COMPONENT)) } else { Ok(wasm) }
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
