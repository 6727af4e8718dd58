//! UpdateShardCount.
//!
//! ferrokinesis closes all shards and opens new ones without parents; consumers would then read children before
//! parents, and find no children at the end of a shard. The real service splits and merges, so this does: first splits
//! at every new bound, then merges what lies between two of them. Invariants: every new shard has one parent or two
//! adjacent ones; the open shards cover the hash range without gap or overlap before and after.

use ferrokinesis::error::KinesisErrorResponse;
use ferrokinesis::sequence::{MAX_SEQ_IX, SeqObj, resolve_shard_id, shard_id_name, stringify_sequence};
use ferrokinesis::types::{HashKeyRange, SequenceNumberRange, Shard, StreamStatus};
use serde_json::{Value as Json, json};

use super::shard_log::parse;
use super::{Kinesis, invalid, mend};
use crate::clock;
use crate::faults::AwsError;

impl Kinesis {
    pub(super) async fn update_shard_count(&self, request: &Json) -> Result<Json, AwsError> {
        let name = self.stream_name(request["StreamName"].as_str(), request["StreamARN"].as_str())?;
        let target = request["TargetShardCount"].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        let others = self.streams.store.sum_open_shards().await;
        let max = self.streams.store.options.shard_limit;
        let account = self.account_id.clone();
        let changed = self.streams.store.update_stream(&name, |stream| {
            if stream.stream_status != StreamStatus::Active {
                return Err(KinesisErrorResponse::stream_not_active(&stream.stream_name, &account));
            }
            let current = open(&stream.shards).len() as u32;
            check(current, target, others, max)?;
            Resharding { shards: &mut stream.shards, now_ms: clock::wall_ms() }.run(target);
            Ok((current, stream.stream_arn.clone()))
        });
        let (current, arn) = changed.await.map_err(mend)?;
        Ok(json!({ "StreamName": name, "StreamARN": arn, "CurrentShardCount": current, "TargetShardCount": target }))
    }
}

fn check(current: u32, target: u32, all: u32, max: u32) -> Result<(), KinesisErrorResponse> {
    if target < 1 || target > current.saturating_mul(2) || target < current.div_ceil(2) {
        let message =
            format!("UpdateShardCount cannot scale from {current} to {target} shards: at most double, at least half");
        return Err(KinesisErrorResponse::client_error(&invalid("").code, Some(&message)));
    }
    if all - current.min(all) + target > max {
        let message = format!("The account would have more than {max} open shards");
        return Err(KinesisErrorResponse::client_error("LimitExceededException", Some(&message)));
    }
    Ok(())
}

/// Open shards by the start of their hash range.
fn open(shards: &[Shard]) -> Vec<usize> {
    let is_open = |ix: &usize| shards[*ix].sequence_number_range.ending_sequence_number.is_none();
    let mut open: Vec<usize> = (0..shards.len()).filter(is_open).collect();
    open.sort_by_key(|ix| shards[*ix].hash_key_range.start_u128());
    open
}

/// Where `count` equal shards start.
fn bounds(count: u32) -> Vec<u128> {
    let count = u128::from(count.max(1));
    // 2^128 / count, which does not fit in between.
    let size = (u128::MAX / count).saturating_add(u128::from(u128::MAX % count == count - 1));
    (0..count).map(|position| position * size).collect()
}

struct Resharding<'a> {
    shards: &'a mut Vec<Shard>,
    now_ms: u64,
}

