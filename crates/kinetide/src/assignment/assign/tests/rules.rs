//! Each rule on a table small enough to see.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::workers::Workers;
use super::super::{Action, AssignSettings, Memory, Plan, Snapshot, Strategy, plan};
use super::{WALL, lease, metrics, worker};
use crate::assignment::observe::Observations;
use crate::clock::Moment;
use crate::coordinator::worker_metrics::item::WorkerMetrics;
use crate::lease::Lease;
use crate::rng::Rng;
use crate::stream::Checkpoint;

/// A leader with its table.
struct Desk {
    leases: Vec<Lease>,
    metrics: Vec<WorkerMetrics>,
    settings: AssignSettings,
    memory: Memory,
    observations: Observations,
    second: u64,
}

impl Desk {
    /// Each worker's item has its last CPU values; no values, no metrics.
    fn new(leases: Vec<Lease>, cpu: &[&[f64]]) -> Self {
        let metrics = cpu.iter().enumerate().map(|(index, samples)| metrics(index, WALL, samples)).collect();
        let (settings, memory, observations) = Default::default();
        let mut desk = Self { leases, metrics, settings, memory, observations, second: 0 };
        desk.pass(0, &[]);
        desk
    }

    /// Lets time pass; leases with an owner are renewed, except these, and workers write again.
    fn pass(&mut self, seconds: u64, still: &[usize]) {
        self.second += seconds;
        for (index, lease) in self.leases.iter_mut().enumerate() {
            lease.counter += u64::from(lease.owner.is_some() && !still.contains(&index));
        }
        for item in &mut self.metrics {
            item.updated_at = Some(WALL + self.second);
        }
        self.observations.update(&self.leases, Moment::at(Duration::from_secs(1000 + self.second)));
    }

    fn run(&mut self) -> Plan {
        let snapshot = Snapshot {
            leases: &self.leases,
            observations: &self.observations,
            metrics: &self.metrics,
            now: Moment::at(Duration::from_secs(1000 + self.second)),
            now_seconds: WALL + self.second,
        };
        plan(&snapshot, &self.settings, &mut self.memory, &mut Rng::seeded(1))
    }

    /// The next run, in short.
    fn actions(&mut self) -> Vec<String> {
        let number = |name: &str| name.rsplit('-').next().unwrap().trim_start_matches('0').to_owned();
        let short = |action: Action| match action {
            Action::Assign { lease, to } => {
                format!("assign {} to {}", number(lease.key.shard.as_str()), number(to.as_str()))
            }
            Action::HandOff { lease, to } => {
                format!("hand {} to {}", number(lease.key.shard.as_str()), number(to.as_str()))
            }
            Action::Forget { worker, updated_at } => format!("forget {worker} of {}", WALL - updated_at),
        };
        self.run().actions.into_iter().map(short).collect()
    }
}

fn pending(index: usize, from: usize, to: usize) -> Lease {
    Lease { checkpoint_owner: Some(worker(from)), ..lease(index, Some(to), Some(10.0)) }
}

fn by_count() -> AssignSettings {
    AssignSettings { strategy: Strategy::LeaseCountBased, ..AssignSettings::default() }
}

#[test]
fn workers_are_sorted_by_what_they_say() {
    let mut items: Vec<WorkerMetrics> = (1..10).map(|index| metrics(index, WALL - 60, &[10.0, 20.0])).collect();
    items[1].updated_at = Some(WALL - 61);
    items[2] = metrics(3, WALL, &[10.0, -1.0]);
    items[3] = metrics(4, WALL, &[-1.0, 10.0]);
    items[4].updated_at = None;
    items[5].stats = None;
    items[6].ranges = Some(BTreeMap::from([("C".to_owned(), vec![0.0])]));
    items[7].ranges = Some(BTreeMap::from([("M".to_owned(), vec![50.0])]));
    items[8] = metrics(9, WALL, &[]);
    let workers = Workers::of(&items, WALL, &AssignSettings::default());
    let active: Vec<_> = workers.active.iter().map(|worker| worker.id.clone()).collect();
    assert_eq!(active, [worker(1), worker(4), worker(9)]);
    assert_eq!((workers.inactive, workers.excluded), (vec![worker(2)], vec![worker(3)]));
    assert_eq!(workers.invalid, [5, 6, 7, 8].map(worker));
    assert_eq!(workers.active[0].metrics["C"].value(0.5), 15.0);
    assert_eq!(workers.active[1].metrics["C"].value(0.5), 10.0, "what was not captured does not count");
    assert!(workers.active[2].metrics.is_empty());
}

