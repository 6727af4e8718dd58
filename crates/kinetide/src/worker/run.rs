//! The worker's own task: it looks for leases to take, starts a keeper and a consumer for each, and sees them end.
//!
//! Invariants:
//! - at most one consumer per shard: a lease that comes back is consumed again only when its last consumer has ended;
//! - every task belongs to a set this task owns, so dropping the worker's future ends them all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{Id, JoinError, JoinSet};

use super::{Mode, Parts, Worker, start, upkeep};
use crate::assignment::hand_off::HandOffs;
use crate::assignment::observe::Observations;
use crate::assignment::take::{self, Plan, Snapshot};
use crate::clock::Moment;
use crate::consumer::run::{Consumer, ConsumerContext, Failure, Reading};
use crate::consumer::state::Outcome;
use crate::consumer::stop::Stop;
use crate::consumer::watch::{Progress, Stage, Watch};
use crate::error::{WorkerError, chain};
use crate::event::Event;
use crate::lease::keeper::{Keeper, KeeperContext, LeaseHandle};
use crate::lease::{Claim, Lease, LeaseKey, TableError};
use crate::processor::{ProcessorFactory, ShardContext};
use crate::retrieval::prefetch::Budget;

/// Takes under way at once.
const TAKES_PARALLEL_MAX: usize = 16;
/// Time between two looks while another worker is asked for a lease.
const WAITING_LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long leases are given back for when there is no time.
const RELEASE_TIME_MAX: Duration = Duration::from_secs(1);

pub(super) async fn run<F: ProcessorFactory>(worker: Worker<F>) -> Result<(), WorkerError> {
    let Worker { mut parts, factory, mode } = worker;
    let mut mode = mode.subscribe();
    let started = tokio::select! {
        biased;
        _ = mode.wait_for(|mode| *mode != Mode::Run) => return Ok(()),
        started = start::start(&mut parts) => started,
    };
    started?;
    Running::new(parts, factory).run(mode).await
}

struct Running<F> {
    parts: Parts,
    factory: F,
    keeper_context: KeeperContext,
    consumer_context: ConsumerContext,
    observations: Observations,
    hand_offs: HandOffs,
    held: BTreeMap<LeaseKey, LeaseHandle>,
    /// Leases that are being given back.
    leaving: BTreeMap<LeaseKey, LeaseHandle>,
    consumers: JoinSet<Result<Outcome, Failure>>,
    consumer_keys: HashMap<Id, (LeaseKey, Progress)>,
    watch: Watch,
    /// Keepers, and leases being given back.
    background: JoinSet<()>,
    /// Audits and cleans the table while this worker leads.
    upkeep: JoinSet<()>,
    /// Takes are under way: if the worker stops now, some leases may name it without being held.
    is_taking: bool,
    /// When the next lease of another worker expires, unless it is renewed.
    next_expiry: Option<Moment>,
    /// Time between two looks.
    look_interval: Duration,
    /// When to look again sooner than that.
    look_again: Option<Moment>,
}

impl<F: ProcessorFactory> Running<F> {
    fn new(parts: Parts, factory: F) -> Self {
        let keeper_context = KeeperContext {
            table: parts.table.clone(),
            worker: parts.id.clone(),
            clock: parts.clock.clone(),
            events: parts.events.clone(),
            failover_time: parts.settings.failover_time,
            renew_interval: parts.settings.renew_interval(),
            hand_off_time: parts.settings.hand_off_time,
            renewals: Arc::new(Semaphore::new(parts.settings.lease_renewals_parallel_max.get())),
        };
        let consumer_context = ConsumerContext {
            table: parts.table.clone(),
            settings: parts.settings.clone(),
            budget: Budget::new(parts.settings.prefetch_bytes_max.get()),
            clock: parts.clock.clone(),
            events: parts.events.clone(),
            leases_changed: Arc::new(Notify::new()),
            stop: Stop::default(),
        };
        Self {
            look_interval: parts.settings.look_interval(1),
            parts,
            factory,
            keeper_context,
            consumer_context,
            observations: Observations::default(),
            hand_offs: HandOffs::default(),
            held: BTreeMap::new(),
            leaving: BTreeMap::new(),
            consumers: JoinSet::new(),
            consumer_keys: HashMap::new(),
            watch: Watch::default(),
            background: JoinSet::new(),
            upkeep: JoinSet::new(),
            is_taking: false,
            next_expiry: None,
            look_again: None,
        }
    }

