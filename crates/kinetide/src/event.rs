//! What happens in a worker, as values: one type that logs, metrics and tests observe.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::consumer::watch::Stage;
use crate::lease::LeaseKey;
use crate::lease::keeper::LossReason;
use crate::stream::{Checkpoint, ShardId, WorkerId};

/// Something a person or a program may want to know.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The lease table is ready.
    TableReady {
        /// The table.
        table: String,
        /// True if this worker created it.
        is_new: bool,
    },
    /// Leases were added for shards that had none.
    LeasesCreated {
        /// The shards.
        shards: Vec<LeaseKey>,
    },
    /// Finished leases were deleted: their shards' children are under way.
    LeasesDeleted {
        /// The shards.
        shards: Vec<LeaseKey>,
    },
    /// No lease holds some hash keys: records put there would not be read.
    HoleFound {
        /// The stream.
        stream: String,
        /// The hole, for people.
        hole: String,
    },
    /// A lease's row was deleted while it was held; it was written again as it was.
    LeaseRestored {
        /// The shard.
        shard: LeaseKey,
        /// Where the shard stands.
        checkpoint: Checkpoint,
    },
    /// This worker now holds a lease.
    LeaseTaken {
        /// The shard.
        shard: LeaseKey,
        /// Who held it before.
        previous: Option<WorkerId>,
        /// Where the shard stands.
        checkpoint: Checkpoint,
        /// Grows with every change of owner.
        fencing_token: u64,
    },
    /// Another worker waits for a lease that this one holds: its processor is asked to finish.
    HandOffRequested {
        /// The shard.
        shard: LeaseKey,
        /// Who waits.
        next: Option<WorkerId>,
    },
    /// This worker asked for a lease that another one holds.
    HandOffAsked {
        /// The shard.
        shard: LeaseKey,
        /// Who holds it.
        owner: Option<WorkerId>,
    },
    /// This worker no longer holds a lease.
    LeaseEnded {
        /// The shard.
        shard: LeaseKey,
        /// Why.
        reason: LossReason,
    },
    /// A consumer entered a state of its lifecycle.
    ConsumerState {
        /// The shard.
        shard: LeaseKey,
        /// The state's name.
        state: &'static str,
    },
    /// A shard's records wait until a shard it was made from is finished.
    WaitingOnParent {
        /// The shard.
        shard: LeaseKey,
        /// The shard it waits for.
        parent: LeaseKey,
    },
    /// A processor was given a batch and returned.
    BatchProcessed {
        /// The shard.
        shard: LeaseKey,
        /// User records in it.
        records: usize,
        /// Bytes of user data in it.
        bytes: usize,
        /// How far behind it was, in milliseconds.
        millis_behind_latest: Option<u64>,
        /// How long the processor took.
        took: Duration,
    },
    /// A record looked like an aggregate and was not a valid one; it was delivered as it is.
    AggregateCorrupt {
        /// The shard.
        shard: LeaseKey,
        /// How many records of one answer.
        records: usize,
    },
    /// A shard was deleted by the service before it was read to its end: its retention was over.
    ShardExpired {
        /// The shard.
        shard: LeaseKey,
    },
    /// A shard is another one than its lease was made for: the stream was deleted and made anew under the same name. It is
    /// read from its first record.
    StreamRecreated {
        /// The shard.
        shard: LeaseKey,
    },
    /// A shard was read and processed to its end.
    ShardEnded {
        /// The shard.
        shard: LeaseKey,
        /// The shards that follow.
        children: Vec<ShardId>,
    },
    /// A processor's call failed.
    ProcessorFailed {
        /// The shard.
        shard: LeaseKey,
        /// The call.
        call: &'static str,
        /// What it said.
        error: String,
        /// When it is called again; `None`: never.
        retry_in: Option<Duration>,
        /// True if the worker ends with this error, which is then told by whoever ran it.
        is_fatal: bool,
    },
    /// A shard stopped: its processor failed too often. Its lease is kept, nothing is skipped, and it needs a person.
    ShardStopped {
        /// The shard.
        shard: LeaseKey,
    },
    /// A shard stands still: a step of it takes longer than [`crate::Settings::stall_time`]. Told once.
    ShardStalled {
        /// The shard.
        shard: LeaseKey,
        /// The step.
        stage: Stage,
        /// For how long already.
        lasting: Duration,
    },
    /// A shard that stood still moves again.
    ShardMoved {
        /// The shard.
        shard: LeaseKey,
        /// The step in which it stood.
        stage: Stage,
        /// How long that took.
        after: Duration,
    },
    /// A call to a service failed and will be repeated.
    CallFailed {
        /// What it was for.
        what: &'static str,
        /// What went wrong.
        error: String,
        /// When it is repeated.
        retry_in: Duration,
    },
    /// The worker has stopped.
    WorkerStopped,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TableReady { table, is_new: true } => write!(f, "created lease table {table}"),
            Self::TableReady { table, is_new: false } => write!(f, "using lease table {table}"),
            Self::LeasesCreated { shards } => write!(f, "created leases: {}", join(shards)),
            Self::LeasesDeleted { shards } => write!(f, "deleted finished leases: {}", join(shards)),
            Self::HoleFound { stream, hole } => {
                write!(f, "no lease of {stream} holds the hash keys {hole}; leases are added")
            }
            Self::LeaseRestored { shard, checkpoint } => {
                write!(f, "the row of {shard} was deleted while its lease was held; written again at {checkpoint}")
            }
            Self::LeaseTaken { shard, previous: Some(previous), checkpoint, .. } => {
                write!(f, "took {shard} from {previous} at {checkpoint}")
            }
            Self::LeaseTaken { shard, previous: None, checkpoint, .. } => write!(f, "took {shard} at {checkpoint}"),
            Self::HandOffRequested { shard, next } => write!(f, "{} waits for {shard}", name(next.as_ref())),
            Self::HandOffAsked { shard, owner } => write!(f, "asked {} for {shard}", name(owner.as_ref())),
            Self::LeaseEnded { shard, reason } => write!(f, "no longer hold {shard}: {reason}"),
            Self::ConsumerState { shard, state } => write!(f, "{shard} is {state}"),
            Self::WaitingOnParent { shard, parent } => write!(f, "{shard} waits until {parent} is finished"),
            Self::BatchProcessed { shard, records, millis_behind_latest: Some(behind), .. } => {
                write!(f, "processed {records} records of {shard}, {behind} ms behind")
            }
            Self::BatchProcessed { shard, records, .. } => write!(f, "processed {records} records of {shard}"),
            Self::AggregateCorrupt { shard, records } => {
                write!(f, "{records} records of {shard} begin like an aggregate and are none; delivered as they are")
            }
            Self::ShardExpired { shard } => {
                write!(
                    f,
                    "{shard} is gone: its retention was over before it was read; going on with the shards that follow"
                )
            }
            Self::StreamRecreated { shard } => {
                write!(f, "{shard} is newer than its lease: the stream was made anew; reading it from its first record")
            }
            Self::ShardEnded { shard, children } if children.is_empty() => write!(f, "{shard} is finished"),
            Self::ShardEnded { shard, children } => write!(f, "{shard} is finished, followed by {}", join(children)),
            Self::ProcessorFailed { shard, call, error, retry_in: Some(wait), .. } => {
                write!(f, "{call} failed for {shard}: {error}; called again in {} ms", wait.as_millis())
            }
            Self::ProcessorFailed { shard, call, error, retry_in: None, .. } => {
                write!(f, "{call} failed for {shard}: {error}")
            }
            Self::ShardStopped { shard } => {
                write!(
                    f,
                    "{shard} has stopped: its processor failed too often; its lease is kept and nothing is skipped"
                )
            }
            Self::ShardStalled { shard, stage, lasting } => {
                write!(f, "{shard} stands still for {} s: {stage}", lasting.as_secs())
            }
            Self::ShardMoved { shard, after, .. } => write!(f, "{shard} moves again after {} s", after.as_secs()),
            Self::CallFailed { what, error, retry_in } => {
                write!(f, "{what} failed: {error}; repeated in {} ms", retry_in.as_millis())
            }
            Self::WorkerStopped => f.write_str("worker stopped"),
        }
    }
}

