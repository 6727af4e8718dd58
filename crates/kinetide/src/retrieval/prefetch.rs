//! The byte budget of a worker: what has been fetched and not yet processed, over all its shards.
//!
//! A shard may fetch while there is room, whatever the size of the answer turns out to be: the answer is charged in full
//! when it has arrived, and the budget may stand below zero until batches are processed. So at most one answer (up to
//! 10 MiB) per shard stands above the budget, and a single record larger than the whole budget still gets through.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Bytes that may still be fetched; clones share it.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    left: Mutex<i64>,
    freed: Notify,
}

/// A fetched answer's share of the budget, given back when it is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Budget,
    bytes: i64,
}

impl Budget {
    /// A budget of this many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let left = Mutex::new(i64::try_from(bytes).unwrap_or(i64::MAX));
        Self(Arc::new(Shared { left, freed: Notify::new() }))
    }

    /// Waits until there is room.
    pub async fn room(&self) {
        loop {
            // Registered before looking, so that room made in between is not missed.
            let freed = self.0.freed.notified();
            if self.left() > 0 {
                return;
            }
            freed.await;
        }
    }

    /// Takes the bytes of an answer that has arrived.
    #[must_use]
    pub fn charge(&self, bytes: usize) -> Charge {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.add(-bytes);
        Charge { budget: self.clone(), bytes }
    }

    fn left(&self) -> i64 {
        *self.0.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, bytes: i64) {
        let mut left = self.0.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.saturating_add(bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.add(self.bytes);
        self.budget.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Clock;

    #[tokio::test(start_paused = true)]
    async fn fetching_waits_until_batches_are_processed() {
        let (budget, clock) = (Budget::new(100), Clock::system());
        budget.room().await;
        let (first, second) = (budget.charge(60), budget.charge(60));
        assert!(clock.timeout(Duration::from_secs(1), budget.room()).await.is_err());
        drop(first);
        budget.room().await;
        drop(second);
        assert_eq!(budget.left(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_larger_than_the_budget_gets_through() {
        let budget = Budget::new(10);
        budget.room().await;
        drop(budget.charge(1 << 20));
        budget.room().await;
    }
}