    async fn run(mut self, mut mode: watch::Receiver<Mode>) -> Result<(), WorkerError> {
        self.upkeep.spawn(upkeep::run(Parts { rng: self.parts.rng.fork(), ..self.parts.clone() }));
        let mut result = loop {
            let mut ask = mode.clone();
            let step = tokio::select! {
                biased;
                _ = ask.wait_for(|mode| *mode != Mode::Run) => break Ok(()),
                step = self.step() => step,
            };
            if step.is_err() {
                break step;
            }
        };
        let is_orderly = result.is_ok() && *mode.borrow() == Mode::Shutdown;
        if is_orderly {
            tokio::select! {
                biased;
                _ = mode.wait_for(|mode| *mode == Mode::Stop) => {}
                shut_down = self.shut_down() => result = shut_down,
            }
        }
        self.stop().await;
        self.parts.events.emit(Event::WorkerStopped);
        result
    }

    /// One look at the leases, then whatever happens until the next one is due.
    ///
    /// A look may be dropped half-way: a lease won just then names this worker, and the next look finds it.
    async fn step(&mut self) -> Result<(), WorkerError> {
        let looked_at = self.parts.clock.monotonic();
        self.look_again = None;
        let (clock, leases_changed) = (self.parts.clock.clone(), self.consumer_context.leases_changed.clone());
        let problem = match clock.timeout(self.parts.settings.failover_time, self.look()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(chain(&error)),
            Err(elapsed) => Some(elapsed.to_string()),
        };
        if let Some(error) = problem {
            let retry_in = self.look_interval;
            self.parts.events.emit(Event::CallFailed { what: "looking for leases", error, retry_in });
        }
        let next_look = self.next_look(looked_at);
        loop {
            tokio::select! {
                biased;
                Some(ended) = self.consumers.join_next_with_id() => self.consumer_ended(ended)?,
                Some(_) = self.background.join_next() => {}
                () = leases_changed.notified() => return Ok(()),
                () = clock.sleep_until(next_look) => return Ok(()),
            }
        }
    }

    /// At the usual interval, a moment after the next lease expires, or when a look showed an old picture.
    fn next_look(&self, looked_at: Moment) -> Moment {
        let usual = looked_at.after(self.look_interval);
        let expiry = self.next_expiry.map(|expiry| expiry.after(Duration::from_millis(1)));
        [expiry, self.look_again].into_iter().flatten().fold(usual, Moment::min)
    }

