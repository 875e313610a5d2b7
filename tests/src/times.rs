//! How long tests take, for whoever wants to know which are the slowest: written into a file that the environment names.
//!
//! A test counts from its first use of the kit to its end, and is named after its thread, as the harness names it.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::Instant;

/// Names the file, to which lines are added: seconds and the test.
const FILE: &str = "HEDDLE_TEST_TIMES";

thread_local! {
    static TEST: OnceCell<Option<Test>> = const { OnceCell::new() };
}

struct Test {
    file: OsString,
    name: String,
    began: Instant,
}

/// Takes the time of the test that runs on this thread, if one does.
pub(crate) fn note() {
    // A thread that ends needs no time taken any more.
    TEST.try_with(|test| {
        test.get_or_init(Test::of_this_thread);
    })
    .ok();
}

impl Test {
    fn of_this_thread() -> Option<Self> {
        let file = std::env::var_os(FILE)?;
        let name = std::thread::current().name().filter(|name| name.contains("::"))?.to_owned();
        Some(Test { file, name, began: Instant::now() })
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        let line = format!("{:.1} {}\n", self.began.elapsed().as_secs_f64(), self.name);
        // Nothing depends on it.
        let file = OpenOptions::new().append(true).create(true).open(&self.file);
        file.and_then(|mut file| file.write_all(line.as_bytes())).ok();
    }
}
