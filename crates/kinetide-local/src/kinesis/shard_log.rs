//! The records of one shard, in order.
//!
//! Not here: where a record comes from, what a shard's relatives are, persistence. Invariants:
//! - Records are sorted by index, and by arrival time too: a clock that steps back does not.
//! - A record becomes visible only after all records before it: its place is given out and filled under one lock, or,
//!   when a journal write lies between the two, by one writer at a time (see `put`). Otherwise a reader could pass a
//!   place still empty.
//! - Once a shard is closed nothing is added, so whoever was told that it is over has seen everything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ferrokinesis::sequence::{MAX_SEQ_IX, SeqObj, parse_sequence, stringify_sequence};
use tokio::sync::Notify;

use super::limits::Limits;
use crate::clock;

/// A stored record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) index: u64,
    pub(super) sequence: Box<str>,
    pub(super) arrival_ms: u64,
    pub(super) key: Box<str>,
    pub(super) data: Bytes,
}

impl Record {
    /// What the service counts against its limits.
    pub(super) fn bytes(&self) -> usize {
        self.key.len() + self.data.len()
    }

    /// The second written into the sequence number.
    fn second(&self, created_ms: u64) -> u64 {
        self.arrival_ms.max(created_ms) / 1000
    }
}

/// A place in a shard: before the first record whose (index, second) is not less.
///
/// The second matters only for numbers that name no record, which clients build by adding one to a number that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) index: u64,
    pub(super) second: u64,
}

impl Position {
    pub(super) const START: Self = Self { index: 0, second: 0 };

    /// After the record with this index.
    pub(super) fn after(index: u64) -> Self {
        Self { index: index.saturating_add(1).min(MAX_SEQ_IX), second: 0 }
    }

    pub(super) fn of(sequence: &SeqObj) -> Self {
        Self { index: sequence.seq_ix.unwrap_or(0), second: sequence.seq_time.unwrap_or(0) / 1000 }
    }
}

/// What one read found.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Arc<Record>>,
    pub(super) bytes: usize,
    /// How far the end of this batch is behind the newest record; 0 at the tip.
    pub(super) behind_ms: u64,
}

/// Why a record was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The shard is over; its children take the record.
    Closed,
    /// Too much within a second.
    Throttled,
}

#[derive(Debug)]
pub(super) struct ShardLog {
    pub(super) shard: i64,
    pub(super) created_ms: u64,
    /// Rings when records have arrived.
    pub(super) arrived: Notify,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    records: VecDeque<Arc<Record>>,
    next: u64,
    newest_ms: u64,
    /// Reserved but not yet visible.
    in_flight: usize,
    closed: bool,
    bytes: usize,
    limits: Option<Limits>,
}

impl ShardLog {
    pub(super) fn new(shard: i64, created_ms: u64, enforce_limits: bool) -> Self {
        let inner = Inner {
            records: VecDeque::new(),
            // The starting sequence number of a shard has index 0 and is no record's.
            next: 1,
            newest_ms: 0,
            in_flight: 0,
            closed: false,
            bytes: 0,
            limits: enforce_limits.then(Limits::new),
        };
        Self { shard, created_ms, arrived: Notify::new(), inner: Mutex::new(inner) }
    }

    /// Adds a record, visible at once.
    pub(super) fn append(&self, key: &str, data: Bytes) -> Result<Arc<Record>, Refused> {
        let mut inner = self.lock();
        let record = Arc::new(inner.take_place(self, key, data)?);
        inner.insert(Arc::clone(&record));
        drop(inner);
        self.arrived.notify_waiters();
        Ok(record)
    }

    /// Gives a record its place. It stays invisible until [`publish`](Self::publish), or [`forget`](Self::forget) gives
    /// it up.
    ///
    /// Only for a writer that is alone until then, or a reader could pass a place that is filled later.
    pub(super) fn reserve(&self, key: &str, data: Bytes) -> Result<Arc<Record>, Refused> {
        let mut inner = self.lock();
        let record = inner.take_place(self, key, data)?;
        inner.in_flight += 1;
        Ok(Arc::new(record))
    }

    pub(super) fn publish(&self, record: Arc<Record>) {
        let mut inner = self.lock();
        inner.in_flight -= 1;
        inner.insert(record);
        drop(inner);
        self.arrived.notify_waiters();
    }

    pub(super) fn forget(&self) {
        self.lock().in_flight -= 1;
    }

    /// Puts back a record of an earlier life.
    pub(super) fn restore(&self, record: Record) {
        let mut inner = self.lock();
        inner.next = inner.next.max(record.index + 1);
        inner.newest_ms = inner.newest_ms.max(record.arrival_ms);
        inner.insert(Arc::new(record));
    }

    /// `None` if the shard's read limits are used up.
    pub(super) fn read_limited(&self, from: Position, count_max: usize, bytes_max: usize) -> Option<Batch> {
        let mut inner = self.lock();
        if inner.limits.as_mut().is_some_and(|limits| !limits.may_read(clock::monotonic())) {
            return None;
        }
        let batch = inner.read(self.created_ms, from, count_max, bytes_max);
        if let Some(limits) = &mut inner.limits {
            limits.has_read(batch.bytes);
        }
        Some(batch)
    }

    pub(super) fn read(&self, from: Position, count_max: usize, bytes_max: usize) -> Batch {
        self.lock().read(self.created_ms, from, count_max, bytes_max)
    }

