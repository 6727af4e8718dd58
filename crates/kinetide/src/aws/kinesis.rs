//! A stream in Kinesis.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types as sdk;
use bytes::Bytes;
use bytestring::ByteString;

use super::error::source_error;
use super::load::Aws;
use crate::stream::{
    ChildShard, GetRecords, HashKeyRange, Record, SequenceNumber, Shard, ShardFilter, ShardId, ShardIterator,
    SourceError, SourceErrorKind, StartAt, StreamId, StreamName, StreamSource, Timestamp,
};

/// Pages of one listing: 1,000 shards each.
const PAGES_MAX: usize = 1_000;

/// A stream in Kinesis.
#[derive(Debug, Clone)]
pub struct KinesisStream {
    client: Client,
    name: StreamName,
    /// Names the stream instead, if it may be of another account.
    arn: Option<String>,
    address: Arc<str>,
}

/// One record to put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutEntry {
    /// The key whose MD5 chooses the shard.
    pub partition_key: String,
    /// The payload.
    pub data: Bytes,
}

/// What became of one record put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// Stored.
    Stored {
        /// The shard.
        shard: ShardId,
        /// Its place there.
        sequence: SequenceNumber,
    },
    /// Not stored; worth repeating.
    Failed {
        /// The service's code, such as `ProvisionedThroughputExceededException`.
        code: String,
        /// The service's words.
        message: String,
    },
}

fn unreadable(operation: &'static str, problem: impl std::fmt::Display) -> SourceError {
    SourceError::new(SourceErrorKind::Unavailable, operation, format!("the answer cannot be understood: {problem}"))
}

impl KinesisStream {
    /// The stream of this name; nothing is called yet.
    #[must_use]
    pub fn new(aws: &Aws, name: StreamName) -> Self {
        Self { client: aws.kinesis.clone(), name, arn: None, address: aws.kinesis_address.clone() }
    }

