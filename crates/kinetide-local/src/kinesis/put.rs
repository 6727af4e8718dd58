//! PutRecord and PutRecords.
//!
//! ferrokinesis' own would keep arrival times in whole seconds, make records visible in another order than their
//! sequence numbers when puts race, and rewrite the whole store for each put once it is durable. Invariants: with a
//! journal, a record is acknowledged only after it was handed to the operating system, and the writer stays alone from
//! the first place it reserves to the last record it makes visible; PutRecords fails record by record.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::journal::Entry;
use super::shard_log::{Record, Refused, ShardLog};
use super::streams::{ShardView, StreamView};
use super::{Kinesis, invalid, not_found};
use crate::faults::AwsError;
use crate::wire::{self, Protocol};

const RECORDS_MAX: usize = 500;
const REQUEST_BYTES_MAX: usize = 10 << 20;
const KEY_CHARS_MAX: usize = 256;
/// A view is outdated at most once per resharding, so the second look nearly always suffices.
const LOOKS_MAX: usize = 5;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecords {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    records: Vec<NewRecord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecord {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    partition_key: Box<str>,
    explicit_hash_key: Option<String>,
    data: Blob,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NewRecord {
    partition_key: Box<str>,
    explicit_hash_key: Option<String>,
    data: Blob,
}

/// Base64 text in JSON, bytes in CBOR.
struct Blob(Bytes);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Blob;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a blob")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Blob, E> {
                STANDARD.decode(text).map(|bytes| Blob(bytes.into())).map_err(E::custom)
            }
            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes.into()))
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Visitor)
        } else {
            deserializer.deserialize_byte_buf(Visitor)
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordsAnswer<'a> {
    failed_record_count: usize,
    records: Vec<RecordAnswer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_type: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RecordAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_type: Option<&'static str>,
}

/// A record on its way into its shard.
struct Routed<'a> {
    target: &'a ShardView,
    key: &'a str,
    data: Bytes,
}

type Stored = Result<Arc<Record>, Refused>;

impl Kinesis {
    pub(super) async fn put_records(&self, protocol: Protocol, body: &[u8]) -> Result<Vec<u8>, AwsError> {
        let request: PutRecords = parse(protocol, body)?;
        let count = request.records.len();
        if !(1..=RECORDS_MAX).contains(&count) {
            return Err(validation(format!("Value at 'records' has {count} members; 1 to {RECORDS_MAX} are allowed")));
        }
        let bytes: usize = request.records.iter().map(|record| record.partition_key.len() + record.data.0.len()).sum();
        if bytes > REQUEST_BYTES_MAX {
            return Err(invalid(&format!(
                "Records' total data and partition keys exceed {REQUEST_BYTES_MAX} bytes: {bytes}"
            )));
        }
        let name = self.stream_name(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        let view = self.open_view(&name).await?;
        let routed = route_all(&view, &request.records)?;
        let stored = self.store_all(&view, &routed)?;
        Ok(encode(protocol, &self.answer_all(&view, &routed, &stored)))
    }

    pub(super) async fn put_record(&self, protocol: Protocol, body: &[u8]) -> Result<Vec<u8>, AwsError> {
        let PutRecord { stream_name, stream_arn, partition_key, explicit_hash_key, data } = parse(protocol, body)?;
        let name = self.stream_name(stream_name.as_deref(), stream_arn.as_deref())?;
        let view = self.open_view(&name).await?;
        let record = NewRecord { partition_key, explicit_hash_key, data };
        let routed = route_all(&view, std::slice::from_ref(&record))?;
        let stored = self.store_all(&view, &routed)?;
        match stored.first() {
            Some(Ok(_)) => Ok(encode(protocol, &answer(&view, &routed[0], &stored[0], &self.account_id))),
            Some(Err(Refused::Throttled)) => Err(AwsError::new(
                400,
                "ProvisionedThroughputExceededException",
                rate(&view, &routed[0], &self.account_id),
            )),
            _ => Err(AwsError::new(500, "InternalFailure", "the shard ended while the record was written")),
        }
    }

    /// A view of which no shard that takes records is over.
    async fn open_view(&self, name: &str) -> Result<Arc<StreamView>, AwsError> {
        for _ in 0..LOOKS_MAX {
            let view = self.streams.view(name).await?;
            if !view.takes_records() {
                let message = format!("Stream {name} under account {} not found.", self.account_id);
                return Err(not_found(&message));
            }
            if view.shards.iter().all(|shard| shard.ended_ms.is_some() || !shard.log.is_closed()) {
                return Ok(view);
            }
            self.streams.outdate();
        }
        Err(AwsError::new(500, "InternalFailure", format!("stream {name} changes too fast")))
    }

    fn store_all(&self, view: &StreamView, routed: &[Routed<'_>]) -> Result<Vec<Stored>, AwsError> {
        let Some(journal) = &self.journal else {
            return Ok(routed.iter().map(|record| record.target.log.append(record.key, record.data.clone())).collect());
        };
        let mut writer = journal.writer();
        let stored: Vec<Stored> =
            routed.iter().map(|record| record.target.log.reserve(record.key, record.data.clone())).collect();
        for (routed, record) in routed.iter().zip(&stored) {
            if let Ok(record) = record {
                writer.add(&entry(&view.name, &routed.target.log, record));
            }
        }
        let committed = writer.commit();
        for (routed, record) in routed.iter().zip(&stored) {
            match (record, &committed) {
                (Ok(record), Ok(())) => routed.target.log.publish(Arc::clone(record)),
                (Ok(_), Err(_)) => routed.target.log.forget(),
                (Err(_), _) => {}
            }
        }
        committed
            .map_err(|error| AwsError::new(500, "InternalFailure", format!("records could not be written: {error}")))?;
        Ok(stored)
    }

    fn answer_all<'a>(&self, view: &StreamView, routed: &[Routed<'a>], stored: &'a [Stored]) -> PutRecordsAnswer<'a> {
        let pairs = routed.iter().zip(stored);
        PutRecordsAnswer {
            failed_record_count: stored.iter().filter(|record| record.is_err()).count(),
            records: pairs
                .map(|(routed, record)| RecordAnswer {
                    encryption_type: None,
                    ..answer(view, routed, record, &self.account_id)
                })
                .collect(),
            encryption_type: encryption(view),
        }
    }
}

/// What the journal says about a record.
pub(super) fn entry<'a>(stream: &'a str, log: &ShardLog, record: &'a Record) -> Entry<'a> {
    Entry::Put {
        stream,
        shard: log.shard,
        created_ms: log.created_ms,
        index: record.index,
        arrival_ms: record.arrival_ms,
        key: &record.key,
        data: &record.data,
    }
}

fn parse<T: DeserializeOwned>(protocol: Protocol, body: &[u8]) -> Result<T, AwsError> {
    let malformed = |reason: String| AwsError::new(400, "SerializationException", reason);
    if protocol.is_cbor() {
        ciborium::from_reader(body).map_err(|error| malformed(error.to_string()))
    } else {
        serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))
    }
}

