//! The seam through which a stream is read: [`StreamSource`].
//!
//! One source is one stream. Implementations: [`crate::aws::KinesisStream`] and [`super::MemoryStream`]; the suite in
//! [`crate::conformance`] runs over both. Sources do not retry: callers do, with the [`kind`](SourceError::kind) of the error.

use async_trait::async_trait;
use bytestring::ByteString;

use super::id::{ShardId, StreamName};
use super::record::{Record, Timestamp};
use super::sequence::SequenceNumber;
use super::shard::{ChildShard, Shard};

/// Which shards ListShards returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardFilter {
    /// Every shard that is still listed, open or closed.
    All,
    /// The shards that hold the oldest kept records.
    AtTrimHorizon,
    /// The open shards.
    AtLatest,
    /// The shards that were open at this time.
    AtTimestamp(Timestamp),
}

/// Where an iterator starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartAt {
    /// At the oldest kept record.
    TrimHorizon,
    /// After the newest record.
    Latest,
    /// At the first record that arrived at or after this time.
    Timestamp(Timestamp),
    /// At this record.
    Sequence(SequenceNumber),
    /// At the record after this one.
    AfterSequence(SequenceNumber),
}

/// A place to read from; valid for five minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardIterator(pub ByteString);

/// One answer of GetRecords.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GetRecords {
    /// The records, in order; may be empty although more follow.
    pub records: Vec<Record>,
    /// Where to read on; `None` once the shard is closed and read to its end.
    pub next: Option<ShardIterator>,
    /// How far behind the newest record this answer is, in milliseconds.
    pub millis_behind_latest: Option<u64>,
    /// The shards that follow a closed one, given with the last answer.
    pub children: Vec<ChildShard>,
}

/// A stream to read.
#[async_trait]
pub trait StreamSource: Send + Sync + 'static {
    /// The stream's name.
    fn stream(&self) -> &StreamName;

    /// Lists shards, all pages.
    async fn list_shards(&self, filter: ShardFilter) -> Result<Vec<Shard>, SourceError>;

    /// A place to start reading.
    async fn iterator(&self, shard: &ShardId, start: StartAt) -> Result<ShardIterator, SourceError>;

    /// Up to `limit` records (1 to 10,000) from there on.
    async fn get_records(&self, iterator: &ShardIterator, limit: usize) -> Result<GetRecords, SourceError>;
}

/// What a caller can do about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceErrorKind {
    /// Too many calls or bytes; wait and repeat.
    Throttled,
    /// The iterator is older than five minutes; get a new one.
    IteratorExpired,
    /// The stream or shard does not exist (any more).
    NotFound,
    /// The stream is being created, changed or deleted; wait and repeat.
    NotReady,
    /// Not allowed, or no credentials; repeating does not help.
    Denied,
    /// The service refused the request as wrong; repeating does not help.
    Invalid,
    /// The service could not be reached, failed, or answered something that cannot be understood; wait and repeat.
    Unavailable,
}

/// A failed call to a stream.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed: {message}")]
pub struct SourceError {
    kind: SourceErrorKind,
    operation: &'static str,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SourceError {
    /// An error of this kind in this operation, with facts for a person.
    #[must_use]
    pub fn new(kind: SourceErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self { kind, operation, message: message.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> SourceErrorKind {
        self.kind
    }

    /// True if the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        use SourceErrorKind::{NotReady, Throttled, Unavailable};
        matches!(self.kind, Throttled | NotReady | Unavailable)
    }

    /// Always true: reading changes nothing.
    #[must_use]
    pub fn has_no_side_effects(&self) -> bool {
        true
    }
}
