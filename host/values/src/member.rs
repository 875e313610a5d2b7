//! Members: the hosts of an application, as they announce themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How long an announcement counts, in seconds. A host renews its own every third of it.
pub const TTL_SECONDS: u32 = 10;

/// Where a process runs: enough to tell from the same machine that it is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The machine's boot and process namespace; two processes with the same can see each other.
    pub machine: String,
    /// Its number in its own process namespace: it means nothing on another `machine`.
    pub pid: u32,
    /// When the process started, in the machine's clock ticks since its boot: a process id may be used again.
    pub started: u64,
    /// For people.
    pub hostname: String,
}

/// The state of a version on trial, as its host announces it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialProgress {
    /// The version that it is about: `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Events that it has handled.
    pub events: u32,
    /// How many of them failed.
    pub failures: u32,
    /// How many it is to handle.
    pub wanted: u32,
}

/// What one handler does at this moment, on one host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Activity {
    /// Events in memory, not committed yet.
    pub in_flight: u64,
    /// Keys that wait for a retry.
    pub retrying: u64,
    /// Events settled per second, over the last announcement period.
    pub events_per_second: f64,
    /// Events settled since the host started.
    pub settled: u64,
    /// Runs that ended with another try, since the host started.
    pub retries: u64,
    /// Dead letters since the host started.
    pub dead_letters: u64,
    /// Failed runs since the host started, by cause: `trap`, `limit:time`.
    #[serde(default)]
    pub failures: BTreeMap<String, u64>,
    /// Since when the circuit is open, in milliseconds since 1970; none: it is closed.
    #[serde(default)]
    pub outage_since: Option<u64>,
    /// Events that were gone before the handler came to them, since the host started.
    #[serde(default)]
    pub lost: u64,
    /// Messages that the server wrote for expired or deleted subjects and that were not handed on, since the host started.
    #[serde(default)]
    pub markers: u64,
    /// Why the handler cannot go on in its stream; none: it does.
    #[serde(default)]
    pub stopped: Option<String>,
    /// The event that everything waits for, where the window is full.
    #[serde(default)]
    pub waits_for: Option<String>,
    /// Instances that wait for an event.
    #[serde(default)]
    pub instances: u64,
    /// The version on trial.
    #[serde(default)]
    pub canary: Option<TrialProgress>,
}

/// What a host says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The host's id, new at each start.
    pub host: String,
    /// Lets a host that starts on the same machine tell whether this one still runs.
    pub process: Process,
    /// The version of Heddle.
    pub version: String,
    /// Whether it was asked to stop and finishes what runs: a host that starts meanwhile waits for it.
    #[serde(default)]
    pub draining: bool,
    /// Tasks of the host's runtimes.
    #[serde(default)]
    pub tasks: u64,
    /// By the handler's name.
    pub handlers: BTreeMap<String, Activity>,
}