fn encode<T: Serialize>(protocol: Protocol, answer: &T) -> Vec<u8> {
    if protocol.is_cbor() { wire::encode_cbor(answer) } else { serde_json::to_vec(answer).unwrap_or_default() }
}

fn route_all<'a>(view: &'a StreamView, records: &'a [NewRecord]) -> Result<Vec<Routed<'a>>, AwsError> {
    records.iter().map(|record| route(view, record)).collect()
}

fn route<'a>(view: &'a StreamView, record: &'a NewRecord) -> Result<Routed<'a>, AwsError> {
    let key: &str = &record.partition_key;
    if key.is_empty() || key.chars().count() > KEY_CHARS_MAX {
        return Err(validation(format!("Value at 'partitionKey' must have 1 to {KEY_CHARS_MAX} characters")));
    }
    if record.data.0.len() > view.record_bytes_max {
        return Err(validation(format!("Value at 'data' must have at most {} bytes", view.record_bytes_max)));
    }
    let hash = match record.explicit_hash_key.as_deref() {
        None => ferrokinesis::sequence::partition_key_to_hash_key(key),
        Some(text) => text.parse().map_err(|_| {
            invalid(&format!("ExplicitHashKey must be in the range [0, 2^128-1]. Specified value was {text}"))
        })?,
    };
    let target =
        view.route(hash).ok_or_else(|| AwsError::new(500, "InternalFailure", "no open shard covers the hash key"))?;
    Ok(Routed { target, key, data: record.data.0.clone() })
}

fn answer<'a>(view: &StreamView, routed: &Routed<'a>, stored: &'a Stored, account: &str) -> RecordAnswer<'a> {
    let failed = |error_code, error_message| RecordAnswer {
        sequence_number: None,
        shard_id: None,
        error_code: Some(error_code),
        error_message: Some(error_message),
        encryption_type: None,
    };
    match stored {
        Ok(record) => RecordAnswer {
            sequence_number: Some(&record.sequence),
            shard_id: Some(&routed.target.shard.shard_id),
            error_code: None,
            error_message: None,
            encryption_type: encryption(view),
        },
        Err(Refused::Throttled) => failed("ProvisionedThroughputExceededException", rate(view, routed, account)),
        Err(Refused::Closed) => failed("InternalFailure", "Internal service failure.".to_owned()),
    }
}

fn rate(view: &StreamView, routed: &Routed<'_>, account: &str) -> String {
    format!("Rate exceeded for shard {} in stream {} under account {account}.", routed.target.shard.shard_id, view.name)
}

fn encryption(view: &StreamView) -> Option<&'static str> {
    view.encrypted.then_some("KMS")
}

fn validation(message: String) -> AwsError {
    AwsError::new(400, "ValidationException", format!("1 validation error detected: {message}"))
}
