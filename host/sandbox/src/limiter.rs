//! Memory limits of one instance.

use thiserror::Error;
use wasmtime::ResourceLimiter;

use heddle_values::limit::{Breach, Limit};

/// Table elements of one instance. The script languages need tens of thousands.
const MAX_TABLE_ELEMENTS: usize = 100_000;

/// A limit that was breached, on its way through the engine's own errors.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct Breached(pub(super) Breach);

fn breached(limit: Limit, allowed: usize, used: usize) -> wasmtime::Error {
    Breached(Breach { limit, allowed: allowed as u64, used: Some(used as u64) }).into()
}

/// Counts what an instance holds and refuses what is beyond.
#[derive(Debug)]
pub(super) struct Limiter {
    max: usize,
    held: usize,
    /// What the host keeps for the plugin.
    kept: usize,
}

impl Limiter {
    pub(super) fn new(max_bytes: u64) -> Self {
        Limiter { max: usize::try_from(max_bytes).unwrap_or(usize::MAX), held: 0, kept: 0 }
    }

    /// Linear memory of all memories together, in bytes.
    pub(super) fn held(&self) -> u64 {
        self.held as u64
    }

    /// Counts what the host keeps for the plugin as memory of the plugin.
    pub(super) fn keep(&mut self, bytes: usize) -> wasmtime::Result<()> {
        let kept = self.kept.saturating_add(bytes);
        let held = self.held.saturating_add(kept);
        if held > self.max {
            return Err(breached(Limit::Memory, self.max, held));
        }
        self.kept = kept;
        Ok(())
    }

    /// The host no longer keeps that.
    pub(super) fn let_go(&mut self, bytes: usize) {
        self.kept = self.kept.saturating_sub(bytes);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let held = self.held.saturating_sub(current).saturating_add(desired);
        let used = held.saturating_add(self.kept);
        if used > self.max {
            return Err(breached(Limit::Memory, self.max, used));
        }
        self.held = held;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > MAX_TABLE_ELEMENTS {
            return Err(breached(Limit::Table, MAX_TABLE_ELEMENTS, desired));
        }
        Ok(true)
    }
}
