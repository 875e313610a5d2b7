//! The pace of a handler: how many of its events are begun per second. Pure; times are in milliseconds since 1970.

/// A bucket of tokens: one for each run that may begin.
#[derive(Debug)]
pub struct Tokens {
    rate: Option<f64>,
    tokens: f64,
    filled: u64,
}

/// A tenth of a second's tokens may be saved up.
const SAVED: f64 = 0.1;

impl Tokens {
    /// For N runs per second; none: as many as there are.
    pub fn new(rate: Option<f64>) -> Self {
        Tokens { rate, tokens: 1.0, filled: 0 }
    }

    /// Whether there is a rate at all.
    pub fn is_limited(&self) -> bool {
        self.rate.is_some()
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: u64) -> bool {
        let Some(rate) = self.rate else { return true };
        let passed = now.saturating_sub(self.filled) as f64 / 1000.0;
        self.tokens = (self.tokens + passed * rate).min((rate * SAVED).max(1.0));
        self.filled = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    /// When there is a token again, none having been left.
    pub fn next(&self, now: u64) -> u64 {
        let Some(rate) = self.rate else { return now };
        let wait = (1.0 - self.tokens) / rate * 1000.0;
        now + (wait.ceil() as u64).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_runs_begin_in_a_second_than_allowed_and_no_burst_is_saved_up() {
        let mut tokens = Tokens::new(Some(100.0));
        let begun = (0..=10_000).filter(|now| tokens.take(*now)).count();
        assert!((990..=1_010).contains(&begun), "{begun}");
        let burst = (0..1_000).filter(|_| tokens.take(60_000)).count();
        assert_eq!(burst, 10);
        assert_eq!(tokens.next(60_000), 60_010);
    }

    #[test]
    fn without_a_rate_there_is_no_wait() {
        let mut tokens = Tokens::new(None);
        assert!((0..1_000).all(|_| tokens.take(5)));
    }
}