#[test]
fn the_newer_of_two_items_counts_and_old_ones_are_forgotten() {
    let day = 24 * 60 * 60;
    let mut desk = Desk::new(Vec::new(), &[&[10.0]]);
    desk.metrics.push(metrics(0, WALL - day - 1, &[-1.0]));
    desk.metrics.push(metrics(1, WALL - day, &[10.0]));
    desk.metrics.push(WorkerMetrics { ranges: None, ..metrics(2, WALL - 2 * day, &[10.0]) });
    let workers = Workers::of(&desk.metrics, WALL, &desk.settings);
    assert_eq!((workers.active.len(), workers.excluded.len()), (1, 0));
    assert_eq!(desk.actions(), ["forget worker-000 of 86401", "forget worker-002 of 172800"]);
}

#[test]
fn an_explicit_metric_named_t_is_a_metric_like_any_other() {
    let named = |name: &str| {
        let map = |value| Some(BTreeMap::from([(name.to_owned(), vec![value])]));
        WorkerMetrics { stats: map(30.0), ranges: map(100.0), ..metrics(0, WALL, &[]) }
    };
    let metrics = |name| Workers::of(&[named(name)], WALL, &AssignSettings::default()).active[0].metrics.len();
    assert_eq!((metrics("T"), metrics("THROUGHPUT")), (1, 0));
}

#[test]
fn leases_that_nobody_has_go_to_those_with_the_most_room_the_oldest_first() {
    let leases = vec![lease(1, Some(0), Some(10.0)), lease(2, None, Some(10.0)), lease(3, None, Some(10.0))];
    let mut desk = Desk::new(leases, &[&[80.0], &[20.0]]);
    assert_eq!(desk.actions(), ["assign 2 to 1", "assign 3 to 1"]);
    // Its owner is not there any more, while the others wait since before they were seen.
    desk.leases[0].owner = Some(worker(7));
    desk.pass(11, &[0]);
    let leases = desk.actions().into_iter().map(|action| action[7..8].to_owned()).collect::<String>();
    assert_eq!(leases, "231");
}

#[test]
fn a_lease_is_expired_after_a_failover_time_and_goes_to_somebody_else() {
    let mut desk = Desk::new(vec![lease(1, Some(0), None)], &[&[], &[]]);
    desk.pass(10, &[0]);
    assert!(desk.run().actions.is_empty());
    desk.pass(1, &[0]);
    assert_eq!(desk.actions(), ["assign 1 to 1"]);
    desk.metrics.pop();
    assert_eq!(desk.run().left, [desk.leases[0].key.clone()], "its own worker has let it lie");
    desk.pass(1, &[]);
    assert_eq!(desk.run(), Plan::default());
}

#[test]
fn a_worker_whose_metrics_are_old_keeps_the_leases_it_renews() {
    let mut desk = Desk::new((1..9).map(|index| lease(index, Some(0), Some(10.0))).collect(), &[&[50.0], &[50.0]]);
    for seconds in [20, 20, 21, 20, 20, 20] {
        desk.pass(seconds, &[]);
        desk.metrics[0].updated_at = Some(WALL);
    }
    assert!(desk.run().actions.is_empty());
}

#[test]
fn finished_leases_count_for_nobody() {
    let finished = |index, owner| Lease { checkpoint: Checkpoint::ShardEnd, ..lease(index, owner, Some(1000.0)) };
    let mut leases = vec![finished(1, None), finished(2, Some(7)), finished(3, Some(0))];
    leases.push(lease(4, None, Some(10.0)));
    leases[2].checkpoint_owner = Some(worker(1));
    for settings in [AssignSettings::default(), by_count()] {
        let mut desk = Desk::new(leases.clone(), &[&[]]);
        desk.settings = AssignSettings { leases_per_worker_max: 1.try_into().unwrap(), ..settings };
        desk.pass(60, &[1, 2]);
        assert_eq!(desk.actions(), ["assign 4 to "]);
    }
}

