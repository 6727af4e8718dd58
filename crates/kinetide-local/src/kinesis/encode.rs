//! Records as clients read them, in JSON and in Kinesis' CBOR.
//!
//! Written by hand because this is the hot path: a record is a handful of copies into one buffer, without a tree in
//! between. Invariant: both forms say the same; CBOR arrival times are tag 1 over milliseconds, JSON ones seconds with
//! a fraction.

use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrokinesis::types::Shard;
use serde_json::{Value as Json, json};

use super::shard_log::Record;
use crate::wire::{self, Protocol};

/// Room for names, numbers and the sequence number of one record.
const RECORD_OVERHEAD_BYTES: usize = 220;

/// A map with a list of records and further members.
pub(super) struct Page<'a> {
    pub(super) records: &'a [Arc<Record>],
    pub(super) encrypted: bool,
    /// The other members: an object, and never an empty one.
    pub(super) rest: Json,
}

impl Page<'_> {
    pub(super) fn encode(&self, protocol: Protocol) -> Vec<u8> {
        let bytes: usize = self.records.iter().map(|record| record.bytes() * 4 / 3 + RECORD_OVERHEAD_BYTES).sum();
        let mut out = Vec::with_capacity(bytes + 1024);
        if protocol.is_cbor() {
            self.cbor(&mut out)
        } else {
            self.json(&mut out)
        }
        out
    }

    fn json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"Records\":[");
        for (position, record) in self.records.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            record_json(out, record, self.encrypted);
        }
        out.push(b']');
        // The other members follow within the same braces.
        out.push(b',');
        out.extend_from_slice(&self.rest.to_string().as_bytes()[1..]);
    }

    fn cbor(&self, out: &mut Vec<u8>) {
        let members = self.rest.as_object().map_or(0, serde_json::Map::len);
        head(out, MAP, members as u64 + 1);
        text(out, "Records");
        head(out, ARRAY, self.records.len() as u64);
        for record in self.records {
            record_cbor(out, record, self.encrypted);
        }
        // The remaining members come as a map of their own; its head is replaced by the one above.
        let rest = wire::encode(Protocol::KinesisCbor, self.rest.clone());
        out.extend_from_slice(&rest[head_bytes(members)..]);
    }
}

fn record_json(out: &mut Vec<u8>, record: &Record, encrypted: bool) {
    let seconds = record.arrival_ms as f64 / 1000.0;
    // Writing into memory cannot fail.
    let _ = write!(
        out,
        "{{\"SequenceNumber\":\"{}\",\"ApproximateArrivalTimestamp\":{seconds},\"PartitionKey\":",
        record.sequence
    );
    let _ = serde_json::to_writer(&mut *out, &*record.key);
    out.extend_from_slice(b",\"Data\":\"");
    let start = out.len();
    out.resize(start + record.data.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(&record.data, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
    out.extend_from_slice(if encrypted { b"\",\"EncryptionType\":\"KMS\"}" } else { b"\"}" });
}

fn record_cbor(out: &mut Vec<u8>, record: &Record, encrypted: bool) {
    head(out, MAP, 4 + u64::from(encrypted));
    text(out, "SequenceNumber");
    text(out, &record.sequence);
    text(out, "ApproximateArrivalTimestamp");
    head(out, TAG, 1);
    head(out, UNSIGNED, record.arrival_ms);
    text(out, "Data");
    head(out, BYTES, record.data.len() as u64);
    out.extend_from_slice(&record.data);
    text(out, "PartitionKey");
    text(out, &record.key);
    if encrypted {
        text(out, "EncryptionType");
        text(out, "KMS");
    }
}

const UNSIGNED: u8 = 0 << 5;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
const ARRAY: u8 = 4 << 5;
const MAP: u8 = 5 << 5;
const TAG: u8 = 6 << 5;

/// A CBOR head in its shortest form.
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let bytes = argument.to_be_bytes();
    match argument {
        0..24 => out.push(major | bytes[7]),
        24..=0xff => out.extend_from_slice(&[major | 24, bytes[7]]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&bytes);
        }
    }
}

fn head_bytes(argument: usize) -> usize {
    if argument < 24 { 1 } else { 2 }
}

fn text(out: &mut Vec<u8>, text: &str) {
    head(out, TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A child as the end of its parent announces it.
pub(super) fn child(shard: &Shard) -> Json {
    let parents: Vec<&String> = shard.parent_shard_id.iter().chain(&shard.adjacent_parent_shard_id).collect();
    json!({ "ShardId": shard.shard_id, "ParentShards": parents, "HashKeyRange": shard.hash_key_range })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ciborium::Value as Cbor;

    fn record(key: &str, data: Vec<u8>) -> Arc<Record> {
        let data = Bytes::from(data);
        Arc::new(Record { index: 1, sequence: "495".into(), arrival_ms: 1_700_000_000_123, key: key.into(), data })
    }

    fn page<'a>(records: &'a [Arc<Record>]) -> Page<'a> {
        Page {
            records,
            encrypted: false,
            rest: json!({ "MillisBehindLatest": 7, "ChildShards": [{ "ShardId": "s" }] }),
        }
    }

    #[test]
    fn json_is_what_a_json_library_reads() {
        let records = [record("a\"b", b"hello".to_vec()), record("c", vec![])];
        let read: Json = serde_json::from_slice(&page(&records).encode(wire::JSON_11)).unwrap();
        let written = |key: &str, data: &str| {
            let time = 1_700_000_000.123;
            json!({ "SequenceNumber": "495", "ApproximateArrivalTimestamp": time, "PartitionKey": key, "Data": data })
        };
        let records = [written("a\"b", "aGVsbG8="), written("c", "")];
        let expected = json!({ "MillisBehindLatest": 7, "ChildShards": [{ "ShardId": "s" }], "Records": records });
        assert_eq!(read, expected);
    }

    #[test]
    fn cbor_is_what_a_cbor_library_reads() {
        for size in [0, 23, 24, 255, 256, 65_535, 65_536] {
            let records = [record("k", vec![7; size])];
            let read: Cbor = ciborium::from_reader(&page(&records).encode(Protocol::KinesisCbor)[..]).unwrap();
            let member = |map: &Cbor, name: &str| {
                map.as_map().unwrap().iter().find(|(key, _)| key.as_text() == Some(name)).unwrap().1.clone()
            };
            let first = member(&read, "Records").as_array().unwrap()[0].clone();
            assert_eq!(member(&first, "Data"), Cbor::Bytes(vec![7; size]));
            let time = Cbor::Tag(1, Box::new(Cbor::from(1_700_000_000_123_i64)));
            assert_eq!(member(&first, "ApproximateArrivalTimestamp"), time);
            assert_eq!(member(&read, "MillisBehindLatest"), Cbor::from(7));
        }
    }
}
