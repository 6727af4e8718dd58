//! Which workers there are, by the items they write about themselves.
//!
//! A worker counts while its item is fresh; one whose last figure could not be captured is left as it is until the next
//! one can. Whether a worker is alive is not decided here: the counters of its leases tell.

use std::collections::BTreeMap;

use super::AssignSettings;
use crate::coordinator::worker_metrics::item::{MetricName, NOT_CAPTURED, WorkerMetrics};
use crate::stream::WorkerId;

/// Java takes a metric of this name for a sign that a worker has none, though throughput is stored as `T`: an explicit
/// `T` is a metric like any other.
const NO_METRIC: &str = "THROUGHPUT";

/// The workers of a fleet, sorted by what the leader may do with them; each list by id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Workers {
    /// They get leases and give them away.
    pub active: Vec<Worker>,
    /// The last value of one of their metrics could not be captured: nothing is given to them, nothing taken from them.
    pub excluded: Vec<WorkerId>,
    /// They have not written for two report intervals. Leases that they still renew stay with them.
    pub inactive: Vec<WorkerId>,
    /// Their items make no sense: no time, values without a range, a range of 0.
    pub invalid: Vec<WorkerId>,
    /// Items to delete, and the time in them: they must still say so when they are deleted.
    pub stale: Vec<(WorkerId, u64)>,
}

/// A worker that takes part.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    /// Who.
    pub id: WorkerId,
    /// How old its last figures are.
    pub age_seconds: u64,
    /// Its figures by metric. None: it has no metrics, and is judged by the throughput of its leases.
    pub metrics: BTreeMap<MetricName, Metric>,
}

/// One metric of one worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Averages in percent, oldest first; at least one was captured.
    pub samples: Vec<f64>,
    /// How far it may go, in percent.
    pub range: f64,
}

enum Standing {
    Active(Worker),
    Excluded,
    Inactive,
    Invalid,
}

impl Workers {
    /// Sorts the items read just now; `now_seconds` is the leader's wall clock, in seconds since 1970.
    #[must_use]
    pub fn of(items: &[WorkerMetrics], now_seconds: u64, settings: &AssignSettings) -> Self {
        let mut workers = Self::default();
        let stale_after = settings.metrics_stale_after.as_secs();
        // A worker may have an item in each of two tables while a fleet changes from one to the other: the newer one
        // counts.
        let mut newest: BTreeMap<&WorkerId, &WorkerMetrics> = BTreeMap::new();
        for item in items {
            let updated_at = item.updated_at.filter(|at| now_seconds.saturating_sub(*at) > stale_after);
            workers.stale.extend(updated_at.map(|at| (item.worker.clone(), at)));
            let known = newest.entry(&item.worker).or_insert(item);
            if known.updated_at < item.updated_at {
                *known = item;
            }
        }
        workers.stale.sort();
        for item in newest.into_values() {
            match standing(item, now_seconds, settings) {
                Standing::Active(worker) => workers.active.push(worker),
                Standing::Excluded => workers.excluded.push(item.worker.clone()),
                Standing::Inactive => workers.inactive.push(item.worker.clone()),
                Standing::Invalid => workers.invalid.push(item.worker.clone()),
            }
        }
        workers
    }
}

fn standing(item: &WorkerMetrics, now_seconds: u64, settings: &AssignSettings) -> Standing {
    let (Some(updated_at), Some(metrics)) = (item.updated_at, metrics(item)) else { return Standing::Invalid };
    let age_seconds = now_seconds.saturating_sub(updated_at);
    if age_seconds > 2 * settings.metrics_report_interval.as_secs() {
        return Standing::Inactive;
    }
    if metrics.values().any(|metric| metric.samples.last() == Some(&NOT_CAPTURED)) {
        return Standing::Excluded;
    }
    let metrics = metrics.into_iter().filter(|(_, metric)| metric.samples.iter().any(|sample| is_captured(*sample)));
    Standing::Active(Worker { id: item.worker.clone(), age_seconds, metrics: metrics.collect() })
}

/// A worker's metrics with their ranges; `None` if the item is not valid.
fn metrics(item: &WorkerMetrics) -> Option<BTreeMap<MetricName, Metric>> {
    let has_none = item.stats.as_ref().is_none_or(BTreeMap::is_empty);
    let has_no_ranges = item.ranges.as_ref().is_none_or(BTreeMap::is_empty);
    if has_none && has_no_ranges || item.stats.as_ref().is_some_and(|stats| stats.contains_key(NO_METRIC)) {
        return Some(BTreeMap::new());
    }
    let (stats, ranges) = (item.stats.as_ref()?, item.ranges.as_ref()?);
    if !ranges.values().all(|range| range.first().is_some_and(|most| *most > 0.0)) {
        return None;
    }
    let metric = |(name, samples): (&MetricName, &Vec<f64>)| {
        let range = *ranges.get(name)?.first()?;
        Some((name.clone(), Metric { samples: samples.clone(), range }))
    };
    stats.iter().map(metric).collect()
}

fn is_captured(sample: f64) -> bool {
    sample >= 0.0 && sample.is_finite()
}

impl Metric {
    /// Moving average of the captured samples.
    #[must_use]
    pub fn value(&self, alpha: f64) -> f64 {
        self.smooth(alpha, |_, sample| sample)
    }

    /// Moving average of what `read` makes of each captured sample, given how many came after it.
    pub(super) fn smooth(&self, alpha: f64, read: impl Fn(usize, f64) -> f64) -> f64 {
        let values = self.captured().map(|(place, sample)| read(place, sample));
        values.reduce(|average, value| alpha * value + (1.0 - alpha) * average).unwrap_or(0.0)
    }

    /// Plain average of the same.
    pub(super) fn mean(&self, read: impl Fn(usize, f64) -> f64) -> f64 {
        let sum: f64 = self.captured().map(|(place, sample)| read(place, sample)).sum();
        sum / self.captured().count().max(1) as f64
    }

    /// The captured samples, oldest first, and how many came after each.
    fn captured(&self) -> impl Iterator<Item = (usize, f64)> {
        let places = (0..self.samples.len()).rev();
        places.zip(self.samples.iter().copied()).filter(|(_, sample)| is_captured(*sample))
    }
}
