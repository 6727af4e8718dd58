//! The facts about a fleet on which migrations depend: who owns leases, and what each worker says about itself.
//!
//! Times of other workers are wall-clock times, so they are compared with the wall clock; clocks that differ by seconds only
//! shift when something counts as old.

use std::collections::BTreeSet;
use std::time::Duration;

use super::entity::Place;
use crate::coordinator::worker_metrics::item::{Support, WorkerMetrics};
use crate::lease::Lease;
use crate::stream::{Timestamp, WorkerId};

/// A worker whose metrics are older than this is not active.
pub const ACTIVE_AGE_MAX: Duration = Duration::from_secs(60);

/// What a worker says about the tables it can do with counts for this long.
pub const SUPPORT_AGE_MAX: Duration = Duration::from_secs(90);

/// What a worker must support to live with everything in one table.
pub const SINGLE_TABLE: u64 = 1;

/// What one metrics item says about its worker's life and abilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The worker.
    pub worker: WorkerId,
    /// The table the item is in.
    pub place: Place,
    /// When it was written, in seconds since 1970.
    pub updated_at: Option<u64>,
    /// What the worker can do with; workers before 3.5 do not say.
    pub support: Option<Support>,
}

impl Report {
    /// What this item, read from this table, says.
    #[must_use]
    pub fn of(metrics: &WorkerMetrics, place: Place) -> Self {
        Self { worker: metrics.worker.clone(), place, updated_at: metrics.updated_at, support: metrics.support }
    }
}

/// Who owns leases and who reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet {
    /// The distinct owners of all leases, dead ones included; `None` stands for leases that nobody owns.
    pub owners: BTreeSet<Option<WorkerId>>,
    /// What all workers say, from both tables.
    pub reports: Vec<Report>,
}

impl Fleet {
    /// The fleet of these leases and reports.
    #[must_use]
    pub fn of(leases: &[Lease], reports: Vec<Report>) -> Self {
        Self { owners: leases.iter().map(|lease| lease.owner.clone()).collect(), reports }
    }

    /// True if every owner is about to work as 3.x: each has metrics less than 60 s old. Leases that nobody owns speak
    /// against it, and so do dead owners, until their leases are taken.
    #[must_use]
    pub fn is_ready_for_3x(&self, now: Timestamp) -> bool {
        let is_fresh = |report: &Report| {
            report.updated_at.is_some_and(|at| at.saturating_add(ACTIVE_AGE_MAX.as_secs()) > seconds(now))
        };
        let fresh: BTreeSet<_> =
            self.reports.iter().filter(|report| is_fresh(report)).map(|report| &report.worker).collect();
        self.owners.iter().all(|owner| owner.as_ref().is_some_and(|owner| fresh.contains(owner)))
    }

    /// Owners that do not say, or have not said lately, that they can do with one table.
    pub fn owners_without_support(&self, now: Timestamp) -> impl Iterator<Item = &WorkerId> {
        self.owners.iter().flatten().filter(move |owner| !self.supports_single_table(owner, now))
    }

    /// True if there are owners and each of them can do with one table.
    #[must_use]
    pub fn supports(&self, now: Timestamp) -> bool {
        self.has_owners() && self.owners_without_support(now).next().is_none()
    }

    /// A worker may have an item in both tables: what it said last counts.
    fn supports_single_table(&self, worker: &WorkerId, now: Timestamp) -> bool {
        let said = self.reports.iter().filter(|report| report.worker == *worker).filter_map(|report| report.support);
        let last = said.max_by_key(|support| support.at);
        last.is_some_and(|support| support.code >= SINGLE_TABLE && age(support.at, now) <= SUPPORT_AGE_MAX)
    }

    /// True if there are owners, each of them reports, and nobody reports to the legacy table any more.
    #[must_use]
    pub fn reports_to_lease_table(&self, now: Timestamp) -> bool {
        let active = self.reports.iter().filter(|report| is_active(report, now));
        let active: BTreeSet<_> = active.map(|report| &report.worker).collect();
        self.has_owners()
            && self.owners.iter().flatten().all(|owner| active.contains(owner))
            && !self.reports_to_legacy(now)
    }

    /// True if somebody still reports to the legacy table.
    #[must_use]
    pub fn reports_to_legacy(&self, now: Timestamp) -> bool {
        self.reports.iter().any(|report| report.place == Place::Legacy && is_active(report, now))
    }

    fn has_owners(&self) -> bool {
        self.owners.iter().any(Option::is_some)
    }
}

fn is_active(report: &Report, now: Timestamp) -> bool {
    report.updated_at.is_some_and(|at| age(at, now) <= ACTIVE_AGE_MAX)
}

fn seconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_millis() / 1000).unwrap_or(0)
}

