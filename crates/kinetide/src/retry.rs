//! Waiting between attempts. The SDK's own retries are off; every retry in this crate is one of these, visible and bounded.

use std::time::Duration;

use crate::rng::Rng;

/// Exponential waits with full jitter, bounded in length.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits that double from `first` up to `most`.
    #[must_use]
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// The next wait: between half of the current step and all of it.
    pub fn next(&mut self, rng: &mut Rng) -> Duration {
        let step = self.next.min(self.most);
        self.next = step.saturating_mul(2).min(self.most);
        step / 2 + rng.duration_to(step / 2)
    }

    /// Starts again after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_bound_and_starts_again() {
        let mut rng = Rng::seeded(1);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400));
        for step in [100, 200, 400, 400] {
            let wait = backoff.next(&mut rng).as_millis();
            assert!((step / 2..=step).contains(&wait), "{wait} for step {step}");
        }
        backoff.reset();
        assert!(backoff.next(&mut rng) <= Duration::from_millis(100));
    }
}
