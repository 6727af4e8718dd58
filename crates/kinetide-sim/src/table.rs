//! The lease table: one store for the fleet, which keeps the history of accepted writes, and one view of it per worker, seen
//! through the worker's link.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use kinetide::clock::Moment;
use kinetide::lease::{
    Change, Claim, Lease, LeaseKey, LeaseTable, LeaseUpdate, MemoryLeaseTable, Prepared, Require, TableError,
    TableErrorKind, TableUsage,
};
use kinetide::stream::Checkpoint;

use crate::fault::Service;
use crate::history::{History, Life, Row, What};
use crate::link::{Call, Link, STALE_MAX, Verdict};
use kinetide::Clock;

/// What a row was, and until when.
type Past = BTreeMap<LeaseKey, VecDeque<(Moment, Option<Lease>)>>;

/// The table itself; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    rows: MemoryLeaseTable,
    clock: Clock,
    history: History,
    past: Arc<Mutex<Past>>,
    is_unconditional: bool,
}

impl Store {
    /// A table that does not exist yet; one that is unconditional is broken on purpose.
    #[must_use]
    pub fn new(clock: Clock, history: History, is_unconditional: bool) -> Self {
        Self { rows: MemoryLeaseTable::new("leases"), clock, history, past: Arc::default(), is_unconditional }
    }

    /// Every lease, as it is now; none while there is no table.
    pub async fn rows(&self) -> Vec<Lease> {
        self.rows.list().await.unwrap_or_default()
    }

    /// Every lease, as it was so long ago.
    async fn rows_before(&self, age: std::time::Duration) -> Result<Vec<Lease>, TableError> {
        let mut rows: BTreeMap<_, _> =
            self.rows.list().await?.into_iter().map(|lease| (lease.key.clone(), lease)).collect();
        let now = self.clock.monotonic();
        for (key, changes) in self.past.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            match changes.iter().find(|(until, _)| now.since(*until) < age) {
                Some((_, Some(lease))) => drop(rows.insert(key.clone(), lease.clone())),
                Some((_, None)) => drop(rows.remove(key)),
                None => {}
            }
        }
        Ok(rows.into_values().collect())
    }

    async fn create(&self, who: Life, lease: &Lease) -> Result<Claim, TableError> {
        let claim = self.rows.create(lease).await?;
        if let Claim::Won(after) = &claim {
            self.note(who, "create", None, Some(after));
        }
        Ok(claim)
    }

    async fn update(&self, who: Life, update: &LeaseUpdate) -> Result<Claim, TableError> {
        let before = self.rows.get(&update.key).await?;
        let require = if self.is_unconditional { vec![Require::Exists] } else { update.require.clone() };
        let claim = self.rows.update(&LeaseUpdate { require, ..update.clone() }).await?;
        if let Claim::Won(after) = &claim {
            self.note(who, update.operation, before, Some(after));
        }
        Ok(claim)
    }

    async fn delete(&self, who: Life, key: &LeaseKey) -> Result<(), TableError> {
        let before = self.rows.get(key).await?;
        self.rows.delete(key).await?;
        if before.is_some() {
            self.note(who, "delete", before, None);
        }
        Ok(())
    }

    /// Nothing waits between a write and its note, so the history has the order of the writes.
    fn note(&self, who: Life, operation: &'static str, before: Option<Lease>, after: Option<&Lease>) {
        let Some(key) = before.as_ref().or(after).map(|lease| lease.key.clone()) else { return };
        let (was, is) = (before.as_ref().map(Row::from), after.map(Row::from));
        self.history.add(who, What::Write { operation, key: key.shard.clone(), before: was, after: is });
        let now = self.clock.monotonic();
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = past.entry(key).or_default();
        while changes.front().is_some_and(|(until, _)| now.since(*until) > STALE_MAX) {
            changes.pop_front();
        }
        changes.push_back((now, before));
    }
}

/// The table as one worker sees it.
#[derive(Debug, Clone)]
pub struct FaultyTable {
    store: Store,
    link: Link,
    dies_at_end: bool,
}

type Effect<T> = Pin<Box<dyn Future<Output = Result<T, TableError>> + Send>>;

impl FaultyTable {
    /// This table through this link; whether the worker may die just when it has stored the end of a shard.
    #[must_use]
    pub fn new(store: Store, link: Link, dies_at_end: bool) -> Self {
        Self { store, link, dies_at_end }
    }

