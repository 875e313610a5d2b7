//! Classes of events: how one fares, and what the guest `contrary` is asked to do so that it does.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Cell, Guest};

/// Shares of events in a thousand; the rest succeeds. Every other key has none of them, the others twice as many.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Shares {
    /// Fails at its first one or two attempts.
    pub flaky: u32,
    /// Fails whenever it runs.
    pub poison: u32,
    pub rejected: u32,
    pub slow: u32,
}

/// How an event fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Ok,
    Slow,
    Flaky(u32),
    /// With a trap, or with a wish to try again.
    Poison {
        traps: bool,
    },
    Rejected,
}

impl Class {
    /// The key of an event.
    pub(super) fn key(seed: u64, keys: u64, number: u64) -> u64 {
        StdRng::seed_from_u64(seed ^ number.rotate_left(32)).random_range(0..keys)
    }

    /// How an event fares: the same whenever it is asked for.
    pub(super) fn of(seed: u64, cell: &Cell, number: u64) -> Self {
        if Class::key(seed, cell.keys, number).is_multiple_of(2) {
            return Class::Ok;
        }
        let mut random = StdRng::seed_from_u64(seed ^ number);
        let classes = [
            (cell.shares.flaky, Class::Flaky(random.random_range(1..=2))),
            (cell.shares.poison, Class::Poison { traps: random.random_bool(0.3) }),
            (cell.shares.rejected, Class::Rejected),
            (cell.shares.slow, Class::Slow),
        ];
        let mut left = random.random_range(0..1_000);
        for (share, class) in classes {
            if left < 2 * share {
                return class;
            }
            left -= 2 * share;
        }
        Class::Ok
    }

    /// Whether it must become a dead letter.
    pub(super) fn dies(self) -> bool {
        matches!(self, Class::Poison { .. } | Class::Rejected)
    }

    /// What the guest is asked to do: in the end, to publish something.
    pub(super) fn payload(self, cell: &Cell, port: u16, key: u64) -> String {
        match cell.guest {
            Guest::File => self.instructions(cell, key),
            Guest::Http => match self {
                Class::Poison { .. } => "x".to_owned(),
                Class::Rejected => "r".to_owned(),
                Class::Ok | Class::Slow | Class::Flaky(_) => format!("plocalhost:{port}"),
            },
            Guest::Languages(_) => {
                let (times, verdict) = match self {
                    Class::Ok | Class::Slow => (0, "retry"),
                    Class::Flaky(times) => (times, "retry"),
                    Class::Poison { traps: true } => (u32::MAX, "throw"),
                    Class::Poison { traps: false } => (u32::MAX, "retry"),
                    Class::Rejected => (u32::MAX, "reject"),
                };
                json!({ "times": times, "verdict": verdict }).to_string()
            }
        }
    }

    fn instructions(self, cell: &Cell, key: u64) -> String {
        let mut all: Vec<Value> = Vec::new();
        if cell.outage && self != Class::Rejected {
            all.push(json!({"need_file": {"path": "/world/up"}}));
        }
        match self {
            Class::Ok => {}
            Class::Slow => all.push(json!({"sleep_ms": {"ms": 100}})),
            Class::Flaky(times) => all.push(json!({"retry_until": {"attempt": times + 1}})),
            Class::Poison { traps: true } => all.push(json!({"trap": null})),
            Class::Poison { traps: false } => all.push(json!({"retry": {"reason": "poison"}})),
            Class::Rejected => all.push(json!({"reject": {"reason": "rejected"}})),
        }
        all.push(json!({"count": null}));
        all.push(json!({"publish": {"subject": format!("out.k{key}")}}));
        json!({ "do": all }).to_string()
    }
}