/// How long ago a second since 1970 was; zero if it lies ahead.
fn age(at: u64, now: Timestamp) -> Duration {
    let now = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0));
    now.saturating_sub(Duration::from_secs(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Checkpoint, ShardId};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_500);
    const SECOND: u64 = 1_000_000;

    fn worker(name: &str) -> WorkerId {
        WorkerId::new(name).unwrap()
    }

    fn owned_by(index: usize, owner: Option<&str>) -> Lease {
        let key = ShardId::new(format!("shardId-{index:012}")).unwrap();
        Lease { owner: owner.map(worker), ..Lease::new(key, Checkpoint::Latest) }
    }

    fn report(name: &str, place: Place, seconds_ago: u64) -> Report {
        Report { worker: worker(name), place, updated_at: Some(SECOND - seconds_ago), support: None }
    }

    fn supporting(name: &str, place: Place, code: u64, seconds_ago: u64) -> Report {
        Report { support: Some(Support { code, at: SECOND - seconds_ago }), ..report(name, place, seconds_ago) }
    }

    fn fleet(owners: &[Option<&str>], reports: Vec<Report>) -> Fleet {
        let leases: Vec<_> = owners.iter().enumerate().map(|(index, owner)| owned_by(index, *owner)).collect();
        Fleet::of(&leases, reports)
    }

    #[test]
    fn every_owner_must_report_before_3x_dead_and_missing_ones_too() {
        use Place::{LeaseTable, Legacy};
        let ready = |owners: &[Option<&str>], reports| fleet(owners, reports).is_ready_for_3x(NOW);
        let both = || vec![report("a", Legacy, 1), report("b", LeaseTable, 59)];
        assert!(ready(&[Some("a"), Some("b"), Some("a")], both()));
        assert!(!ready(&[Some("a"), Some("dead")], both()));
        assert!(!ready(&[Some("a"), None], both()), "a lease nobody owns");
        assert!(!ready(&[Some("a")], vec![report("a", Legacy, 60)]), "60 s are too old");
        assert!(!ready(&[Some("a")], vec![Report { updated_at: None, ..report("a", Legacy, 0) }]));
        assert!(ready(&[], Vec::new()), "as in Java: nobody stands in the way");
    }

    #[test]
    fn support_must_be_said_again_and_again() {
        use Place::{LeaseTable, Legacy};
        let supports = |reports| fleet(&[Some("a"), None], reports).supports(NOW);
        assert!(supports(vec![supporting("a", Legacy, 1, 89)]));
        assert!(supports(vec![supporting("a", Legacy, 2, 0)]), "a later worker can do more");
        assert!(!supports(vec![supporting("a", Legacy, 1, 90)]), "90.5 s ago");
        assert!(!supports(vec![supporting("a", Legacy, 0, 1)]));
        assert!(!supports(vec![report("a", Legacy, 1)]), "before 3.5");
        assert!(!supports(vec![supporting("b", Legacy, 1, 1)]), "somebody else");
        assert!(supports(vec![supporting("a", Legacy, 0, 50), supporting("a", LeaseTable, 1, 10)]), "the last word");
        assert!(!supports(vec![supporting("a", Legacy, 1, 50), supporting("a", LeaseTable, 0, 10)]));
        assert!(!fleet(&[None], vec![supporting("a", Legacy, 1, 1)]).supports(NOW), "there must be owners");
    }

    #[test]
    fn writers_are_where_their_fresh_items_are() {
        use Place::{LeaseTable, Legacy};
        let moved = |reports| fleet(&[Some("a"), Some("b"), None], reports).reports_to_lease_table(NOW);
        assert!(moved(vec![report("a", LeaseTable, 1), report("b", LeaseTable, 59), report("b", Legacy, 60)]));
        assert!(!moved(vec![report("a", LeaseTable, 1), report("b", Legacy, 1)]));
        assert!(!moved(vec![report("a", LeaseTable, 1), report("b", LeaseTable, 60)]), "60.5 s are too old");
        let idle = vec![report("a", LeaseTable, 1), report("b", LeaseTable, 1), report("idle", Legacy, 1)];
        assert!(!moved(idle), "a worker without leases counts too");
    }

    #[test]
    fn a_clock_ahead_of_ours_is_no_reason_to_wait() {
        let ahead = Report { updated_at: Some(SECOND + 3_600), ..report("a", Place::LeaseTable, 0) };
        let fleet = fleet(&[Some("a")], vec![ahead]);
        assert!(fleet.is_ready_for_3x(NOW) && fleet.reports_to_lease_table(NOW));
        assert!(!fleet.is_ready_for_3x(Timestamp::from_millis(i64::MAX)));
    }
}
