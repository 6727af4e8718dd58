//! The byte budget of a worker: what has been fetched and not yet processed, over all its shards.
//!
//! A shard may fetch while there is room, whatever the size of the answer turns out to be: the answer is charged in full
//! when it has arrived, and the budget may stand below zero until batches are processed. A shard that has nothing
//! unprocessed may always fetch, so that one slow processor never holds up the others. So at most one answer (up to
//! 10 MiB) per shard stands above the budget, and a record larger than the whole budget still gets through.

use std::sync::atomic::{AtomicUsize, Ordering};
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

/// One shard's part in a budget; clones share it.
#[derive(Debug, Clone)]
pub struct Share {
    budget: Budget,
    /// Answers of this shard that are charged.
    charges: Arc<AtomicUsize>,
}

/// A fetched answer's part of the budget, given back when it is dropped.
#[derive(Debug)]
pub struct Charge {
    share: Share,
    bytes: i64,
}

impl Budget {
    /// A budget of this many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let left = Mutex::new(i64::try_from(bytes).unwrap_or(i64::MAX));
        Self(Arc::new(Shared { left, freed: Notify::new() }))
    }

    /// The part of one more shard.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { budget: self.clone(), charges: Arc::default() }
    }

    fn left(&self) -> i64 {
        *self.0.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, bytes: i64) {
        let mut left = self.0.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.saturating_add(bytes);
    }
}

impl Share {
    /// Waits until this shard may fetch.
    pub async fn room(&self) {
        loop {
            // Registered before looking, so that room made in between is not missed.
            let freed = self.budget.0.freed.notified();
            if self.charges.load(Ordering::Acquire) == 0 || self.budget.left() > 0 {
                return;
            }
            freed.await;
        }
    }

    /// Takes the bytes of an answer that has arrived.
    #[must_use]
    pub fn charge(&self, bytes: usize) -> Charge {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.budget.add(-bytes);
        self.charges.fetch_add(1, Ordering::AcqRel);
        Charge { share: self.clone(), bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.share.budget.add(self.bytes);
        self.share.charges.fetch_sub(1, Ordering::AcqRel);
        self.share.budget.0.freed.notify_waiters();
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
        let share = budget.share();
        share.room().await;
        let (first, second) = (share.charge(60), share.charge(60));
        assert!(clock.timeout(Duration::from_secs(1), share.room()).await.is_err());
        drop(first);
        share.room().await;
        drop(second);
        assert_eq!(budget.left(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_larger_than_the_budget_gets_through() {
        let share = Budget::new(10).share();
        share.room().await;
        drop(share.charge(1 << 20));
        share.room().await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_slow_shard_does_not_hold_up_another() {
        let (budget, clock) = (Budget::new(100), Clock::system());
        let (slow, other) = (budget.share(), budget.share());
        let _charge = slow.charge(1 << 20);
        other.room().await;
        let _other = other.charge(1);
        assert!(clock.timeout(Duration::from_secs(1), other.room()).await.is_err());
    }
}
