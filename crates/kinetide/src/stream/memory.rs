//! A stream in memory: for tests and simulations. It splits, merges, forgets old records and lets iterators expire, on the
//! clock it is given.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;

use super::id::{ShardId, StreamName};
use super::record::{Record, Timestamp};
use super::sequence::SequenceNumber;
use super::shard::{ChildShard, HashKey, HashKeyRange, Shard};
use super::source::{GetRecords, ShardFilter, ShardIterator, SourceError, SourceErrorKind, StartAt, StreamSource};
use crate::clock::Clock;

const ITERATOR_LIFE_MILLIS: i64 = 5 * 60 * 1000;
const RETENTION_MILLIS_DEFAULT: i64 = 24 * 3600 * 1000;
const ANSWER_BYTES_MAX: usize = 10 << 20;

/// A stream in memory; clones share it.
#[derive(Debug, Clone)]
pub struct MemoryStream {
    name: StreamName,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    shards: BTreeMap<ShardId, Stored>,
    /// Shards ever opened, forgotten ones included.
    opened: usize,
    next_sequence: u64,
    retention_millis: i64,
}

#[derive(Debug)]
struct Stored {
    shard: Shard,
    opened_at: Timestamp,
    closed_at: Option<Timestamp>,
    records: Vec<Record>,
}

/// A change the stream's shards do not allow: an unknown shard, a closed one, or neighbours that are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidReshard(String);

impl MemoryStream {
    /// A stream of this many shards, which share the hash keys equally.
    #[must_use]
    pub fn new(name: StreamName, shards: usize, clock: Clock) -> Self {
        let state =
            State { shards: BTreeMap::new(), opened: 0, next_sequence: 1, retention_millis: RETENTION_MILLIS_DEFAULT };
        let stream = Self { name, clock, state: Arc::new(Mutex::new(state)) };
        stream.lock().open_all(shards, stream.clock.wall());
        stream
    }

    /// Deletes the stream and makes it anew: its shards are other shards with the same ids. With no shards it stays deleted.
    pub fn recreate(&self, shards: usize) {
        let mut state = self.lock();
        state.shards.clear();
        state.opened = 0;
        state.open_all(shards, self.clock.wall());
    }

    /// Records older than this are forgotten.
    pub fn set_retention(&self, retention: std::time::Duration) {
        self.lock().retention_millis = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    }

    /// Puts a record; returns where it went. `None`: no shard holds its hash key, which cannot happen.
    pub fn put(&self, partition_key: &str, data: impl Into<Bytes>) -> Option<(ShardId, SequenceNumber)> {
        let (key, now) = (HashKey::of(partition_key), self.clock.wall());
        let mut state = self.lock();
        let sequence = state.issue();
        let stored = state.shards.values_mut().find(|s| s.shard.is_open() && s.shard.hash_range.contains(key))?;
        let partition_key = ByteString::from(partition_key);
        stored.records.push(Record {
            sequence: sequence.clone(),
            data: data.into(),
            partition_key,
            arrival: Some(now),
        });
        Some((stored.shard.id.clone(), sequence))
    }

    /// Forgets a closed shard, as the service does when its last record has outlived the retention.
    pub fn forget(&self, shard: &ShardId) {
        self.lock().shards.remove(shard);
    }

    /// Closes a shard and opens two, split at the middle of its hash keys.
    ///
    /// # Errors
    /// [`InvalidReshard`] when the shard is unknown or closed.
    pub fn split(&self, shard: &ShardId) -> Result<[ShardId; 2], InvalidReshard> {
        let now = self.clock.wall();
        let mut state = self.lock();
        let range = state.close(shard, now)?;
        let middle = HashKey(range.start.0 + (range.end.0 - range.start.0) / 2);
        let parents = vec![shard.clone()];
        let left = state.open(HashKeyRange { start: range.start, end: middle }, parents.clone(), now);
        let right = state.open(HashKeyRange { start: HashKey(middle.0 + 1), end: range.end }, parents, now);
        Ok([left, right])
    }

