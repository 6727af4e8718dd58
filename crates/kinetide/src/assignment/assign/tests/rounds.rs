//! Fleets that are out of balance, run after run: how soon everybody is within 10 % of the average, and how many
//! hand-offs that takes, beside what Java's leader does with the same fleet. `cargo test rounds -- --nocapture` prints
//! the figures.

use super::super::Memory;
use super::java;
use super::model::{Leader, Machine, Model, Pace, Shard};
use crate::rng::Rng;

/// How a fleet came to balance.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    /// The run of the leader, of one every 20 seconds, from which on everybody was within 10 % of the average; one more
    /// than there were: never.
    settled_in: usize,
    moves: usize,
    fewest: usize,
}

fn observe(model: &mut Model, runs: usize) -> Outcome {
    let (fewest, mut settled_in) = (model.fewest_moves(), 1);
    for run in 1..=runs {
        model.run();
        if model.evenness().deviation > 0.1 {
            settled_in = run + 1;
        }
    }
    Outcome { settled_in, moves: model.moves, fewest }
}

/// Half an hour of the same fleet under either leader, for some seeds.
fn compare(name: &str, seeds: u64, fleet: impl Fn(Leader, u64) -> Model) -> Vec<Outcome> {
    let leaders: [fn() -> Leader; 2] = [|| Leader::Ours(Memory::default()), || Leader::Java(java::Memory::default())];
    let run = |leader: fn() -> Leader| (0..seeds).map(|seed| observe(&mut fleet(leader(), seed), 90)).collect();
    let [ours, javas]: [Vec<Outcome>; 2] = leaders.map(run);
    println!("{name}: ours {}; Java {}", summary(&ours), summary(&javas));
    ours
}

fn summary(outcomes: &[Outcome]) -> String {
    let mut runs: Vec<_> = outcomes.iter().map(|outcome| outcome.settled_in).collect();
    runs.sort_unstable();
    let never = runs.iter().filter(|run| **run > 90).count();
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>() as f64 / outcomes.len() as f64;
    let (moves, fewest) = (sum(|outcome| outcome.moves), sum(|outcome| outcome.fewest));
    let (median, last) = (runs[runs.len() / 2], runs[runs.len() - 1]);
    format!("settled in run {median} (latest {last}, never {never}), {moves:.1} moves of {fewest:.1}")
}

fn fleet(machines: Vec<Machine>, shards: Vec<(Option<usize>, f64)>, leader: Leader, seed: u64) -> Model {
    let shards = shards.into_iter().map(|(owner, kbps)| Shard::new(owner, kbps)).collect();
    let mut model = Model::new(machines, shards, leader, seed);
    model.settle();
    model
}

fn machines(count: usize) -> Vec<Machine> {
    vec![Machine::new(500.0); count]
}

/// 20 leases for each of so many workers.
fn twenty_each(workers: usize, mut kbps: impl FnMut(usize) -> f64) -> Vec<(Option<usize>, f64)> {
    (0..workers * 20).map(|index| (Some(index / 20), kbps(index))).collect()
}

/// Ten workers and 200 leases in equal numbers; one worker is half as fast.
fn one_slow(kbps: impl FnMut(usize) -> f64, leader: Leader, seed: u64) -> Model {
    let mut machines = machines(10);
    machines[3].capacity_kbps = 250.0;
    fleet(machines, twenty_each(10, kbps), leader, seed)
}

#[track_caller]
fn settles(outcomes: &[Outcome], run: usize) {
    for outcome in outcomes {
        assert!(outcome.settled_in <= run, "{outcome:?}");
        assert!(outcome.moves * 2 <= outcome.fewest * 3, "{outcome:?}");
    }
}

/// By the eighth balancing, which is in run 22.
#[test]
fn a_slow_worker_is_relieved() {
    settles(&compare("one slow, equal leases", 3, |leader, seed| one_slow(|_| 10.0, leader, seed)), 7);
    let random = compare("one slow, random leases", 10, |leader, seed| {
        let mut rng = Rng::seeded(seed);
        one_slow(|_| 20.0 * rng.unit(), leader, seed)
    });
    settles(&random, 22);
    let skewed = |index: usize| 60.0 / (1.0 + (index % 20) as f64);
    settles(&compare("one slow, skewed leases", 10, |leader, seed| one_slow(skewed, leader, seed)), 22);
}

