//! Results in the form that build servers read.
//!
//! Source: the JUnit XML format as collected at <https://github.com/testmoapp/junitxml>.

use std::path::Path;

use anyhow::Context;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::Outcome;

/// One test that was run.
#[derive(Debug)]
pub struct Tested {
    /// The file it stands in.
    pub file: String,
    /// What the test is called: its own name, or that of the file, with a number if the file has several.
    pub name: String,
    /// Its result. Without faults it has passed.
    pub outcome: Outcome,
}

/// Writes results into a file: a suite for each test file.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, tested: &[Tested]) -> anyhow::Result<()> {
    let mut report = Report::new("heddle test");
    for of_file in tested.chunk_by(|one, other| one.file == other.file) {
        let Some(first) = of_file.first() else { continue };
        let mut suite = TestSuite::new(&*first.file);
        for test in of_file {
            let mut status = TestCaseStatus::success();
            if !test.outcome.faults.is_empty() {
                status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(test.outcome.faults.first().map_or("", String::as_str));
                status.set_description(test.outcome.faults.join("\n"));
            }
            let mut case = TestCase::new(&*test.name, status);
            case.set_classname(&*test.file).set_time(test.outcome.elapsed);
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
    }
    let text = report.to_string().context("failed to write the results as XML")?;
    std::fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))
}
