//! The seam through which leases are stored: [`LeaseTable`].
//!
//! Implementations: [`crate::aws::DynamoDbLeaseTable`] and [`super::MemoryLeaseTable`]; the suite in [`crate::conformance`]
//! runs over both. Tables do not retry and decide nothing: they apply one [`LeaseUpdate`] at a time.

use async_trait::async_trait;

use super::key::LeaseKey;
use super::row::{Lease, LeaseUpdate};
use super::usage::TableUsage;

/// The outcome of a conditional write. Losing is not an error: somebody else was first.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// Applied; the row as it is now.
    Won(Lease),
    /// Not applied; the row that stood in the way, or `None` if there is none.
    Lost(Option<Lease>),
}

/// What preparing the table found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// The table was there.
    Existed,
    /// This call created it.
    Created,
}

/// Where leases are stored.
#[async_trait]
pub trait LeaseTable: Send + Sync + 'static {
    /// The table's name.
    fn name(&self) -> &str;

    /// Makes sure that the table exists and can be used; creates it if it is missing. Returns when it is ready.
    async fn prepare(&self) -> Result<Prepared, TableError>;

    /// Every lease. Rows that are no leases are left out; a lease row that cannot be read is left out and reported.
    async fn list(&self) -> Result<Vec<Lease>, TableError>;

    /// One lease, as it is now.
    async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, TableError>;

    /// Adds a lease unless its row exists.
    async fn create(&self, lease: &Lease) -> Result<Claim, TableError>;

    /// Applies one conditional update.
    async fn update(&self, update: &LeaseUpdate) -> Result<Claim, TableError>;

    /// Removes a lease; fine if there is none.
    async fn delete(&self, key: &LeaseKey) -> Result<(), TableError>;

    /// What the calls of this table have cost so far; empty if it does not count them.
    fn usage(&self) -> TableUsage {
        TableUsage::default()
    }
}

/// What a caller can do about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableErrorKind {
    /// Too many calls; wait and repeat.
    Throttled,
    /// The table does not exist.
    Missing,
    /// The table exists and is not a lease table.
    NotALeaseTable,
    /// Not allowed, or no credentials; repeating does not help.
    Denied,
    /// The service refused the request as wrong; repeating does not help.
    Invalid,
    /// The service could not be reached or refused before doing anything; wait and repeat.
    Unavailable,
    /// The answer was lost: the write may have been applied. Read before deciding.
    Ambiguous,
}

/// A failed call to a lease table.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed: {message}, table={table}")]
pub struct TableError {
    kind: TableErrorKind,
    operation: &'static str,
    table: String,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl TableError {
    /// An error of this kind in this operation on this table, with facts for a person.
    #[must_use]
    pub fn new(kind: TableErrorKind, operation: &'static str, table: &str, message: impl Into<String>) -> Self {
        Self { kind, operation, table: table.into(), message: message.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> TableErrorKind {
        self.kind
    }

    /// True if the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        use TableErrorKind::{Ambiguous, Throttled, Unavailable};
        matches!(self.kind, Throttled | Unavailable | Ambiguous)
    }

    /// True if a write was certainly not applied.
    #[must_use]
    pub fn has_no_side_effects(&self) -> bool {
        self.kind != TableErrorKind::Ambiguous
    }
}