    /// Ends the shard if nothing is or will be at or after `from`; whether it did, now or earlier.
    pub(super) fn close_at(&self, from: Position) -> bool {
        let mut inner = self.lock();
        let over = inner.in_flight == 0 && inner.find(self.created_ms, from) == inner.records.len();
        inner.closed |= over;
        over
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Where the next record will be.
    pub(super) fn tip(&self) -> Position {
        Position { index: self.lock().next, second: 0 }
    }

    /// The first record that arrived at or after this time, or the tip.
    pub(super) fn at_time(&self, time_ms: u64) -> Position {
        let inner = self.lock();
        let found = inner.records.partition_point(|record| record.arrival_ms < time_ms);
        let index = inner.records.get(found).map_or(inner.next, |record| record.index);
        Position { index, second: 0 }
    }

    /// Drops what arrived before this time.
    pub(super) fn trim(&self, before_ms: u64) {
        let mut inner = self.lock();
        while inner.records.front().is_some_and(|record| record.arrival_ms < before_ms) {
            let record = inner.records.pop_front();
            inner.bytes -= record.map_or(0, |record| record.bytes());
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    pub(super) fn all(&self) -> Vec<Arc<Record>> {
        self.lock().records.iter().cloned().collect()
    }

    /// A sequence number of this shard.
    pub(super) fn sequence(&self, index: u64, time_ms: u64) -> String {
        stringify_sequence(&SeqObj {
            shard_create_time: self.created_ms,
            seq_ix: Some(index),
            byte1: None,
            seq_time: Some(time_ms),
            seq_rand: None,
            shard_ix: self.shard,
            version: 2,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn take_place(&mut self, log: &ShardLog, key: &str, data: Bytes) -> Result<Record, Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        let bytes = key.len() + data.len();
        if self.limits.as_mut().is_some_and(|limits| !limits.write(clock::monotonic(), bytes)) {
            return Err(Refused::Throttled);
        }
        let index = self.next;
        self.next += 1;
        self.newest_ms = self.newest_ms.max(clock::wall_ms());
        let sequence = log.sequence(index, self.newest_ms.max(log.created_ms));
        Ok(Record { index, sequence: sequence.into(), arrival_ms: self.newest_ms, key: key.into(), data })
    }

    fn insert(&mut self, record: Arc<Record>) {
        debug_assert!(self.records.back().is_none_or(|last| last.index < record.index), "records out of order");
        self.bytes += record.bytes();
        self.records.push_back(record);
    }

    fn find(&self, created_ms: u64, from: Position) -> usize {
        let place = |record: &Arc<Record>| Position { index: record.index, second: record.second(created_ms) };
        self.records.partition_point(|record| place(record) < from)
    }

    fn read(&self, created_ms: u64, from: Position, count_max: usize, bytes_max: usize) -> Batch {
        let start = self.find(created_ms, from);
        let mut batch = Batch::default();
        for record in self.records.range(start..).take(count_max) {
            // The first record is returned whatever its size, or a reader could never get past it.
            if !batch.records.is_empty() && batch.bytes + record.bytes() > bytes_max {
                break;
            }
            batch.bytes += record.bytes();
            batch.records.push(Arc::clone(record));
        }
        if start + batch.records.len() < self.records.len() {
            let reached = batch.records.last().or(self.records.get(start)).map_or(0, |record| record.arrival_ms);
            batch.behind_ms = clock::wall_ms().saturating_sub(reached).max(1);
        }
        batch
    }
}

/// A sequence number's parts, if it is one.
pub(super) fn parse(sequence: &str) -> Option<SeqObj> {
    parse_sequence(sequence).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(records: usize) -> ShardLog {
        let log = ShardLog::new(0, 1000, false);
        for _ in 0..records {
            log.append("k", Bytes::from_static(b"data")).unwrap();
        }
        log
    }

    fn indices(batch: &Batch) -> Vec<u64> {
        batch.records.iter().map(|record| record.index).collect()
    }

    #[test]
    fn reading_is_bounded_in_records_and_bytes_but_always_moves_on() {
        let log = log(5);
        assert_eq!(indices(&log.read(Position::START, 2, 1000)), [1, 2]);
        assert_eq!(indices(&log.read(Position::after(2), 10, 10)), [3, 4]);
        assert_eq!(indices(&log.read(Position::after(4), 10, 1)), [5]);
        assert_eq!(indices(&log.read(log.tip(), 10, 1000)), [0; 0]);
    }

    #[test]
    fn numbers_between_records_lead_to_the_next_one() {
        let log = log(3);
        let second = log.all()[1].clone();
        let at = Position::of(&parse(&second.sequence).unwrap());
        assert_eq!(indices(&log.read(at, 10, 1000)), [2, 3]);
        let beyond = Position { second: at.second + 1, ..at };
        assert_eq!(indices(&log.read(beyond, 10, 1000)), [3]);
    }

    #[test]
    fn a_shard_is_over_only_for_who_has_seen_everything() {
        let log = log(1);
        assert!(!log.close_at(Position::START) && !log.is_closed());
        let pending = log.reserve("k", Bytes::new()).unwrap();
        assert!(!log.close_at(Position::after(2)), "a place is still to be filled");
        log.publish(pending);
        assert!(!log.close_at(Position::after(1)));
        assert!(log.close_at(Position::after(2)) && log.is_closed());
        assert_eq!(log.append("k", Bytes::new()).unwrap_err(), Refused::Closed);
    }

    #[test]
    fn trimming_takes_the_oldest() {
        let log = ShardLog::new(0, 1000, false);
        for (index, arrival_ms) in [(1, 10), (2, 20), (3, 30)] {
            let sequence = log.sequence(index, arrival_ms).into();
            log.restore(Record { index, sequence, arrival_ms, key: "k".into(), data: Bytes::from_static(b"1234") });
        }
        assert_eq!((log.bytes(), log.at_time(20).index), (15, 2));
        log.trim(25);
        assert_eq!((indices(&log.read(Position::START, 10, 1000)), log.bytes()), (vec![3], 5));
        assert_eq!(log.append("k", Bytes::new()).unwrap().index, 4);
    }
}
