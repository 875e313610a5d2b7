//! Log lines. They carry the event's id and the handler's name and are bounded in length and number for each
//! event. What is written to standard output and error goes to the handler's log as well.
//!
//! ```
//! use heddle_sdk::log;
//!
//! let (order, amount) = ("o-17", 120);
//! log::info!("order `{order}` reserves {amount}");
//! ```

use std::fmt;

use crate::host;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every step.
    Trace,
    /// For debugging.
    Debug,
    /// What happens in the ordinary course.
    Info,
    /// Something is odd and nothing is lost.
    Warn,
    /// Something is lost, or someone must act.
    Error,
}

/// Writes a line. The macros of this module call it.
pub fn line(level: Level, message: fmt::Arguments<'_>) {
    match message.as_str() {
        Some(plain) => host::log(level, plain),
        None => host::log(level, &message.to_string()),
    }
}

#[doc(inline)]
pub use crate::{
    __heddle_debug as debug, __heddle_error as error, __heddle_info as info, __heddle_trace as trace,
    __heddle_warn as warn,
};

/// Logs a line at the level `trace`; takes what `format!` takes.
#[doc(hidden)]
#[macro_export]
macro_rules! __heddle_trace {
    ($($message:tt)+) => { $crate::log::line($crate::log::Level::Trace, ::std::format_args!($($message)+)) };
}

/// Logs a line at the level `debug`; takes what `format!` takes.
#[doc(hidden)]
#[macro_export]
macro_rules! __heddle_debug {
    ($($message:tt)+) => { $crate::log::line($crate::log::Level::Debug, ::std::format_args!($($message)+)) };
}

/// Logs a line at the level `info`; takes what `format!` takes.
#[doc(hidden)]
#[macro_export]
macro_rules! __heddle_info {
    ($($message:tt)+) => { $crate::log::line($crate::log::Level::Info, ::std::format_args!($($message)+)) };
}

/// Logs a line at the level `warn`; takes what `format!` takes.
#[doc(hidden)]
#[macro_export]
macro_rules! __heddle_warn {
    ($($message:tt)+) => { $crate::log::line($crate::log::Level::Warn, ::std::format_args!($($message)+)) };
}

/// Logs a line at the level `error`; takes what `format!` takes.
#[doc(hidden)]
#[macro_export]
macro_rules! __heddle_error {
    ($($message:tt)+) => { $crate::log::line($crate::log::Level::Error, ::std::format_args!($($message)+)) };
}
