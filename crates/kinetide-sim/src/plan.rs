//! What a run is made of, drawn from its seed: pure.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use kinetide::settings::Takeover;
use kinetide::{InitialPosition, Rng, Settings, Timestamp};

use crate::check::Bounds;
use crate::fault::{CallFault, Fault, Service};
use crate::scenario::Scenario;

/// Everything about a run that is known before it starts.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it was drawn from.
    pub seed: u64,
    /// What kind of run it is.
    pub scenario: Scenario,
    /// Workers at the start.
    pub workers: usize,
    /// Shards at the start.
    pub shards: usize,
    /// Records put in a second.
    pub rate: usize,
    /// How long it is disturbed.
    pub disturbed: Duration,
    /// The mean time from one disturbance to the next.
    pub disturb_every: Duration,
    /// How long the stream keeps records.
    pub retention: Duration,
    /// Which faults can occur.
    pub faults: BTreeSet<Fault>,
    /// Those that befall single calls.
    pub calls: Vec<CallFault>,
    /// Where shards start; either way nothing put may be left out, as the stream starts with the run.
    pub initial_position: InitialPosition,
    /// The settings of every worker.
    pub settings: Settings,
    /// How processors behave.
    pub policy: Policy,
    /// What is broken on purpose, to see that it is found; never drawn.
    pub sabotage: Option<Sabotage>,
}

/// A service that breaks its promises: no library can keep its own over one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The lease table applies writes whatever their conditions.
    Unconditional,
    /// The stream leaves out a record now and then.
    LosesRecords,
    /// The stream gives the first record of an answer twice.
    RepeatsRecords,
}

/// How processors behave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// When they checkpoint.
    pub pace: Pace,
    /// Of so many batches, one takes longer than a lease lives; from 0 to 1.
    pub slow: f64,
    /// Of so many batches, one fails first; from 0 to 1.
    pub failing: f64,
    /// Whether a checkpoint that failed for now fails the batch, or is left for the next time.
    pub is_strict: bool,
    /// Whether checkpoints are made in two steps.
    pub is_two_phase: bool,
}

/// When processors checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// After every batch.
    Batch,
    /// After every so many records, in the middle of a batch.
    Records(usize),
    /// After every so many batches.
    Batches(usize),
}

/// When every run starts, on the wall clock of its services.
pub const STARTED_AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// Workers at once, at most.
pub const WORKERS_MAX: usize = 10;
/// Open shards, at most.
pub const SHARDS_MAX: usize = 64;
/// How much too fast or too slow a clock is, at most: far more than real ones.
pub const DRIFT_MAX: f64 = 0.1;
/// The shortest run.
pub const RUN_TIME_MIN: Duration = Duration::from_secs(15 * 60);

impl Plan {
    /// The plan of this seed; without a scenario the seed draws one.
    #[must_use]
    pub fn draw(seed: u64, scenario: Option<Scenario>) -> Self {
        let mut rng = Rng::seeded(seed);
        let drawn = Scenario::ALL[rng.below(Scenario::ALL.len())];
        let scenario = scenario.unwrap_or(drawn);
        let faults = draw_faults(scenario, &mut rng);
        let calls = draw_calls(scenario, &faults, &mut rng);
        let shards = if rng.below(4) == 0 { 4 + rng.below(SHARDS_MAX - 3) } else { 4 + rng.below(13) };
        let settings = draw_settings(shards, &mut rng);
        let policy = draw_policy(&faults, &mut rng);
        let keeps_briefly = faults.contains(&Fault::ShardExpiry);
        Self {
            seed,
            scenario,
            workers: if rng.below(4) == 0 { 2 + rng.below(WORKERS_MAX - 1) } else { 2 + rng.below(4) },
            shards,
            rate: 2 + rng.below(20),
            disturbed: Duration::from_secs(12 * 60) + rng.duration_to(Duration::from_secs(3 * 60)),
            disturb_every: Duration::from_secs(8) + rng.duration_to(Duration::from_secs(40)),
            retention: Duration::from_secs(if keeps_briefly { 6 * 60 } else { 24 * 3600 }),
            faults,
            calls,
            initial_position: if rng.below(4) == 0 {
                InitialPosition::AtTimestamp(STARTED_AT)
            } else {
                InitialPosition::TrimHorizon
            },
            settings,
            policy,
            sabotage: None,
        }
    }

    /// How long the fleet may take to recover after the last fault.
    #[must_use]
    pub fn settle_time_max(&self, workers: usize, shards: usize, finished: usize) -> Duration {
        // Everything expires, is taken, and is then stolen one by one, a look apart.
        let steals = u32::try_from(shards / workers.max(1)).unwrap_or(u32::MAX);
        let steals = if self.settings.takeover == Takeover::Frugal { 4 * steals } else { steals };
        // Finished leases go one generation after the other.
        let cleanups = self.settings.upkeep_interval * u32::try_from(finished + 4).unwrap_or(u32::MAX);
        self.settings.failover_time * (10 + steals / 2) + cleanups + Duration::from_secs(90)
    }

