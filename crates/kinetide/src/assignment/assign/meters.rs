//! How busy each worker is, metric by metric, and what a lease more or less would change.
//!
//! Everything is an estimate from averages. A worker's own figures tell what throughput costs it, so that a slow one is
//! given less from the start (Java takes the fleet's average for everybody); they are believed within bounds, because a
//! worker that has little to do has little to show.

use std::collections::BTreeMap;

use super::AssignSettings;
use super::moves::Shift;
use super::workers::{Metric, Worker};

/// The name under which throughput stands in for metrics, for workers that have none.
const THROUGHPUT: &str = "T";

/// Differences below one point are noise. So is a share of an average that is lower.
pub(super) const NOISE_POINTS: f64 = 1.0;

/// What a full share of the load is taken to add to an idle fleet's figures at least. Without it, the worker whose idle
/// system uses one point less than the others' would get every lease at a cold start.
const SHARE_POINTS_MIN: f64 = 20.0;

/// How many times more or less than the average a worker's costs are believed to be.
const COST_RATIO_MAX: f64 = 3.0;

/// One metric of one worker, as it will be when the moves under way have shown their effect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meter<'a> {
    pub(super) name: &'a str,
    /// Moving average, in percent.
    pub(super) value: f64,
    /// The fleet's average of that.
    pub(super) average: f64,
    /// Plain average of all samples, and the fleet's average of that: slower, and steadier.
    steady: f64,
    steady_average: f64,
    /// What a unit of weight adds.
    pub(super) cost: f64,
    /// How far it may go.
    pub(super) range: f64,
    /// Throughput itself, not something measured that may have other reasons.
    pub(super) is_exact: bool,
}

impl Meter<'_> {
    /// What the worker should be at: the average, if that is within its range.
    pub(super) fn goal(&self) -> f64 {
        self.average.min(self.range).max(NOISE_POINTS)
    }

    /// How many points it is above the average (or below: negative), by the moving average and by the plain one,
    /// whichever says less: a spike is in the first only, what has passed in the second only.
    pub(super) fn distance(&self) -> f64 {
        let (now, lately) = (self.value - self.average, self.steady - self.steady_average);
        if now * lately > 0.0 { now.signum() * now.abs().min(lately.abs()) } else { 0.0 }
    }

    /// How busy it is with so much more, as a part of that.
    pub(super) fn level_with(&self, weight: f64) -> f64 {
        (self.value + self.cost * weight) / self.goal()
    }
}

/// What a worker carries, as far as its meters depend on it.
#[derive(Debug, Clone, Default)]
pub(super) struct Load {
    /// The weight of the leases it will have when the hand-offs under way are done.
    pub(super) planned: f64,
    /// What of it came or went lately.
    pub(super) shifts: Vec<Shift>,
}

/// The meters of every worker, in the order of the workers; `share` is what each should carry.
pub(super) fn read<'a>(
    workers: &'a [Worker],
    loads: &[Load],
    share: f64,
    settings: &AssignSettings,
) -> Vec<Vec<Meter<'a>>> {
    let metrics = workers.iter().flat_map(|worker| &worker.metrics);
    let as_read = Averages::of(metrics.map(|(name, metric)| (name.as_str(), metric.value(settings.metrics_alpha))));
    let of_worker = |(worker, load): (&'a Worker, &Load)| -> Vec<Meter<'a>> {
        if worker.metrics.is_empty() {
            return vec![of_throughput(load, share)];
        }
        let usual_cost = |name: &str| as_read.get(name).max(SHARE_POINTS_MIN) / share;
        let metrics = worker.metrics.iter();
        metrics.map(|(name, metric)| measured(worker, name, metric, load, usual_cost(name), settings)).collect()
    };
    let mut meters: Vec<_> = workers.iter().zip(loads).map(of_worker).collect();
    let values = Averages::of(meters.iter().flatten().map(|meter| (meter.name, meter.value)));
    let steady = Averages::of(meters.iter().flatten().map(|meter| (meter.name, meter.steady)));
    for meter in meters.iter_mut().flatten() {
        (meter.average, meter.steady_average) = (values.get(meter.name), steady.get(meter.name));
    }
    meters
}

/// What a worker without metrics is judged by: 100 is a full share. It has no range, or everybody above the average
/// would be out of it.
fn of_throughput(load: &Load, share: f64) -> Meter<'static> {
    let cost = 100.0 / share;
    let value = cost * load.planned;
    Meter {
        name: THROUGHPUT,
        value,
        average: value,
        steady: value,
        steady_average: value,
        cost,
        range: f64::INFINITY,
        is_exact: true,
    }
}

/// A metric, each sample corrected by what came and went after it.
fn measured<'a>(
    worker: &Worker,
    name: &'a str,
    metric: &Metric,
    load: &Load,
    usual_cost: f64,
    settings: &AssignSettings,
) -> Meter<'a> {
    let (alpha, interval) = (settings.metrics_alpha, settings.metrics_report_interval.as_secs_f64().max(1.0));
    let missed = |place: usize| {
        let youngest = worker.age_seconds as f64 + interval * place as f64;
        load.shifts.iter().map(|shift| shift.missed_by(youngest, interval)).sum::<f64>()
    };
    let carried = load.planned - metric.smooth(alpha, |place, _| missed(place));
    let cost = believed_cost(metric.value(alpha), carried, load.planned, usual_cost);
    let corrected = |place, sample: f64| (sample + cost * missed(place)).max(0.0);
    let (value, steady) = (metric.smooth(alpha, corrected), metric.mean(corrected));
    Meter { name, value, average: value, steady, steady_average: steady, cost, range: metric.range, is_exact: false }
}

/// What a unit of weight adds, from what a worker's figures say of the weight it carried meanwhile: as far as that is
/// the weight it will have, and within bounds.
fn believed_cost(value: f64, carried: f64, planned: f64, usual: f64) -> f64 {
    if carried <= 0.0 {
        return usual;
    }
    let belief = if carried < planned { carried / planned } else { 1.0 };
    let cost = belief * value / carried + (1.0 - belief) * usual;
    cost.max(usual / COST_RATIO_MAX).min(usual * COST_RATIO_MAX)
}

/// The fleet's average of each metric, over the workers that have it.
struct Averages<'a>(BTreeMap<&'a str, (f64, f64)>);

impl<'a> Averages<'a> {
    fn of(values: impl Iterator<Item = (&'a str, f64)>) -> Self {
        let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for (name, value) in values {
            let (sum, count) = sums.entry(name).or_default();
            (*sum, *count) = (*sum + value, *count + 1.0);
        }
        Self(sums)
    }

    fn get(&self, name: &str) -> f64 {
        self.0.get(name).map_or(0.0, |(sum, count)| sum / count)
    }
}
