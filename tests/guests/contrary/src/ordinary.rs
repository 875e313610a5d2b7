//! What a well-behaved handler could do as well.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use heddle_sdk::{EffectError, Event, Failure, Message, OrFail, Reply, Verdict, context, log, state};

use crate::instruction::{Answer, LogLevel, Publish, PublishAfter};

pub(crate) fn publish(what: Publish) -> Verdict {
    let Publish { subject, payload, headers, tolerate } = what;
    unless_tolerated(message(subject, payload, headers).publish(), tolerate)
}

pub(crate) fn publish_after(what: PublishAfter) -> Verdict {
    let PublishAfter { seconds, subject, payload, headers, tolerate } = what;
    let delay = Duration::from_secs(seconds);
    unless_tolerated(message(subject, payload, headers).publish_after(delay), tolerate)
}

pub(crate) fn reply(what: Answer) -> Verdict {
    let Answer { payload, headers, tolerate } = what;
    let reply = Reply::text(payload);
    let reply = headers.into_iter().fold(reply, |reply, (name, value)| reply.header(name, value));
    unless_tolerated(reply.send(), tolerate)
}

fn message(subject: String, payload: String, headers: Vec<(String, String)>) -> Message {
    let message = Message::text(subject, payload);
    headers.into_iter().fold(message, |message, (name, value)| message.header(name, value))
}

fn unless_tolerated(result: Result<(), EffectError>, tolerate: bool) -> Verdict {
    match result {
        Err(error) if tolerate => {
            log::info!("tolerated: {error}");
            Ok(())
        }
        result => Ok(result?),
    }
}

pub(crate) fn count() -> Verdict {
    let count: u64 = match state::get_bytes() {
        Some(bytes) => String::from_utf8(bytes).or_reject()?.parse().or_reject()?,
        None => 0,
    };
    state::set_bytes((count + 1).to_string().as_bytes())?;
    Ok(())
}

pub(crate) fn set_state(text: &str) -> Verdict {
    state::set_bytes(text.as_bytes())?;
    Ok(())
}

pub(crate) fn clear_state() -> Verdict {
    state::clear();
    Ok(())
}

pub(crate) fn echo_state(subject: String) -> Verdict {
    let message = match state::get_bytes() {
        Some(bytes) => Message::bytes(subject, bytes).header("state", "some"),
        None => Message::text(subject, "").header("state", "none"),
    };
    message.publish()?;
    Ok(())
}

pub(crate) fn log(level: LogLevel, message: &str) -> Verdict {
    log::line(level.into(), format_args!("{message}"));
    Ok(())
}

pub(crate) fn print(text: &str) -> Verdict {
    println!("{text}");
    Ok(())
}

pub(crate) fn eprint(text: &str) -> Verdict {
    eprintln!("{text}");
    Ok(())
}

pub(crate) fn config(name: &str, subject: String) -> Verdict {
    heddle_sdk::publish(subject, &heddle_sdk::config::get(name))?;
    Ok(())
}

pub(crate) fn leak_static(subject: String) -> Verdict {
    static EVENTS: AtomicU64 = AtomicU64::new(0);
    let seen = EVENTS.fetch_add(1, Ordering::Relaxed) + 1;
    heddle_sdk::publish(subject, &seen)?;
    Ok(())
}

pub(crate) fn retry_until(attempt: u32) -> Verdict {
    let now = context::attempt();
    if now < attempt {
        return Err(Failure::retry(format!("attempt {now} comes before {attempt}")));
    }
    Ok(())
}

pub(crate) fn fail_unless(name: &str) -> Verdict {
    match heddle_sdk::config::get(name) {
        Some(_) => Ok(()),
        None => Err(Failure::retry(format!("setting {name} is missing"))),
    }
}

pub(crate) fn need_file(path: &str) -> Verdict {
    match std::fs::read(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::retry(format!("{path}: {error}"))),
    }
}

pub(crate) fn defer(delay_ms: u32, reason: &str) -> Verdict {
    Err(Failure::defer(Duration::from_millis(delay_ms.into()), reason))
}

/// Only what an instance keeps can tell the second run from the first: a deferral counts no attempt, leaves
/// no state, and clock and random repeat.
pub(crate) fn defer_once(event: &Event, delay_ms: u32) -> Verdict {
    thread_local! {
        static DEFERRED: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
    }
    let is_first = DEFERRED.with_borrow_mut(|deferred| deferred.insert(event.id().to_owned()));
    if is_first { defer(delay_ms, "once") } else { Ok(()) }
}
