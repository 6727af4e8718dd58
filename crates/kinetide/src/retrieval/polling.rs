//! Polling: GetRecords in a loop, into a short queue.
//!
//! Invariants:
//! - records are queued in the order of the shard, each once: after an error the next call starts after the last record
//!   queued, never after the last record asked for;
//! - the end of the shard is queued only when the service has said which shards follow;
//! - a shard is taken for gone, or for another one of the same id, only after a listing has said so;
//! - nothing is fetched while the worker's byte budget is used up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::limit::{SPACING_MIN, Spacing};
use super::prefetch::{Charge, Share};
use crate::clock::Clock;
use crate::error::chain;
use crate::event::{Event, Events};
use crate::lease::LeaseKey;
use crate::retry::Backoff;
use crate::rng::Rng;
use crate::settings::Settings;
use crate::stream::{
    Checkpoint, ChildShard, GetRecords, InitialPosition, Record, ShardFilter, ShardIterator, SourceError,
    SourceErrorKind, StartAt, StreamSource,
};

/// Answers fetched ahead of the processor, per shard.
pub const QUEUE_MAX: usize = 2;
/// Times in a row that a shard must be absent, with waits between them, until it is taken for gone: a listing may be stale.
const ABSENCES_MAX: u32 = 5;
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// What a record costs beside its data and key.
const RECORD_OVERHEAD_BYTES: usize = 200;

/// One answer, charged to the budget until it is dropped.
#[derive(Debug)]
pub struct Fetched {
    /// The records, as Kinesis stores them.
    pub records: Vec<Record>,
    /// How far behind the newest record they are, in milliseconds.
    pub millis_behind_latest: Option<u64>,
    /// The shards that follow, if this is the end of the shard.
    pub end: Option<Vec<ChildShard>>,
    /// Its share of the byte budget.
    pub charge: Charge,
}

/// Reads one shard.
pub struct Poller {
    /// The stream.
    pub source: Arc<dyn StreamSource>,
    /// The shard's lease.
    pub shard: LeaseKey,
    /// Where to start.
    pub start: StartAt,
    /// How fast to read, and how much at once.
    pub settings: Arc<Settings>,
    /// Its part of the worker's byte budget.
    pub budget: Share,
    /// The worker's clock.
    pub clock: Clock,
    /// Jitter.
    pub rng: Rng,
    /// Where failed calls are told.
    pub events: Events,
    /// How often in a row the shard was neither found nor listed.
    pub absences: u32,
}

/// Where to start reading a shard that stands at this checkpoint.
///
/// A number starts *at* the record and not after it: if it is an aggregate, some of its user records may be left to do.
#[must_use]
pub fn start_at(checkpoint: &Checkpoint, initial: InitialPosition) -> StartAt {
    match (checkpoint, initial) {
        (Checkpoint::At(position), _) => StartAt::Sequence(position.sequence.clone()),
        (Checkpoint::AtTimestamp, InitialPosition::AtTimestamp(time)) => StartAt::Timestamp(time),
        (Checkpoint::Latest, _) => StartAt::Latest,
        // A timestamp that the settings no longer have: the oldest record skips nothing.
        _ => StartAt::TrimHorizon,
    }
}

impl Poller {
    /// Reads until the end of the shard, or until nobody takes the answers any more.
    pub async fn run(mut self, out: mpsc::Sender<Fetched>) {
        let mut spacing = Spacing::new(&self.settings);
        let mut backoff = Backoff::new(self.settings.task_backoff, BACKOFF_MAX);
        let mut iterator = None;
        loop {
            self.budget.room().await;
            let called_at = self.clock.monotonic();
            let wait = match self.fetch(&mut iterator).await {
                Ok(fetched) => {
                    backoff.reset();
                    // An empty answer on the way through a sparse shard is no sign of idleness.
                    let is_behind = fetched.millis_behind_latest.is_some_and(|millis| millis > 0);
                    let wait = spacing.after(fetched.records.is_empty() && !is_behind);
                    let is_end = fetched.end.is_some();
                    if out.send(fetched).await.is_err() || is_end {
                        return;
                    }
                    wait
                }
                Err(error) => {
                    // A new iterator costs one call and is right after every kind of error.
                    iterator = None;
                    self.after_error(&error, &mut backoff)
                }
            };
            self.clock.sleep_until(called_at.after(wait)).await;
        }
    }