    /// Closes two neighbours and opens one.
    ///
    /// # Errors
    /// [`InvalidReshard`] when one is unknown or closed, or they are no neighbours.
    pub fn merge(&self, left: &ShardId, right: &ShardId) -> Result<ShardId, InvalidReshard> {
        let now = self.clock.wall();
        let mut state = self.lock();
        let (a, b) = (state.open_range(left)?, state.open_range(right)?);
        if a.end.0.checked_add(1) != Some(b.start.0) {
            return Err(InvalidReshard(format!("{left} and {right} are no neighbours")));
        }
        state.close(left, now)?;
        state.close(right, now)?;
        let range = HashKeyRange { start: a.start, end: b.end };
        Ok(state.open(range, vec![left.clone(), right.clone()], now))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn horizon(&self, state: &State) -> i64 {
        self.clock.wall().as_millis() - state.retention_millis
    }
}

impl State {
    fn issue(&mut self) -> SequenceNumber {
        self.next_sequence += 1;
        self.next_sequence.into()
    }

    fn open_all(&mut self, shards: usize, now: Timestamp) {
        let step = u128::MAX / shards.max(1) as u128;
        for index in 0..shards as u128 {
            let end = if index + 1 == shards as u128 { u128::MAX } else { step * (index + 1) - 1 };
            self.open(HashKeyRange { start: HashKey(step * index), end: HashKey(end) }, vec![], now);
        }
    }

    fn open(&mut self, hash_range: HashKeyRange, parents: Vec<ShardId>, now: Timestamp) -> ShardId {
        let id: ShardId = crate::stream::id::shard_of_index(self.opened);
        self.opened += 1;
        let starting_sequence = self.issue();
        let shard = Shard { id: id.clone(), parents, hash_range, starting_sequence, ending_sequence: None };
        self.shards.insert(id.clone(), Stored { shard, opened_at: now, closed_at: None, records: Vec::new() });
        id
    }

    fn open_range(&self, id: &ShardId) -> Result<HashKeyRange, InvalidReshard> {
        match self.shards.get(id) {
            Some(stored) if stored.shard.is_open() => Ok(stored.shard.hash_range),
            Some(_) => Err(InvalidReshard(format!("{id} is closed"))),
            None => Err(InvalidReshard(format!("{id} does not exist"))),
        }
    }

    fn close(&mut self, id: &ShardId, now: Timestamp) -> Result<HashKeyRange, InvalidReshard> {
        let range = self.open_range(id)?;
        let ending = self.issue();
        if let Some(stored) = self.shards.get_mut(id) {
            stored.shard.ending_sequence = Some(ending);
            stored.closed_at = Some(now);
        }
        Ok(range)
    }

    fn children(&self, parent: &ShardId) -> Vec<ChildShard> {
        let shards = self.shards.values().map(|stored| &stored.shard);
        let children = shards.filter(|shard| shard.parents.contains(parent));
        children
            .map(|s| ChildShard { id: s.id.clone(), parents: s.parents.clone(), hash_range: s.hash_range })
            .collect()
    }
}

impl Stored {
    /// True if ListShards shows it under this filter; `horizon` is the oldest arrival time kept.
    fn matches(&self, filter: &ShardFilter, horizon: i64) -> bool {
        let was_open_at = |time: i64| {
            let closed_later = self.closed_at.is_none_or(|closed| closed.as_millis() > time);
            self.opened_at.as_millis() <= time && closed_later
        };
        let is_kept = self.closed_at.is_none_or(|closed| closed.as_millis() >= horizon);
        match filter {
            ShardFilter::All => is_kept,
            ShardFilter::AtLatest => self.closed_at.is_none(),
            ShardFilter::AtTimestamp(time) if time.as_millis() > horizon => was_open_at(time.as_millis()),
            // Shards opened since the horizon whose parents are still kept are not the oldest.
            ShardFilter::AtTrimHorizon | ShardFilter::AtTimestamp(_) => is_kept && self.is_oldest(horizon),
        }
    }

    fn is_oldest(&self, horizon: i64) -> bool {
        self.shard.parents.is_empty() || self.opened_at.as_millis() < horizon
    }

