//! How the engine is set for every plugin: what compiled code depends on, and the bounds that no policy changes.
//!
//! Promises that the host and the process that compiles have the same configuration. Refuses to know any plugin, and how
//! many instances there may be.

use wasmtime::Config;

/// The stack of a plugin, in bytes.
pub(super) const WASM_STACK: usize = 1 << 20;

/// What one host call may move into the host's memory, in bytes.
pub(super) const HOSTCALL_BYTES: usize = 8 << 20;

/// What the engine says of components that need async functions.
pub(super) const ASYNC_TEXT: &str = "async feature";

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
        // The same bits on every machine and in every version of the engine: histories are run again and compared.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Enable);
    config
}