    async fn fetch(&mut self, iterator: &mut Option<ShardIterator>) -> Result<Fetched, SourceError> {
        let from = match iterator.take() {
            Some(iterator) => iterator,
            None => match self.iterator().await {
                Err(error) if error.kind() == SourceErrorKind::NotFound => return self.expired_shard(error).await,
                iterator => iterator?,
            },
        };
        let answer = self.source.get_records(&from, self.settings.records_per_call_max.get()).await?;
        check_end(&answer)?;
        if let Some(last) = answer.records.last() {
            self.start = StartAt::AfterSequence(last.sequence.clone());
        }
        let end = answer.next.is_none().then_some(answer.children);
        *iterator = answer.next;
        let bytes = answer.records.iter().map(cost).sum();
        let charge = self.budget.charge(bytes);
        Ok(Fetched { records: answer.records, millis_behind_latest: answer.millis_behind_latest, end, charge })
    }

    /// A shard that is gone while its stream is there has outlived the retention, or its stream was deleted and made anew:
    /// nothing of it is left to read, and its children wait for its end.
    async fn expired_shard(&mut self, error: SourceError) -> Result<Fetched, SourceError> {
        let listed = self.source.list_shards(ShardFilter::All).await?;
        let is_listed = listed.iter().any(|shard| shard.id == self.shard.shard);
        let follow = listed.into_iter().filter(|shard| shard.parents.contains(&self.shard.shard));
        let children: Vec<_> = follow
            .map(|shard| ChildShard { id: shard.id, parents: shard.parents, hash_range: shard.hash_range })
            .collect();
        self.absences = if is_listed { 0 } else { self.absences + 1 };
        if is_listed || children.is_empty() && self.absences < ABSENCES_MAX {
            return Err(error);
        }
        self.events.emit(Event::ShardExpired { shard: self.shard.clone() });
        let charge = self.budget.charge(0);
        Ok(Fetched { records: Vec::new(), millis_behind_latest: None, end: Some(children), charge })
    }

    async fn iterator(&mut self) -> Result<ShardIterator, SourceError> {
        let asked_at = self.clock.wall();
        let iterator = match self.source.iterator(&self.shard.shard, self.start.clone()).await {
            Err(error) if error.kind() == SourceErrorKind::Invalid => self.iterator_anew(error).await?,
            iterator => iterator?,
        };
        if self.start == StartAt::Latest {
            // "Latest" asked again later would skip what arrived in between.
            self.start = StartAt::Timestamp(asked_at);
        }
        Ok(iterator)
    }

    /// A checkpoint that is older than its shard is of a former stream of the same name: every record of this one is new.
    async fn iterator_anew(&mut self, error: SourceError) -> Result<ShardIterator, SourceError> {
        let (StartAt::Sequence(sequence) | StartAt::AfterSequence(sequence)) = self.start.clone() else {
            return Err(error);
        };
        let listed = self.source.list_shards(ShardFilter::All).await?;
        let shard = listed.iter().find(|shard| shard.id == self.shard.shard);
        if shard.is_none_or(|shard| shard.starting_sequence <= sequence) {
            return Err(error);
        }
        let iterator = self.source.iterator(&self.shard.shard, StartAt::TrimHorizon).await?;
        self.events.emit(Event::StreamRecreated { shard: self.shard.clone() });
        self.start = StartAt::TrimHorizon;
        Ok(iterator)
    }

    fn after_error(&mut self, error: &SourceError, backoff: &mut Backoff) -> Duration {
        if error.kind() == SourceErrorKind::IteratorExpired {
            return SPACING_MIN;
        }
        let wait = backoff.next(&mut self.rng).max(SPACING_MIN);
        let error = format!("{}, shard={}", chain(error), self.shard);
        self.events.emit(Event::CallFailed { what: "reading", error, retry_in: wait });
        wait
    }
}

/// An end without shards that follow is an answer cut short: accepting it would strand the children.
fn check_end(answer: &GetRecords) -> Result<(), SourceError> {
    let is_whole = answer.next.is_some() || !answer.children.is_empty();
    let is_known = answer.children.iter().all(|child| !child.parents.is_empty());
    if is_whole && is_known {
        return Ok(());
    }
    let message = "the shard is at its end, but the shards that follow were not named";
    Err(SourceError::new(SourceErrorKind::Unavailable, "GetRecords", message))
}

fn cost(record: &Record) -> usize {
    record.data.len() + record.partition_key.len() + RECORD_OVERHEAD_BYTES
}
