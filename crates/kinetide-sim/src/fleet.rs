//! The workers of a run: they are started, die, are stopped and started again, each life with its own link, clock and
//! randomness.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kinetide::stream::{MemoryStream, WorkerId};
use kinetide::{Clock, Rng, ShardContext, Timestamp, Worker, WorkerBuilder, WorkerError, WorkerHandle};
use tokio::task::JoinHandle;

use crate::fault::Fault;
use crate::history::{History, Life, What};
use crate::link::{Link, hash};
use crate::plan::{DRIFT_MAX, Plan};
use crate::processor::Auditor;
use crate::source::FaultyStream;
use crate::table::{FaultyTable, Store};

/// What the workers of a run share.
#[derive(Debug, Clone)]
pub struct World {
    /// What was drawn.
    pub plan: Arc<Plan>,
    /// The clock of the services.
    pub clock: Clock,
    /// The stream.
    pub stream: MemoryStream,
    /// The lease table.
    pub store: Store,
    /// What happened.
    pub history: History,
    /// Set once nothing is disturbed any more.
    pub healed: Arc<AtomicBool>,
}

impl World {
    /// From now on nothing is disturbed.
    pub fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
        self.history.add(Life::default(), What::Healed);
    }
}

/// One life of a worker.
#[derive(Debug)]
pub struct Member {
    /// Which.
    pub life: Life,
    /// Its id.
    pub worker: WorkerId,
    /// Its connection.
    pub link: Link,
    /// Its clock.
    pub clock: Clock,
    handle: WorkerHandle,
    task: JoinHandle<Result<(), WorkerError>>,
    is_leaving: bool,
}

/// A place in the fleet, filled by one life after the other.
#[derive(Debug, Default)]
pub struct Slot {
    /// Who fills it now.
    pub member: Option<Member>,
    /// False: it stays empty.
    pub is_wanted: bool,
    generation: u32,
}

/// Whether a worker that comes back uses the id it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// It does.
    Same,
    /// It does not.
    New,
}

/// The workers of a run.
#[derive(Debug)]
pub struct Fleet {
    world: World,
    rng: Rng,
    lives: u32,
    slots: Vec<Slot>,
}

impl Fleet {
    /// Nobody yet.
    #[must_use]
    pub fn new(world: World, rng: Rng) -> Self {
        Self { world, rng, lives: 0, slots: Vec::new() }
    }

    /// The places.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Places with a worker that runs and was not asked to stop.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        let runs = |slot: &Slot| slot.member.as_ref().is_some_and(|member| !member.is_leaving);
        self.slots.iter().enumerate().filter(|(_, slot)| runs(slot)).map(|(index, _)| index).collect()
    }

    /// Places that are filled, or will be again.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_wanted).count()
    }

    /// The ids of the workers that run.
    #[must_use]
    pub fn live_ids(&self) -> BTreeSet<WorkerId> {
        self.slots.iter().filter_map(|slot| slot.member.as_ref()).map(|member| member.worker.clone()).collect()
    }

    /// Adds a place and starts a worker in it.
    ///
    /// # Errors
    /// [`WorkerError`] when it cannot be built.
    pub async fn add(&mut self) -> Result<(), WorkerError> {
        self.slots.push(Slot { is_wanted: true, ..Slot::default() });
        self.start(self.slots.len() - 1, Identity::Same).await
    }

    /// Starts a worker in an empty place.
    ///
    /// # Errors
    /// [`WorkerError`] when it cannot be built.
    pub async fn start(&mut self, index: usize, identity: Identity) -> Result<(), WorkerError> {
        if self.slots[index].member.is_some() {
            return Ok(());
        }
        self.lives += 1;
        let slot = &mut self.slots[index];
        slot.generation += u32::from(identity == Identity::New);
        let id = format!("worker-{}.{}", index + 1, slot.generation);
        let (life, worker) = (Life(self.lives), WorkerId::new(id)?);
        self.world.history.add(life, What::Started { worker: worker.clone() });
        let (world, rng) = (&self.world, &mut self.rng);
        let faults = if world.healed.load(Ordering::Relaxed) { &[][..] } else { &world.plan.calls };
        let (history, clock, healed) = (world.history.clone(), world.clock.clone(), world.healed.clone());
        let link = Link::new(life, history, clock, faults, healed, rng.bits());
        let clock = worker_clock(world, life, rng);
        let built =
            builder(world, &link, &worker, rng.fork()).clock(clock.clone()).settings(world.plan.settings.clone());
        let factory = auditors(world, &link, rng);
        let running = built.processor(factory).build().await?;
        let handle = running.handle();
        let task = tokio::spawn(running.run());
        self.slots[index].member = Some(Member { life, worker, link, clock, handle, task, is_leaving: false });
        Ok(())
    }

    /// Kills a worker: it does nothing more, from now on.
    pub async fn crash(&mut self, index: usize) {
        if let Some(member) = self.slots[index].member.take() {
            member.task.abort();
            let end = member.task.await;
            let error = match end {
                Err(error) if error.is_cancelled() => Some("killed".to_owned()),
                end => describe(end),
            };
            self.world.history.add(member.life, What::Ended { error });
        }
    }

    /// Asks a worker to stop.
    pub fn ask(&mut self, index: usize, is_orderly: bool) {
        if let Some(member) = &mut self.slots[index].member {
            self.world.history.add(member.life, What::Asked { is_orderly });
            member.is_leaving = true;
            if is_orderly {
                member.handle.shutdown();
            } else {
                member.handle.stop();
            }
        }
    }

    /// Says whether a place is to be filled again.
    pub fn want(&mut self, index: usize, is_wanted: bool) {
        self.slots[index].is_wanted = is_wanted;
    }

    /// Empties the places of workers that have ended; returns them.
    pub async fn reap(&mut self) -> Vec<usize> {
        let mut ended = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Some(member) = slot.member.take_if(|member| member.task.is_finished()) {
                let error = describe(member.task.await);
                self.world.history.add(member.life, What::Ended { error });
                ended.push(index);
            }
        }
        ended
    }
}

