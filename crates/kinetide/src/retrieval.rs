//! Fetching: from a shard into a queue that is bounded in bytes.

pub mod limit;
pub mod polling;
pub mod prefetch;