    /// This stream of that account, in the region of the client; nothing is called yet.
    #[must_use]
    pub fn of(aws: &Aws, id: &StreamId) -> Self {
        let region = &aws.region;
        let partition = match region.split_once('-') {
            Some(("cn", _)) => "aws-cn",
            _ if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        let arn = format!("arn:{partition}:kinesis:{region}:{}:stream/{}", id.account, id.name);
        Self { arn: Some(arn), ..Self::new(aws, id.name.clone()) }
    }

    /// The name to call it by, unless its ARN does that.
    fn called(&self) -> Option<String> {
        self.arn.is_none().then(|| self.name.to_string())
    }

    /// Puts up to 500 records in one call. Each has its own outcome, in order; a record is retried by putting it again.
    ///
    /// # Errors
    /// [`SourceError`] when the call as a whole failed; then it is not known which records were stored, if any.
    pub async fn put_records(&self, entries: &[PutEntry]) -> Result<Vec<PutOutcome>, SourceError> {
        const OPERATION: &str = "PutRecords";
        let mut request = self.client.put_records().set_stream_name(self.called()).set_stream_arn(self.arn.clone());
        for entry in entries {
            let builder = sdk::PutRecordsRequestEntry::builder()
                .partition_key(&entry.partition_key)
                .data(Blob::new(entry.data.to_vec()));
            request = request.records(builder.build().map_err(|error| unreadable(OPERATION, error))?);
        }
        let output = request.send().await.map_err(|error| source_error(OPERATION, &self.address, error))?;
        let outcomes: Result<Vec<_>, _> = output.records.into_iter().map(put_outcome).collect();
        let outcomes = outcomes?;
        if outcomes.len() != entries.len() {
            return Err(unreadable(OPERATION, format!("{} outcomes for {} records", outcomes.len(), entries.len())));
        }
        Ok(outcomes)
    }

    /// Splits a shard at the middle of its hash keys.
    ///
    /// # Errors
    /// [`SourceError`] when the service refuses.
    pub async fn split_shard(&self, shard: &Shard) -> Result<(), SourceError> {
        let range = shard.hash_range;
        let middle = range.start.0 + (range.end.0 - range.start.0) / 2 + 1;
        let request = self
            .client
            .split_shard()
            .set_stream_name(self.called())
            .set_stream_arn(self.arn.clone())
            .shard_to_split(shard.id.as_str())
            .new_starting_hash_key(middle.to_string());
        request.send().await.map_err(|error| source_error("SplitShard", &self.address, error))?;
        Ok(())
    }

    /// Merges two neighbours.
    ///
    /// # Errors
    /// [`SourceError`] when the service refuses.
    pub async fn merge_shards(&self, left: &ShardId, right: &ShardId) -> Result<(), SourceError> {
        let request = self
            .client
            .merge_shards()
            .set_stream_name(self.called())
            .set_stream_arn(self.arn.clone())
            .shard_to_merge(left.as_str())
            .adjacent_shard_to_merge(right.as_str());
        request.send().await.map_err(|error| source_error("MergeShards", &self.address, error))?;
        Ok(())
    }
}

fn put_outcome(entry: sdk::PutRecordsResultEntry) -> Result<PutOutcome, SourceError> {
    match (entry.shard_id, entry.sequence_number) {
        (Some(shard), Some(sequence)) => Ok(PutOutcome::Stored {
            shard: ShardId::new(shard).map_err(|error| unreadable("PutRecords", error))?,
            sequence: SequenceNumber::new(sequence).map_err(|error| unreadable("PutRecords", error))?,
        }),
        _ => Ok(PutOutcome::Failed {
            code: entry.error_code.unwrap_or_default(),
            message: entry.error_message.unwrap_or_default(),
        }),
    }
}

fn shard_filter(filter: &ShardFilter) -> Option<sdk::ShardFilter> {
    let (kind, time) = match filter {
        ShardFilter::All => return None,
        ShardFilter::AtTrimHorizon => (sdk::ShardFilterType::AtTrimHorizon, None),
        ShardFilter::AtLatest => (sdk::ShardFilterType::AtLatest, None),
        ShardFilter::AtTimestamp(time) => (sdk::ShardFilterType::AtTimestamp, Some(date_time(*time))),
    };
    sdk::ShardFilter::builder().r#type(kind).set_timestamp(time).build().ok()
}

fn date_time(time: Timestamp) -> DateTime {
    DateTime::from_millis(time.as_millis())
}

fn hash_range(range: Option<sdk::HashKeyRange>, operation: &'static str) -> Result<HashKeyRange, SourceError> {
    let range = range.ok_or_else(|| unreadable(operation, "a shard without hash keys"))?;
    let parse = |text: &str| text.parse().map_err(|error| unreadable(operation, error));
    Ok(HashKeyRange { start: parse(range.starting_hash_key())?, end: parse(range.ending_hash_key())? })
}

fn shard_ids(names: impl IntoIterator<Item = String>, operation: &'static str) -> Result<Vec<ShardId>, SourceError> {
    names.into_iter().map(|name| ShardId::new(name).map_err(|error| unreadable(operation, error))).collect()
}

fn shard(shard: sdk::Shard) -> Result<Shard, SourceError> {
    const OPERATION: &str = "ListShards";
    let sequences = shard.sequence_number_range.ok_or_else(|| unreadable(OPERATION, "a shard without numbers"))?;
    let parse = |text: String| SequenceNumber::new(text).map_err(|error| unreadable(OPERATION, error));
    let parents = [shard.parent_shard_id, shard.adjacent_parent_shard_id];
    Ok(Shard {
        id: ShardId::new(shard.shard_id).map_err(|error| unreadable(OPERATION, error))?,
        parents: shard_ids(parents.into_iter().flatten(), OPERATION)?,
        hash_range: hash_range(shard.hash_key_range, OPERATION)?,
        starting_sequence: parse(sequences.starting_sequence_number)?,
        ending_sequence: sequences.ending_sequence_number.map(parse).transpose()?,
    })
}

fn child(child: sdk::ChildShard) -> Result<ChildShard, SourceError> {
    const OPERATION: &str = "GetRecords";
    Ok(ChildShard {
        id: ShardId::new(child.shard_id).map_err(|error| unreadable(OPERATION, error))?,
        parents: shard_ids(child.parent_shards, OPERATION)?,
        hash_range: hash_range(child.hash_key_range, OPERATION)?,
    })
}

fn record(record: sdk::Record) -> Result<Record, SourceError> {
    let arrival = record.approximate_arrival_timestamp.and_then(|time| time.to_millis().ok());
    Ok(Record {
        sequence: SequenceNumber::new(record.sequence_number).map_err(|error| unreadable("GetRecords", error))?,
        data: record.data.into_inner().into(),
        // Absent on streams that place records themselves.
        partition_key: record.partition_key.unwrap_or_default().into(),
        arrival: arrival.map(Timestamp::from_millis),
    })
}

fn answer(output: GetRecordsOutput) -> Result<GetRecords, SourceError> {
    let records: Result<Vec<_>, _> = output.records.into_iter().map(record).collect();
    let children: Result<Vec<_>, _> = output.child_shards.unwrap_or_default().into_iter().map(child).collect();
    Ok(GetRecords {
        records: records?,
        next: output.next_shard_iterator.map(|text| ShardIterator(text.into())),
        millis_behind_latest: output.millis_behind_latest.and_then(|millis| u64::try_from(millis).ok()),
        children: children?,
    })
}

#[async_trait]
impl StreamSource for KinesisStream {
    fn stream(&self) -> &StreamName {
        &self.name
    }

