//! The value types of the field: streams, shards, sequence numbers, positions, records, validated on construction,
//! and [`source`], the seam through which all of it is read.

pub mod id;
pub mod memory;
pub mod position;
pub mod record;
pub mod sequence;
pub mod shard;
pub mod source;

pub use id::{ShardId, StreamId, StreamName, TableName, WorkerId};
pub use memory::MemoryStream;
pub use position::{Checkpoint, InitialPosition, RecordPosition};
pub use record::{Record, Timestamp, UserRecord};
pub use sequence::SequenceNumber;
pub use shard::{ChildShard, HashKey, HashKeyRange, Shard};
pub use source::{GetRecords, ShardFilter, ShardIterator, SourceError, SourceErrorKind, StartAt, StreamSource};
