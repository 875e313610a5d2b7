//! All that can be known from inside, for `context`: what the contract tells, and what the sandbox should
//! not.
//!
//! The report is one JSON object. Times are nanoseconds since 1970; `now_ns` is what the wall clock reads,
//! `monotonic_ns` how far the other clock moved while the report was made. `random` comes from the seed of
//! the standard library's hasher. `read_dir` tells whether `/` can be listed, `tcp` whether `127.0.0.1:4222`
//! can be reached.

use std::collections::hash_map::RandomState;
use std::env;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::net::TcpStream;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use heddle_sdk::{Event, Verdict, context};
use serde::Serialize;

#[derive(Serialize)]
struct Report<'a> {
    attempt: u32,
    stream: String,
    sequence: u64,
    handler: String,
    correlation: String,
    deadline_ms: u128,
    id: &'a str,
    subject: &'a str,
    key: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    payload_bytes: usize,
    time_ns: u64,
    now_ns: u64,
    monotonic_ns: u64,
    random: u64,
    env: Vec<(String, String)>,
    args: Vec<String>,
    read_dir: bool,
    tcp: bool,
}

pub(crate) fn publish(event: &Event, subject: String) -> Verdict {
    heddle_sdk::publish(subject, &look_around(event))?;
    Ok(())
}

fn look_around(event: &Event) -> Report<'_> {
    let start = Instant::now();
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let mut report = Report {
        attempt: context::attempt(),
        stream: context::stream(),
        sequence: context::sequence(),
        handler: context::handler(),
        correlation: context::correlation(),
        deadline_ms: context::deadline().as_millis(),
        id: event.id(),
        subject: event.subject(),
        key: event.key(),
        headers: event.headers().collect(),
        payload_bytes: event.payload().len(),
        time_ns: nanoseconds(event.time()),
        now_ns: nanoseconds(SystemTime::now()),
        monotonic_ns: 0,
        random: RandomState::new().build_hasher().finish(),
        env: env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
        args: env::args_os().map(text).collect(),
        read_dir: fs::read_dir("/").is_ok(),
        tcp: TcpStream::connect("127.0.0.1:4222").is_ok(),
    };
    report.monotonic_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    report
}

/// Enough until the year 2554.
fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
