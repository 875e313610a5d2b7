//! Limits of a handler, and what it is to breach one.
//!
//! Promises that a limit has one name and one unit everywhere. Refuses to know what happens to an event that breaches one.

use std::fmt;

/// A limit of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Run time, in milliseconds.
    Time,
    /// Linear memory, in bytes.
    Memory,
    /// Elements of a table.
    Table,
    /// The stack, in bytes.
    Stack,
    /// Messages and replies of one event.
    Messages,
    /// All messages and replies of one event, in bytes.
    Output,
    /// One message, in bytes.
    Message,
    /// The state of the key, in bytes.
    State,
    /// Calls of the host's functions.
    HostCalls,
    /// What one call of the host's functions carries, in bytes.
    HostCall,
}

impl Limit {
    /// The limit as `heddle.toml`, dead letters and counters name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Limit::Time => "time",
            Limit::Memory => "memory",
            Limit::Table => "table",
            Limit::Stack => "stack",
            Limit::Messages => "messages",
            Limit::Output => "output",
            Limit::Message => "message",
            Limit::State => "state",
            Limit::HostCalls => "host-calls",
            Limit::HostCall => "host-call",
        }
    }

    /// What the limit counts.
    pub fn unit(self) -> &'static str {
        match self {
            Limit::Time => "ms",
            Limit::Messages | Limit::HostCalls | Limit::Table => "",
            _ => "bytes",
        }
    }
}

/// A limit that was breached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breach {
    /// Which one; it has the unit of both numbers.
    pub limit: Limit,
    /// Its value, in the limit's unit.
    pub allowed: u64,
    /// What was used, or would have been; none: more than allowed, and nobody knows how much.
    pub used: Option<u64>,
}

impl Breach {
    /// A number with the limit's unit.
    pub fn amount(&self, number: u64) -> String {
        format!("{number} {}", self.limit.unit()).trim_end().to_owned()
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.used.map_or_else(|| "more".to_owned(), |used| self.amount(used));
        write!(f, "{}: {used} used, {} allowed", self.limit.as_str(), self.amount(self.allowed))
    }
}
