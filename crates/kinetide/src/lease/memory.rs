//! A lease table in memory: for tests and simulations. It applies the same conditions and changes as the real one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::key::LeaseKey;
use super::row::{Lease, LeaseUpdate};
use super::table::{Claim, LeaseTable, Prepared, TableError, TableErrorKind};
use super::usage::{Call, Meter, TableUsage, item_bytes, stale_read_units, write_units};

/// A lease table in memory; clones share it.
#[derive(Debug, Clone)]
pub struct MemoryLeaseTable {
    name: Arc<str>,
    rows: Arc<Mutex<Option<BTreeMap<LeaseKey, Lease>>>>,
    meter: Meter,
}

impl MemoryLeaseTable {
    /// A table that does not exist yet; [`LeaseTable::prepare`] creates it.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), rows: Arc::default(), meter: Meter::default() }
    }

    /// Every row, without the cost of a call: for whoever watches a test.
    #[must_use]
    pub fn rows(&self) -> Vec<Lease> {
        self.lock().as_ref().map(|rows| rows.values().cloned().collect()).unwrap_or_default()
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
        let leases = self.with_rows("Scan", |rows| rows.values().cloned().collect::<Vec<_>>())?;
        self.meter.read(Call::of("Scan"), stale_read_units(leases.iter().map(item_bytes).sum()));
        Ok(leases)
    }

    async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, TableError> {
        let lease = self.with_rows("GetItem", |rows| rows.get(key).cloned())?;
        self.meter.read(Call::of("GetItem"), 2.0 * stale_read_units(lease.as_ref().map_or(0, item_bytes)));
        Ok(lease)
    }

    async fn create(&self, lease: &Lease) -> Result<Claim, TableError> {
        let claim = self.with_rows("PutItem", |rows| match rows.get(&lease.key) {
            Some(existing) => Claim::Lost(Some(existing.clone())),
            None => {
                rows.insert(lease.key.clone(), lease.clone());
                Claim::Won(lease.clone())
            }
        })?;
        self.meter.write(Call::of("PutItem"), write_units(item_bytes(lease)));
        Ok(claim)
    }

    async fn update(&self, update: &LeaseUpdate) -> Result<Claim, TableError> {
        let claim = self.with_rows("UpdateItem", |rows| match rows.get_mut(&update.key) {
            Some(row) if row.satisfies(&update.require) => {
                *row = row.clone().with_changes(&update.changes);
                Claim::Won(row.clone())
            }
            row => Claim::Lost(row.cloned()),
        })?;
        let (Claim::Won(lease) | Claim::Lost(Some(lease))) = &claim else { return Ok(claim) };
        self.meter.write(Call::update(update.operation), write_units(item_bytes(lease)));
        Ok(claim)
    }

    async fn delete(&self, key: &LeaseKey) -> Result<(), TableError> {
        let removed = self.with_rows("DeleteItem", |rows| rows.remove(key))?;
        self.meter.write(Call::of("DeleteItem"), write_units(removed.as_ref().map_or(0, item_bytes)));
        Ok(())
    }

    fn usage(&self) -> TableUsage {
        self.meter.usage()
    }
}
