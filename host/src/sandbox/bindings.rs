//! The host's side of `wit/`, generated.
#![expect(clippy::indexing_slicing, clippy::panic, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "plugin",
    imports: { default: trappable },
    exports: { default: async },
});