    /// What its histories are judged by.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        let drift = if self.faults.contains(&Fault::ClockDrift) { DRIFT_MAX } else { 0.0 };
        let millis = |duration: Duration, factor| (duration.as_secs_f64() * factor * 1_000.0) as u64;
        let settings = &self.settings;
        Bounds {
            lease_life_max: millis(settings.failover_time, 1.0 + drift),
            lease_life_min: millis(settings.failover_time, 1.0 - drift),
            hand_off_min: millis(settings.hand_off_time, 1.0 - drift),
            steals_max: usize::try_from(settings.leases_stolen_max.get()).unwrap_or(usize::MAX),
            retention: millis(self.retention, 1.0),
        }
    }
}

fn draw_faults(scenario: Scenario, rng: &mut Rng) -> BTreeSet<Fault> {
    let chosen = scenario.may().iter().filter(|_| rng.below(5) < 3).copied();
    let mut faults: BTreeSet<_> = chosen.chain(scenario.must().iter().copied()).collect();
    if faults.contains(&Fault::Crash) {
        faults.extend([Fault::RestartSameId, Fault::RestartNewId]);
    }
    faults
}

fn draw_calls(scenario: Scenario, faults: &BTreeSet<Fault>, rng: &mut Rng) -> Vec<CallFault> {
    let of_calls = faults.iter().filter(|fault| fault.is_of_calls());
    let drawn = of_calls.map(|fault| {
        let most = match fault {
            Fault::Hang => 0.002,
            Fault::LateEffect | Fault::IteratorExpired => 0.01,
            Fault::Delay => 0.05,
            Fault::EndCutShort => 0.5,
            Fault::StaleRead => 0.2,
            _ => 0.03,
        };
        let service = match rng.below(3) {
            _ if matches!(fault, Fault::IteratorExpired | Fault::EndCutShort) => Some(Service::Stream),
            _ if scenario == Scenario::FlakyTable => Some(Service::Table),
            0 => Some(Service::Table),
            _ => None,
        };
        CallFault { fault: *fault, service, probability: (0.1 + 0.9 * rng.unit()) * most * scenario.severity() }
    });
    drawn.collect()
}

fn draw_settings(shards: usize, rng: &mut Rng) -> Settings {
    let idle_least = if shards > 24 { 1_000 } else { 300 };
    let is_adaptive = shards <= 16 && rng.below(3) == 0;
    let idle = Duration::from_millis(idle_least + rng.below(1_500) as u64);
    let stolen = if rng.below(3) == 0 { 2 + rng.below(4) } else { 1 };
    let failover_time = Duration::from_secs(4 + rng.below(12) as u64);
    Settings {
        failover_time,
        graceful_hand_off: rng.below(4) > 0,
        hand_off_time: Duration::from_secs(2 + rng.below(30) as u64),
        takeover: if rng.below(4) == 0 { Takeover::Frugal } else { Takeover::Prompt },
        // In a third of the runs as often as is allowed: whatever is deleted too early is then deleted in time to be missed.
        upkeep_interval: Duration::from_secs((rng.below(30) as u64).saturating_sub(9).max(1)),
        leases_stolen_max: u32::try_from(stolen).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN),
        priority_lease_assignment: rng.below(3) > 0,
        idle_time_between_reads: (!is_adaptive).then_some(idle),
        parent_shard_poll_interval: Duration::from_secs(2 + rng.below(9) as u64),
        empty_batches: rng.below(8) == 0,
        processor_retries_max: 10,
        initialization_attempts_max: NonZeroU32::MIN.saturating_add(4),
        list_shards_attempts_max: NonZeroU32::MIN.saturating_add(5),
        ..Settings::default()
    }
}

fn draw_policy(faults: &BTreeSet<Fault>, rng: &mut Rng) -> Policy {
    let pace = match rng.below(3) {
        0 => Pace::Batch,
        1 => Pace::Records(1 + rng.below(5)),
        _ => Pace::Batches(2 + rng.below(12)),
    };
    let of = |fault, probability| if faults.contains(&fault) { probability } else { 0.0 };
    Policy {
        pace,
        slow: of(Fault::SlowProcessor, 0.01),
        failing: of(Fault::FailingProcessor, 0.05),
        is_strict: rng.below(2) == 0,
        is_two_phase: rng.below(5) == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_keep_their_bounds() {
        for seed in 0..2_000 {
            let plan = Plan::draw(seed, None);
            assert!((2..=WORKERS_MAX).contains(&plan.workers) && (4..=SHARDS_MAX).contains(&plan.shards));
            assert!(plan.faults.len() >= 3, "{plan:?}");
            assert_eq!(plan.settings.validate(), Ok(()));
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_plan() {
        assert_eq!(format!("{:?}", Plan::draw(5, None)), format!("{:?}", Plan::draw(5, None)));
    }
}