    async fn look(&mut self) -> Result<(), TableError> {
        let mut leases = self.parts.table.list().await?;
        leases.retain(|lease| self.parts.streams.of(&lease.key).is_some());
        // After the listing: a counter that moved while it was read must not look older than its write.
        let now = self.parts.clock.monotonic();
        self.forget_lost();
        self.verify_held(&leases);
        self.observations.update(&leases, now);
        let others = leases.iter().filter(|lease| !lease.is_finished() && lease.owner.as_ref() != Some(&self.parts.id));
        self.next_expiry = self.observations.next_expiry(others, now, self.parts.settings.failover_time);
        self.look_interval = self.parts.settings.look_interval(count_workers(&leases));
        self.tell_stalls(&leases, now);
        let overdue = self.hand_offs.update(&leases, &self.parts.id, now, &self.parts.settings);
        let snapshot = Snapshot { leases: &leases, observations: &self.observations, me: &self.parts.id, now };
        let planned = take::plan(snapshot, &self.parts.settings, &mut self.parts.rng);
        let (asked, planned) = self.whom_to_ask(&planned);
        // A row that names this worker and is not held: left from before a restart, handed over, or lost and not lost.
        let is_own = |lease: &&Lease| lease.owner.as_ref() == Some(&self.parts.id) && lease.checkpoint_owner.is_none();
        let own = leases.iter().filter(is_own);
        let mut wanted: Vec<&Lease> = planned.into_iter().chain(own).chain(overdue).collect();
        wanted.retain(|lease| !lease.is_finished() && !self.has(&lease.key));
        wanted.sort_by(|a, b| a.key.cmp(&b.key));
        wanted.dedup_by(|a, b| a.key == b.key);
        let (wanted, asked) = (wanted.into_iter().cloned().collect(), asked.into_iter().cloned().collect());
        self.forget_hand_offs(&leases).await?;
        self.take(wanted).await?;
        self.ask_for(asked).await
    }

