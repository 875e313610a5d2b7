//! Guests that use the processor and never give it back.

use crate::expect::{calls, refused, time};

guests! {
    endless_loop => time(),
    endless_attempt => calls(),
    endless_state_get => calls(),
    endless_config_get => calls(),
    endless_log => calls(),
    endless_refused_publish => calls(),
    endless_reply => calls(),
    loop_in_start => refused("fails when an instance is made: time: "),
    loop_in_realloc => time(),
    loop_in_post_return => time(),
    exponential_recursion => time(),
    endless_tail_calls => time(),
    endless_indirect_calls => time(),
    jump_tables => time(),
    endless_memory_fill => time(),
    endless_memory_copy => time(),
    endless_table_fill => time(),
    endless_growth_by_nothing => time(),
    wait_for_a_wake_up => refused("threads"),
}
