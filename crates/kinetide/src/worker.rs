//! A worker: everything of one process that consumes a stream, built, run and stopped together.

mod builder;
mod run;
mod start;
mod streams;
mod upkeep;

pub use builder::WorkerBuilder;

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::error::WorkerError;
use crate::event::Events;
use crate::lease::{LeaseTable, TableUsage};
use crate::processor::ProcessorFactory;
use crate::rng::Rng;
use crate::settings::Settings;
use crate::stream::WorkerId;
use streams::Streams;

/// Consumes a stream together with the other workers of its application.
///
/// ```text
/// build → run ─┬─ handle.shutdown(): processors are asked to finish, leases are given back ─► Ok
///              ├─ handle.stop(): processors are dropped, leases are given back ─► Ok
///              ├─ a processor fails for good ─► Err
///              └─ the future is dropped: everything stops at once, as in a crash
/// ```
pub struct Worker<F> {
    parts: Parts,
    factory: F,
    mode: watch::Sender<Mode>,
}

/// What a worker is made of.
#[derive(Clone)]
struct Parts {
    id: WorkerId,
    table: Arc<dyn LeaseTable>,
    streams: Streams,
    settings: Arc<Settings>,
    clock: Clock,
    rng: Rng,
    events: Events,
}

/// How a worker is asked to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Run,
    Shutdown,
    Stop,
}

/// Stops a worker from elsewhere; cheap to clone.
#[derive(Clone)]
pub struct WorkerHandle {
    mode: watch::Sender<Mode>,
    table: Arc<dyn LeaseTable>,
}

impl fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerHandle").field("mode", &*self.mode.borrow()).finish_non_exhaustive()
    }
}

impl WorkerHandle {
    /// Asks for an orderly stop: each processor's `shutdown_requested` and `lease_lost` are called, and leases are given
    /// back so that other workers go on at once. Bounded by [`Settings::shutdown_grace`].
    pub fn shutdown(&self) {
        self.mode.send_if_modified(|mode| {
            let is_running = *mode == Mode::Run;
            if is_running {
                *mode = Mode::Shutdown;
            }
            is_running
        });
    }

    /// Stops now: processors are dropped where they stand, and leases are given back, as far as that takes no time.
    pub fn stop(&self) {
        self.mode.send_replace(Mode::Stop);
    }

    /// What the worker's calls of the lease table have cost so far.
    #[must_use]
    pub fn table_usage(&self) -> TableUsage {
        self.table.usage()
    }
}

impl Worker<()> {
    /// Starts to build a worker.
    pub fn builder() -> WorkerBuilder<()> {
        WorkerBuilder::default()
    }
}

impl<F: ProcessorFactory> Worker<F> {
    /// A handle to stop it.
    #[must_use]
    pub fn handle(&self) -> WorkerHandle {
        WorkerHandle { mode: self.mode.clone(), table: self.parts.table.clone() }
    }

    /// The id by which it owns leases.
    #[must_use]
    pub fn id(&self) -> &WorkerId {
        &self.parts.id
    }

    /// Consumes until it is stopped. Dropping the future stops everything at once and gives nothing back.
    ///
    /// # Errors
    /// [`WorkerError`] when it could not start, or a processor failed for good.
    pub async fn run(self) -> Result<(), WorkerError> {
        run::run(self).await
    }
}
