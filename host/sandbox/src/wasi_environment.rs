//! What a plugin sees of the world through WASI: a clock that reads the event's time, random numbers
//! seeded by the event, captured output, and the grants.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng, TryRng};
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder};

use super::Error;
use super::capture::{Channel, Lines};
use heddle_values::derivation::random_seed;
use heddle_values::event::Event;
use heddle_values::settings::Grants;

/// The largest request for random bytes.
const MAX_RANDOM: u64 = 64 * 1024;

/// The determinism of a run: set again for every event, read by clocks and generators that the library owns.
#[derive(Debug, Clone)]
pub(super) struct WasiEnvironment {
    time: Arc<AtomicU64>,
    ticks: Arc<AtomicU64>,
    random: Arc<Mutex<StdRng>>,
}

impl WasiEnvironment {
    /// Ready for its first event.
    pub(super) fn new() -> Self {
        let random = Arc::new(Mutex::new(StdRng::seed_from_u64(0)));
        WasiEnvironment { time: Arc::default(), ticks: Arc::default(), random }
    }

    /// Begins a run of `event` for `handler`.
    pub(super) fn begin(&self, event: &Event, handler: &str) {
        self.time.store(event.time, Ordering::Relaxed);
        self.ticks.store(0, Ordering::Relaxed);
        *self.random.lock().unwrap_or_else(PoisonError::into_inner) =
            StdRng::from_seed(random_seed(event, handler));
    }

    /// The WASI context: everything denied but the grants.
    ///
    /// `hash_seed` is what languages seed their hash maps with, once for an instance.
    pub(super) fn context(&self, lines: &Lines, grants: &Grants, hash_seed: u128) -> Result<WasiCtx, Error> {
        let mut builder = WasiCtxBuilder::new();
        builder
            .stdout(lines.stream(Channel::Out))
            .stderr(lines.stream(Channel::Err))
            .wall_clock(WallClock(Arc::clone(&self.time)))
            .monotonic_clock(MonotonicClock(Arc::clone(&self.ticks)))
            .secure_random(Random(Arc::clone(&self.random)))
            .insecure_random(Random(Arc::clone(&self.random)))
            .insecure_random_seed(hash_seed)
            .max_random_size(MAX_RANDOM)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        for (name, value) in &grants.env {
            builder.env(name, value.reveal());
        }
        for file in &grants.files {
            let perms = if file.write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            builder.preopened_dir(&file.host, &file.guest, perms).map_err(|error| Error::Grant {
                what: format!("files: {}", file.host.display()),
                cause: format!("{error:#}"),
            })?;
        }
        Ok(builder.build())
    }
}

struct WallClock(Arc<AtomicU64>);

impl HostWallClock for WallClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// Goes on by a microsecond with every look: time passes, but the same on every run.
struct MonotonicClock(Arc<AtomicU64>);

impl HostMonotonicClock for MonotonicClock {
    fn resolution(&self) -> u64 {
        1_000
    }

    fn now(&self) -> u64 {
        self.0.fetch_add(1_000, Ordering::Relaxed)
    }
}

struct Random(Arc<Mutex<StdRng>>);

impl Random {
    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl TryRng for Random {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.with(|random| random.next_u32()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.with(|random| random.next_u64()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.with(|random| random.fill_bytes(bytes));
        Ok(())
    }
}
