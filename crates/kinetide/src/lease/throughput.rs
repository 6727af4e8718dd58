//! How much a lease gives its worker to do, in KB/s: what the leader counts with when it shares out leases.
//!
//! A [`Throughput`] belongs to one held lease and to whoever renews it; the consumer only counts bytes. It knows no
//! clock. Smoothed as in Java: half of the new value, half of what was. Unlike there
//! - a lease that was taken goes on from the stored value itself. Java counts the value as the bytes of one interval, so
//!   that each change of owner divides it by the interval's seconds;
//! - the bytes are divided by the time that really passed, and a value is added once per interval at most. A checkpoint
//!   renews a lease too, and many small intervals would forget the past at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Moment;

/// The part of a new value in the average.
const ALPHA: f64 = 0.5;
const BYTES_PER_KB: f64 = 1024.0;
/// Decimals that are stored.
const DECIMALS: usize = 6;

/// Counts the bytes of the user records a processor was given; clones share the counter.
#[derive(Debug, Clone, Default)]
pub struct ByteCounter(Arc<AtomicU64>);

impl ByteCounter {
    /// So many more.
    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// The smoothed throughput of one lease.
#[derive(Debug)]
pub struct Throughput {
    bytes: ByteCounter,
    interval: Duration,
    since: Moment,
    average: Option<f64>,
}

impl Throughput {
    /// Of a lease that is held from now on, with the throughput in its row. `interval` is how often it is renewed.
    #[must_use]
    pub fn new(stored: Option<f64>, interval: Duration, now: Moment) -> Self {
        let average = stored.filter(|value| value.is_finite() && *value >= 0.0);
        Self { bytes: ByteCounter::default(), interval, since: now, average }
    }

    /// Where the consumer counts.
    #[must_use]
    pub fn counter(&self) -> ByteCounter {
        self.bytes.clone()
    }

    /// What a renewal now stores, in KB/s: `None` while nothing is known, so that the leader takes the average of the
    /// others.
    #[must_use]
    pub fn at(&mut self, now: Moment) -> Option<f64> {
        let passed = now.since(self.since);
        if passed >= self.interval && !passed.is_zero() {
            self.since = now;
            self.add(self.bytes.take(), passed);
        }
        self.average.map(rounded)
    }

    fn add(&mut self, bytes: u64, passed: Duration) {
        let rate = bytes as f64 / BYTES_PER_KB / passed.as_secs_f64();
        self.average = match self.average {
            Some(average) => Some(ALPHA * rate + (1.0 - ALPHA) * average),
            None => (bytes > 0).then_some(rate),
        };
    }
}

/// A number that is not negative, with six decimals, half rounded up: by its decimal digits, as in Java, not by its
/// binary ones.
#[must_use]
pub(crate) fn rounded(value: f64) -> f64 {
    let text = value.to_string();
    let Some((whole, decimals)) = text.split_once('.') else { return value };
    let (Some(kept), Some(next)) = (decimals.get(..DECIMALS), decimals.as_bytes().get(DECIMALS)) else { return value };
    let Ok(millionths) = format!("{whole}{kept}").parse::<u64>() else { return value };
    // Both are whole numbers, so the quotient is the number nearest to the decimal one.
    millionths.saturating_add(u64::from(*next >= b'5')) as f64 / 10_f64.powi(DECIMALS as i32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(4);

    fn at(seconds: u64) -> Moment {
        Moment::at(Duration::from_secs(seconds))
    }

    #[test]
    fn a_new_lease_is_unknown_until_it_has_data() {
        let mut throughput = Throughput::new(None, INTERVAL, at(0));
        assert_eq!(throughput.at(at(4)), None);
        throughput.counter().add(8 << 10);
        assert_eq!(throughput.at(at(8)), Some(2.0), "the first value is not smoothed");
        assert_eq!(throughput.at(at(12)), Some(1.0));
        assert_eq!(throughput.at(at(16)), Some(0.5));
    }

    #[test]
    fn a_taken_lease_goes_on_from_its_row() {
        let mut throughput = Throughput::new(Some(100.0), INTERVAL, at(50));
        assert_eq!(throughput.at(at(50)), Some(100.0));
        throughput.counter().add(200 << 10);
        throughput.counter().add(200 << 10);
        assert_eq!(throughput.at(at(54)), Some(100.0));
        assert_eq!(throughput.at(at(58)), Some(50.0));
        for absurd in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(Throughput::new(Some(absurd), INTERVAL, at(0)).at(at(0)), None);
        }
    }

    #[test]
    fn checkpoints_between_renewals_do_not_smooth_twice() {
        let mut throughput = Throughput::new(Some(64.0), INTERVAL, at(0));
        for second in 1..4 {
            throughput.counter().add(16 << 10);
            assert_eq!(throughput.at(at(second)), Some(64.0));
        }
        throughput.counter().add(16 << 10);
        assert_eq!(throughput.at(at(4)), Some(40.0));
    }

    #[test]
    fn a_late_renewal_counts_the_time_that_passed() {
        let mut throughput = Throughput::new(None, INTERVAL, at(0));
        throughput.counter().add(80 << 10);
        assert_eq!(throughput.at(at(8)), Some(10.0));
        assert_eq!(Throughput::new(None, Duration::ZERO, at(0)).at(at(0)), None, "no time at all");
    }

    #[test]
    fn numbers_are_rounded_by_their_decimal_digits() {
        let cases = [
            (0.0, 0.0),
            (12.5, 12.5),
            (33.333_333_333_333_336, 33.333_333),
            (66.666_666_666_666_67, 66.666_667),
            (0.000_000_5, 0.000_001),
            (0.000_000_499_999, 0.0),
            (1.000_000_5, 1.000_001),
            (2.675_000_5, 2.675_001),
            (99.999_999_5, 100.0),
            (1e300, 1e300),
            (1e-300, 0.0),
        ];
        for (value, expected) in cases {
            assert_eq!(rounded(value), expected, "{value}");
        }
        assert!(rounded(f64::NAN).is_nan());
    }

    proptest! {
        #[test]
        fn a_rounded_number_is_near_and_stays(value in 0.0..1e7) {
            let once = rounded(value);
            prop_assert!((once - value).abs() <= 0.000_000_51, "{value} became {once}");
            prop_assert_eq!(rounded(once), once);
            let decimals = once.to_string().split_once('.').map_or(0, |(_, decimals)| decimals.len());
            prop_assert!(decimals <= DECIMALS, "{once}");
        }
    }
}
