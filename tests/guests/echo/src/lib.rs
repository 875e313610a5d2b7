//! The guest of the benchmark: publishes an event of equal size and keeps a counter for each key.
//!
//! The event says what is to be done with it: byte 8 of the payload is `e` (echo: publish and count), `r` (only
//! read) or `w` (work, then echo; bytes 9 to 12 are the rounds of work, little-endian). What comes in on `in.x.y`
//! goes out on `out.x.y`.

use std::hint::black_box;

use heddle_sdk::{Event, Failure, Message, Verdict, state};

/// Handles one event.
///
/// # Errors
/// Rejects an event that does not say what is to be done with it.
pub fn handle(event: &Event) -> Verdict {
    match event.payload().get(8) {
        Some(b'e') => echo(event),
        Some(b'r') => Ok(()),
        Some(b'w') => {
            let rounds = event.payload().get(9..13).and_then(|bytes| bytes.try_into().ok());
            let rounds = rounds.ok_or_else(|| Failure::reject("the rounds of work are missing"))?;
            black_box(work(u32::from_le_bytes(rounds)));
            echo(event)
        }
        _ => Err(Failure::reject("byte 8 of the payload is none of e, r and w")),
    }
}

heddle_sdk::handler!(handle);

fn echo(event: &Event) -> Verdict {
    let bytes = state::get_bytes().and_then(|bytes| bytes.try_into().ok());
    let count = u64::from_le_bytes(bytes.unwrap_or_default()) + 1;
    state::set_bytes(&count.to_le_bytes())?;
    let rest = event.subject().strip_prefix("in.").unwrap_or_default();
    Message::bytes(format!("out.{rest}"), event.payload()).publish()?;
    Ok(())
}

/// Keeps a processor busy: a step of xorshift each round.
fn work(rounds: u32) -> u64 {
    (0..rounds).fold(0x9E37_79B9_7F4A_7C15, |mut x: u64, _| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        black_box(x)
    })
}

#[cfg(test)]
mod tests {
    use heddle_sdk::testing;

    use super::*;

    #[test]
    fn an_event_is_echoed_and_counted() {
        let mut echo = testing::handler(handle).key("{subject.2}").publishes(["out.>"]);
        for (job, count) in [(b'e', 1_u64), (b'r', 1), (b'w', 2)] {
            let mut payload = vec![1, 0, 0, 0, 0, 0, 0, 0, job, 3, 0, 0, 0];
            payload.resize(256, 7);
            let run = echo.run(testing::event("in.0.k").bytes(payload.clone()));
            run.done();
            assert_eq!(run.state_bytes(), Some(&count.to_le_bytes()[..]));
            let echoed = if job == b'r' { vec![] } else { vec![payload.as_slice()] };
            assert_eq!(run.messages().iter().map(|message| message.payload()).collect::<Vec<_>>(), echoed);
        }
        assert!(!echo.run(testing::event("in.0.k")).rejected().is_empty());
    }
}
