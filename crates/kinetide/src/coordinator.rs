//! Coordination: which leases must exist. Plans are pure; [`crate::worker`] carries them out.

pub mod audit;
pub mod cleanup;
pub mod leader;
pub mod shard_sync;
pub mod state;
pub mod worker_metrics;
