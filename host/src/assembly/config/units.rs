//! Durations and sizes, with their units.

use std::time::Duration;

use thiserror::Error;

/// Why a text is not a duration or a size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnitError {
    #[error(
        "`{0}` is not a duration: write a number and a unit, such as \"500ms\", \"30s\", \"15m\", \"12h\" or \"30d\""
    )]
    Duration(String),
    #[error(
        "`{0}` is not a size: write a whole number and a unit, such as \"512B\", \"64KiB\", \"64MiB\" or \"1GiB\""
    )]
    Size(String),
}

/// `"30s"`, `"1h 30m"`, `"100ms"`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let wrong = || UnitError::Duration(text.to_owned());
    if text.trim().bytes().all(|byte| byte.is_ascii_digit()) {
        // A bare number (0 included) leaves open what it counts.
        return Err(wrong());
    }
    humantime::parse_duration(text).map_err(|_| wrong())
}

/// `"64MiB"`: B, KiB, MiB, GiB (powers of 1,024), KB, MB, GB (powers of 1,000).
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let wrong = || UnitError::Size(text.to_owned());
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_needed_and_understood() {
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("5 KB"), Ok(5000));
        for bad in ["", "5", "0", "s", "-1s", "1 fortnight"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "5", "MiB", "1.5MiB", "-1B", "99999999999999999999GiB", "1 TB"] {
            assert!(parse_size(bad).is_err(), "{bad:?}");
        }
    }
}
