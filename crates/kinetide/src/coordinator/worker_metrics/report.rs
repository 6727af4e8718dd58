//! What this worker tells the fleet: its item, made of what was collected, and refused if it would do harm.
//!
//! A worker without metrics tells so with empty maps. That is valid: the leader goes by its throughput, and gives
//! leases to nobody who tells nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::item::{MetricName, Support, WorkerMetrics};
use crate::stream::{Timestamp, WorkerId};

/// How far every metric may go, in percent.
const UTILISATION_MAX: f64 = 100.0;
/// This worker gets on with everything in one table.
const SUPPORT_CODE: u64 = 1;

/// A report that must not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnfitReport {
    /// It does not even say that there are none.
    #[error("worker metrics are missing, worker={worker}")]
    NoMetrics {
        /// Whose.
        worker: WorkerId,
    },
    /// A metric has a name and no values, which the leader cannot read.
    #[error("a worker metric has no values, worker={worker} metric={metric}")]
    NoValues {
        /// Whose.
        worker: WorkerId,
        /// Its short name.
        metric: MetricName,
    },
    /// It does not say when it was made.
    #[error("worker metrics have no time, worker={worker}")]
    NoTime {
        /// Whose.
        worker: WorkerId,
    },
    /// It was made so long ago that the worker would be taken for dead.
    #[error("worker metrics are {} s old, worker={worker}", age.as_secs())]
    Old {
        /// Whose.
        worker: WorkerId,
        /// How old it is.
        age: Duration,
    },
}

/// The item of a worker with these averages, now.
#[must_use]
pub fn build(worker: &WorkerId, stats: BTreeMap<MetricName, Vec<f64>>, now: Timestamp) -> WorkerMetrics {
    let now = u64::try_from(now.as_millis() / 1000).unwrap_or(0);
    // In every report, not only the first: the leader may have deleted the item meanwhile.
    let ranges = stats.keys().map(|metric| (metric.clone(), vec![UTILISATION_MAX])).collect();
    WorkerMetrics {
        worker: worker.clone(),
        updated_at: Some(now),
        stats: Some(stats),
        ranges: Some(ranges),
        support: Some(Support { code: SUPPORT_CODE, at: now }),
    }
}

/// Refuses what a Java worker refuses to write.
///
/// # Errors
/// [`UnfitReport`] if there are no metrics, one has no values, or all of it is as old as two reports or has no time.
pub fn check(metrics: &WorkerMetrics, now: Timestamp, report_interval: Duration) -> Result<(), UnfitReport> {
    let worker = || metrics.worker.clone();
    let stats = metrics.stats.as_ref().ok_or_else(|| UnfitReport::NoMetrics { worker: worker() })?;
    if let Some((metric, _)) = stats.iter().find(|(_, values)| values.is_empty()) {
        return Err(UnfitReport::NoValues { worker: worker(), metric: metric.clone() });
    }
    let updated_at = metrics.updated_at.ok_or_else(|| UnfitReport::NoTime { worker: worker() })?;
    let now = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0));
    let age = now.saturating_sub(Duration::from_secs(updated_at));
    if age >= report_interval.saturating_mul(2) {
        return Err(UnfitReport::Old { worker: worker(), age });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);
    const NOW: i64 = 1_763_719_000_999;

    fn worker() -> WorkerId {
        WorkerId::new("w").unwrap()
    }

    fn with_values(values: Vec<f64>) -> WorkerMetrics {
        build(&worker(), BTreeMap::from([("C".to_owned(), values)]), Timestamp::from_millis(NOW))
    }

    fn checked(metrics: &WorkerMetrics, later_millis: i64) -> Result<(), String> {
        check(metrics, Timestamp::from_millis(NOW + later_millis), INTERVAL).map_err(|error| error.to_string())
    }

    #[test]
    fn a_report_says_everything() {
        let expected = WorkerMetrics {
            worker: worker(),
            updated_at: Some(1_763_719_000),
            stats: Some(BTreeMap::from([("C".to_owned(), vec![-1.0, 12.5])])),
            ranges: Some(BTreeMap::from([("C".to_owned(), vec![100.0])])),
            support: Some(Support { code: 1, at: 1_763_719_000 }),
        };
        let metrics = with_values(vec![-1.0, 12.5]);
        assert_eq!(metrics, expected);
        assert_eq!(checked(&metrics, 0), Ok(()));
    }

    #[test]
    fn a_worker_without_metrics_tells_so() {
        let metrics = build(&worker(), BTreeMap::new(), Timestamp::from_millis(NOW));
        assert_eq!((&metrics.stats, &metrics.ranges), (&Some(BTreeMap::new()), &Some(BTreeMap::new())));
        assert_eq!(checked(&metrics, 0), Ok(()));
    }

    #[test]
    fn what_the_leader_cannot_read_is_refused() {
        let refused = |text: &str| Err(text.to_owned());
        assert_eq!(checked(&with_values(Vec::new()), 0), refused("a worker metric has no values, worker=w metric=C"));
        let metrics = WorkerMetrics { stats: None, ..with_values(vec![1.0]) };
        assert_eq!(checked(&metrics, 0), refused("worker metrics are missing, worker=w"));
        let metrics = WorkerMetrics { updated_at: None, ..with_values(vec![1.0]) };
        assert_eq!(checked(&metrics, 0), refused("worker metrics have no time, worker=w"));
    }

    #[test]
    fn what_is_as_old_as_two_reports_is_refused() {
        let metrics = with_values(vec![1.0]);
        // The time is in whole seconds, and the report was made at the end of one.
        assert_eq!(checked(&metrics, 60_000 - 999 - 1), Ok(()));
        assert_eq!(checked(&metrics, 60_000 - 999), Err("worker metrics are 60 s old, worker=w".to_owned()));
        assert_eq!(checked(&metrics, -3_600_000), Ok(()), "a clock that was set back");
    }
}
