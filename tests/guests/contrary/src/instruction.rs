//! What an event can tell the guest to do. The table at the top of the crate explains each.

use heddle_sdk::log::Level;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Program {
    #[serde(rename = "do")]
    pub(crate) instructions: Vec<Instruction>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Instruction {
    Publish(Publish),
    PublishAfter(PublishAfter),
    Reply(Answer),
    Count,
    SetState {
        text: String,
    },
    ClearState,
    EchoState {
        subject: String,
    },
    Twins {
        subject: String,
    },
    Log {
        level: LogLevel,
        message: String,
    },
    Print {
        text: String,
    },
    Eprint {
        text: String,
    },
    Context {
        subject: String,
    },
    Config {
        name: String,
        subject: String,
    },
    LeakStatic {
        subject: String,
    },
    Retry {
        reason: String,
    },
    FailUnless {
        name: String,
    },
    NeedFile {
        path: String,
    },
    RetryUntil {
        attempt: u32,
    },
    Defer {
        delay_ms: u32,
        #[serde(default)]
        reason: String,
    },
    DeferOnce {
        delay_ms: u32,
    },
    Reject {
        reason: String,
    },
    Panic {
        message: String,
    },
    Trap,
    Exit {
        code: i32,
    },
    SleepMs {
        ms: u64,
    },
    Spin,
    SpinMs {
        n: u64,
    },
    SpinCalls,
    Hoard {
        mib: usize,
    },
    Recurse,
    Flood {
        subject: String,
        messages: u32,
    },
    FloodIgnoring {
        subject: String,
        messages: u32,
    },
    BigOutput {
        subject: String,
        bytes: usize,
    },
    BigState {
        bytes: usize,
    },
    LogFlood {
        lines: u32,
        #[serde(default = "width_of_a_line")]
        bytes: usize,
    },
    Forge {
        subject: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publish {
    pub(crate) subject: String,
    #[serde(default)]
    pub(crate) payload: String,
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) tolerate: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishAfter {
    pub(crate) seconds: u64,
    pub(crate) subject: String,
    #[serde(default)]
    pub(crate) payload: String,
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) tolerate: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    #[serde(default)]
    pub(crate) payload: String,
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) tolerate: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Trace => Self::Trace,
            LogLevel::Debug => Self::Debug,
            LogLevel::Info => Self::Info,
            LogLevel::Warn => Self::Warn,
            LogLevel::Error => Self::Error,
        }
    }
}

fn width_of_a_line() -> usize {
    80
}
