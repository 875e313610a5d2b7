//! What the host must survive.

use std::hint::black_box;
use std::mem;
use std::time::Duration;

use heddle_sdk::{Message, Verdict, context, log, state};

/// How many rounds of a small generator of random numbers take a millisecond, roughly: each must wait for the
/// one before, so it depends little on the compiler.
const ROUNDS_PER_MS: u64 = 500_000;

/// Endless, but never long out of the host's hands.
pub(crate) fn spin_calls() -> Verdict {
    loop {
        black_box(context::attempt());
    }
}

#[expect(clippy::panic, reason = "this is the panic that the host is to survive")]
pub(crate) fn panic(message: &str) -> Verdict {
    panic!("{message}");
}

#[allow(clippy::disallowed_methods, reason = "this is the sleep that the host is to cut short")]
pub(crate) fn sleep(ms: u64) -> Verdict {
    std::thread::sleep(Duration::from_millis(ms));
    Ok(())
}

pub(crate) fn spin() -> Verdict {
    loop {
        black_box(());
    }
}

pub(crate) fn spin_ms(n: u64) -> Verdict {
    let mut random: u64 = 1;
    for _ in 0..n.saturating_mul(ROUNDS_PER_MS) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
    }
    black_box(random);
    Ok(())
}

/// Page by page, so that a limit is met on the way and not at the first step.
pub(crate) fn hoard(mib: usize) -> Verdict {
    for _ in 0..mib {
        let mut chunk = vec![0_u8; 1 << 20];
        chunk.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        mem::forget(black_box(chunk));
    }
    Ok(())
}

pub(crate) fn recurse() -> Verdict {
    black_box(dive(0));
    Ok(())
}

/// Uses the call stack alone: nothing of the frame is in memory.
fn dive(depth: u64) -> u64 {
    if depth == u64::MAX {
        return depth;
    }
    dive(depth + 1).rotate_left(1) ^ depth
}

pub(crate) fn flood(subject: &str, messages: u32) -> Verdict {
    (0..messages).try_for_each(|number| Message::text(subject, number.to_string()).publish())?;
    Ok(())
}

pub(crate) fn flood_ignoring(subject: &str, messages: u32) -> Verdict {
    for number in 0..messages {
        drop(Message::text(subject, number.to_string()).publish());
    }
    Ok(())
}

pub(crate) fn big_output(subject: String, bytes: usize) -> Verdict {
    Message::bytes(subject, vec![b'x'; bytes]).publish()?;
    Ok(())
}

pub(crate) fn big_state(bytes: usize) -> Verdict {
    state::set_bytes(&vec![b'x'; bytes])?;
    Ok(())
}

pub(crate) fn log_flood(lines: u32, bytes: usize) -> Verdict {
    let filling = "x".repeat(bytes);
    for number in 0..lines {
        log::info!("{number} {filling}");
    }
    Ok(())
}
