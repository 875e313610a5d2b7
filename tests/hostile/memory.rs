//! Guests that want more memory than there is for them.

use crate::expect::{done, memory, refused, reject, stack, table, trap};

guests! {
    grow_at_once => memory(),
    grow_page_by_page => memory(),
    large_initial_memory => refused("memory: 26214400 bytes used, 16777216 bytes allowed"),
    largest_initial_memory => refused("memory index 0 is unsupported"),
    declared_maximum => done(""),
    memories_together => refused("30"),
    many_memories => refused("defined memories count of 51 exceeds"),
    large_table => refused("table index 0 has a minimum element size"),
    table_growth => table(),
    table_growth_step_by_step => reject("no more elements"),
    many_tables => refused("tables"),
    huge_elements => trap("out of bounds table access"),
    data_out_of_bounds => refused("out of bounds"),
    too_many_data_segments => refused("data segments"),
    large_data => done("f"),
    deep_recursion => stack(),
    wide_recursion => stack(),
    recursion_in_realloc => stack(),
    collected_memory => refused("gc"),
    memory_of_64_bits => refused("defined memories count of 2 exceeds"),
    grow_in_start => refused("fails when an instance is made: memory: "),
    grow_in_realloc => memory(),
    host_calls_at_the_end_of_the_stack => stack(),
    large_elements_of_a_table => done(""),
}
