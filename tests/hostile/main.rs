//! Hostile plugins: each beside a healthy neighbour that must not notice.
//!
//! Every file of `tests/guests/hostile` is a guest and says at its top what it does and what must follow; every guest
//! has a test of its name in one of the modules below. A test starts a server and a host of its own, so that whatever
//! is found is that guest's doing, and the tests take turns, because each measures how long the neighbour waits: two at
//! once would measure each other. A test takes half a second, so turns cost less than a host for many guests would.
//!
//! [`trial`] says what is checked, [`expect`] what can become of a guest, and [`assemble`](heddle_tests::assemble) how one is written.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "what fails here fails a test")]

mod expect;
mod guest;
mod load;
mod trial;

use std::collections::BTreeSet;

/// The suite has at least N guests.
const FEWEST: usize = 60;

/// A test for each guest, by its name, with what must become of it.
macro_rules! guests {
    ($($name:ident => $expected:expr,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                crate::trial::trial(stringify!($name), $expected).await;
            }
        )*

        /// The guests of this module.
        pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

mod ambient;
mod boundary;
mod cpu;
mod life;
mod loading;
mod memory;
mod output;

/// The names of all tests of a guest.
fn names() -> BTreeSet<String> {
    let guests = [
        ambient::NAMES,
        boundary::NAMES,
        cpu::NAMES,
        life::NAMES,
        loading::NAMES,
        memory::NAMES,
        output::NAMES,
        &["changed_while_read"],
    ];
    guests.concat().into_iter().map(str::to_owned).collect()
}

#[test]
fn every_guest_has_a_test_of_its_name() {
    let files = std::fs::read_dir(guest::folder()).unwrap();
    let stem = |file: std::path::PathBuf| file.file_stem().unwrap().to_str().unwrap().to_owned();
    let guests: BTreeSet<String> = files.map(|file| stem(file.unwrap().path())).collect();
    let tests = names();
    let odd: Vec<&String> = guests.symmetric_difference(&tests).collect();
    assert!(odd.is_empty(), "a guest without a test or a test without a guest: {odd:?}");
    assert!(guests.len() >= FEWEST, "only {} guests", guests.len());
}
