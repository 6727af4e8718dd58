//! What holds for every fleet, however odd.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::super::workers::Workers;
use super::super::{Action, AssignSettings, Memory, Plan, Snapshot, Strategy as By, plan};
use super::model::{Leader, Machine, Model, Shard};
use super::{WALL, lease, metrics, worker};
use crate::assignment::observe::Observations;
use crate::clock::Moment;
use crate::coordinator::worker_metrics::item::WorkerMetrics;
use crate::lease::Lease;
use crate::rng::Rng;
use crate::stream::{Checkpoint, WorkerId};

/// A table and what workers say, with anything in it.
#[derive(Debug, Clone)]
struct Table {
    leases: Vec<Lease>,
    /// Which of the leases nobody renews.
    still: Vec<bool>,
    metrics: Vec<WorkerMetrics>,
    settings: AssignSettings,
    seed: u64,
}

fn any_metrics() -> impl Strategy<Value = Vec<WorkerMetrics>> {
    let samples = prop::collection::vec(0.0..100.0, 0..10);
    let worker = (samples, prop::bool::weighted(0.1), prop::bool::weighted(0.1), 30.0..=100.0);
    prop::collection::vec(worker, 0..8).prop_map(|workers| {
        let item = |(index, (mut samples, is_failing, is_silent, range)): (usize, (Vec<f64>, bool, bool, f64))| {
            samples.extend((is_failing && !samples.is_empty()).then_some(-1.0));
            let mut item = metrics(index, WALL - if is_silent { 100 } else { 10 }, &samples);
            item.ranges.iter_mut().flat_map(BTreeMap::values_mut).for_each(|ranges| *ranges = vec![range]);
            item
        };
        workers.into_iter().enumerate().map(item).collect()
    })
}

/// Owner, next owner, throughput, whether it is finished, whether nobody renews it.
type AnyRow = (Option<usize>, Option<usize>, Option<f64>, bool, bool);

