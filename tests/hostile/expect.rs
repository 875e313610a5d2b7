//! What must become of a hostile guest.
//!
//! The causes of dead letters are named here and nowhere else in the suite.

/// What must become of a guest and its events.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// Every event is done and publishes one message on `evil.done`, which is this.
    Done(&'static str),
    /// The same, and this is only a part of the message.
    Tells(&'static str),
    /// Every event becomes a dead letter.
    Dead(Dead),
    /// No event is ever settled, and nothing of any is seen.
    Waits,
    /// `heddle run` and `heddle check` refuse the plugin, and say this.
    Refused(&'static str),
}

/// A dead letter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dead {
    /// The header `Heddle-Dead-Cause`.
    pub(crate) cause: &'static str,
    /// What the header `Heddle-Dead-Message` contains.
    pub(crate) message: &'static str,
    /// The header `Heddle-Dead-Limit`, unless any will do.
    pub(crate) limit: Option<&'static str>,
    /// The header `Heddle-Dead-Attempts`: how often the event was run.
    pub(crate) attempts: &'static str,
}

/// Every event is done and publishes this.
pub(crate) fn done(payload: &'static str) -> Expect {
    Expect::Done(payload)
}

/// Every event is done and publishes something that contains this.
pub(crate) fn tells(part: &'static str) -> Expect {
    Expect::Tells(part)
}

/// The plugin is not taken, with this reason.
pub(crate) fn refused(reason: &'static str) -> Expect {
    Expect::Refused(reason)
}

/// The run time was used up.
pub(crate) fn time() -> Expect {
    limit("time", "ms used, 100 ms allowed", "2")
}

/// The time for waiting was used up.
pub(crate) fn waiting() -> Expect {
    limit("time", "in host calls", "2")
}

/// The time was used up by many short waits, as run time or as time for waiting: each counts as a little of both.
pub(crate) fn sleeping() -> Expect {
    limit("time", "time: ", "2")
}

/// Calls of the host that cost next to nothing were made until their number or the run time was used up.
pub(crate) fn calls() -> Expect {
    any_limit(" allowed", "2")
}

/// More memory was asked for than is allowed.
pub(crate) fn memory() -> Expect {
    limit("memory", "bytes used, 16777216 bytes allowed", "2")
}

/// More elements of a table were asked for than are allowed.
pub(crate) fn table() -> Expect {
    limit("table", "table: ", "2")
}

/// The stack was used up.
pub(crate) fn stack() -> Expect {
    limit("stack", "stack: more used, 1048576 bytes allowed", "1")
}

/// One call of the host carried more than is allowed.
pub(crate) fn host_call() -> Expect {
    limit("host-call", "host-call: more used, 8388608 bytes allowed", "2")
}

/// The plugin trapped.
pub(crate) fn trap(message: &'static str) -> Expect {
    dead("trap", message, "2")
}

/// The plugin asked for retries until there were no more.
pub(crate) fn retry(message: &'static str) -> Expect {
    dead("retry", message, "2")
}

/// The plugin gave up of its own accord.
pub(crate) fn reject(message: &'static str) -> Expect {
    dead("reject", message, "1")
}

/// The plugin gave up after an effect was refused as not granted or invalid.
pub(crate) fn effect(message: &'static str) -> Expect {
    dead("effect", message, "1")
}

/// The plugin gave up after an effect was refused as too large or too many.
pub(crate) fn output(name: &'static str, message: &'static str) -> Expect {
    limit(name, message, "1")
}

fn dead(cause: &'static str, message: &'static str, attempts: &'static str) -> Expect {
    Expect::Dead(Dead { cause, message, limit: None, attempts })
}

fn limit(name: &'static str, message: &'static str, attempts: &'static str) -> Expect {
    Expect::Dead(Dead { cause: "limit", message, limit: Some(name), attempts })
}

fn any_limit(message: &'static str, attempts: &'static str) -> Expect {
    Expect::Dead(Dead { cause: "limit", message, limit: None, attempts })
}
