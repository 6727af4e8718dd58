//! The only source of time in this crate.
//!
//! An emulated service lives in real time by nature: records carry wall-clock arrival times, iterators age, throttles
//! refill. This module is not an injectable clock; it is the one place where the workspace's ban on ambient time is
//! lifted, so that a reader can see at a glance what depends on time. Invariant: nobody else in the crate names a std
//! or tokio time function.
#![allow(
    clippy::disallowed_methods,
    reason = "the endpoint stands in for a remote service, whose time is real; every use goes through this module"
)]

use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub(crate) fn wall_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// For measuring spans; unlike the wall clock it never steps back.
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

pub(crate) async fn sleep(span: Duration) {
    tokio::time::sleep(span).await;
}

/// `None` if `future` did not finish within `span`.
pub(crate) async fn timeout<F: Future>(span: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(span, future).await.ok()
}