#[test]
fn a_pending_hand_off_is_left_alone_until_its_deadline() {
    let mut desk = Desk::new(vec![pending(1, 0, 1), pending(2, 0, 7)], &[&[50.0], &[50.0]]);
    assert!(desk.run().actions.is_empty());
    desk.pass(39, &[]);
    assert!(desk.run().actions.is_empty());
    desk.pass(1, &[]);
    // The second one's next owner does not exist.
    assert_eq!(desk.actions(), ["assign 1 to 1", "assign 2 to 1"]);
    desk.leases[0] = pending(1, 0, 2);
    assert_eq!(desk.actions(), ["assign 2 to 1"], "between other workers: it has its time");
}

#[test]
fn a_pending_hand_off_whose_owner_is_dead_is_assigned_even_to_that_owner() {
    let mut desk = Desk::new(vec![pending(1, 0, 7)], &[&[50.0]]);
    assert!(desk.run().actions.is_empty());
    desk.pass(11, &[0]);
    assert_eq!(desk.actions(), ["assign 1 to "]);
}

#[test]
fn a_hand_off_has_its_time_from_when_it_is_asked_for() {
    let mut desk = Desk::new((1..5).map(|index| lease(index, Some(0), Some(10.0))).collect(), &[&[], &[]]);
    let asked = desk.run().actions;
    let [Action::HandOff { lease, to }, ..] = &asked[..] else { panic!("{asked:?}") };
    let index = desk.leases.iter().position(|row| row.key == lease.key).unwrap();
    (desk.leases[index].checkpoint_owner, desk.leases[index].owner) = (lease.owner.clone(), Some(to.clone()));
    desk.pass(20, &[]);
    assert!(desk.run().actions.is_empty());
    desk.pass(19, &[]);
    assert!(desk.run().actions.is_empty());
    desk.pass(1, &[]);
    let forced = desk.run().actions;
    assert!(forced.contains(&Action::Assign { lease: desk.leases[index].clone(), to: to.clone() }), "{forced:?}");
}

#[test]
fn load_is_balanced_in_the_first_run_and_then_in_every_third() {
    let mut desk = Desk::new((1..5).map(|index| lease(index, Some(0), Some(10.0))).collect(), &[&[], &[]]);
    let runs: Vec<bool> = (0..7).map(|_| !desk.run().actions.is_empty()).collect();
    assert_eq!(runs, [true, false, false, true, false, false, true]);
    desk.memory.reset();
    assert!(!desk.run().actions.is_empty());
}

#[test]
fn without_graceful_hand_offs_leases_are_assigned() {
    let mut desk = Desk::new((1..5).map(|index| lease(index, Some(0), Some(10.0))).collect(), &[&[80.0], &[10.0]]);
    desk.settings.graceful_hand_off = false;
    let actions = desk.run().actions;
    assert!(!actions.is_empty() && actions.iter().all(|action| matches!(action, Action::Assign { .. })));
}

#[test]
fn a_worker_whose_last_value_is_missing_neither_gets_nor_gives() {
    let leases = (1..5).map(|index| lease(index, Some(0), Some(10.0))).chain([lease(9, None, Some(10.0))]).collect();
    let mut desk = Desk::new(leases, &[&[99.0, -1.0], &[10.0, -1.0], &[40.0]]);
    assert_eq!(desk.actions(), ["assign 9 to 2"]);
}

#[test]
fn limits_hold_and_what_is_promised_counts() {
    let leases = vec![pending(1, 7, 0), lease(2, None, Some(10.0)), lease(3, None, Some(10.0))];
    let mut desk = Desk::new(leases, &[&[10.0]]);
    desk.settings.leases_per_worker_max = 2.try_into().unwrap();
    let plan = desk.run();
    assert_eq!((plan.actions.len(), plan.left), (1, vec![desk.leases[2].key.clone()]));
    desk.settings = AssignSettings { throughput_per_worker_kbps_max: 19.0, ..AssignSettings::default() };
    assert_eq!(desk.run().left.len(), 1, "the last lease may exceed the limit, as otherwise nobody would have it");
    desk.settings.throughput_per_worker_kbps_max = 9.0;
    assert_eq!(desk.run().left.len(), 2);
}

