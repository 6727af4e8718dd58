//! The real service's throughput limits of one shard.
//!
//! Only with `enforce_limits`. Invariant: a bucket never holds more than a second's worth, so that idling saves nothing
//! up.

use std::time::Instant;

use crate::clock;

const READ_CALLS_PER_S: f64 = 5.0;
const READ_BYTES_PER_S: f64 = (2 << 20) as f64;
const WRITE_RECORDS_PER_S: f64 = 1000.0;
const WRITE_BYTES_PER_S: f64 = (1 << 20) as f64;

/// What is left of one allowance.
#[derive(Debug)]
struct Bucket {
    per_s: f64,
    level: f64,
}

impl Bucket {
    fn full(per_s: f64) -> Self {
        Self { per_s, level: per_s }
    }

    fn refill(&mut self, seconds: f64) {
        self.level = (self.level + seconds * self.per_s).min(self.per_s);
    }

    /// Whether `amount` fits; something larger than the bucket fits a full one.
    fn holds(&self, amount: f64) -> bool {
        self.level >= amount.min(self.per_s)
    }
}

/// The allowances of one shard.
#[derive(Debug)]
pub(super) struct Limits {
    refilled: Instant,
    read_calls: Bucket,
    read_bytes: Bucket,
    write_records: Bucket,
    write_bytes: Bucket,
}

impl Limits {
    pub(super) fn new() -> Self {
        Self {
            refilled: clock::monotonic(),
            read_calls: Bucket::full(READ_CALLS_PER_S),
            read_bytes: Bucket::full(READ_BYTES_PER_S),
            write_records: Bucket::full(WRITE_RECORDS_PER_S),
            write_bytes: Bucket::full(WRITE_BYTES_PER_S),
        }
    }

    /// Whether a read may go ahead at `now`. How much it will return is not known yet: see
    /// [`has_read`](Self::has_read).
    pub(super) fn may_read(&mut self, now: Instant) -> bool {
        self.refill(now);
        let may = self.read_calls.holds(1.0) && self.read_bytes.level > 0.0;
        if may {
            self.read_calls.level -= 1.0;
        }
        may
    }

    /// One call may return 10 MB; the debt it leaves keeps the following ones out, as the service does.
    pub(super) fn has_read(&mut self, bytes: usize) {
        self.read_bytes.level -= bytes as f64;
    }

    /// Takes what a record of this size needs, or nothing.
    pub(super) fn write(&mut self, now: Instant, bytes: usize) -> bool {
        self.refill(now);
        let may = self.write_records.holds(1.0) && self.write_bytes.holds(bytes as f64);
        if may {
            self.write_records.level -= 1.0;
            self.write_bytes.level -= bytes as f64;
        }
        may
    }

    fn refill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = self.refilled.max(now);
        for bucket in [&mut self.read_calls, &mut self.read_bytes, &mut self.write_records, &mut self.write_bytes] {
            bucket.refill(seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn five_reads_a_second() {
        let mut limits = Limits::new();
        let now = limits.refilled;
        let allowed = (0..20).filter(|_| limits.may_read(now)).count();
        assert_eq!(allowed, 5);
        assert!(limits.may_read(now + Duration::from_millis(201)));
        assert!(!limits.may_read(now + Duration::from_millis(202)));
    }

    #[test]
    fn a_large_read_keeps_the_next_ones_out_for_as_long_as_it_costs() {
        let mut limits = Limits::new();
        let now = limits.refilled;
        assert!(limits.may_read(now));
        limits.has_read(10 << 20);
        assert!(!limits.may_read(now + Duration::from_millis(3900)));
        assert!(limits.may_read(now + Duration::from_millis(4100)));
    }

    #[test]
    fn a_thousand_records_or_a_mebibyte_a_second() {
        let mut limits = Limits::new();
        let now = limits.refilled;
        assert_eq!((0..1500).filter(|_| limits.write(now, 10)).count(), 1000);
        let mut limits = Limits::new();
        assert!(limits.write(limits.refilled, 1 << 20) && !limits.write(limits.refilled, 1));
    }
}
