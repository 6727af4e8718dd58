//! One seed, from start to judgement.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use kinetide::stream::{MemoryStream, StreamName};
use kinetide::{Clock, Event, Rng};

use crate::check::{self, View, Violation};
use crate::director::Director;
use crate::fleet::{Fleet, World};
use crate::history::{Entry, History, Life, What};
use crate::plan::{Plan, RUN_TIME_MIN, STARTED_AT, Sabotage};
use crate::scenario::Scenario;
use crate::settle;
use crate::table::Store;

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// What it was made of.
    pub plan: Plan,
    /// What happened.
    pub entries: Vec<Entry>,
    /// What was wrong.
    pub violations: Vec<Violation>,
    /// How long it took, in virtual time.
    pub virtual_time: Duration,
}

/// Runs one seed, on this thread, in virtual time.
///
/// # Errors
/// When the run itself cannot be set up.
pub fn run(seed: u64, scenario: Option<Scenario>) -> anyhow::Result<Outcome> {
    run_plan(Plan::draw(seed, scenario))
}

/// Runs a plan.
///
/// # Errors
/// As [`run`].
pub fn run_plan(plan: Plan) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(play(plan))
}

async fn play(plan: Plan) -> anyhow::Result<Outcome> {
    let mut rng = Rng::seeded(plan.seed ^ 0x5eed);
    let world = world(plan)?;
    let mut fleet = Fleet::new(world.clone(), rng.fork());
    for _ in 0..world.plan.workers {
        fleet.add().await.context("building a worker")?;
    }
    let producer = tokio::spawn(produce(world.clone(), rng.fork()));
    let mut fleet = Director::new(world.clone(), fleet, rng.fork()).run().await.context("restarting a worker")?;
    producer.await.context("producing")?;
    let passed = Duration::from_millis(world.history.now());
    let mut violations = settle::settle(&world, &mut fleet, RUN_TIME_MIN.saturating_sub(passed)).await;
    end(&world, &mut fleet).await;

    let virtual_time = Duration::from_millis(world.history.now());
    let entries = world.history.take();
    violations.extend(check::all(&View::new(&entries, world.plan.bounds())));
    violations.extend(complaints(&entries));
    Ok(Outcome { plan: (*world.plan).clone(), entries, violations, virtual_time })
}

fn world(plan: Plan) -> anyhow::Result<World> {
    let clock = Clock::starting_at(STARTED_AT);
    let stream = MemoryStream::new(StreamName::new("stream")?, plan.shards, clock.clone());
    stream.set_retention(plan.retention);
    let history = History::new(clock.clone());
    let is_unconditional = plan.sabotage == Some(Sabotage::Unconditional);
    let store = Store::new(clock.clone(), history.clone(), is_unconditional);
    Ok(World { plan: Arc::new(plan), clock, stream, store, history, healed: Arc::new(AtomicBool::new(false)) })
}

/// Puts records until everything is healed.
async fn produce(world: World, mut rng: Rng) {
    while !world.healed.load(std::sync::atomic::Ordering::Relaxed) {
        for _ in 0..rng.below(2 * world.plan.rate + 1) {
            let key = format!("key {}", rng.below(200));
            if let Some((shard, sequence)) = world.stream.put(&key, key.clone()) {
                world.history.put(shard, crate::processor::number(&sequence));
            }
        }
        world.clock.sleep(Duration::from_millis(500 + rng.below(1_000) as u64)).await;
    }
}

/// Everybody stops in an orderly way.
async fn end(world: &World, fleet: &mut Fleet) {
    for index in fleet.running() {
        fleet.ask(index, true);
    }
    for _ in 0..600 {
        fleet.reap().await;
        if fleet.slots().iter().all(|slot| slot.member.is_none()) {
            return;
        }
        world.clock.sleep(Duration::from_millis(100)).await;
    }
}

/// What no run may have: a worker that panicked, a shard that stopped although its processor never fails for good.
fn complaints(entries: &[Entry]) -> Vec<Violation> {
    let found = entries.iter().filter_map(|entry| {
        let what = match &entry.what {
            What::Ended { error: Some(error) } if error.starts_with("panicked") => error.clone(),
            What::Told(Event::ShardStopped { shard }) => format!("{shard} has stopped"),
            _ => return None,
        };
        let place = if entry.who == Life::default() { String::new() } else { format!("life {}: ", entry.who.0) };
        Some(Violation { rule: "complaints", at: entry.at, what: format!("{place}{what}") })
    });
    found.collect()
}