    async fn list_shards(&self, filter: ShardFilter) -> Result<Vec<Shard>, SourceError> {
        const OPERATION: &str = "ListShards";
        let (mut shards, mut next) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let request = self.client.list_shards();
            // A further page names only the page.
            let request = match next {
                Some(token) => request.next_token(token),
                None => request
                    .set_stream_name(self.called())
                    .set_stream_arn(self.arn.clone())
                    .set_shard_filter(shard_filter(&filter)),
            };
            let page = request.send().await.map_err(|error| source_error(OPERATION, &self.address, error))?;
            for listed in page.shards.unwrap_or_default() {
                shards.push(shard(listed)?);
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(shards);
            }
        }
        Err(unreadable(OPERATION, "the listing has no end"))
    }

    async fn iterator(&self, shard: &ShardId, start: StartAt) -> Result<ShardIterator, SourceError> {
        use sdk::ShardIteratorType as Type;
        let (kind, sequence, time) = match start {
            StartAt::TrimHorizon => (Type::TrimHorizon, None, None),
            StartAt::Latest => (Type::Latest, None, None),
            StartAt::Timestamp(time) => (Type::AtTimestamp, None, Some(date_time(time))),
            StartAt::Sequence(sequence) => (Type::AtSequenceNumber, Some(sequence), None),
            StartAt::AfterSequence(sequence) => (Type::AfterSequenceNumber, Some(sequence), None),
        };
        let request = self
            .client
            .get_shard_iterator()
            .set_stream_name(self.called())
            .set_stream_arn(self.arn.clone())
            .shard_id(shard.as_str())
            .shard_iterator_type(kind)
            .set_starting_sequence_number(sequence.map(|sequence| sequence.to_string()))
            .set_timestamp(time);
        let output = request.send().await.map_err(|error| source_error("GetShardIterator", &self.address, error))?;
        let iterator = output.shard_iterator.ok_or_else(|| unreadable("GetShardIterator", "no iterator"))?;
        Ok(ShardIterator(ByteString::from(iterator)))
    }

    async fn get_records(&self, iterator: &ShardIterator, limit: usize) -> Result<GetRecords, SourceError> {
        let limit = i32::try_from(limit).unwrap_or(10_000);
        let request = self.client.get_records().shard_iterator(&*iterator.0).limit(limit);
        answer(request.send().await.map_err(|error| source_error("GetRecords", &self.address, error))?)
    }
}
