//! What users implement: [`RecordProcessor`], one value per shard and tenure, and how it is made: [`ProcessorFactory`].

use std::future::Future;

use crate::checkpoint::{Checkpointer, PendingCheckpoint};
use crate::stream::{Checkpoint, ChildShard, ShardId, StreamId, StreamName, UserRecord, WorkerId};

/// Whose records a processor gets.
#[derive(Debug, Clone)]
pub struct ShardContext {
    /// The stream.
    pub stream: StreamName,
    /// Its identifier, if the application reads many streams.
    pub stream_id: Option<StreamId>,
    /// The shard.
    pub shard: ShardId,
    /// The worker that holds the lease.
    pub worker: WorkerId,
    /// Grows with every change of owner of this shard. Hand it to whatever the processor writes to, so that a write by an
    /// owner that has been replaced without knowing it can be refused there.
    pub fencing_token: u64,
}

/// Where a processor starts.
#[derive(Debug, Clone)]
pub struct Initialize {
    /// The checkpoint in the lease; the first record delivered is the one after it.
    pub checkpoint: Checkpoint,
    /// A checkpoint that an earlier owner prepared and did not complete.
    pub pending: Option<PendingCheckpoint>,
}

/// Records of one shard, in order.
#[derive(Debug, Clone)]
pub struct Batch {
    /// User records after the last checkpoint; empty only if `empty_batches` is set.
    pub records: Vec<UserRecord>,
    /// How far behind the newest record of the shard this batch is, in milliseconds.
    pub millis_behind_latest: Option<u64>,
    /// True if this is the last batch of a closed shard.
    pub is_at_shard_end: bool,
    /// The shards that follow, with the last batch.
    pub children: Vec<ChildShard>,
}

/// A processor's failure.
///
/// Any error converts into one that is retried: the same batch is given again, and after
/// [`processor_retries_max`](crate::Settings::processor_retries_max) times the shard stops. Nothing is skipped.
/// [`ProcessorError::fatal`] stops the whole worker instead.
#[derive(Debug)]
pub struct ProcessorError {
    cause: Box<dyn std::error::Error + Send + Sync>,
    is_fatal: bool,
}

impl ProcessorError {
    /// A failure that is retried; for causes that are no errors, such as a text.
    #[must_use]
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { cause: cause.into(), is_fatal: false }
    }

    /// A failure that retrying cannot mend: the worker stops and [`run`](crate::Worker::run) returns it.
    #[must_use]
    pub fn fatal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { cause: cause.into(), is_fatal: true }
    }

    /// True if the worker stops.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.is_fatal
    }

    /// The cause.
    #[must_use]
    pub fn cause(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.cause
    }

    pub(crate) fn into_cause(self) -> Box<dyn std::error::Error + Send + Sync> {
        self.cause
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for ProcessorError {
    fn from(cause: E) -> Self {
        Self { cause: Box::new(cause), is_fatal: false }
    }
}

/// What a processor's calls return.
pub type ProcessorResult = Result<(), ProcessorError>;

/// User code for one shard, called by one task, one call at a time.
///
/// ```text
/// initialize → process_records* → (shutdown_requested) → lease_lost
///                              ↘ shard_ended
/// ```
/// Delivery is at least once: after a crash, everything after the last checkpoint comes again.
pub trait RecordProcessor: Send + 'static {
    /// Called first, once it succeeds.
    fn initialize(&mut self, _start: &Initialize) -> impl Future<Output = ProcessorResult> + Send {
        async { Ok(()) }
    }

    /// Called with every batch. The next one follows when this returns; an error brings the same batch again.
    fn process_records(
        &mut self,
        batch: &Batch,
        checkpointer: &Checkpointer,
    ) -> impl Future<Output = ProcessorResult> + Send;

    /// Called last when another worker has the lease, or may have it soon. Checkpoints fail from now on.
    fn lease_lost(&mut self) -> impl Future<Output = ProcessorResult> + Send {
        async { Ok(()) }
    }

    /// Called last when every record of a closed shard has been delivered. It must checkpoint, or it is called again:
    /// the child shards wait for it. By default it does just that.
    fn shard_ended(&mut self, checkpointer: &Checkpointer) -> impl Future<Output = ProcessorResult> + Send {
        async { Ok(checkpointer.checkpoint().await?) }
    }

    /// Called when the lease is about to be given up in an orderly way: the last chance to checkpoint what has been
    /// processed. [`lease_lost`](Self::lease_lost) follows.
    fn shutdown_requested(&mut self, _checkpointer: &Checkpointer) -> impl Future<Output = ProcessorResult> + Send {
        async { Ok(()) }
    }
}

/// Makes the processor of a shard; called each time the worker gains a lease.
///
/// Any `Fn(&ShardContext) -> P` is one.
pub trait ProcessorFactory: Send + Sync + 'static {
    /// What it makes.
    type Processor: RecordProcessor;

    /// Makes the processor of one shard.
    fn create(&self, context: &ShardContext) -> Self::Processor;
}

impl<P: RecordProcessor, F: Fn(&ShardContext) -> P + Send + Sync + 'static> ProcessorFactory for F {
    type Processor = P;

    fn create(&self, context: &ShardContext) -> P {
        self(context)
    }
}
