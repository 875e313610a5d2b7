//! Guests that look around, wait, print and leave.

use crate::expect::{calls, done, refused, sleeping, tells, trap, waiting};

guests! {
    environment => done("00"),
    preopened_folders => done("0"),
    look_around => tells(r#""env":[],"args":[],"read_dir":false,"tcp":false"#),
    print_escape_codes => done("printed"),
    panic => trap("out of thread"),
    sleep_in_std => waiting(),
    sleep_for_an_hour => waiting(),
    sleep_until_the_end_of_time => waiting(),
    sleep_in_naps => sleeping(),
    gigabyte_of_random => trap("exceeds limit 65536"),
    endless_random => calls(),
    exit_well => trap("plugin exited with code 0"),
    exit_badly => trap("plugin exited with code 1"),
    endless_output => calls(),
    output_of_a_terabyte => trap("Buffer too large"),
    lines_without_end => calls(),
    exit_in_start => refused("fails when an instance is made: plugin exited with code 0"),
    sleep_in_start => refused("fails when an instance is made: it waited for more than"),
}
