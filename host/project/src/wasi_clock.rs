//! A clock for modules that must not ask the host for the time.
//!
//! Go's runtime looks at the clock while it collects garbage. It also collects when the host asks for memory, and a
//! component that calls the host at that time ends in a trap. So its modules get a clock of their own, which the SDK
//! tells the time of each event.

use anyhow::Context;

/// Under this name a module imports the clock, and by doing so asks for it.
pub(super) const MODULE: &str = "heddle_clock";

/// What the clock answers in place of WASI preview1. It cannot wait for files, so it keeps files from being such that
/// somebody has to wait for them.
pub(super) const ANSWERS: [&str; 4] = ["clock_time_get", "fd_fdstat_set_flags", "poll_oneoff", "sched_yield"];

/// The clock as an adapter: a module that shares the memory of the one that imports it.
pub(super) fn adapter() -> anyhow::Result<Vec<u8>> {
    wat::parse_str(include_str!("clock.wat")).context("failed to read the clock")
}

#[cfg(test)]
mod tests {
    use wasmtime::{Engine, Instance, Memory, MemoryType, Module, Store, TypedFunc};

    use super::*;

    /// Where the tests put subscriptions, events and numbers.
    const SUBSCRIPTIONS: usize = 0;
    const EVENTS: usize = 1024;
    const NUMBER: usize = 2048;

    struct Clock {
        store: Store<()>,
        memory: Memory,
        instance: Instance,
    }

    impl Clock {
        fn new() -> Self {
            let engine = Engine::default();
            let mut store = Store::new(&engine, ());
            let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
            let module = Module::new(&engine, adapter().unwrap()).unwrap();
            let instance = Instance::new(&mut store, &module, &[memory.into()]).unwrap();
            Clock { store, memory, instance }
        }

        fn set(&mut self, nanoseconds: i64) {
            let set: TypedFunc<i64, ()> = self.instance.get_typed_func(&mut self.store, "set_now").unwrap();
            set.call(&mut self.store, nanoseconds).unwrap();
        }

        fn now(&mut self, clock: i32) -> u64 {
            let get: TypedFunc<(i32, i64, i32), i32> =
                self.instance.get_typed_func(&mut self.store, "clock_time_get").unwrap();
            assert_eq!(get.call(&mut self.store, (clock, 0, NUMBER as i32)).unwrap(), 0);
            self.read(NUMBER)
        }

        /// The `userdata` and the kinds of the events of a poll.
        fn poll(&mut self, subscriptions: &[[u64; 6]]) -> Vec<(u64, u64)> {
            let words = subscriptions.iter().flatten();
            let bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
            self.memory.write(&mut self.store, SUBSCRIPTIONS, &bytes).unwrap();
            let poll: TypedFunc<(i32, i32, i32, i32), i32> =
                self.instance.get_typed_func(&mut self.store, "poll_oneoff").unwrap();
            let count = i32::try_from(subscriptions.len()).unwrap();
            let asked = (SUBSCRIPTIONS as i32, EVENTS as i32, count, NUMBER as i32);
            assert_eq!(poll.call(&mut self.store, asked).unwrap(), 0);
            let events = usize::try_from(self.read(NUMBER) & 0xffff_ffff).unwrap();
            (0..events).map(|i| (self.read(EVENTS + 32 * i), self.read(EVENTS + 32 * i + 8) >> 16)).collect()
        }

        fn read(&mut self, at: usize) -> u64 {
            let mut bytes = [0; 8];
            self.memory.read(&self.store, at, &mut bytes).unwrap();
            u64::from_le_bytes(bytes)
        }
    }

    /// A subscription to a clock.
    fn sleep(userdata: u64, clock: u64, timeout: u64, flags: u64) -> [u64; 6] {
        [userdata, 0, clock, timeout, 0, flags]
    }

    #[test]
    fn the_wall_clock_reads_what_it_was_told_and_the_other_goes_on() {
        let mut clock = Clock::new();
        clock.set(1_700_000_000_123_456_789);
        assert_eq!(clock.now(0), 1_700_000_000_123_456_789);
        assert_eq!((clock.now(1), clock.now(1)), (1000, 2000));
        assert_eq!(clock.now(0), 1_700_000_000_123_456_789);
    }

    #[test]
    fn who_sleeps_wakes_at_once_and_the_first_one_first() {
        let mut clock = Clock::new();
        let events = clock.poll(&[sleep(7, 1, 10_000_000, 0), sleep(8, 1, 5_000_000, 0)]);
        assert_eq!(events, [(8, 0)]);
        assert_eq!(clock.now(1), 5_001_000);
    }

    #[test]
    fn who_sleeps_until_a_time_wakes_at_that_time() {
        let mut clock = Clock::new();
        assert_eq!(clock.poll(&[sleep(7, 1, 9_000_000, 1)]), [(7, 0)]);
        let now = clock.now(1);
        assert!((9_000_000..9_010_000).contains(&now), "{now}");
        assert_eq!(clock.poll(&[sleep(7, 1, 5, 1)]), [(7, 0)]);
    }

    #[test]
    fn files_are_ready_before_any_time_passes() {
        let mut clock = Clock::new();
        let events = clock.poll(&[sleep(7, 1, 10_000_000, 0), [8, 1, 0, 0, 0, 0], [9, 2, 1, 0, 0, 0]]);
        assert_eq!(events, [(8, 1), (9, 2)]);
        assert_eq!(clock.now(1), 1000);
    }
}
