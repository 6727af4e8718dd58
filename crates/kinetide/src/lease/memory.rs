//! A lease table in memory: for tests and simulations. It applies the same conditions and changes as the real one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::row::{Lease, LeaseKey, LeaseUpdate};
use super::table::{Claim, LeaseTable, Prepared, TableError, TableErrorKind};

/// A lease table in memory; clones share it.
#[derive(Debug, Clone)]
pub struct MemoryLeaseTable {
    name: Arc<str>,
    rows: Arc<Mutex<Option<BTreeMap<LeaseKey, Lease>>>>,
}

impl MemoryLeaseTable {
    /// A table that does not exist yet; [`LeaseTable::prepare`] creates it.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), rows: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<BTreeMap<LeaseKey, Lease>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_rows<T>(
        &self,
        operation: &'static str,
        act: impl FnOnce(&mut BTreeMap<LeaseKey, Lease>) -> T,
    ) -> Result<T, TableError> {
        let missing = || TableError::new(TableErrorKind::Missing, operation, &self.name, "the table does not exist");
        self.lock().as_mut().map(act).ok_or_else(missing)
    }
}

#[async_trait]
impl LeaseTable for MemoryLeaseTable {
    fn name(&self) -> &str {
        &self.name
    }

    async fn prepare(&self) -> Result<Prepared, TableError> {
        let mut rows = self.lock();
        if rows.is_some() {
            return Ok(Prepared::Existed);
        }
        *rows = Some(BTreeMap::new());
        Ok(Prepared::Created)
    }

    async fn list(&self) -> Result<Vec<Lease>, TableError> {
        self.with_rows("Scan", |rows| rows.values().cloned().collect())
    }

    async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, TableError> {
        self.with_rows("GetItem", |rows| rows.get(key).cloned())
    }

    async fn create(&self, lease: &Lease) -> Result<Claim, TableError> {
        self.with_rows("PutItem", |rows| match rows.get(&lease.key) {
            Some(existing) => Claim::Lost(Some(existing.clone())),
            None => {
                rows.insert(lease.key.clone(), lease.clone());
                Claim::Won(lease.clone())
            }
        })
    }

    async fn update(&self, update: &LeaseUpdate) -> Result<Claim, TableError> {
        self.with_rows("UpdateItem", |rows| match rows.get_mut(&update.key) {
            Some(row) if row.satisfies(&update.require) => {
                *row = row.clone().with_changes(&update.changes);
                Claim::Won(row.clone())
            }
            row => Claim::Lost(row.cloned()),
        })
    }

    async fn delete(&self, key: &LeaseKey) -> Result<(), TableError> {
        self.with_rows("DeleteItem", |rows| {
            rows.remove(key);
        })
    }
}