    /// The index of the first record from there on.
    fn index(&self, start: &StartAt) -> usize {
        let first = |is_before: &dyn Fn(&Record) -> bool| self.records.partition_point(is_before);
        match start {
            StartAt::TrimHorizon => 0,
            StartAt::Latest => self.records.len(),
            StartAt::Timestamp(time) => first(&|record| record.arrival.is_some_and(|arrival| arrival < *time)),
            StartAt::Sequence(sequence) => first(&|record| record.sequence < *sequence),
            StartAt::AfterSequence(sequence) => first(&|record| record.sequence <= *sequence),
        }
    }
}

fn missing(operation: &'static str, shard: &str) -> SourceError {
    SourceError::new(SourceErrorKind::NotFound, operation, format!("shard {shard} does not exist"))
}

/// An iterator is the shard, the next sequence number to look for, and the time of issue.
fn parse_iterator(iterator: &ShardIterator) -> Option<(ShardId, SequenceNumber, i64)> {
    let mut parts = iterator.0.split(' ');
    let shard = ShardId::new(parts.next()?).ok()?;
    Some((shard, SequenceNumber::new(parts.next()?).ok()?, parts.next()?.parse().ok()?))
}

#[async_trait]
impl StreamSource for MemoryStream {
    fn stream(&self) -> &StreamName {
        &self.name
    }

    async fn list_shards(&self, filter: ShardFilter) -> Result<Vec<Shard>, SourceError> {
        let state = self.lock();
        if state.shards.is_empty() {
            return Err(SourceError::new(SourceErrorKind::NotFound, "ListShards", "the stream does not exist"));
        }
        let horizon = self.horizon(&state);
        let shown = state.shards.values().filter(|stored| stored.matches(&filter, horizon));
        Ok(shown.map(|stored| stored.shard.clone()).collect())
    }

    async fn iterator(&self, shard: &ShardId, start: StartAt) -> Result<ShardIterator, SourceError> {
        let state = self.lock();
        let stored = state.shards.get(shard).ok_or_else(|| missing("GetShardIterator", shard.as_str()))?;
        if let StartAt::Sequence(sequence) | StartAt::AfterSequence(sequence) = &start
            && *sequence < stored.shard.starting_sequence
        {
            let message = format!("sequence number {sequence} did not come from shard {shard} of this stream");
            return Err(SourceError::new(SourceErrorKind::Invalid, "GetShardIterator", message));
        }
        let next = stored.records.get(stored.index(&start)).map(|record| record.sequence.clone());
        let next = next.unwrap_or_else(|| (state.next_sequence + 1).into());
        Ok(ShardIterator(format!("{shard} {next} {}", self.clock.wall().as_millis()).into()))
    }

    async fn get_records(&self, iterator: &ShardIterator, limit: usize) -> Result<GetRecords, SourceError> {
        let invalid = || SourceError::new(SourceErrorKind::Invalid, "GetRecords", "the iterator is malformed");
        let (shard, next, issued) = parse_iterator(iterator).ok_or_else(invalid)?;
        let now = self.clock.wall().as_millis();
        if now - issued > ITERATOR_LIFE_MILLIS {
            let message = "the iterator is older than five minutes";
            return Err(SourceError::new(SourceErrorKind::IteratorExpired, "GetRecords", message));
        }
        let mut state = self.lock();
        let horizon = self.horizon(&state);
        let upcoming = state.next_sequence + 1;
        let stored = state.shards.get_mut(&shard).ok_or_else(|| missing("GetRecords", shard.as_str()))?;
        stored.records.retain(|record| record.arrival.is_some_and(|arrival| arrival.as_millis() >= horizon));

        let mut bytes = 0;
        let rest = &stored.records[stored.index(&StartAt::Sequence(next))..];
        let fits = |record: &&Record| {
            bytes += record.data.len() + record.partition_key.len();
            bytes <= ANSWER_BYTES_MAX
        };
        let records: Vec<_> = rest.iter().take(limit).take_while(fits).cloned().collect();
        let following = rest.get(records.len());
        // Zero means that nothing follows, so what follows is at least a millisecond ahead.
        let arrived = following.and_then(|record| record.arrival);
        let behind = arrived.map_or(0, |arrival| (now - arrival.as_millis()).max(1));
        let is_end = following.is_none() && !stored.shard.is_open();
        let next = following.map_or_else(|| upcoming.into(), |record| record.sequence.clone());
        Ok(GetRecords {
            records,
            next: (!is_end).then(|| ShardIterator(format!("{shard} {next} {now}").into())),
            millis_behind_latest: Some(u64::try_from(behind).unwrap_or(0)),
            children: if is_end { state.children(&shard) } else { Vec::new() },
        })
    }
}
