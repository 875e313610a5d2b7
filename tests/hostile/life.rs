//! Guests that fail, wait or keep what they should not, event after event.

use crate::expect::{Expect, done, refused, retry, trap};

guests! {
    trap_always => trap("unreachable"),
    trap_one_time_in_two => done(""),
    divide_by_zero => trap("divide by zero"),
    read_beyond_memory => trap("out of bounds memory access"),
    call_of_another_type => trap("indirect call type mismatch"),
    call_of_nothing => trap("uninitialized element"),
    number_out_of_range => trap("overflow"),
    throw_nothing_catches => refused("exceptions proposal not enabled"),
    retry_always => retry("once more"),
    defer_always => Expect::Waits,
    defer_for_ages => Expect::Waits,
    slow_start => done(""),
    leak => done(""),
    state_in_globals => done("11"),
    state_of_a_failed_event => done("0"),
    defer_for_4_mib_of_reasons => Expect::Waits,
    retry_for_4_mib_of_reasons => retry("AAAAAAAA"),
    leak_in_a_reused_instance => done(""),
    trap_in_a_reused_instance => trap("unreachable"),
    effects_in_a_reused_instance => done(""),
    odd_keys => done("1"),
}
