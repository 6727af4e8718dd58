//! Who disturbs the fleet: an agenda of steps in virtual time, drawn as it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kinetide::clock::Moment;
use kinetide::stream::{Shard, ShardFilter, ShardId, StreamSource};
use kinetide::{Rng, WorkerError};

use crate::fault::{Fault, Service};
use crate::fleet::{Fleet, Identity, Slot, World};
use crate::history::{Life, What};
use crate::plan::{SHARDS_MAX, WORKERS_MAX};

/// How often it looks for workers that ended and shards that expired.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How soon a shard that was just opened may be merged.
const MERGE_SOON: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
enum Step {
    Look,
    Disturb,
    Start(usize, Identity),
    /// A shard that was opened by a split is merged with its neighbour.
    Merge(ShardId),
}

/// Disturbs a fleet.
#[derive(Debug)]
pub struct Director {
    world: World,
    fleet: Fleet,
    rng: Rng,
    /// By time, then by the order in which they were put there.
    agenda: BTreeMap<(Moment, u64), Step>,
    steps: u64,
    listed: BTreeSet<ShardId>,
}

impl Director {
    /// For this fleet.
    #[must_use]
    pub fn new(world: World, fleet: Fleet, rng: Rng) -> Self {
        Self { world, fleet, rng, agenda: BTreeMap::new(), steps: 0, listed: BTreeSet::new() }
    }

    /// Disturbs the fleet for as long as the plan says, then heals everything and hands the fleet back.
    ///
    /// # Errors
    /// [`WorkerError`] when a worker cannot be built.
    pub async fn run(mut self) -> Result<Fleet, WorkerError> {
        let clock = self.world.clock.clone();
        let heal_at = clock.monotonic().after(self.world.plan.disturbed);
        self.later(Duration::ZERO, Step::Look);
        self.later(self.world.plan.disturb_every, Step::Disturb);
        while let Some(((at, _), step)) = self.agenda.pop_first() {
            if at >= heal_at {
                break;
            }
            clock.sleep_until(at).await;
            self.take(step, heal_at).await?;
        }
        clock.sleep_until(heal_at).await;
        self.bury().await;
        self.world.heal();
        let places = 0..self.fleet.slots().len();
        for index in places.filter(|index| self.fleet.slots()[*index].is_wanted).collect::<Vec<_>>() {
            self.fleet.start(index, Identity::New).await?;
        }
        Ok(self.fleet)
    }

    fn later(&mut self, wait: Duration, step: Step) {
        self.steps += 1;
        self.agenda.insert((self.world.clock.monotonic().after(wait), self.steps), step);
    }

    async fn take(&mut self, step: Step, heal_at: Moment) -> Result<(), WorkerError> {
        match step {
            Step::Start(index, identity) => self.fleet.start(index, identity).await?,
            Step::Merge(shard) => self.merge(Some(&shard)).await,
            Step::Look => {
                self.bury().await;
                for index in self.fleet.reap().await {
                    if self.fleet.slots()[index].is_wanted {
                        let wait = self.rng.duration_to(Duration::from_secs(10));
                        let identity = if self.rng.below(2) == 0 { Identity::Same } else { Identity::New };
                        self.later(wait, Step::Start(index, identity));
                    }
                }
                self.note_expired().await;
                self.later(LOOK_EVERY, Step::Look);
            }
            Step::Disturb => {
                let left = heal_at.since(self.world.clock.monotonic());
                self.disturb(left).await?;
                let mean = self.world.plan.disturb_every;
                let wait = mean / 2 + self.rng.duration_to(mean);
                self.later(wait, Step::Disturb);
            }
        }
        Ok(())
    }

    /// One disturbance; what lasts ends before everything is healed.
    async fn disturb(&mut self, left: Duration) -> Result<(), WorkerError> {
        let possible: Vec<_> = self.world.plan.faults.iter().copied().filter(|fault| fault.is_of_director()).collect();
        let Some(fault) = possible.get(self.rng.below(possible.len())).copied() else { return Ok(()) };
        match fault {
            Fault::Split => self.split().await,
            Fault::Merge => self.merge(None).await,
            Fault::ScaleUp if self.fleet.wanted() < WORKERS_MAX => {
                self.world.history.add_fault(Life::default(), fault, "one more worker", 0);
                self.fleet.add().await?;
            }
            Fault::ScaleUp => {}
            _ => self.disturb_worker(fault, left).await,
        }
        Ok(())
    }

