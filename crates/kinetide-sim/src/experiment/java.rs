//! What a fleet of Java workers of KCL 2.x costs, computed from its intervals (`DynamoDBLeaseRenewer`, `DynamoDBLeaseTaker`,
//! `DeterministicShuffleShardSyncLeaderDecider`, `PeriodicShardSyncManager` of 2.7). `conformance/java2` checks the counts against
//! a real worker's calls.

use std::time::Duration;

const EPSILON: Duration = Duration::from_millis(25);
const ELECTION_INTERVAL: Duration = Duration::from_secs(300);
const AUDIT_INTERVAL: Duration = Duration::from_secs(120);
const READS_PER_WRITE: f64 = 5.0;

/// Calls of a fleet in an hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calls {
    /// Writes of one unit each.
    pub renewals: f64,
    /// Reads of the whole table.
    pub scans: f64,
}

/// What so many workers do with so many leases in an hour, when nothing happens.
#[must_use]
pub fn calls_per_hour(leases: usize, workers: usize, failover_time: Duration) -> Calls {
    let per_hour = |interval: Duration| 3600.0 / interval.as_secs_f64();
    let renewals = leases as f64 * per_hour(failover_time / 3 - EPSILON);
    let takers = per_hour((failover_time + EPSILON) * 2) + per_hour(ELECTION_INTERVAL);
    Calls { renewals, scans: workers as f64 * takers + per_hour(AUDIT_INTERVAL) }
}

impl Calls {
    /// As write-equivalents, if reading the table consumes so many read units.
    #[must_use]
    pub fn write_equivalents(self, scan_units: f64) -> f64 {
        self.renewals + self.scans * scan_units / READS_PER_WRITE
    }
}

/// When a dead worker's last lease is taken at the latest: it expires two looks after its last renewal at worst, and only looks
/// find it.
#[must_use]
pub fn takeover(failover_time: Duration) -> Duration {
    let look = (failover_time + EPSILON) * 2;
    look * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_with_four_leases_costs_what_was_measured() {
        let calls = calls_per_hour(4, 1, Duration::from_secs(10));
        // Measured with 2.7.2: 1,095 write-equivalents per lease-hour in all, nearly all of them renewals.
        let each = calls.write_equivalents(0.5) / 4.0;
        assert!((1_088.0..1_102.0).contains(&each), "{each}");
    }
}
