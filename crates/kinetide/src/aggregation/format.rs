//! The bytes of an aggregated record: four bytes of magic, a protobuf message, the MD5 of that message.
//!
//! ```text
//! message AggregatedRecord {
//!   repeated string partition_key_table = 1;
//!   repeated string explicit_hash_key_table = 2;
//!   repeated Record records = 3;
//! }
//! message Record {
//!   required uint64 partition_key_index = 1;
//!   optional uint64 explicit_hash_key_index = 2;
//!   required bytes data = 3;
//!   repeated Tag tags = 4;   // never written, skipped when read
//! }
//! ```

/// The first bytes of every aggregated record.
pub const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// Bytes of the MD5 at the end.
pub const DIGEST_BYTES: usize = 16;

/// Fields of the outer message.
pub mod container {
    /// A partition key.
    pub const PARTITION_KEY: u64 = 1;
    /// An explicit hash key, in decimal.
    pub const EXPLICIT_HASH_KEY: u64 = 2;
    /// A user record.
    pub const RECORD: u64 = 3;
}

/// Fields of one user record.
pub mod record {
    /// Index into the partition keys.
    pub const PARTITION_KEY_INDEX: u64 = 1;
    /// Index into the explicit hash keys.
    pub const EXPLICIT_HASH_KEY_INDEX: u64 = 2;
    /// The payload.
    pub const DATA: u64 = 3;
}
