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
    dead("limit", "time: plugin ran for")
}

/// The time for waiting was used up.
pub(crate) fn waiting() -> Expect {
    dead("limit", "time: plugin waited for more than")
}

/// The time was used up by many short waits, as run time or as time for waiting: each counts as a little of both.
pub(crate) fn sleeping() -> Expect {
    dead("limit", "time: plugin")
}

/// The run time was used up by calls of the host that cost next to nothing.
pub(crate) fn calls() -> Expect {
    dead("limit", "time: plugin ran for")
}

/// More memory was asked for than is allowed.
pub(crate) fn memory() -> Expect {
    dead("limit", "memory: plugin asked for")
}

/// The stack was used up.
pub(crate) fn stack() -> Expect {
    dead("limit", "stack: plugin used up its stack")
}

/// The plugin trapped.
pub(crate) fn trap(message: &'static str) -> Expect {
    dead("trap", message)
}

/// The plugin asked for retries until there were no more.
pub(crate) fn retry(message: &'static str) -> Expect {
    dead("retry", message)
}

/// The plugin gave up of its own accord.
pub(crate) fn reject(message: &'static str) -> Expect {
    dead("reject", message)
}

/// The plugin gave up after an effect was refused as not granted or invalid.
pub(crate) fn effect(message: &'static str) -> Expect {
    dead("reject", message)
}

/// The plugin trapped after an effect was refused as not granted or invalid.
pub(crate) fn effect_then_trap(message: &'static str) -> Expect {
    dead("trap", message)
}

/// The plugin gave up after an effect was refused as too large or too many.
pub(crate) fn output(message: &'static str) -> Expect {
    dead("reject", message)
}

fn dead(cause: &'static str, message: &'static str) -> Expect {
    // The handler is given two attempts. What cannot end otherwise is not tried again.
    let attempts = if matches!(cause, "trap" | "retry") { "2" } else { "1" };
    Expect::Dead(Dead { cause, message, attempts })
}
