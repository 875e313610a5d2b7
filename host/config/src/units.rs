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
    #[error(
        "`{0}` is not a rate: write a whole number per second, minute or hour, such as \"100/s\" or \"6000/m\""
    )]
    Rate(String),
    #[error("`{0}` is not a share: write a percentage above 0, such as \"50%\"")]
    Share(String),
}

/// `"100/s"`, `"6000/m"`, `"360000/h"`, as N per second.
pub(super) fn parse_rate(text: &str) -> Result<f64, UnitError> {
    let wrong = || UnitError::Rate(text.to_owned());
    let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
    let number: u32 = number.trim().parse().map_err(|_| wrong())?;
    let seconds = match unit.trim() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    if number > 0 { Ok(f64::from(number) / seconds) } else { Err(wrong()) }
}

/// `"50%"` as 0.5.
pub(super) fn parse_share(text: &str) -> Result<f64, UnitError> {
    let wrong = || UnitError::Share(text.to_owned());
    let percent: f64 = text.strip_suffix('%').ok_or_else(wrong)?.trim().parse().map_err(|_| wrong())?;
    if percent > 0.0 && percent <= 100.0 { Ok(percent / 100.0) } else { Err(wrong()) }
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
        assert_eq!(parse_rate("100/s"), Ok(100.0));
        assert_eq!(parse_rate("30 / m"), Ok(0.5));
        assert_eq!(parse_share("50%"), Ok(0.5));
        for bad in ["", "100", "0/s", "x/s", "1/d"] {
            assert!(parse_rate(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "0.5", "0%", "101%", "x%"] {
            assert!(parse_share(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "5", "0", "s", "-1s", "1 fortnight"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "5", "MiB", "1.5MiB", "-1B", "99999999999999999999GiB", "1 TB"] {
            assert!(parse_size(bad).is_err(), "{bad:?}");
        }
    }
}