    async fn disturb_worker(&mut self, fault: Fault, left: Duration) {
        let running = self.fleet.running();
        let Some(index) = running.get(self.rng.below(running.len())).copied() else { return };
        let Some(member) = self.fleet.slots()[index].member.as_ref() else { return };
        let (life, link, clock) = (member.life, member.link.clone(), member.clock.clone());
        let failover_time = self.world.plan.settings.failover_time;
        let long = failover_time.mul_f64(1.1 + 2.0 * self.rng.unit()).min(left);
        let some = self.rng.duration_to(failover_time * 3).min(left);
        let lasts = match fault {
            Fault::Pause => long,
            Fault::PartitionTable | Fault::PartitionStream => some,
            Fault::ClockStep => self.rng.duration_to(Duration::from_secs(3_600)),
            _ => Duration::ZERO,
        };
        if fault == Fault::ScaleDown && self.fleet.wanted() <= 2 {
            return;
        }
        let millis = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        self.world.history.add_fault(life, fault, "the worker", millis);
        match fault {
            Fault::Pause => link.pause(lasts),
            Fault::PartitionTable => link.cut(Service::Table, lasts),
            Fault::PartitionStream => link.cut(Service::Stream, lasts),
            Fault::ClockStep => {
                let millis = lasts.as_millis() as i64;
                clock.step_wall(if self.rng.below(2) == 0 { millis } else { -millis });
            }
            Fault::Crash => self.crash(index).await,
            Fault::Stop => self.fleet.ask(index, false),
            Fault::ScaleDown => {
                self.fleet.want(index, false);
                self.fleet.ask(index, true);
            }
            _ => self.fleet.ask(index, true),
        }
    }

    /// Workers that died of themselves.
    async fn bury(&mut self) {
        let is_dying = |slot: &Slot| slot.member.as_ref().is_some_and(|member| member.link.is_dying());
        let places = 0..self.fleet.slots().len();
        for index in places.filter(|index| is_dying(&self.fleet.slots()[*index])).collect::<Vec<_>>() {
            let life = self.fleet.slots()[index].member.as_ref().map(|member| member.life);
            self.world.history.add_fault(life.unwrap_or_default(), Fault::Crash, "at the end of a shard", 0);
            self.crash(index).await;
        }
    }

    async fn crash(&mut self, index: usize) {
        self.fleet.crash(index).await;
        let (fault, identity) = match self.rng.below(2) {
            0 => (Fault::RestartSameId, Identity::Same),
            _ => (Fault::RestartNewId, Identity::New),
        };
        let wait = self.rng.duration_to(self.world.plan.settings.failover_time * 3);
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.world.history.add_fault(Life::default(), fault, "after", millis);
        self.later(wait, Step::Start(index, identity));
    }

    async fn split(&mut self) {
        let open = self.open_shards().await;
        if open.len() >= SHARDS_MAX {
            return;
        }
        let Some(parent) = open.get(self.rng.below(open.len())) else { return };
        if let Ok(children) = self.world.stream.split(&parent.id) {
            self.world.history.add_fault(Life::default(), Fault::Split, "a shard", 0);
            self.resharded(vec![parent.id.clone()], children.to_vec());
            // A change of the shard count splits and merges in one go, faster than leases follow.
            if self.world.plan.faults.contains(&Fault::Merge) && self.rng.below(2) == 0 {
                let (wait, child) = (self.rng.duration_to(MERGE_SOON), self.rng.below(children.len()));
                self.later(wait, Step::Merge(children[child].clone()));
            }
        }
    }

    /// Any two neighbours, or this shard and one that was not split off together with it.
    async fn merge(&mut self, shard: Option<&ShardId>) {
        let open = self.open_shards().await;
        let fits = |pair: &&[Shard]| {
            let is_named = |shard: &ShardId| pair[0].id == *shard || pair[1].id == *shard;
            shard.is_none_or(|shard| is_named(shard) && pair[0].parents != pair[1].parents)
        };
        let pairs: Vec<_> = open.windows(2).filter(fits).collect();
        let Some([left, right]) = pairs.get(self.rng.below(pairs.len())).copied() else { return };
        if let Ok(child) = self.world.stream.merge(&left.id, &right.id) {
            self.world.history.add_fault(Life::default(), Fault::Merge, "two shards", 0);
            self.resharded(vec![left.id.clone(), right.id.clone()], vec![child]);
        }
    }

    fn resharded(&self, parents: Vec<ShardId>, children: Vec<ShardId>) {
        self.world.history.add(Life::default(), What::Resharded { parents, children });
    }

    /// The open shards in the order of their hash keys.
    async fn open_shards(&self) -> Vec<Shard> {
        let mut open = self.world.stream.list_shards(ShardFilter::AtLatest).await.unwrap_or_default();
        open.sort_by_key(|shard| shard.hash_range);
        open
    }

    async fn note_expired(&mut self) {
        if !self.world.plan.faults.contains(&Fault::ShardExpiry) {
            return;
        }
        let listed = self.world.stream.list_shards(ShardFilter::All).await.unwrap_or_default();
        let listed: BTreeSet<_> = listed.into_iter().map(|shard| shard.id).collect();
        for shard in self.listed.difference(&listed) {
            let what = What::Fault { fault: Fault::ShardExpiry, detail: "of", millis: 0, shard: Some(shard.clone()) };
            self.world.history.add(Life::default(), what);
        }
        self.listed = listed;
    }
}
