//! The task that consumes one shard: it follows [`State`] and calls the processor, one call at a time.
//!
//! Invariants:
//! - a batch is given to the processor again until it succeeds or the shard stops; nothing is skipped;
//! - once the lease is lost, no further batch is delivered;
//! - the leases of the shards that follow are written before the end of this one is checkpointed, so no child is forgotten.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::children::{self, ChildrenWritten};
use super::state::{Outcome, State};
use super::stop::Stop;
use super::watch::{Progress, Stage};
use crate::aggregation::decode::deaggregate;
use crate::checkpoint::{CheckpointError, Checkpointer};
use crate::clock::Clock;
use crate::error::chain;
use crate::event::{Event, Events};
use crate::lease::keeper::LeaseHandle;
use crate::lease::{Lease, LeaseKey, LeaseTable};
use crate::processor::{Batch, Initialize, ProcessorError, ProcessorResult, RecordProcessor};
use crate::retrieval::polling::{Fetched, Poller, QUEUE_MAX, start_at};
use crate::retrieval::prefetch::Budget;
use crate::retry::Backoff;
use crate::rng::Rng;
use crate::settings::Settings;
use crate::stream::{Checkpoint, ChildShard, InitialPosition, StreamSource, UserRecord};

const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// What the consumers of one worker share.
#[derive(Clone)]
pub struct ConsumerContext {
    /// Where the leases are.
    pub table: Arc<dyn LeaseTable>,
    /// The worker's settings.
    pub settings: Arc<Settings>,
    /// The worker's byte budget.
    pub budget: Budget,
    /// The worker's clock.
    pub clock: Clock,
    /// Where events go.
    pub events: Events,
    /// Told when new leases were written, so that the worker looks for them at once.
    pub leases_changed: Arc<Notify>,
    /// Asked when the worker is to stop.
    pub stop: Stop,
}

/// What one consumer reads.
pub struct Reading {
    /// The stream.
    pub source: Arc<dyn StreamSource>,
    /// Where a shard without a checkpoint starts.
    pub initial_position: InitialPosition,
}

/// The task that consumes one shard.
pub struct Consumer<P> {
    context: ConsumerContext,
    reading: Reading,
    lease: Lease,
    handle: LeaseHandle,
    processor: P,
    checkpointer: Checkpointer,
    rng: Rng,
    /// Fetches ahead; ends with the consumer.
    poller: JoinSet<()>,
    fetched: Option<mpsc::Receiver<Fetched>>,
    children: Vec<ChildShard>,
    progress: Progress,
}

/// What interrupts a consumer between two steps.
enum Interrupt {
    Lost,
    Stop,
}

/// A call of the processor that is not worth repeating.
pub enum Failure {
    /// The shard stops here; its lease is kept.
    Stop,
    /// The worker stops.
    Fatal(Box<dyn std::error::Error + Send + Sync>),
}

impl<P: RecordProcessor> Consumer<P> {
    /// A consumer for a lease that was just taken.
    pub fn new(
        context: ConsumerContext,
        reading: Reading,
        lease: Lease,
        handle: LeaseHandle,
        processor: P,
        rng: Rng,
    ) -> Self {
        let checkpointer = Checkpointer::new(handle.clone(), lease.checkpoint.clone());
        let (poller, children) = (JoinSet::new(), Vec::new());
        let progress = Progress::new(Stage::Parents, context.clock.monotonic());
        Self {
            context,
            reading,
            lease,
            handle,
            processor,
            checkpointer,
            rng,
            poller,
            fetched: None,
            children,
            progress,
        }
    }