fn any_leases() -> impl Strategy<Value = (Vec<Lease>, Vec<bool>)> {
    let owner = prop::option::weighted(0.8, 0..9_usize);
    let next = prop::option::weighted(0.1, 0..9_usize);
    let kbps = prop::option::weighted(0.8, prop_oneof![Just(0.0), 0.0..100.0, Just(500.0)]);
    let row = (owner, next, kbps, prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    prop::collection::vec(row, 0..40).prop_map(|rows| {
        let row = |(index, (owner, next, kbps, is_finished, is_still)): (usize, AnyRow)| {
            let mut row = lease(index, owner, kbps);
            if let (Some(next), Some(_)) = (next, owner) {
                (row.checkpoint_owner, row.owner) = (row.owner, Some(worker(next)));
            }
            if is_finished {
                row.checkpoint = Checkpoint::ShardEnd;
            }
            (row, is_still)
        };
        rows.into_iter().enumerate().map(row).unzip()
    })
}

fn any_table() -> impl Strategy<Value = Table> {
    let limits = (prop_oneof![1..20_u32, Just(u32::MAX)], prop_oneof![0.0..500.0, Just(f64::INFINITY)]);
    (any_leases(), any_metrics(), limits, any::<bool>(), any::<bool>(), any::<u64>()).prop_map(
        |((leases, still), metrics, (most, kbps), by_count, graceful_hand_off, seed)| {
            let settings = AssignSettings {
                strategy: if by_count { By::LeaseCountBased } else { By::WorkerUtilizationAware },
                leases_per_worker_max: most.try_into().unwrap(),
                throughput_per_worker_kbps_max: kbps,
                graceful_hand_off,
                ..AssignSettings::default()
            };
            Table { leases, still, metrics, settings, seed }
        },
    )
}

impl Table {
    fn plan(&self) -> Plan {
        let mut observations = Observations::default();
        let mut before = self.leases.clone();
        for (lease, is_still) in before.iter_mut().zip(&self.still) {
            lease.counter += u64::from(!is_still);
        }
        observations.update(&before, Moment::at(Duration::from_secs(980)));
        observations.update(&self.leases, Moment::at(Duration::from_secs(1000)));
        let snapshot = Snapshot {
            leases: &self.leases,
            observations: &observations,
            metrics: &self.metrics,
            now: Moment::at(Duration::from_secs(1000)),
            now_seconds: WALL,
        };
        plan(&snapshot, &self.settings, &mut Memory::default(), &mut Rng::seeded(self.seed))
    }

    fn active(&self) -> BTreeSet<WorkerId> {
        let workers = Workers::of(&self.metrics, WALL, &self.settings);
        workers.active.into_iter().map(|worker| worker.id).collect()
    }

    fn is_waiting(&self, index: usize) -> bool {
        let lease = &self.leases[index];
        !lease.is_finished() && (lease.actual_owner().is_none() || self.still[index])
    }

    fn average_kbps(&self) -> f64 {
        let open = self.leases.iter().filter(|lease| !lease.is_finished());
        let measured: Vec<f64> = open.filter_map(|lease| lease.throughput_kbps).collect();
        measured.iter().sum::<f64>() / measured.len().max(1) as f64
    }

    /// What limits count, by worker: leases and KB/s.
    fn bound(&self) -> BTreeMap<WorkerId, (u32, f64)> {
        let mut bound: BTreeMap<WorkerId, (u32, f64)> = BTreeMap::new();
        for (index, lease) in self.leases.iter().enumerate() {
            if !lease.is_finished() && !self.is_waiting(index) {
                for worker in [lease.actual_owner(), lease.next_owner()].into_iter().flatten() {
                    let (count, kbps) = bound.entry(worker.clone()).or_default();
                    (*count, *kbps) = (*count + 1, *kbps + lease.throughput_kbps.unwrap_or(self.average_kbps()));
                }
            }
        }
        bound
    }

    fn may_be_given(&self, (count, kbps): (u32, f64)) -> bool {
        // What is added in another order differs in the last digit.
        count < self.settings.leases_per_worker_max.get()
            && kbps <= self.settings.throughput_per_worker_kbps_max * (1.0 + 1e-9)
    }
}

/// The lease of an action, and who gets it.
fn given(action: &Action) -> Option<(&Lease, &WorkerId)> {
    match action {
        Action::Assign { lease, to } | Action::HandOff { lease, to } => Some((lease, to)),
        Action::Forget { .. } => None,
    }
}

/// Machines of which the fastest is five times as fast as the slowest, each with something else to do, and their
/// leases: capacities and idle use, owners and sizes, and a seed.
type AnyFleet = (Vec<(f64, f64)>, Vec<(usize, f64)>, u64);

fn any_fleet() -> impl Strategy<Value = AnyFleet> {
    let machines = prop::collection::vec((200.0..1000.0, 0.0..5.0), 2..8);
    let shards = prop::collection::vec((0..8_usize, prop_oneof![3 => 3.0..20.0, 1 => 3.0..60.0]), 1..60);
    (machines, shards, any::<u64>()).prop_map(|(machines, shards, seed)| {
        let shards = shards.into_iter().map(|(owner, kbps)| (owner % machines.len(), kbps)).collect();
        (machines, shards, seed)
    })
}

fn settled((machines, shards, seed): AnyFleet) -> Model {
    let all: f64 = shards.iter().map(|(_, kbps)| kbps).sum();
    // Nobody is ever at 100 %, where figures stop telling.
    let scale = (all / 180.0).max(1.0);
    let machines = machines.into_iter().map(|(capacity, idle)| Machine::new(capacity * scale).idle(idle));
    let shards = shards.into_iter().map(|(owner, kbps)| Shard::new(Some(owner), kbps));
    let mut model = Model::new(machines.collect(), shards.collect(), Leader::Ours(Memory::default()), seed);
    model.settle();
    model
}

fn variance(values: &[f64]) -> f64 {
    let average = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - average).powi(2)).sum::<f64>() / values.len() as f64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Nobody is given anything beyond a limit, and only workers that take part are given anything.
    #[test]
    fn limits_hold(table in any_table()) {
        let (plan, active, mut bound) = (table.plan(), table.active(), table.bound());
        for (lease, to) in plan.actions.iter().filter_map(given) {
            prop_assert!(active.contains(to));
            let before = bound.entry(to.clone()).or_default();
            prop_assert!(table.may_be_given(*before), "{to} has {before:?} and gets {lease:?}");
            let kbps = lease.throughput_kbps.unwrap_or(table.average_kbps());
            *before = (before.0 + 1, before.1 + kbps);
        }
    }

    /// Every lease that waits is assigned, unless nobody may have it; others are never assigned but to balance,
    /// finished ones not at all.
    #[test]
    fn nothing_waits_in_vain(table in any_table()) {
        let (plan, mut bound) = (table.plan(), table.bound());
        let assigned: BTreeSet<_> = plan.actions.iter().filter_map(given).map(|(lease, _)| &lease.key).collect();
        for (lease, to) in plan.actions.iter().filter_map(given) {
            let before = bound.entry(to.clone()).or_default();
            *before = (before.0 + 1, before.1 + lease.throughput_kbps.unwrap_or(table.average_kbps()));
        }
        for (index, lease) in table.leases.iter().enumerate() {
            let (is_assigned, is_left) = (assigned.contains(&lease.key), plan.left.contains(&lease.key));
            prop_assert!(!(lease.is_finished() && is_assigned), "{lease:?} is finished");
            prop_assert_eq!(is_left, table.is_waiting(index) && !is_assigned, "{:?}", lease);
            let its_own = lease.owner.as_ref().filter(|_| lease.checkpoint_owner.is_none());
            for worker in table.active().iter().filter(|worker| is_left && Some(*worker) != its_own) {
                let bound = bound.get(worker).copied().unwrap_or_default();
                prop_assert!(bound.0 >= table.settings.leases_per_worker_max.get()
                    || bound.1 >= table.settings.throughput_per_worker_kbps_max * (1.0 - 1e-9),
                    "{worker} has {bound:?} and could have {lease:?}");
            }
        }
    }

    /// Nothing is moved but what a worker that takes part renews and has not been asked for; nothing twice; and whoever
    /// gives gets nothing.
    #[test]
    fn moves_are_possible(table in any_table()) {
        let (plan, active) = (table.plan(), table.active());
        let mut seen = BTreeSet::new();
        let (mut givers, mut takers) = (BTreeSet::new(), BTreeSet::new());
        for (lease, to) in plan.actions.iter().filter_map(given) {
            prop_assert!(seen.insert(&lease.key), "{lease:?} twice");
            let index = table.leases.iter().position(|row| row.key == lease.key).unwrap();
            if !table.is_waiting(index) {
                let owner = lease.owner.clone().unwrap();
                prop_assert!(active.contains(&owner) && lease.checkpoint_owner.is_none() && owner != *to);
                givers.insert(owner);
                takers.insert(to.clone());
            }
        }
        prop_assert!(givers.is_disjoint(&takers));
    }

    /// The same table and seed make the same plan, in whatever order the table is read.
    #[test]
    fn the_same_seed_makes_the_same_plan(table in any_table(), seed: u64) {
        let (mut other, mut rng) = (table.clone(), Rng::seeded(seed));
        let mut rows: Vec<_> = other.leases.into_iter().zip(other.still).collect();
        rng.shuffle(&mut rows);
        (other.leases, other.still) = rows.into_iter().unzip();
        rng.shuffle(&mut other.metrics);
        prop_assert_eq!(table.plan(), table.plan());
        prop_assert_eq!(table.plan(), other.plan());
    }

    /// A balancing round moves what is above the average, 60 % of it, and one lease more at most per worker; and the
    /// fleet is more even than before once it is done.
    #[test]
    fn a_round_is_bounded_and_helps(fleet in any_fleet()) {
        let mut model = settled(fleet.clone());
        let (busy, counts) = (model.busy(), model.counts());
        model.run();
        let after = model.busy();
        prop_assert!(variance(&after) <= variance(&busy) * (1.0 + 1e-9), "{busy:?} {after:?}");
        let average = busy.iter().sum::<f64>() / busy.len() as f64;
        let largest = fleet.1.iter().map(|(_, kbps)| *kbps).fold(0.0, f64::max);
        let mut most_moves = 0;
        for (index, value) in busy.iter().enumerate() {
            let capacity = model.machines[index].capacity_kbps / 100.0;
            let given = (value - after[index]) * capacity;
            let excess = (value - average).max(0.0) * capacity;
            prop_assert!(given <= excess.max(largest) + 1e-6, "{index} gave {given} of {excess}");
            most_moves += if *value > average { counts[index] } else { 0 };
        }
        prop_assert!(model.moves <= most_moves);
    }

    /// A fleet within the threshold is left as it is.
    #[test]
    fn a_balanced_fleet_rests(
        loads in prop::collection::vec((0.96..1.05, 1..12_usize, any::<bool>()), 1..8),
        seed: u64,
    ) {
        let shards = loads.iter().enumerate().flat_map(|(owner, (load, count, _))| {
            vec![Shard::new(Some(owner), 200.0 * load / *count as f64); *count]
        });
        let machines = loads.iter().map(|(_, _, is_plain)| Machine::new(500.0).plain(*is_plain)).collect();
        let mut model = Model::new(machines, shards.collect(), Leader::Ours(Memory::default()), seed);
        model.settle();
        (0..4).for_each(|_| model.run());
        prop_assert_eq!((model.moves, model.assigned), (0, 0));
    }
}