    /// The leases whose owners are asked for them, and those that are taken.
    fn whom_to_ask<'a>(&self, planned: &Plan<'a>) -> (Vec<&'a Lease>, Vec<&'a Lease>) {
        let Plan::Owned(leases) = planned else { return (Vec::new(), planned.leases().to_vec()) };
        let may_ask = |lease: &&Lease| lease.owner.as_ref().is_some_and(|owner| self.hand_offs.may_ask(owner));
        leases.iter().partition(|lease| self.parts.settings.graceful_hand_off && may_ask(lease))
    }

    async fn ask_for(&mut self, leases: Vec<Lease>) -> Result<(), TableError> {
        for lease in leases {
            let now = self.parts.clock.monotonic();
            if let Claim::Won(_) = self.parts.table.update(&lease.request_hand_off(&self.parts.id)).await? {
                self.hand_offs.ask(&lease, now);
                self.parts.events.emit(Event::HandOffAsked { shard: lease.key, owner: lease.owner });
            }
        }
        if self.hand_offs.is_waiting() {
            let soon = self.parts.clock.monotonic().after(WAITING_LOOK_INTERVAL);
            self.look_again = Some(self.look_again.map_or(soon, |at| at.min(soon)));
        }
        Ok(())
    }

    /// A hand-off from this worker that it does not hold up any more: somebody else took the lease, and left that behind.
    async fn forget_hand_offs(&mut self, leases: &[Lease]) -> Result<(), TableError> {
        let is_mine = |lease: &&Lease| lease.checkpoint_owner.as_ref() == Some(&self.parts.id);
        for lease in leases.iter().filter(is_mine).filter(|lease| !self.has(&lease.key)) {
            // If it has moved on meanwhile, the next look sees how.
            self.parts.table.update(&lease.forget_hand_off()).await?;
        }
        Ok(())
    }

    /// Leases that stand still are everybody's business, consumers this worker's own.
    fn tell_stalls(&mut self, leases: &[Lease], now: Moment) {
        let open = leases.iter().filter(|lease| !lease.is_finished() && !self.held.contains_key(&lease.key));
        let still =
            open.filter_map(|lease| Some((&lease.key, (Stage::Lease, self.observations.seen_since(&lease.key)?))));
        let mut running: Vec<_> = self.consumer_keys.values().map(|(key, progress)| (key, progress.now())).collect();
        running.sort_unstable_by_key(|(key, _)| *key);
        let events = self.watch.look(running.into_iter().chain(still), now, &self.parts.settings);
        events.into_iter().for_each(|event| self.parts.events.emit(event));
    }

    /// A row that names another owner, present or next, is acted on now, and not at the next renewal.
    fn verify_held(&self, leases: &[Lease]) {
        for lease in leases.iter().filter(|lease| lease.owner.as_ref() != Some(&self.parts.id)) {
            let handle = self.held.get(&lease.key);
            if let Some(handle) = handle.filter(|handle| lease.next_owner().is_none() || !handle.is_wanted()) {
                handle.verify();
            }
        }
    }

    /// A shard that stopped keeps its lease; once that is lost, it may be taken like any other.
    fn forget_lost(&mut self) {
        let running: BTreeSet<_> = self.consumer_keys.values().map(|(key, _)| key).collect();
        self.held.retain(|key, handle| handle.loss().is_none() || running.contains(key));
        self.leaving.retain(|_, handle| handle.loss().is_none());
    }

    /// Takes these leases, as long as nobody else takes them too: then the picture they were chosen from is old, and a new
    /// look is due.
    async fn take(&mut self, wanted: Vec<Lease>) -> Result<(), TableError> {
        self.is_taking = true;
        for leases in wanted.chunks(TAKES_PARALLEL_MAX) {
            let is_beaten = self.take_some(leases.to_vec()).await?;
            if is_beaten {
                let jitter = self.parts.rng.duration_to(self.parts.settings.failover_time / 100);
                self.look_again = Some(self.parts.clock.monotonic().after(jitter));
                break;
            }
        }
        self.is_taking = false;
        Ok(())
    }

    /// Returns whether somebody else was faster.
    async fn take_some(&mut self, leases: Vec<Lease>) -> Result<bool, TableError> {
        let (table, clock, me) = (self.parts.table.clone(), self.parts.clock.clone(), self.parts.id.clone());
        let takes = futures::stream::iter(leases).map(|lease| {
            let (table, clock, update) = (table.clone(), clock.clone(), lease.take(&me));
            async move {
                let sent_at = clock.monotonic();
                (lease, sent_at, table.update(&update).await)
            }
        });
        let mut takes = std::pin::pin!(takes.buffer_unordered(TAKES_PARALLEL_MAX));
        let (mut is_beaten, mut failed) = (false, None);
        while let Some((lease, sent_at, result)) = takes.next().await {
            match result {
                Ok(Claim::Won(row)) => self.hold(row, lease.owner, sent_at),
                Ok(Claim::Lost(row)) => is_beaten |= row.is_some_and(|row| row.owner != lease.owner),
                // If it was applied all the same, the next look finds a row that names this worker.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(is_beaten), Err)
    }

    fn hold(&mut self, lease: Lease, previous: Option<crate::stream::WorkerId>, taken_at: Moment) {
        // Leases of streams that are not read here are not taken.
        let Some(stream) = self.parts.streams.of(&lease.key).cloned() else { return };
        self.parts.events.emit(Event::LeaseTaken {
            shard: lease.key.clone(),
            previous: previous.filter(|previous| *previous != self.parts.id),
            checkpoint: lease.checkpoint.clone(),
            fencing_token: lease.counter,
        });
        let rng = &mut self.parts.rng;
        let (keeper, handle) = Keeper::new(self.keeper_context.clone(), lease.clone(), taken_at, rng.fork());
        self.background.spawn(keeper.run());
        self.held.insert(lease.key.clone(), handle.clone());
        let processor = self.factory.create(&ShardContext {
            stream: stream.source.stream().clone(),
            stream_id: stream.id,
            shard: lease.key.shard.clone(),
            worker: self.parts.id.clone(),
            fencing_token: lease.counter,
        });
        let key = lease.key.clone();
        let reading = Reading { source: stream.source, initial_position: stream.initial_position };
        let consumer = Consumer::new(self.consumer_context.clone(), reading, lease, handle, processor, rng.fork());
        let progress = consumer.progress();
        let task = self.consumers.spawn(consumer.run());
        self.consumer_keys.insert(task.id(), (key, progress));
    }

    fn consumer_ended(&mut self, ended: Result<(Id, Result<Outcome, Failure>), JoinError>) -> Result<(), WorkerError> {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(panic) => (panic.id(), Err(self.consumer_panicked(&panic))),
        };
        let Some((key, _)) = self.consumer_keys.remove(&id) else { return Ok(()) };
        match result {
            Ok(Outcome::LeaseLost | Outcome::Stopped | Outcome::ShardEnded) => self.give_back(&key),
            // The lease is kept: no other worker would fare better, and nothing may be skipped.
            Err(Failure::Stop) => {}
            Err(Failure::Fatal(cause)) => return Err(WorkerError::Processor(cause)),
        }
        Ok(())
    }

    fn consumer_panicked(&self, panic: &JoinError) -> Failure {
        if let Some((shard, _)) = self.consumer_keys.get(&panic.id()).cloned() {
            let (call, error) = ("a processor's call", panic.to_string());
            self.parts.events.emit(Event::ProcessorFailed {
                shard: shard.clone(),
                call,
                error,
                retry_in: None,
                is_fatal: false,
            });
            self.parts.events.emit(Event::ShardStopped { shard });
        }
        Failure::Stop
    }

    /// True while this worker holds the lease, or has yet to give it back.
    fn has(&self, key: &LeaseKey) -> bool {
        self.held.contains_key(key) || self.leaving.contains_key(key)
    }

    fn give_back(&mut self, key: &LeaseKey) {
        if let Some(handle) = self.held.remove(key) {
            self.leaving.insert(key.clone(), handle.clone());
            self.background.spawn(async move { handle.release().await });
        }
    }

    /// Lets every processor finish, within the grace the settings allow.
    async fn shut_down(&mut self) -> Result<(), WorkerError> {
        self.consumer_context.stop.ask();
        let (clock, grace) = (self.parts.clock.clone(), self.parts.settings.shutdown_grace);
        let mut result = Ok(());
        let all_ended = async {
            while let Some(ended) = self.consumers.join_next_with_id().await {
                if let Err(error) = self.consumer_ended(ended) {
                    result = Err(error);
                }
            }
        };
        if clock.timeout(grace, all_ended).await.is_err() {
            let left = self.consumers.len();
            tracing::warn!("{left} processors did not finish within {} ms and are dropped", grace.as_millis());
        }
        result
    }

    /// Drops what still runs and gives every lease back.
    async fn stop(&mut self) {
        let clock = self.parts.clock.clone();
        self.upkeep.abort_all();
        // A processor that blocks its thread cannot be dropped; it must not hold up the end.
        if clock.timeout(RELEASE_TIME_MAX, self.consumers.shutdown()).await.is_err() {
            tracing::warn!("some processors block their thread and could not be stopped");
        }
        let keys: Vec<_> = self.held.keys().cloned().collect();
        for key in keys {
            self.give_back(&key);
        }
        let all_ended = async {
            if self.is_taking || self.hand_offs.is_waiting() {
                self.release_strays().await;
            }
            while self.background.join_next().await.is_some() {}
        };
        if clock.timeout(RELEASE_TIME_MAX, all_ended).await.is_err() {
            tracing::warn!("some leases could not be given back in time; they run out by themselves");
        }
    }

    /// Gives back leases that were won by takes nobody waited for, and those that were asked for and have not come.
    async fn release_strays(&mut self) {
        let Ok(leases) = self.parts.table.list().await else { return };
        let me = Some(&self.parts.id);
        for lease in leases.iter().filter(|lease| lease.owner.as_ref() == me && !self.held.contains_key(&lease.key)) {
            let update = if lease.next_owner().is_some() { lease.withdraw_hand_off() } else { lease.release() };
            // If it fails, the lease runs out by itself.
            let _ = self.parts.table.update(&update).await;
        }
    }
}

/// Workers that own an open lease.
fn count_workers(leases: &[Lease]) -> usize {
    let owners = leases.iter().filter(|lease| !lease.is_finished()).filter_map(Lease::actual_owner);
    owners.collect::<BTreeSet<_>>().len()
}