    /// Where it stands, for whoever watches it.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    fn enter(&self, stage: Stage) {
        self.progress.enter(stage, self.context.clock.monotonic());
    }

    /// Consumes until the lease is lost, a stop is asked for, or the shard ends.
    ///
    /// # Errors
    /// [`Failure`] when the processor failed for good.
    pub async fn run(mut self) -> Result<Outcome, Failure> {
        let mut state = State::start(self.lease.is_finished());
        loop {
            self.context.events.emit(Event::ConsumerState { shard: self.lease.key.clone(), state: state.name() });
            state = match state {
                State::WaitingOnParents => self.wait_for_parents(state).await,
                State::Initializing => self.initialize(state).await?,
                State::Processing => self.process(state).await?,
                State::Notifying => self.notify(state).await?,
                State::Leaving(_) => self.leave(state).await?,
                State::Ending => self.end(state).await?,
                State::Done(outcome) => return Ok(outcome),
            };
        }
    }

    async fn wait_for_parents(&mut self, state: State) -> State {
        let settings = &self.context.settings;
        let poll_most = settings.parent_shard_poll_interval;
        let mut backoff = Backoff::new(poll_most / 40, poll_most);
        let mut told = None;
        loop {
            match self.unfinished_parent().await {
                Ok(None) => return state.parents_done(),
                Ok(Some(parent)) if told.as_ref() == Some(&parent) => {}
                Ok(Some(parent)) => {
                    let shard = self.lease.key.clone();
                    self.context.events.emit(Event::WaitingOnParent { shard, parent: parent.clone() });
                    told = Some(parent);
                }
                Err(error) => {
                    let (what, error) = ("looking at parent leases", chain(&error));
                    self.context.events.emit(Event::CallFailed { what, error, retry_in: poll_most });
                }
            }
            let wait = backoff.next(&mut self.rng);
            if let Some(interrupt) = self.pause(wait).await {
                return interrupt.apply(state);
            }
        }
    }

    async fn unfinished_parent(&mut self) -> Result<Option<LeaseKey>, crate::lease::TableError> {
        for parent in self.lease.parent_keys() {
            let row = self.context.table.get(&parent).await?;
            if row.is_some_and(|row| !row.is_finished()) {
                return Ok(Some(parent));
            }
        }
        Ok(None)
    }

    async fn initialize(&mut self, state: State) -> Result<State, Failure> {
        self.start_fetching();
        let start = Initialize { checkpoint: self.lease.checkpoint.clone(), pending: self.lease.pending.clone() };
        let mut attempts = Attempts::new(&self.context.settings);
        loop {
            // The processor's calls are never cut off by an interrupt: it may hold what must not be dropped half-way.
            self.enter(Stage::Call("initialize"));
            match self.processor.initialize(&start).await {
                Ok(()) => return Ok(state.initialized()),
                Err(error) => self.judge("initialize", error, &mut attempts).await?,
            }
            if let Some(interrupt) = self.interrupted() {
                return Ok(interrupt.apply(state));
            }
        }
    }

    /// Fetching begins while the processor initialises.
    fn start_fetching(&mut self) {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let poller = Poller {
            source: self.reading.source.clone(),
            shard: self.lease.key.clone(),
            start: start_at(&self.lease.checkpoint, self.reading.initial_position),
            settings: self.context.settings.clone(),
            budget: self.context.budget.share(),
            clock: self.context.clock.clone(),
            rng: self.rng.fork(),
            events: self.context.events.clone(),
            absences: 0,
        };
        self.poller.spawn(poller.run(sender));
        self.fetched = Some(receiver);
    }

    async fn process(&mut self, state: State) -> Result<State, Failure> {
        let Some(mut fetched) = self.fetched.take() else { return Ok(state) };
        let next = self.process_from(&mut fetched, state).await;
        self.fetched = Some(fetched);
        next
    }

    async fn process_from(&mut self, fetched: &mut mpsc::Receiver<Fetched>, state: State) -> Result<State, Failure> {
        loop {
            self.enter(Stage::Reading);
            // A lost lease and a stop go before more records.
            let answer = tokio::select! {
                biased;
                interrupt = interrupt(&self.handle, &self.context.stop) => return Ok(interrupt.apply(state)),
                answer = fetched.recv() => answer,
            };
            let Some(answer) = answer else {
                // The poller ends only after the end of the shard, which is handled below: this one panicked. The lease is
                // given back and taken anew.
                let (shard, call) = (self.lease.key.clone(), "reading");
                let error = "its task ended early".to_owned();
                self.context.events.emit(Event::ProcessorFailed {
                    shard,
                    call,
                    error,
                    retry_in: None,
                    is_fatal: false,
                });
                return Ok(state.lease_lost());
            };
            let end = answer.end.clone();
            if let Some(interrupt) = self.deliver(answer).await? {
                return Ok(interrupt.apply(state));
            }
            if let Some(children) = end {
                self.children = children;
                return Ok(state.end_reached());
            }
        }
    }

    /// Gives one answer to the processor until it succeeds; the charge on the byte budget ends with it.
    async fn deliver(&mut self, answer: Fetched) -> Result<Option<Interrupt>, Failure> {
        let (mut batch, _charge) = self.batch(answer);
        if batch.records.is_empty() && !self.context.settings.empty_batches {
            return Ok(None);
        }
        let mut attempts = Attempts::new(&self.context.settings);
        loop {
            if let Some(last) = batch.records.last() {
                self.checkpointer.limits().deliver(last.position.clone());
            }
            let started = self.context.clock.monotonic();
            self.progress.enter(Stage::Call("processRecords"), started);
            match self.processor.process_records(&batch, &self.checkpointer).await {
                Ok(()) => {
                    self.report(&batch, started);
                    return Ok(None);
                }
                // Its checkpoint was refused because the lease is gone: that is no failure of the processor.
                Err(error) if self.handle.loss().is_some() && !error.is_fatal() => return Ok(Some(Interrupt::Lost)),
                Err(error) => {
                    self.checkpointer.limits().call_failed();
                    self.judge("processRecords", error, &mut attempts).await?;
                }
            }
            if let Some(interrupt) = self.interrupted() {
                return Ok(Some(interrupt));
            }
            // What the failed call checkpointed is done.
            batch.records = not_covered(batch.records, self.checkpointer.limits().last());
            if batch.records.is_empty() {
                return Ok(None);
            }
        }
    }

    fn batch(&self, answer: Fetched) -> (Batch, crate::retrieval::prefetch::Charge) {
        let unpacked = deaggregate(answer.records);
        if unpacked.corrupt > 0 {
            let shard = self.lease.key.clone();
            self.context.events.emit(Event::AggregateCorrupt { shard, records: unpacked.corrupt });
        }
        let last = self.checkpointer.limits().last().clone();
        let batch = Batch {
            records: not_covered(unpacked.records, &last),
            millis_behind_latest: answer.millis_behind_latest,
            is_at_shard_end: answer.end.is_some(),
            children: answer.end.unwrap_or_default(),
        };
        (batch, answer.charge)
    }

    fn report(&self, batch: &Batch, started: crate::clock::Moment) {
        self.context.events.emit(Event::BatchProcessed {
            shard: self.lease.key.clone(),
            records: batch.records.len(),
            bytes: batch.records.iter().map(|record| record.data.len()).sum(),
            millis_behind_latest: batch.millis_behind_latest,
            took: self.context.clock.monotonic().since(started),
        });
    }

    async fn notify(&mut self, state: State) -> Result<State, Failure> {
        self.stop_fetching();
        self.enter(Stage::Call("shutdownRequested"));
        let result = self.processor.shutdown_requested(&self.checkpointer).await;
        self.report_failure("shutdownRequested", result)?;
        Ok(if self.handle.loss().is_some() { state.lease_lost() } else { state.notified() })
    }

    async fn leave(&mut self, state: State) -> Result<State, Failure> {
        self.stop_fetching();
        self.enter(Stage::Call("leaseLost"));
        let result = self.processor.lease_lost().await;
        self.report_failure("leaseLost", result)?;
        Ok(state.left())
    }

    fn stop_fetching(&mut self) {
        self.poller.abort_all();
        self.fetched = None;
    }

    /// Children first, then the processor's last call, which must checkpoint the end.
    async fn end(&mut self, state: State) -> Result<State, Failure> {
        self.stop_fetching();
        if let Some(interrupt) = self.write_children().await {
            return Ok(interrupt.apply(state));
        }
        let mut attempts = Attempts::new(&self.context.settings);
        loop {
            self.checkpointer.limits().deliver_shard_end();
            self.enter(Stage::Call("shardEnded"));
            let result = self.processor.shard_ended(&self.checkpointer).await;
            if *self.checkpointer.limits().last() == Checkpoint::ShardEnd {
                self.report_failure("shardEnded", result)?;
                let children = self.children.iter().map(|child| child.id.clone()).collect();
                self.context.events.emit(Event::ShardEnded { shard: self.lease.key.clone(), children });
                self.context.leases_changed.notify_one();
                return Ok(state.ended());
            }
            self.checkpointer.limits().call_failed();
            if let Some(interrupt) = self.interrupted() {
                return Ok(interrupt.apply(state));
            }
            let error = result.err().unwrap_or_else(|| NotCheckpointed.into());
            self.judge("shardEnded", error, &mut attempts).await?;
        }
    }

    async fn write_children(&mut self) -> Option<Interrupt> {
        let mut backoff = Backoff::new(self.context.settings.task_backoff, BACKOFF_MAX);
        let context = self.context.clone();
        self.enter(Stage::Children);
        loop {
            let wait = backoff.next(&mut self.rng);
            let error = match children::write(&*context.table, &self.handle, &self.children, &context.events).await {
                Ok(ChildrenWritten::Lost) => return Some(Interrupt::Lost),
                Ok(ChildrenWritten::Yes) => match self.name_children().await {
                    Some(Ok(())) => {
                        context.leases_changed.notify_one();
                        return None;
                    }
                    Some(Err(error)) => chain(&error),
                    None => return Some(Interrupt::Lost),
                },
                Ok(ChildrenWritten::Waiting { parent }) => {
                    format!("the other parent has no lease yet, parent={parent}")
                }
                Err(error) => chain(&error),
            };
            context.events.emit(Event::CallFailed { what: "writing leases of child shards", error, retry_in: wait });
            if let Some(interrupt) = self.pause(wait).await {
                return Some(interrupt);
            }
        }
    }

    async fn name_children(&mut self) -> Option<Result<(), crate::lease::TableError>> {
        if self.children.is_empty() {
            return Some(Ok(()));
        }
        self.handle.name_children(self.children.iter().map(|child| child.id.clone()).collect()).await
    }

    /// Decides about a failed call: wait and call again (`Ok`), or give up.
    async fn judge(
        &mut self,
        call: &'static str,
        error: ProcessorError,
        attempts: &mut Attempts,
    ) -> Result<(), Failure> {
        let shard = self.lease.key.clone();
        let wait = attempts.next(&error, &mut self.rng);
        let is_fatal = error.is_fatal();
        let event = Event::ProcessorFailed {
            is_fatal,
            shard: shard.clone(),
            call,
            error: chain(error.cause()),
            retry_in: wait,
        };
        self.context.events.emit(event);
        match wait {
            Some(wait) => {
                // The caller looks again: an interrupt stays until it is acted on.
                let _ = self.pause(wait).await;
                Ok(())
            }
            None if error.is_fatal() => Err(Failure::Fatal(error.into_cause())),
            None => {
                self.context.events.emit(Event::ShardStopped { shard });
                Err(Failure::Stop)
            }
        }
    }

    /// The calls on the way out are made once: a failure is told, and a fatal one stops the worker.
    fn report_failure(&self, call: &'static str, result: ProcessorResult) -> Result<(), Failure> {
        let Err(error) = result else { return Ok(()) };
        let (shard, message) = (self.lease.key.clone(), chain(error.cause()));
        self.context.events.emit(Event::ProcessorFailed {
            is_fatal: error.is_fatal(),
            shard,
            call,
            error: message,
            retry_in: None,
        });
        if error.is_fatal() { Err(Failure::Fatal(error.into_cause())) } else { Ok(()) }
    }

    /// Waits, unless something more urgent happens.
    async fn pause(&mut self, wait: Duration) -> Option<Interrupt> {
        tokio::select! {
            biased;
            interrupt = interrupt(&self.handle, &self.context.stop) => Some(interrupt),
            () = self.context.clock.sleep(wait) => None,
        }
    }

    fn interrupted(&self) -> Option<Interrupt> {
        match self.handle.loss() {
            Some(_) => Some(Interrupt::Lost),
            None => (self.context.stop.is_asked() || self.handle.is_wanted()).then_some(Interrupt::Stop),
        }
    }
}

