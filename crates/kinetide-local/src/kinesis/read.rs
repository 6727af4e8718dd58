//! GetShardIterator and GetRecords.
//!
//! Iterators are ferrokinesis' own tokens: when made, stream, shard, sequence number. Invariants: a shard is reported
//! as over only when nothing is or will be behind the iterator, together with its children; a call returns at most
//! 10,000 records and 10 MB, but never less than one record if there is one; 0 ms behind means at the tip.

use std::sync::Arc;

use ferrokinesis::shard_iterator::{create_shard_iterator, decode_shard_iterator};
use serde_json::{Value as Json, json};

use super::encode::{Page, child};
use super::shard_log::{Batch, Position, parse};
use super::streams::{ShardView, StreamView, shard_of};
use super::{Kinesis, expired, invalid};
use crate::clock;
use crate::faults::AwsError;
use crate::wire::{Protocol, timestamp_ms};

const ITERATOR_MS_MAX: u64 = 300_000;
const RECORDS_MAX: usize = 10_000;
const BYTES_MAX: usize = 10 << 20;

impl Kinesis {
    pub(super) async fn get_shard_iterator(&self, request: &Json) -> Result<Json, AwsError> {
        let name = self.stream_name(request["StreamName"].as_str(), request["StreamARN"].as_str())?;
        let view = self.streams.view(&name).await?;
        let shard = shard_of(&view, request["ShardId"].as_str().unwrap_or(""), &self.account_id)?;
        let kind = request["ShardIteratorType"].as_str().unwrap_or("");
        let position = start(shard, kind, request["StartingSequenceNumber"].as_str(), &request["Timestamp"])?;
        Ok(json!({ "ShardIterator": iterator(&view, shard, position) }))
    }

    pub(super) async fn get_records(&self, protocol: Protocol, request: &Json) -> Result<Vec<u8>, AwsError> {
        let token = request["ShardIterator"].as_str().unwrap_or("");
        let limit = request["Limit"].as_u64().map_or(RECORDS_MAX, |limit| (limit as usize).min(RECORDS_MAX));
        let (name, shard_id, from) = open_iterator(token)?;
        let view = self.streams.view(&name).await?;
        let shard = shard_of(&view, &shard_id, &self.account_id)?;
        // What has outlived its retention is not returned, even if upkeep has not removed it yet.
        let from = from.max(shard.log.at_time(view.horizon_ms()).min(shard.log.tip()));
        let batch = shard.log.read_limited(from, limit, BYTES_MAX).ok_or_else(|| self.throttled(&view, shard))?;
        let page = Page { records: &batch.records, encrypted: view.encrypted, rest: rest(&view, shard, from, &batch) };
        Ok(page.encode(protocol))
    }

    fn throttled(&self, view: &StreamView, shard: &ShardView) -> AwsError {
        let (id, name, account) = (&shard.shard.shard_id, &view.name, &self.account_id);
        let message = format!("Rate exceeded for shard {id} in stream {name} under account {account}.");
        AwsError::new(400, "ProvisionedThroughputExceededException", message)
    }
}

/// Everything of the answer but the records.
fn rest(view: &Arc<StreamView>, shard: &ShardView, from: Position, batch: &Batch) -> Json {
    if batch.records.is_empty() && is_over(shard, from) {
        let children: Vec<Json> = view.children(&shard.shard.shard_id).map(child).collect();
        return json!({ "MillisBehindLatest": 0, "ChildShards": children });
    }
    let next = batch.records.last().map_or(from, |last| Position::after(last.index));
    json!({ "MillisBehindLatest": batch.behind_ms, "NextShardIterator": iterator(view, shard, next) })
}

/// Whether a reader at this position has seen all that the shard will ever have. From then on the shard takes nothing
/// more.
pub(super) fn is_over(shard: &ShardView, at: Position) -> bool {
    shard.ended_ms.is_some() && shard.log.close_at(at)
}

fn iterator(view: &StreamView, shard: &ShardView, at: Position) -> String {
    let sequence = shard.log.sequence(at.index, at.second * 1000);
    create_shard_iterator(&view.name, &shard.shard.shard_id, &sequence, clock::wall_ms())
}

fn open_iterator(token: &str) -> Result<(String, String, Position), AwsError> {
    let unreadable = || invalid("Invalid ShardIterator.");
    let (made_ms, stream, shard, sequence) = decode_shard_iterator(token).map_err(|_| unreadable())?;
    let position = parse(&sequence).map(|sequence| Position::of(&sequence)).ok_or_else(unreadable)?;
    let now = clock::wall_ms();
    if now.saturating_sub(made_ms) > ITERATOR_MS_MAX {
        return Err(expired(&format!(
            "Iterator expired. It was created at {made_ms} and right now it is {now}, which is more than the tolerated \
             delay of {ITERATOR_MS_MAX} milliseconds."
        )));
    }
    Ok((stream, shard, position))
}

/// Where the five kinds of starting position are in a shard.
pub(super) fn start(
    shard: &ShardView,
    kind: &str,
    sequence: Option<&str>,
    timestamp: &Json,
) -> Result<Position, AwsError> {
    match (kind, sequence) {
        ("TRIM_HORIZON", None) => Ok(Position::START),
        ("LATEST", None) => Ok(shard.log.tip()),
        ("AT_TIMESTAMP", None) => at_timestamp(shard, timestamp),
        ("AT_SEQUENCE_NUMBER", Some(sequence)) => at_sequence(shard, sequence),
        ("AFTER_SEQUENCE_NUMBER", Some(sequence)) => at_sequence(shard, sequence).map(|at| Position::after(at.index)),
        _ => Err(invalid(&format!(
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) \
             TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {kind} and {} of it.",
            if sequence.is_some() { "one" } else { "none" }
        ))),
    }
}

fn at_timestamp(shard: &ShardView, timestamp: &Json) -> Result<Position, AwsError> {
    let time =
        timestamp.as_f64().ok_or_else(|| invalid("Must specify a timestamp for an iterator of type AT_TIMESTAMP."))?;
    let (time_ms, now) = (timestamp_ms(time), clock::wall_ms());
    if time_ms > now {
        return Err(invalid(&format!(
            "The timestamp cannot be in the future. timestampInMillis: {time_ms}, currentTimestampInMillis: {now}"
        )));
    }
    Ok(shard.log.at_time(time_ms))
}

fn at_sequence(shard: &ShardView, sequence: &str) -> Result<Position, AwsError> {
    let id = &shard.shard.shard_id;
    let parsed = parse(sequence)
        .ok_or_else(|| invalid(&format!("StartingSequenceNumber {sequence} used on shard {id} is invalid.")))?;
    if parsed.shard_ix != shard.log.shard {
        let named = ferrokinesis::sequence::shard_id_name(parsed.shard_ix);
        return Err(invalid(&format!(
            "Invalid StartingSequenceNumber. It encodes {named}, while it was used in a call to a shard with {id}"
        )));
    }
    // Sequence numbers keep whole seconds of the creation time.
    if parsed.shard_create_time / 1000 != shard.created_ms / 1000 {
        return Err(invalid(&format!(
            "StartingSequenceNumber {sequence} used on shard {id} is invalid because it did not come from this stream."
        )));
    }
    Ok(Position::of(&parsed))
}
