//! What the tests share: a server, a host, a proxy between them, and a checker that reads the stream.
//!
//! Everything here is real: `nats-server` and `heddle` are processes, plugins are compiled components. The
//! checker shares no code with the host.

mod assemble;
mod checker;
mod cluster;
pub mod component;
mod flow;
mod host;
mod ports;
mod proxy;
mod registry;
mod server;
mod service;
mod times;
pub mod versions;
mod wire;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

pub use assemble::assemble;
pub use checker::{Checker, Row};
pub use cluster::Cluster;
pub use flow::Flow;
pub use host::{App, Host};
pub use ports::free_port;
pub use proxy::Proxy;
pub use registry::OciRegistry;
pub use server::{CONFIG, MEMORY, Server};
pub use service::Service;
pub use wire::{RawMessage, Wire};

/// How long a condition may take to come true before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    times::note();
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The program `heddle` that was built beside the tests.
pub fn heddle() -> PathBuf {
    times::note();
    let tests = std::env::current_exe().expect("a test has a file");
    let found = tests.ancestors().skip(1).map(|folder| folder.join("heddle")).find(|file| file.is_file());
    found.expect("no `heddle` beside the tests: run `cargo xtask test`")
}

/// The same program with fail points.
pub fn failing_heddle() -> PathBuf {
    let file = heddle().with_file_name("heddle-failpoints");
    assert!(file.is_file(), "no `heddle-failpoints` beside the tests: run `cargo xtask test`");
    file
}

/// A plugin that was built for the tests.
pub fn plugin(name: &str) -> PathBuf {
    let target = heddle().ancestors().nth(2).expect("a target folder").to_owned();
    let file = target.join("wasm32-wasip2/plugin").join(format!("{name}.wasm"));
    assert!(
        file.is_file(),
        "`{}` is missing: run `cargo xtask test`, or `cargo xtask setup` first",
        file.display()
    );
    file
}

/// A guest in some language, as `cargo xtask languages` builds it.
pub fn language_guest(language: &str, name: &str) -> PathBuf {
    let file = workspace().join(format!("tests/guests/languages/{language}/{name}/dist/{name}.wasm"));
    assert!(file.is_file(), "`{}` is missing: run `cargo xtask languages`", file.display());
    file
}

/// The text of a guest, for [`assemble`].
pub fn guest_text(name: &str) -> String {
    let file = workspace().join("tests/guests").join(name).with_extension("wat");
    std::fs::read_to_string(file).expect("the guest is there")
}

/// Waits until `condition` gives a value. `what` is what a failure says.
pub async fn wait_for<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let began = tokio::time::Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