impl Resharding<'_> {
    fn run(&mut self, target: u32) {
        let bounds = bounds(target);
        for bound in &bounds {
            self.split_at(*bound);
        }
        let mut open = open(self.shards).into_iter();
        let Some(mut last) = open.next() else { return };
        for next in open {
            let start = self.shards[next].hash_key_range.start_u128();
            last = if bounds.binary_search(&start).is_ok() { next } else { self.merge(last, next) };
        }
    }

    /// Makes `bound` the start of an open shard.
    fn split_at(&mut self, bound: u128) {
        let covers =
            |shard: &Shard| shard.hash_key_range.start_u128() < bound && bound <= shard.hash_key_range.end_u128();
        let Some(parent) = open(self.shards).into_iter().find(|ix| covers(&self.shards[*ix])) else { return };
        let (start, end) = self.range(parent);
        self.close(parent);
        self.add((start, bound - 1), parent, None);
        self.add((bound, end), parent, None);
    }

    fn merge(&mut self, left: usize, right: usize) -> usize {
        let range = (self.range(left).0, self.range(right).1);
        self.close(left);
        self.close(right);
        self.add(range, left, Some(right))
    }

    fn range(&self, shard: usize) -> (u128, u128) {
        let range = &self.shards[shard].hash_key_range;
        (range.start_u128(), range.end_u128())
    }

    fn close(&mut self, shard: usize) {
        let range = &mut self.shards[shard].sequence_number_range;
        let created_ms = parse(&range.starting_sequence_number).map_or(0, |start| start.shard_create_time);
        range.ending_sequence_number = Some(sequence(created_ms, shard, MAX_SEQ_IX, self.now_ms));
    }

    fn add(&mut self, (start, end): (u128, u128), parent: usize, adjacent: Option<usize>) -> usize {
        let ix = self.shards.len();
        // Like ferrokinesis' splits: a second after the parent's last one, so that whole seconds keep them apart.
        let created_ms = self.now_ms + 1000;
        self.shards.push(Shard {
            shard_id: id(ix),
            hash_key_range: HashKeyRange::new(start.to_string(), end.to_string()),
            sequence_number_range: SequenceNumberRange {
                starting_sequence_number: sequence(created_ms, ix, 0, created_ms),
                ending_sequence_number: None,
            },
            parent_shard_id: Some(id(parent)),
            adjacent_parent_shard_id: adjacent.map(id),
        });
        debug_assert!(resolve_shard_id(&id(ix)).is_ok());
        ix
    }
}

fn id(shard: usize) -> String {
    shard_id_name(shard as i64)
}

fn sequence(created_ms: u64, shard: usize, index: u64, time_ms: u64) -> String {
    stringify_sequence(&SeqObj {
        shard_create_time: created_ms,
        seq_ix: Some(index),
        byte1: None,
        seq_time: Some(time_ms),
        seq_rand: None,
        shard_ix: shard as i64,
        version: 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Vec<Shard> {
        let mut shards = Vec::new();
        Resharding { shards: &mut shards, now_ms: 1_700_000_000_000 }.add((0, u128::MAX), 0, None);
        shards
    }

    /// Starts of the open shards, after checking that they cover everything once.
    fn covered(shards: &[Shard]) -> Vec<u128> {
        let mut next = Some(0);
        let open = open(shards);
        for ix in &open {
            assert_eq!(Some(shards[*ix].hash_key_range.start_u128()), next);
            next = shards[*ix].hash_key_range.end_u128().checked_add(1);
        }
        assert_eq!(next, None);
        open.iter().map(|ix| shards[*ix].hash_key_range.start_u128()).collect()
    }

    #[test]
    fn any_count_becomes_any_other_with_parents_for_all() {
        for (from, to) in [(1, 2), (2, 1), (2, 3), (3, 2), (5, 3), (4, 8), (7, 4)] {
            let mut shards = one();
            Resharding { shards: &mut shards, now_ms: 1_700_000_000_000 }.run(from);
            assert_eq!(covered(&shards), bounds(from));
            let before = shards.len();
            Resharding { shards: &mut shards, now_ms: 1_700_000_009_000 }.run(to);
            assert_eq!(covered(&shards), bounds(to), "{from} to {to}");
            for shard in &shards[before..] {
                let parents = shard.parent_shard_id.iter().chain(&shard.adjacent_parent_shard_id);
                for parent in parents {
                    let (_, ix) = resolve_shard_id(parent).unwrap();
                    assert!(shards[ix as usize].sequence_number_range.ending_sequence_number.is_some());
                }
            }
        }
    }

    #[test]
    fn doubling_is_one_split_each() {
        let mut shards = one();
        Resharding { shards: &mut shards, now_ms: 1_700_000_000_000 }.run(2);
        assert_eq!(shards.len(), 3);
        assert_eq!(bounds(2), [0, 1 << 127]);
    }
}
