//! Leases: the rows through which workers share a stream's shards.

pub mod keeper;
pub mod key;
pub mod memory;
pub mod row;
pub mod table;
pub mod throughput;
pub mod usage;

pub use key::LeaseKey;
pub use memory::MemoryLeaseTable;
pub use row::{Change, Lease, LeaseUpdate, Require};
pub use table::{Claim, LeaseTable, Prepared, TableError, TableErrorKind};
pub use usage::TableUsage;
