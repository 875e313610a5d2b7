//! The double of the host: one event at a time on each thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::rules;
use super::{Limits, LogLine, Published};
use crate::Refusal;
use crate::event::Headers;
use crate::log::Level;

/// Everything a handler can ask for or change while its event runs.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) attempt: u32,
    pub(super) stream: String,
    pub(super) sequence: u64,
    pub(super) handler: String,
    pub(super) correlation: String,
    pub(super) reply_to: Option<String>,
    pub(super) config: BTreeMap<String, String>,
    pub(super) publishes: Option<Vec<String>>,
    pub(super) limits: Limits,
    pub(super) state: Option<Vec<u8>>,
    pub(super) messages: Vec<Published>,
    pub(super) reply: Option<Published>,
    pub(super) logs: Vec<LogLine>,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// Lets `handle` run in a world, and answers with what it answered and the world it left.
pub(super) fn enter<R>(world: World, handle: impl FnOnce() -> R) -> (R, World) {
    /// Gives the thread back the world it had, also if the handler panics.
    struct Leave(Option<World>);
    impl Drop for Leave {
        fn drop(&mut self) {
            WORLD.set(self.0.take());
        }
    }

    let outer = Leave(WORLD.replace(Some(world)));
    let answer = handle();
    let world = WORLD.take().expect("only `enter` takes a world away");
    drop(outer);
    (answer, world)
}

#[track_caller]
fn with<R>(ask: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(|world| {
        ask(world
            .as_mut()
            .expect("outside of a plugin the host can only be called within `heddle_sdk::testing`"))
    })
}

pub(crate) fn publish(subject: &str, headers: Headers, payload: Vec<u8>) -> Result<(), Refusal> {
    publish_after(subject, headers, payload, 0)
}

pub(crate) fn publish_after(
    subject: &str,
    headers: Headers,
    payload: Vec<u8>,
    seconds: u32,
) -> Result<(), Refusal> {
    let delay = Duration::from_secs(u64::from(seconds));
    let message = Published { subject: subject.to_owned(), headers, payload, delay };
    with(|world| {
        rules::check_subject(subject, world.publishes.as_deref())?;
        rules::check_headers(&message.headers)?;
        let limit = world.limits.messages;
        if u32::try_from(world.messages.len()).map_or(true, |count| count >= limit) {
            return Err(Refusal::TooMany { limit });
        }
        world.check_output(&message)?;
        world.messages.push(message);
        Ok(())
    })
}

pub(crate) fn reply(headers: Headers, payload: Vec<u8>) -> Result<(), Refusal> {
    with(|world| {
        let Some(subject) = world.reply_to.clone() else {
            return Err(Refusal::Invalid("the event has no `Heddle-Reply-To` header".to_owned()));
        };
        rules::check_headers(&headers)?;
        if world.reply.is_some() {
            return Err(Refusal::Invalid("the event is answered already".to_owned()));
        }
        let reply = Published { subject, headers, payload, delay: Duration::ZERO };
        world.check_output(&reply)?;
        world.reply = Some(reply);
        Ok(())
    })
}

pub(crate) fn state() -> Option<Vec<u8>> {
    with(|world| world.state.clone())
}

pub(crate) fn set_state(value: &[u8]) -> Result<(), Refusal> {
    with(|world| {
        let limit = world.limits.state;
        if exceeds(value.len(), limit) {
            return Err(Refusal::TooLarge { limit });
        }
        world.state = Some(value.to_owned());
        Ok(())
    })
}

pub(crate) fn clear_state() {
    with(|world| world.state = None);
}

pub(crate) fn attempt() -> u32 {
    with(|world| world.attempt)
}

pub(crate) fn stream() -> String {
    with(|world| world.stream.clone())
}

pub(crate) fn sequence() -> u64 {
    with(|world| world.sequence)
}

pub(crate) fn handler() -> String {
    with(|world| world.handler.clone())
}

pub(crate) fn correlation() -> String {
    with(|world| world.correlation.clone())
}

pub(crate) fn deadline_ms() -> u32 {
    with(|world| u32::try_from(world.limits.time.as_millis()).unwrap_or(u32::MAX))
}

pub(crate) fn config(name: &str) -> Option<String> {
    with(|world| world.config.get(name).cloned())
}

/// A line outside of a run is shown, so that a function that logs can be tested by itself.
pub(crate) fn log(level: Level, message: &str) {
    WORLD.with_borrow_mut(|world| match world {
        Some(world) => world.logs.push(LogLine { level, message: message.to_owned() }),
        None => eprintln!("{level:?}: {message}"),
    });
}

impl World {
    /// The output of an event is the sum of what its messages and its reply hold.
    fn check_output(&self, next: &Published) -> Result<(), Refusal> {
        let so_far: usize = self.messages.iter().chain(&self.reply).map(Published::size).sum();
        let limit = self.limits.output;
        if exceeds(so_far.saturating_add(next.size()), limit) {
            return Err(Refusal::TooLarge { limit });
        }
        Ok(())
    }
}

fn exceeds(size: usize, limit: u64) -> bool {
    u64::try_from(size).map_or(true, |size| size > limit)
}