fn name(worker: Option<&WorkerId>) -> &str {
    worker.map_or("nobody", WorkerId::as_str)
}

fn join<T: ToString>(shards: &[T]) -> String {
    shards.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Gets every event of a worker; called in the task that emits it, so it must return at once.
pub type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// Where a worker's events go: to the log, and to the observer if there is one.
#[derive(Clone, Default)]
pub struct Events {
    observer: Option<Observer>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    /// Sends events to this observer too.
    #[must_use]
    pub fn to(observer: Option<Observer>) -> Self {
        Self { observer }
    }

    pub(crate) fn emit(&self, event: Event) {
        log(&event);
        if let Some(observer) = &self.observer {
            observer(&event);
        }
    }
}

fn log(event: &Event) {
    match event {
        Event::ProcessorFailed { is_fatal: true, .. } => tracing::debug!("{event}"),
        Event::ShardStopped { .. } | Event::ProcessorFailed { retry_in: None, .. } => tracing::error!("{event}"),
        Event::ShardExpired { .. } | Event::StreamRecreated { .. } | Event::ShardStalled { .. } => {
            tracing::error!("{event}")
        }
        Event::CallFailed { .. } | Event::ProcessorFailed { .. } | Event::AggregateCorrupt { .. } => {
            tracing::warn!("{event}");
        }
        Event::HoleFound { .. } | Event::LeaseRestored { .. } => tracing::warn!("{event}"),
        Event::BatchProcessed { .. } | Event::ConsumerState { .. } => tracing::debug!("{event}"),
        Event::LeaseEnded { reason: LossReason::Taken | LossReason::Expired, .. } => {
            tracing::warn!("{event}");
        }
        _ => tracing::info!("{event}"),
    }
}