fn describe(end: Result<Result<(), WorkerError>, tokio::task::JoinError>) -> Option<String> {
    match end {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(kinetide::error::chain(&error)),
        Err(error) => Some(format!("panicked: {error}")),
    }
}

/// A worker's own clock, which may be wrong: what time it is, and how fast it goes.
fn worker_clock(world: &World, life: Life, rng: &mut Rng) -> Clock {
    let most = Duration::from_secs(2 * 3600);
    let skew = rng.duration_to(most).as_millis() as i64 - most.as_millis() as i64 / 2;
    let skew = if world.plan.faults.contains(&Fault::ClockSkew) { skew } else { 0 };
    if skew != 0 {
        world.history.add_fault(life, Fault::ClockSkew, "wall clock", skew.unsigned_abs());
    }
    let drift = (2.0 * rng.unit() - 1.0) * DRIFT_MAX;
    let drift = if world.plan.faults.contains(&Fault::ClockDrift) { drift } else { 0.0 };
    if drift != 0.0 {
        let loses = if drift < 0.0 { "gains, in a second" } else { "loses, in a second" };
        world.history.add_fault(life, Fault::ClockDrift, loses, (drift.abs() * 1_000.0) as u64);
    }
    // What takes a second on it takes 1 + drift seconds.
    Clock::starting_at(Timestamp::from_millis(world.clock.wall().as_millis() + skew)).with_rate(1.0 / (1.0 + drift))
}

fn builder(world: &World, link: &Link, worker: &WorkerId, rng: Rng) -> WorkerBuilder<()> {
    let (history, life) = (world.history.clone(), link.life());
    Worker::builder()
        .worker_id(worker.as_str())
        .table(FaultyTable::new(world.store.clone(), link.clone(), world.plan.faults.contains(&Fault::Crash)))
        .source(FaultyStream::new(world.stream.clone(), link.clone(), world.plan.sabotage))
        .initial_position(world.plan.initial_position)
        .rng(rng)
        .observer(move |event| history.add(life, What::Told(event.clone())))
}

/// Makes the processors of one life. Each draws from its own generator, numbered by the lease it is for, so that it does not
/// matter in which order they are made.
fn auditors(world: &World, link: &Link, rng: &mut Rng) -> impl Fn(&ShardContext) -> Auditor + Send + Sync + 'static {
    let (plan, link, seed) = (world.plan.clone(), link.clone(), rng.bits());
    move |context: &ShardContext| {
        let shard = hash(seed, context.shard.as_str().bytes());
        let rng = Rng::seeded(shard ^ context.fencing_token.rotate_left(32));
        Auditor::new(link.clone(), context, plan.policy, plan.settings.failover_time, rng)
    }
}
