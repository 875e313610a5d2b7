//! Fail points: places at which a test can have the process killed. They exist in builds with the feature `failpoints`
//! only.

/// A batch is about to be sent.
pub(crate) const BEFORE_COMMIT: &str = "before-commit";
/// A batch is stored or refused, and the engine does not know yet.
pub(crate) const AFTER_COMMIT: &str = "after-commit";
/// A replay is committed, its dead letter still there.
pub(crate) const BEFORE_REMOVAL: &str = "before-removal";
/// The dead letter of a replay is removed, the request still there.
pub(crate) const BETWEEN_REMOVALS: &str = "between-removals";
/// A gate is committed as open, what was held back still there.
pub(crate) const GATE_OPENED: &str = "gate-opened";
/// A version can run, and is not on trial yet.
pub(crate) const BEFORE_TRIAL: &str = "before-trial";
/// A trial is stored, and the engine does not know yet.
pub(crate) const TRIAL_STORED: &str = "trial-stored";
/// A trial has ended, and that is not stored yet.
pub(crate) const TRIAL_ENDED: &str = "trial-ended";
/// The end of a trial is stored, and the engine does not know yet.
pub(crate) const END_STORED: &str = "end-stored";
/// A command is carried out, and neither the engine nor who gave it knows yet.
pub(crate) const COMMAND_STORED: &str = "command-stored";

/// The process reaches a fail point, and dies there if it is armed. Without the feature, none is.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn hit(_name: &str) {}

#[cfg(feature = "failpoints")]
pub use armed::arm;
#[cfg(feature = "failpoints")]
pub(crate) use armed::hit;

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    struct Armed {
        name: String,
        left: AtomicU64,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// Has the process killed when it reaches the fail point of a name for the nth time: `after-commit=3`.
    pub fn arm(spec: &str) {
        let (name, times) = spec.split_once('=').unwrap_or((spec, "1"));
        let left = AtomicU64::new(times.parse().unwrap_or(1));
        ARMED.set(Armed { name: name.to_owned(), left }).ok();
    }

    /// The process reaches a fail point, and dies there, as with `kill -9`, if it is armed.
    pub(crate) fn hit(name: &str) {
        if let Some(armed) = ARMED.get().filter(|armed| armed.name == name)
            && armed.left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            kill_process(getpid(), Signal::KILL).ok();
            std::thread::park();
        }
    }
}