    fn error(kind: TableErrorKind, operation: &'static str) -> TableError {
        TableError::new(kind, operation, "leases", "injected")
    }

    async fn read<T>(
        &self,
        operation: &'static str,
        key: Option<&LeaseKey>,
        effect: Effect<T>,
    ) -> Result<T, TableError> {
        let call = Call { service: Service::Table, operation, is_write: false, shard: key.map(|key| &key.shard) };
        match self.link.carry(call).await {
            Verdict::Throttled => return Err(Self::error(TableErrorKind::Throttled, operation)),
            Verdict::Refused => return Err(Self::error(TableErrorKind::Unavailable, operation)),
            _ => {}
        }
        let answer = effect.await;
        let is_through = self.link.answer(call).await;
        if is_through { answer } else { Err(Self::error(TableErrorKind::Unavailable, operation)) }
    }

    async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: Option<&LeaseKey>,
        effect: Effect<T>,
    ) -> Result<T, TableError> {
        let call = Call { service: Service::Table, operation, is_write: true, shard: key.map(|key| &key.shard) };
        match self.link.carry(call).await {
            Verdict::Throttled => return Err(Self::error(TableErrorKind::Throttled, operation)),
            Verdict::Refused => return Err(Self::error(TableErrorKind::Unavailable, operation)),
            Verdict::AnswerLost => {
                // Whether it was applied is what its caller cannot know.
                let _ = effect.await;
                return Err(Self::error(TableErrorKind::Ambiguous, operation));
            }
            Verdict::Late(by) => {
                let clock = self.link.clock().clone();
                tokio::spawn(async move {
                    clock.sleep(by).await;
                    effect.await.is_ok()
                });
                return Err(Self::error(TableErrorKind::Ambiguous, operation));
            }
            _ => {}
        }
        let answer = effect.await;
        let is_through = self.link.answer(call).await;
        if is_through { answer } else { Err(Self::error(TableErrorKind::Ambiguous, operation)) }
    }
}

#[async_trait]
impl LeaseTable for FaultyTable {
    fn name(&self) -> &str {
        self.store.rows.name()
    }

    async fn prepare(&self) -> Result<Prepared, TableError> {
        let store = self.store.clone();
        self.write("prepare", None, Box::pin(async move { store.rows.prepare().await })).await
    }

    async fn list(&self) -> Result<Vec<Lease>, TableError> {
        let call = Call { service: Service::Table, operation: "list", is_write: false, shard: None };
        let answer = match self.link.carry(call).await {
            Verdict::Throttled => return Err(Self::error(TableErrorKind::Throttled, "list")),
            Verdict::Refused => return Err(Self::error(TableErrorKind::Unavailable, "list")),
            Verdict::Stale(age) => self.store.rows_before(age).await,
            _ => self.store.rows.list().await,
        };
        let is_through = self.link.answer(call).await;
        if is_through { answer } else { Err(Self::error(TableErrorKind::Unavailable, "list")) }
    }

    async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, TableError> {
        let (store, wanted) = (self.store.clone(), key.clone());
        self.read("get", Some(key), Box::pin(async move { store.rows.get(&wanted).await })).await
    }

    async fn create(&self, lease: &Lease) -> Result<Claim, TableError> {
        let (store, who, key, lease) = (self.store.clone(), self.link.life(), lease.key.clone(), lease.clone());
        self.write("create", Some(&key), Box::pin(async move { store.create(who, &lease).await })).await
    }

    async fn update(&self, update: &LeaseUpdate) -> Result<Claim, TableError> {
        let (store, link, owned) = (self.store.clone(), self.link.clone(), update.clone());
        let can_die = self.dies_at_end && update.changes.contains(&Change::Checkpoint(Checkpoint::ShardEnd));
        let effect = async move {
            let claim = store.update(link.life(), &owned).await;
            if can_die && matches!(claim, Ok(Claim::Won(_))) {
                link.may_die(&owned.key.shard);
            }
            claim
        };
        self.write(update.operation, Some(&update.key), Box::pin(effect)).await
    }

    async fn delete(&self, key: &LeaseKey) -> Result<(), TableError> {
        let (store, who, wanted) = (self.store.clone(), self.link.life(), key.clone());
        self.write("delete", Some(key), Box::pin(async move { store.delete(who, &wanted).await })).await
    }
    fn usage(&self) -> TableUsage {
        self.store.rows.usage()
    }
}
