//! How the promises of a release are tried, and how is said what became of each: a line with `ok`, `skip` or `FAIL`.
//!
//! Knows none of them.

use std::fmt::Display;
use std::time::Instant;

use anyhow::{Error, Result, anyhow, ensure};

/// What became of a promise that is not broken.
pub(super) enum Outcome {
    Holds,
    /// It cannot be tried here, for this reason.
    Skipped(String),
}

/// Tries a promise. If it is broken, why is said now, and the error only names it.
pub(super) fn hold<T>(promise: &str, attempt: impl FnOnce() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    let kept = attempt().map_err(|error| broken(promise, &error))?;
    kept_since(promise, began);
    Ok(kept)
}

/// The same for a promise that not every machine can try.
pub(super) fn hold_or_skip(promise: &str, attempt: impl FnOnce() -> Result<Outcome>) -> Result<()> {
    let began = Instant::now();
    match attempt().map_err(|error| broken(promise, &error))? {
        Outcome::Holds => kept_since(promise, began),
        Outcome::Skipped(reason) => skip(promise, &reason),
    }
    Ok(())
}

/// Says that promises are passed over.
pub(super) fn skip(promise: &str, reason: &str) {
    say("skip", promise, format_args!(": {reason}"));
}

/// Fails if any of them is broken, whatever became of the others.
pub(super) fn all(tried: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let failed: Vec<_> =
        tried.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}

fn kept_since(promise: &str, began: Instant) {
    say("ok", promise, format_args!(" ({:.1} s)", began.elapsed().as_secs_f32()));
}

fn broken(promise: &str, error: &Error) -> Error {
    say("FAIL", promise, format_args!(": {error:#}"));
    anyhow!("broken: {promise}")
}

fn say(mark: &str, promise: &str, more: impl Display) {
    eprintln!("{mark:<4}  {promise}{more}");
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn every_broken_promise_is_named_in_the_end_and_hides_no_other() {
        let tried = [
            hold("one", || bail!("no")),
            hold_or_skip("two", || Ok(Outcome::Skipped("there is no apt".to_owned()))),
            hold("three", || Ok(())),
            hold_or_skip("four", || bail!("neither")),
        ];
        assert_eq!(all(tried).unwrap_err().to_string(), "broken: one; broken: four");
    }
}