#[test]
fn a_worker_that_joins_is_filled() {
    let joins =
        |count: usize| move |leader, seed| fleet(machines(count + 1), twenty_each(count, |_| 10.0), leader, seed);
    settles(&compare("one joins ten", 3, joins(10)), 10);
    settles(&compare("one joins twenty", 3, joins(20)), 10);
    let slow_joins = |leader, seed| {
        let mut machines = machines(11);
        machines[10].capacity_kbps = 250.0;
        fleet(machines, twenty_each(10, |_| 10.0), leader, seed)
    };
    settles(&compare("a slow one joins ten", 3, slow_joins), 7);
}

#[test]
fn a_fleet_that_doubles_shares_its_leases_once() {
    for (name, hand_off) in [("ten join ten", 3), ("ten join ten, hand-offs of half a minute", 30)] {
        let doubled = |leader, seed| {
            let mut model = fleet(machines(20), twenty_each(10, |_| 5.0), leader, seed);
            model.pace = Pace { hand_off, noise: 0.0 };
            model
        };
        settles(&compare(name, 3, doubled), 13);
    }
}

#[test]
fn a_fleet_of_two_speeds_settles() {
    let two_speeds = |leader, seed| {
        let machines = (0..10).map(|index| Machine::new(if index < 5 { 250.0 } else { 500.0 }));
        fleet(machines.collect(), twenty_each(10, |_| 8.0), leader, seed)
    };
    settles(&compare("half are slow", 3, two_speeds), 7);
}

#[test]
fn a_cold_start_needs_few_corrections() {
    let cold = |leader, seed| {
        let machines = (0..10).map(|index| Machine::new(500.0).idle(1.0 + (index % 4) as f64));
        let mut model = fleet(machines.collect(), vec![(None, 10.0); 200], leader, seed);
        model.pace.noise = 0.05;
        model
    };
    for outcome in compare("cold start", 3, cold) {
        assert!(outcome.moves <= 5, "{outcome:?}");
    }
}

#[test]
fn large_leases_are_spread_as_far_as_they_go() {
    let shards: Vec<_> = [0, 0, 0, 0, 1, 2, 3].map(|owner| (Some(owner), 50.0)).to_vec();
    let mut model = fleet(machines(4), shards, Leader::Ours(Memory::default()), 1);
    (0..90).for_each(|_| model.run());
    let mut counts = model.counts();
    counts.sort_unstable();
    assert_eq!((counts, model.moves), (vec![1, 2, 2, 2], 2));
}

#[test]
fn one_lease_too_large_for_anybody_is_left_alone() {
    let shards = twenty_each(10, |index| if index == 0 { 250.0 } else { 10.0 });
    let mut model = fleet(machines(10), shards, Leader::Ours(Memory::default()), 1);
    (0..90).for_each(|_| model.run());
    assert_eq!((model.moves, model.counts()[0]), (19, 1), "its worker has given everything else, and that is all");
}

/// Samples that are wrong by up to 15 %, in a fleet that is balanced.
#[test]
fn noise_moves_little() {
    let noisy = |noise| {
        move |leader, seed| {
            let mut model = fleet(machines(10), twenty_each(10, |_| 10.0), leader, seed);
            model.pace.noise = noise;
            model
        }
    };
    let moves: usize = compare("noise of 15 %", 5, noisy(0.15)).iter().map(|outcome| outcome.moves).sum();
    assert!(moves <= 5, "{moves} in two hours and a half");
    let moves: usize = compare("noise of 20 %", 5, noisy(0.2)).iter().map(|outcome| outcome.moves).sum();
    assert!(moves <= 25, "{moves} in two hours and a half");
}

#[test]
fn idle_workers_do_not_pass_leases_around() {
    let idle = |leader, seed| {
        let machines = (0..10).map(|_| Machine::new(500.0).idle(2.0)).collect();
        let mut model = fleet(machines, twenty_each(10, |_| 0.0), leader, seed);
        model.pace.noise = 0.3;
        model
    };
    assert!(compare("idle, noise of 30 %", 3, idle).iter().all(|outcome| outcome.moves == 0));
}

/// The leases of one worker carry more from one moment to the next.
#[test]
fn a_surge_is_followed() {
    for (factor, latest) in [(1.3, 19), (2.0, 19)] {
        let surge = |leader, seed| {
            let mut model = fleet(machines(10), twenty_each(10, |_| 10.0), leader, seed);
            (0..seed % 3).for_each(|_| model.run());
            model.shards[..20].iter_mut().for_each(|shard| shard.kbps *= factor);
            model
        };
        settles(&compare(&format!("one surges to {factor}"), 3, surge), latest);
    }
}