impl Interrupt {
    fn apply(self, state: State) -> State {
        match self {
            Self::Lost => state.lease_lost(),
            Self::Stop => state.stop_requested(),
        }
    }
}

/// Resolves when the lease is lost, a stop is asked for, or another worker waits for the lease.
async fn interrupt(handle: &LeaseHandle, stop: &Stop) -> Interrupt {
    tokio::select! {
        biased;
        _ = handle.lost() => Interrupt::Lost,
        () = stop.asked() => Interrupt::Stop,
        () = handle.wanted() => Interrupt::Stop,
    }
}

/// Drops what the checkpoint covers: the head of an aggregate that was cut by it, or the checkpointed record itself.
fn not_covered(mut records: Vec<UserRecord>, last: &Checkpoint) -> Vec<UserRecord> {
    let done = records.iter().take_while(|record| last.covers(&record.position)).count();
    records.drain(..done);
    records
}

#[derive(Debug, thiserror::Error)]
#[error("the end of the shard was not checkpointed; the shards that follow wait for it")]
struct NotCheckpointed;

/// True if a checkpoint that may be repeated is among the causes.
fn is_table_trouble(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| cause.downcast_ref::<CheckpointError>().is_some_and(CheckpointError::is_retryable))
}

/// Waits between the calls of a failing processor, as many as the settings allow.
struct Attempts {
    left: u32,
    backoff: Backoff,
}

impl Attempts {
    fn new(settings: &Settings) -> Self {
        Self { left: settings.processor_retries_max, backoff: Backoff::new(settings.task_backoff, BACKOFF_MAX) }
    }

    /// `None`: give up. Trouble with the lease table is not the processor's fault and is waited out.
    fn next(&mut self, error: &ProcessorError, rng: &mut Rng) -> Option<Duration> {
        if error.is_fatal() {
            return None;
        }
        if !is_table_trouble(error.cause()) {
            self.left = self.left.checked_sub(1)?;
        }
        Some(self.backoff.next(rng))
    }
}