#[test]
fn a_lease_goes_where_it_fits_rather_than_where_the_most_room_is() {
    let leases = vec![lease(1, Some(0), Some(15.0)), lease(2, Some(1), Some(5.0)), lease(3, None, Some(10.0))];
    let mut desk = Desk::new(leases, &[&[10.0], &[50.0]]);
    desk.memory.is_time_to_balance(&desk.settings);
    desk.settings.throughput_per_worker_kbps_max = 20.0;
    assert_eq!(desk.actions(), ["assign 3 to 1"]);
}

#[test]
fn a_cold_start_is_not_decided_by_what_idle_workers_use() {
    let mut desk = Desk::new((1..31).map(|index| lease(index, None, None)).collect(), &[&[1.0], &[3.0], &[5.0]]);
    let actions = desk.run().actions;
    let count = |index| {
        let id = worker(index);
        actions.iter().filter(|action| matches!(action, Action::Assign { to, .. } if *to == id)).count()
    };
    assert_eq!([0, 1, 2].map(count), [11, 10, 9]);
}

#[test]
fn idle_leases_are_spread_too() {
    let leases = (1..21).map(|index| lease(index, None, Some(if index < 5 { 100.0 } else { 0.0 })));
    let mut desk = Desk::new(leases.collect(), &[&[30.0], &[30.5]]);
    let is_to_first = |action: &&Action| matches!(action, Action::Assign { to, .. } if *to == worker(0));
    let to_first = desk.run().actions.iter().filter(is_to_first).count();
    assert!((10..=12).contains(&to_first), "{to_first} of 20");
}

#[test]
fn workers_without_metrics_are_never_out_of_range() {
    let leases = [(0, 50.0), (0, 50.0), (0, 5.0), (1, 50.0), (1, 45.0)].into_iter().enumerate();
    let leases = leases.map(|(index, (owner, kbps))| lease(index, Some(owner), Some(kbps)));
    assert_eq!(Desk::new(leases.collect(), &[&[], &[]]).run(), Plan::default(), "105 and 95 % of a share");
}

#[test]
fn nobody_is_driven_out_of_its_range() {
    let leases: Vec<_> = (0..15).map(|index| lease(index, Some(usize::from(index > 9)), Some(10.0))).collect();
    let mut desk = Desk::new(leases, &[&[80.0], &[30.0]]);
    assert!(!desk.run().actions.is_empty());
    desk.memory.reset();
    desk.metrics[1].ranges = Some(BTreeMap::from([("C".to_owned(), vec![32.0])]));
    assert_eq!(desk.run(), Plan::default(), "a lease would make it 36");
}

#[test]
fn figures_from_before_a_hand_off_do_not_move_the_same_load_again() {
    let mut desk = Desk::new((1..21).map(|index| lease(index, Some(0), Some(10.0))).collect(), &[&[80.0], &[0.0]]);
    desk.settings.dampening_percent = 100;
    let moved = desk.run().actions;
    assert_eq!(moved.len(), 10);
    for action in moved {
        let Action::HandOff { lease, to } = action else { panic!("{action:?}") };
        let row = desk.leases.iter_mut().find(|row| row.key == lease.key).unwrap();
        (row.owner, row.checkpoint_owner) = (Some(to), lease.owner);
    }
    // Under way in the next balancing, done in the one after that; nobody's figures show it yet.
    for step in 0..6 {
        desk.pass(1, &[]);
        desk.metrics.iter_mut().for_each(|item| item.updated_at = Some(WALL));
        assert!(desk.run().actions.is_empty(), "after {step}");
        if step == 2 {
            desk.leases.iter_mut().for_each(|row| row.checkpoint_owner = None);
        }
    }
}

#[test]
fn differences_of_a_point_are_noise() {
    let leases: Vec<_> = (1..21).map(|index| lease(index, Some(index % 2), Some(0.0))).collect();
    assert!(Desk::new(leases.clone(), &[&[1.0], &[2.9]]).run().actions.is_empty());
    assert_eq!(Desk::new(leases, &[&[1.0], &[9.0]]).run().actions.len(), 1, "and nothing says that leases are why");
}

