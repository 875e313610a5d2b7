//! The real host, reached through the generated bindings. The only file that knows them.

use std::time::{Duration, UNIX_EPOCH};

use self::bindings::heddle::plugin::{
    config as settings, context, effects, log as lines, state as values, types,
};
use crate::event::Headers;
use crate::log::Level;
use crate::verdict::whole_milliseconds;
use crate::{Event, Failure, Refusal, Verdict};

/// Generated from `wit/`.
#[expect(missing_docs, reason = "the comments of `wit/` are the docs")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "plugin",
        pub_export_macro: true,
        default_bindings_module: "heddle_sdk::__private::bindings",
    });
}

/// Runs a handler on the event of the host.
pub fn answer(event: types::Event, handle: impl FnOnce(&Event) -> Verdict) -> Result<(), types::Failure> {
    handle(&read_event(event)).map_err(write_failure)
}

pub(crate) use context::{attempt, correlation, deadline_ms, handler, sequence, stream};
pub(crate) use settings::get as config;
pub(crate) use values::{clear as clear_state, get as state};

pub(crate) fn publish(subject: &str, headers: Headers, payload: Vec<u8>) -> Result<(), Refusal> {
    effects::publish(&write_message(subject, headers, payload)).map_err(read_refusal)
}

pub(crate) fn publish_after(
    subject: &str,
    headers: Headers,
    payload: Vec<u8>,
    seconds: u32,
) -> Result<(), Refusal> {
    effects::publish_after(&write_message(subject, headers, payload), seconds).map_err(read_refusal)
}

pub(crate) fn reply(headers: Headers, payload: Vec<u8>) -> Result<(), Refusal> {
    effects::reply(&write_headers(headers), &payload).map_err(read_refusal)
}

pub(crate) fn set_state(value: &[u8]) -> Result<(), Refusal> {
    values::set(value).map_err(read_refusal)
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Trace => lines::Level::Trace,
        Level::Debug => lines::Level::Debug,
        Level::Info => lines::Level::Info,
        Level::Warn => lines::Level::Warn,
        Level::Error => lines::Level::Error,
    };
    lines::log(level, message);
}

fn read_event(event: types::Event) -> Event {
    let types::Instant { seconds, nanoseconds } = event.time;
    Event {
        id: event.id,
        subject: event.subject,
        key: event.key,
        time: UNIX_EPOCH + Duration::new(seconds, nanoseconds),
        headers: event.headers.into_iter().map(|header| (header.name, header.value)).collect(),
        payload: event.payload,
    }
}

fn write_message(subject: &str, headers: Headers, payload: Vec<u8>) -> types::Message {
    types::Message { subject: subject.to_owned(), headers: write_headers(headers), payload }
}

fn write_headers(headers: Headers) -> Vec<types::Header> {
    headers.into_iter().map(|(name, value)| types::Header { name, value }).collect()
}

fn read_refusal(error: types::EffectError) -> Refusal {
    match error {
        types::EffectError::NotGranted(text) => Refusal::NotGranted(text),
        types::EffectError::Invalid(text) => Refusal::Invalid(text),
        types::EffectError::TooLarge(limit) => Refusal::TooLarge { limit },
        types::EffectError::TooMany(limit) => Refusal::TooMany { limit },
    }
}

fn write_failure(failure: Failure) -> types::Failure {
    match failure {
        Failure::Retry(reason) => types::Failure::Retry(reason),
        Failure::Defer { delay, reason } => {
            let delay_ms = whole_milliseconds(delay);
            types::Failure::Defer(types::Deferral { delay_ms, reason })
        }
        Failure::Reject(reason) => types::Failure::Reject(reason),
    }
}
