//! What Java's leader (3.5.1) decides in the same place, as the reference describes it
//! (`VarianceBasedLeaseAssignmentDecider`): to compare with, not to use.

use std::collections::{BTreeMap, BTreeSet};

use super::super::workers::{Worker, Workers};
use super::super::{Action, AssignSettings, Snapshot};
use crate::lease::{Lease, LeaseKey};
use crate::rng::Rng;
use crate::stream::WorkerId;

/// Java remembers when to balance.
#[derive(Debug, Default)]
pub(super) struct Memory {
    runs: u32,
}

struct Decider<'a> {
    stats: BTreeMap<&'a WorkerId, BTreeMap<String, f64>>,
    ranges: BTreeMap<&'a WorkerId, BTreeMap<String, f64>>,
    averages: BTreeMap<String, f64>,
    /// Workers that can be given more.
    queue: BTreeSet<&'a WorkerId>,
    leases: BTreeMap<&'a WorkerId, Vec<&'a Lease>>,
    throughputs: BTreeMap<&'a WorkerId, f64>,
    lease_average: f64,
    target: f64,
    leases_per_worker: f64,
    settings: &'a AssignSettings,
    assigned: BTreeMap<&'a LeaseKey, (&'a Lease, &'a WorkerId)>,
}

/// One run.
pub(super) fn run(
    snapshot: &Snapshot<'_>,
    settings: &AssignSettings,
    memory: &mut Memory,
    rng: &mut Rng,
) -> Vec<Action> {
    let workers = Workers::of(snapshot.metrics, snapshot.now_seconds, settings);
    let mut decider = Decider::new(snapshot, &workers, settings);
    let is_free = |lease: &&Lease| {
        let is_expired = snapshot.observations.is_still_for(&lease.key, snapshot.now, settings.failover_time);
        lease.actual_owner().is_none() || is_expired
    };
    let free: Vec<&Lease> = snapshot.leases.iter().filter(is_free).collect();
    decider.assign_free(&free);
    if memory.runs == 0 {
        decider.balance(rng);
    }
    memory.runs = (memory.runs + 1) % settings.balancing_frequency;
    // No hand-off in these tests outlives its deadline: a pending one blocks.
    let assigned = decider.assigned.into_values();
    let may_be = assigned.filter(|(lease, _)| lease.checkpoint_owner.is_none() || is_free(lease));
    let action = |(lease, to): (&Lease, &WorkerId)| {
        let (lease, to) = (lease.clone(), to.clone());
        if is_free(&&lease) { Action::Assign { lease, to } } else { Action::HandOff { lease, to } }
    };
    may_be.map(action).collect()
}

impl<'a> Decider<'a> {
    fn new(snapshot: &Snapshot<'a>, workers: &'a Workers, settings: &'a AssignSettings) -> Self {
        let measured: Vec<f64> = snapshot.leases.iter().filter_map(|lease| lease.throughput_kbps).collect();
        let lease_average = measured.iter().sum::<f64>() / measured.len().max(1) as f64;
        let count = workers.active.len().max(1) as f64;
        let mut decider = Self {
            stats: BTreeMap::new(),
            ranges: BTreeMap::new(),
            averages: BTreeMap::new(),
            queue: BTreeSet::new(),
            leases: BTreeMap::new(),
            throughputs: BTreeMap::new(),
            lease_average,
            target: lease_average * snapshot.leases.len() as f64 / count,
            leases_per_worker: (snapshot.leases.len() as f64 / count).floor().max(1.0),
            settings,
            assigned: BTreeMap::new(),
        };
        for lease in snapshot.leases {
            if let Some(owner) = lease.actual_owner() {
                decider.leases.entry(owner).or_default().push(lease);
                *decider.throughputs.entry(owner).or_default() += decider.kbps(lease);
            }
        }
        workers.active.iter().for_each(|worker| decider.read(worker));
        decider.average();
        decider
    }

    fn read(&mut self, worker: &'a Worker) {
        let (mut stats, mut ranges) = (BTreeMap::new(), BTreeMap::new());
        for (name, metric) in &worker.metrics {
            stats.insert(name.clone(), metric.value(self.settings.metrics_alpha));
            ranges.insert(name.clone(), metric.range);
        }
        if stats.is_empty() {
            stats.insert("T".to_owned(), 100.0 * self.throughput(&worker.id) / self.target);
            ranges.insert("T".to_owned(), 100.0);
        }
        self.stats.insert(&worker.id, stats);
        self.ranges.insert(&worker.id, ranges);
        if self.is_eligible(&worker.id) {
            self.queue.insert(&worker.id);
        }
    }

    fn average(&mut self) {
        let names: BTreeSet<&String> = self.stats.values().flat_map(BTreeMap::keys).collect();
        let average = |name: &String| {
            let values: Vec<f64> = self.stats.values().filter_map(|stats| stats.get(name)).copied().collect();
            (name.clone(), values.iter().sum::<f64>() / values.len() as f64)
        };
        self.averages = names.into_iter().map(average).collect();
    }

    fn kbps(&self, lease: &Lease) -> f64 {
        lease.throughput_kbps.unwrap_or(self.lease_average)
    }

    fn throughput(&self, worker: &WorkerId) -> f64 {
        self.throughputs.get(worker).copied().unwrap_or(0.0)
    }