#[test]
fn a_spike_moves_nothing() {
    let leases: Vec<_> = (1..21).map(|index| lease(index, Some(index % 2), Some(10.0))).collect();
    let quiet = [40.0; 10];
    let mut spike = quiet;
    spike[9] = 55.0;
    assert!(Desk::new(leases.clone(), &[&spike, &quiet]).run().actions.is_empty());
    spike[7] = 99.0;
    assert!(Desk::new(leases.clone(), &[&spike, &quiet]).run().actions.is_empty(), "what has passed neither");
    spike[9] = 99.0;
    assert!(!Desk::new(leases, &[&spike, &quiet]).run().actions.is_empty(), "but twice does");
}

#[test]
fn a_worker_out_of_its_range_gives_even_below_the_average() {
    let leases: Vec<_> = (1..31).map(|index| lease(index, Some(index % 3), Some(10.0))).collect();
    let mut desk = Desk::new(leases, &[&[60.0], &[58.0], &[61.0]]);
    desk.metrics[1].ranges = Some(BTreeMap::from([("C".to_owned(), vec![50.0])]));
    assert!(desk.run().actions.is_empty(), "there is no room for it below the average");
    desk.metrics.push(metrics(3, WALL, &[54.0]));
    let actions = desk.run();
    desk.memory.reset();
    let plan = desk.run();
    assert!(actions.actions.is_empty(), "not the run for it");
    assert!(
        !plan.actions.is_empty()
            && plan.actions.iter().all(|a| matches!(a, Action::HandOff { lease, to }
        if lease.owner == Some(worker(1)) && *to == worker(3))),
        "{plan:?}"
    );
}

#[test]
fn the_metric_with_the_most_to_move_is_acted_on() {
    let leases: Vec<_> = (1..31).map(|index| lease(index, Some(index % 3), Some(10.0))).collect();
    let mut desk = Desk::new(leases, &[&[40.0], &[46.0], &[40.0]]);
    for (index, memory) in [80.0, 20.0, 22.0].into_iter().enumerate() {
        let item = &mut desk.metrics[index];
        item.stats.as_mut().unwrap().insert("M".to_owned(), vec![memory]);
        item.ranges.as_mut().unwrap().insert("M".to_owned(), vec![100.0]);
    }
    let plan = desk.run();
    assert!(
        !plan.actions.is_empty()
            && plan.actions.iter().all(|a| matches!(a, Action::HandOff { lease, to }
        if lease.owner == Some(worker(0)) && *to == worker(2))),
        "one is above the average of C: {plan:?}"
    );
}

#[test]
fn by_number_everybody_gets_the_same() {
    let mut leases: Vec<_> = (1..8).map(|index| lease(index, Some(0), Some(10.0))).collect();
    leases.extend([lease(8, None, None), lease(9, None, Some(900.0)), pending(10, 0, 2)]);
    let mut desk = Desk::new(leases, &[&[10.0], &[90.0], &[50.0]]);
    desk.settings = by_count();
    let actions = desk.actions();
    assert_eq!(actions[..2], ["assign 8 to 1", "assign 9 to 1"]);
    let handed: Vec<_> = actions[2..].iter().map(|action| action.rsplit(' ').next().unwrap()).collect();
    // 7, 0, 0 and one on its way to the third: 4, 3, 3.
    assert_eq!(handed, ["2", "1", "2"]);
    desk.settings.leases_per_worker_max = 1.try_into().unwrap();
    desk.memory.reset();
    assert_eq!((desk.actions(), desk.run().left.len()), (vec!["assign 8 to 1".to_owned()], 1));
}

#[test]
fn by_number_nobody_has_two_more_than_another() {
    let owners = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3].into_iter().enumerate();
    let mut desk =
        Desk::new(owners.map(|(index, owner)| lease(index, Some(owner), None)).collect(), &[&[], &[], &[], &[]]);
    desk.settings = by_count();
    let actions = desk.run().actions;
    assert!(matches!(&actions[..], [Action::HandOff { to, .. }] if *to == worker(3)), "{actions:?}");
}
