//! What the daemon says, written straight into the buffer that goes into the pipe: a batch is the hot path.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kinetide::stream::{Checkpoint, ShardId, UserRecord};

use super::{ActionName, CheckpointRequest};

/// What the daemon tells a child to do.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// Start with this shard, after this checkpoint.
    Initialize {
        /// The shard.
        shard: &'a ShardId,
        /// A number or a sentinel.
        checkpoint: &'a Checkpoint,
    },
    /// Process these.
    ProcessRecords {
        /// The records, in order; may be empty.
        records: &'a [UserRecord],
        /// How far behind the newest record the batch is.
        millis_behind_latest: Option<u64>,
    },
    /// The lease is gone.
    LeaseLost,
    /// There is nothing more to come; checkpoint.
    ShardEnded,
    /// The lease will be given up; the last chance to checkpoint.
    ShutdownRequested,
}

impl Action<'_> {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> ActionName {
        match self {
            Self::Initialize { .. } => ActionName::Initialize,
            Self::ProcessRecords { .. } => ActionName::ProcessRecords,
            Self::LeaseLost => ActionName::LeaseLost,
            Self::ShardEnded => ActionName::ShardEnded,
            Self::ShutdownRequested => ActionName::ShutdownRequested,
        }
    }

    /// Appends the message and its line end.
    pub fn encode(&self, out: &mut Vec<u8>) {
        push(out, "{\"action\":\"");
        push(out, self.name().as_str());
        push(out, "\"");
        match self {
            Self::Initialize { shard, checkpoint } => fields_of_start(out, shard, checkpoint),
            Self::ProcessRecords { records, millis_behind_latest } => {
                fields_of_batch(out, records, *millis_behind_latest)
            }
            Self::LeaseLost | Self::ShardEnded | Self::ShutdownRequested => {}
        }
        push(out, "}\n");
    }
}

fn fields_of_start(out: &mut Vec<u8>, shard: &ShardId, checkpoint: &Checkpoint) {
    push(out, ",\"shardId\":");
    string(out, shard.as_str());
    push(out, ",\"sequenceNumber\":");
    string(out, checkpoint.as_str());
    push(out, ",\"subSequenceNumber\":");
    number(out, checkpoint.sub_sequence());
}

fn fields_of_batch(out: &mut Vec<u8>, records: &[UserRecord], millis_behind_latest: Option<u64>) {
    out.reserve(records.iter().map(size_hint).sum());
    push(out, ",\"records\":[");
    for (index, item) in records.iter().enumerate() {
        if index > 0 {
            push(out, ",");
        }
        record(out, item);
    }
    push(out, "],\"millisBehindLatest\":");
    optional_number(out, millis_behind_latest);
}

/// Keys, digits and punctuation of a record are about this long.
const RECORD_OVERHEAD: usize = 224;

fn size_hint(record: &UserRecord) -> usize {
    record.data.len().div_ceil(3) * 4 + record.partition_key.len() + RECORD_OVERHEAD
}

/// `action` is not decoration: the Python client looks at it in every nested object.
fn record(out: &mut Vec<u8>, record: &UserRecord) {
    push(out, "{\"data\":\"");
    base64(out, &record.data);
    push(out, "\",\"partitionKey\":");
    string(out, &record.partition_key);
    push(out, ",\"sequenceNumber\":");
    string(out, record.position.sequence.as_str());
    push(out, ",\"approximateArrivalTimestamp\":");
    optional_number(out, record.arrival.map(kinetide::stream::Timestamp::as_millis));
    push(out, ",\"subSequenceNumber\":");
    number(out, record.position.sub_sequence);
    push(out, ",\"action\":\"record\"}");
}

/// Appends the answer to a checkpoint request: what was asked for, never what was stored, and the error's name.
pub fn encode_reply(out: &mut Vec<u8>, request: &CheckpointRequest, error: Option<&str>) {
    push(out, "{\"action\":\"checkpoint\",\"sequenceNumber\":");
    optional_string(out, request.sequence_number.as_deref());
    push(out, ",\"subSequenceNumber\":");
    optional_number(out, request.sub_sequence_number);
    push(out, ",\"error\":");
    optional_string(out, error);
    push(out, "}\n");
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn base64(out: &mut Vec<u8>, data: &[u8]) {
    let start = out.len();
    out.resize(start + data.len().div_ceil(3) * 4, 0);
    // The slice has exactly the encoded length, so this cannot fail.
    let written = STANDARD.encode_slice(data, &mut out[start..]).unwrap_or(0);
    debug_assert_eq!(start + written, out.len(), "base64 fills what was reserved");
}

fn number(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    // Writing into a vector cannot fail.
    let _ = write!(out, "{number}");
}

fn optional_number(out: &mut Vec<u8>, value: Option<impl std::fmt::Display>) {
    match value {
        Some(value) => number(out, value),
        None => push(out, "null"),
    }
}

fn optional_string(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => string(out, value),
        None => push(out, "null"),
    }
}

/// Escapes what the Java daemon escapes and nothing else: quotes, backslashes and control characters, with upper-case
/// digits.
fn string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, 0..=0x1f | b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => push(out, "\\\""),
            b'\\' => push(out, "\\\\"),
            b'\n' => push(out, "\\n"),
            b'\r' => push(out, "\\r"),
            b'\t' => push(out, "\\t"),
            0x08 => push(out, "\\b"),
            0x0c => push(out, "\\f"),
            byte => {
                push(out, "\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
