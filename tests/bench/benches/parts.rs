//! The parts of an event's journey, one by one.
fn main() {}