    fn is_eligible(&self, worker: &WorkerId) -> bool {
        let count = self.leases.get(worker).map_or(0, Vec::len);
        self.throughput(worker) <= self.settings.throughput_per_worker_kbps_max
            && count < usize::try_from(self.settings.leases_per_worker_max.get()).unwrap()
    }

    /// The worker with the most room leaves the queue.
    fn poll(&mut self) -> Option<&'a WorkerId> {
        let room = |worker: &&'a WorkerId| {
            let room = |(name, value): (&String, &f64)| {
                if *value == 0.0 { 1.0 } else { (self.averages[name] - value) / value }
            };
            self.stats[*worker].iter().map(room).fold(f64::MAX, f64::min)
        };
        let most = self.queue.iter().copied().rev().max_by(|a, b| room(a).total_cmp(&room(b)))?;
        self.queue.remove(most);
        Some(most)
    }

    fn added(&self, name: &str, lease: &Lease) -> f64 {
        let average = self.averages[name];
        if self.target > 0.0 { self.kbps(lease) * average / self.target } else { average / self.leases_per_worker }
    }

    fn assign(&mut self, lease: &'a Lease, to: &'a WorkerId, is_free: bool) {
        let is_stuck = is_free && lease.checkpoint_owner.is_some();
        if !is_stuck && lease.actual_owner() == Some(to) {
            self.queue.insert(to);
            return;
        }
        let names: Vec<String> = self.stats[to].keys().cloned().collect();
        for name in names {
            let added = self.added(&name, lease);
            *self.stats.get_mut(to).unwrap().get_mut(&name).unwrap() += added;
        }
        let kbps = self.kbps(lease);
        if let Some(owner) = lease.actual_owner() {
            self.leases.get_mut(owner).unwrap().retain(|held| held.key != lease.key);
            *self.throughputs.get_mut(owner).unwrap() -= kbps;
        }
        self.leases.entry(to).or_default().push(lease);
        *self.throughputs.entry(to).or_default() += kbps;
        self.assigned.insert(&lease.key, (lease, to));
        if self.is_eligible(to) {
            self.queue.insert(to);
        }
    }

    fn assign_free(&mut self, free: &[&'a Lease]) {
        for lease in free {
            let Some(to) = self.poll() else { break };
            self.assign(lease, to, true);
        }
    }

    /// Who gives how much, by metric; the one with most in all counts.
    fn amounts(&self) -> Vec<(&'a WorkerId, f64)> {
        let (mut most, mut amounts) = (-1.0, Vec::new());
        for (name, average) in &self.averages {
            let threshold = f64::from(self.settings.rebalance_threshold_percent) / 100.0;
            let (upper, lower) = (average * (1.0 + threshold), average * (1.0 - threshold));
            let with: Vec<(&'a WorkerId, f64)> =
                self.stats.iter().filter_map(|(worker, stats)| Some((*worker, *stats.get(name)?))).collect();
            let is_above_range = |worker: &WorkerId, value: f64| value > self.ranges[worker][name];
            let is_out = |(worker, value): &(&'a WorkerId, f64)| {
                *value > upper || *value < lower || is_above_range(worker, *value)
            };
            if !with.iter().any(is_out) {
                continue;
            }
            let mut donors = with.clone();
            donors.retain(|(worker, value)| *value >= upper || is_above_range(worker, *value));
            if donors.is_empty() {
                donors.extend(with.iter().copied().rev().max_by(|a, b| a.1.total_cmp(&b.1)));
            }
            let amount = |(worker, value): (&'a WorkerId, f64)| {
                let dampening = f64::from(self.settings.dampening_percent) / 100.0;
                (worker, self.throughput(worker) * (value - average) / value * dampening)
            };
            let found: Vec<_> = donors.into_iter().map(amount).collect();
            let total = found.iter().map(|(_, amount)| amount).sum();
            if most < total {
                (most, amounts) = (total, found);
            }
        }
        amounts.sort_by(|a, b| b.1.total_cmp(&a.1));
        amounts
    }

    fn choose(&self, worker: &WorkerId, amount: f64, rng: &mut Rng) -> Vec<&'a Lease> {
        let Some(mut leases) = self.leases.get(worker).cloned().filter(|leases| !leases.is_empty()) else {
            return Vec::new();
        };
        if self.throughput(worker) == 0.0 {
            return vec![leases[0]];
        }
        rng.shuffle(&mut leases);
        let (mut remaining, mut chosen) = (amount, Vec::new());
        for lease in &leases {
            if remaining - self.kbps(lease) > 0.0 {
                remaining -= self.kbps(lease);
                chosen.push(*lease);
            }
        }
        if self.settings.throughput_overshoot && chosen.is_empty() {
            chosen.extend(leases.into_iter().min_by(|a, b| self.kbps(a).total_cmp(&self.kbps(b))));
        }
        chosen
    }

    fn balance(&mut self, rng: &mut Rng) {
        for (donor, amount) in self.amounts() {
            for lease in self.choose(donor, amount, rng) {
                let Some(to) = self.poll() else { continue };
                let is_too_much = |(name, value): (&String, &f64)| {
                    let after = value + self.added(name, lease);
                    after > self.averages[name] || after > self.ranges[to][name]
                };
                // The worker that was looked at is not put back: the next donor does not find it.
                if self.stats[to].iter().any(is_too_much) {
                    break;
                }
                self.assign(lease, to, false);
            }
        }
    }
}
