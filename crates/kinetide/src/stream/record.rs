//! Records as Kinesis stores them and user records as processors see them.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use super::position::RecordPosition;
use super::sequence::SequenceNumber;

/// A wall-clock time in milliseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970; negative before.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// A record as Kinesis returned it; perhaps an aggregate of many user records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the shard.
    pub sequence: SequenceNumber,
    /// The payload, up to 10 MiB.
    pub data: Bytes,
    /// The key whose MD5 chose the shard.
    pub partition_key: ByteString,
    /// When Kinesis accepted it; approximate, by the service's clock.
    pub arrival: Option<Timestamp>,
}

/// A record as the processor sees it: a plain Kinesis record, or one taken out of an aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Its place in the shard; checkpoint here to say that it and all before it are done.
    pub position: RecordPosition,
    /// The payload.
    pub data: Bytes,
    /// The user's partition key.
    pub partition_key: ByteString,
    /// The hash key that overrode the partition key's, if the producer gave one inside an aggregate.
    pub explicit_hash_key: Option<ByteString>,
    /// When Kinesis accepted the record that carried it.
    pub arrival: Option<Timestamp>,
    /// True if it came out of an aggregate.
    pub is_aggregated: bool,
}

impl From<Record> for UserRecord {
    fn from(record: Record) -> Self {
        Self {
            position: record.sequence.into(),
            data: record.data,
            partition_key: record.partition_key,
            explicit_hash_key: None,
            arrival: record.arrival,
            is_aggregated: false,
        }
    }
}
