//! Ports for servers of tests.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those that the system hands out by itself: no connection of another test takes one of these meanwhile.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

/// How many this process has asked for.
static ASKED: AtomicU16 = AtomicU16::new(0);

/// A port of the loopback interface that nobody listens on, and that this process has not been given before.
pub fn free_port() -> u16 {
    // Where a process begins is as good as random, so that two that run at once seldom meet.
    let begin = std::process::id().wrapping_mul(7_919);
    let mut asked = (0..COUNT).map(|_| {
        let step = u32::from(ASKED.fetch_add(1, Ordering::Relaxed));
        FIRST + u16::try_from(begin.wrapping_add(step) % u32::from(COUNT)).unwrap_or_default()
    });
    let free = asked.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.expect("some of these ports are free")
}
