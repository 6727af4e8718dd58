//! Measured fleets: nothing fails, and what is asked is what they cost and how long they take.
//!
//! Every call of the table takes five milliseconds, so that workers that start together see each other; calls of the stream
//! take none.

pub mod cost;
pub mod java;
pub mod scale;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use kinetide::lease::{Claim, Lease, LeaseKey, LeaseTable, LeaseUpdate, MemoryLeaseTable, Prepared, TableError};
use kinetide::stream::{MemoryStream, StreamName, WorkerId};
use kinetide::{
    Batch, Checkpointer, Clock, Event, InitialPosition, ProcessorResult, RecordProcessor, Rng, Settings, ShardContext,
    Worker, WorkerError,
};
use tokio::task::JoinHandle;

use crate::plan::STARTED_AT;

/// Does nothing with its records; there are none.
struct Idle;

impl RecordProcessor for Idle {
    async fn process_records(&mut self, _batch: &Batch, checkpointer: &Checkpointer) -> ProcessorResult {
        Ok(checkpointer.checkpoint().await?)
    }
}

/// What a call of the lease table takes, as within a region.
const CALL_TIME: Duration = Duration::from_millis(5);

/// The table as a worker sees it.
struct Distant {
    table: MemoryLeaseTable,
    clock: Clock,
}

impl Distant {
    async fn after_a_while<T>(&self, call: impl Future<Output = T>) -> T {
        self.clock.sleep(CALL_TIME).await;
        call.await
    }
}

#[async_trait]
impl LeaseTable for Distant {
    fn name(&self) -> &str {
        self.table.name()
    }

    async fn prepare(&self) -> Result<Prepared, TableError> {
        self.after_a_while(self.table.prepare()).await
    }

    async fn list(&self) -> Result<Vec<Lease>, TableError> {
        self.after_a_while(self.table.list()).await
    }

    async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, TableError> {
        self.after_a_while(self.table.get(key)).await
    }

    async fn create(&self, lease: &Lease) -> Result<Claim, TableError> {
        self.after_a_while(self.table.create(lease)).await
    }

    async fn update(&self, update: &LeaseUpdate) -> Result<Claim, TableError> {
        self.after_a_while(self.table.update(update)).await
    }

    async fn delete(&self, key: &LeaseKey) -> Result<(), TableError> {
        self.after_a_while(self.table.delete(key)).await
    }
}

/// A fleet on services that never fail.
struct Fleet {
    clock: Clock,
    stream: MemoryStream,
    table: MemoryLeaseTable,
    settings: Settings,
    rng: Rng,
    started: usize,
    running: BTreeMap<WorkerId, JoinHandle<Result<(), WorkerError>>>,
    /// Leases taken that somebody else had.
    moves: Arc<AtomicU64>,
}

impl Fleet {
    fn new(shards: usize, settings: Settings, seed: u64) -> anyhow::Result<Self> {
        let clock = Clock::starting_at(STARTED_AT);
        let stream = MemoryStream::new(StreamName::new("stream")?, shards, clock.clone());
        // Leases are what is measured; shards are only looked at often enough to be there.
        let settings = Settings { idle_time_between_reads: Some(Duration::from_secs(60)), ..settings };
        Ok(Self {
            clock,
            stream,
            table: MemoryLeaseTable::new("leases"),
            settings,
            rng: Rng::seeded(seed),
            started: 0,
            running: BTreeMap::new(),
            moves: Arc::default(),
        })
    }

    async fn add(&mut self, workers: usize) -> anyhow::Result<()> {
        for _ in 0..workers {
            self.started += 1;
            // As long as most ids are: they are part of what a row costs.
            let id = format!("ip-10-0-0-1.eu-west-1.compute.internal:{:04}", self.started);
            let moves = self.moves.clone();
            let worker = Worker::builder()
                .worker_id(&id)
                .table(Distant { table: self.table.clone(), clock: self.clock.clone() })
                .source(self.stream.clone())
                .clock(self.clock.clone())
                .rng(self.rng.fork())
                .settings(self.settings.clone())
                .initial_position(InitialPosition::TrimHorizon)
                .observer(move |event| {
                    if matches!(event, Event::LeaseTaken { previous: Some(_), .. }) {
                        moves.fetch_add(1, Ordering::Relaxed);
                    }
                })
                .processor(|_: &ShardContext| Idle)
                .build()
                .await?;
            self.running.insert(WorkerId::new(id)?, tokio::spawn(worker.run()));
        }
        Ok(())
    }

    /// Ends some worker without a word; returns who it was.
    fn kill(&mut self) -> anyhow::Result<WorkerId> {
        let index = self.rng.below(self.running.len());
        let victim = self.running.keys().nth(index).cloned().context("nobody runs")?;
        if let Some(task) = self.running.remove(&victim) {
            task.abort();
        }
        Ok(victim)
    }

    fn leases(&self) -> Vec<Lease> {
        self.table.rows()
    }

    fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    /// True once every lease is owned by somebody alive, and nobody has more than an equal share.
    fn is_balanced(&self, leases: usize) -> bool {
        let mut held: BTreeMap<&WorkerId, usize> = BTreeMap::new();
        let rows = self.leases();
        for owner in rows.iter().filter_map(|lease| lease.owner.as_ref()) {
            *held.entry(owner).or_default() += 1;
        }
        let share = leases.div_ceil(self.running.len().max(1));
        let is_fair = held.iter().all(|(owner, count)| self.running.contains_key(*owner) && *count <= share);
        is_fair && held.values().sum::<usize>() == leases
    }

    /// How long it takes from now until the fleet is balanced.
    async fn balance(&self, leases: usize, limit: Duration) -> anyhow::Result<Duration> {
        let started = self.clock.monotonic();
        while !self.is_balanced(leases) {
            let passed = self.clock.monotonic().since(started);
            anyhow::ensure!(passed < limit, "the fleet is not balanced after {} virtual seconds", limit.as_secs());
            self.clock.sleep(Duration::from_secs(1)).await;
        }
        Ok(self.clock.monotonic().since(started))
    }

    async fn stop(&mut self) {
        for (_, task) in std::mem::take(&mut self.running) {
            task.abort();
            // A task that was told to end has nothing more to say.
            let _ = task.await;
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?)
}
