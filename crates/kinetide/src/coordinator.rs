//! Coordination: which leases must exist. Plans are pure; [`crate::worker`] carries them out.

pub mod shard_sync;
