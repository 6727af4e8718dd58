//! Asks every consumer of a worker to stop, once.
//!
//! Not a watch channel: that wakes its waiters in an order of its own, and runs in virtual time must be repeatable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A request to stop; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_asked: AtomicBool,
    asked: Notify,
}

impl Stop {
    /// Asks for it.
    pub fn ask(&self) {
        self.0.is_asked.store(true, Ordering::Release);
        self.0.asked.notify_waiters();
    }

    /// True once it was asked for.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.is_asked.load(Ordering::Acquire)
    }

    /// Waits until it is asked for.
    pub async fn asked(&self) {
        loop {
            // Registered before looking, so that nothing asked in between is missed.
            let asked = self.0.asked.notified();
            if self.is_asked() {
                return;
            }
            asked.await;
        }
    }
}
