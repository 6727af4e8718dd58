//! What processors call to say how far they are: [`Checkpointer`].
//!
//! Two limits hold, whatever a processor asks for: a checkpoint is never below the last one and never above what has been
//! delivered. [`Limits`] keeps them, without effects; the [`Checkpointer`] adds the lease that is written to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::lease::keeper::LeaseHandle;
use crate::stream::{Checkpoint, RecordPosition};

/// A checkpoint prepared by `prepare` and not completed: kept in the lease beside the checkpoint, and handed to the next
/// owner's processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCheckpoint {
    /// Where the processor meant to checkpoint.
    pub checkpoint: Checkpoint,
    /// What the processor wanted to remember with it.
    pub state: Option<Bytes>,
}

/// What a caller can do about a failed checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointErrorKind {
    /// The lease table is throttled; repeat later.
    Throttled,
    /// The lease belongs to another worker; stop.
    LeaseLost,
    /// The lease table is missing or cannot be used; repeating does not help.
    InvalidState,
    /// The lease table failed otherwise.
    Dependency,
    /// The position is below the last checkpoint or above what has been delivered.
    OutOfRange,
}

/// A checkpoint that was not stored.
#[derive(Debug, Clone, thiserror::Error)]
#[error("checkpoint not stored: {message}")]
pub struct CheckpointError {
    kind: CheckpointErrorKind,
    message: String,
    #[source]
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl CheckpointError {
    /// An error of this kind, with facts for a person.
    #[must_use]
    pub fn new(kind: CheckpointErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> CheckpointErrorKind {
        self.kind
    }

    /// True if the same checkpoint may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, CheckpointErrorKind::Throttled | CheckpointErrorKind::Dependency)
    }

    /// True if the lease was certainly not written.
    #[must_use]
    pub fn has_no_side_effects(&self) -> bool {
        use CheckpointErrorKind::{InvalidState, OutOfRange, Throttled};
        matches!(self.kind, Throttled | InvalidState | OutOfRange)
    }
}

/// The range in which a shard may be checkpointed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    last: Checkpoint,
    /// The highest position the processor has seen: it may be named.
    delivered: Checkpoint,
    /// What a checkpoint without a position means: everything, up to the end of the call under way.
    complete: Checkpoint,
    /// What `complete` was before that call: what it means again if the call fails.
    before: Checkpoint,
    /// The last record's position once the shard's end may be checkpointed: asking for it then means the end.
    final_record: Option<Checkpoint>,
}

impl Limits {
    /// Nothing delivered yet since this checkpoint.
    #[must_use]
    pub fn from(checkpoint: Checkpoint) -> Self {
        Self {
            delivered: checkpoint.clone(),
            complete: checkpoint.clone(),
            before: checkpoint.clone(),
            last: checkpoint,
            final_record: None,
        }
    }

    /// Records up to here are handed to the processor.
    pub fn deliver(&mut self, position: RecordPosition) {
        self.before.clone_from(&self.complete);
        self.delivered = Checkpoint::At(position).max(self.delivered.clone());
        self.complete.clone_from(&self.delivered);
    }

    /// Everything was delivered: the end may be checkpointed.
    pub fn deliver_shard_end(&mut self) {
        if self.delivered != Checkpoint::ShardEnd {
            self.before.clone_from(&self.complete);
            self.complete = Checkpoint::ShardEnd;
            self.final_record = Some(std::mem::replace(&mut self.delivered, Checkpoint::ShardEnd));
        }
    }

    /// The processor failed: what it was handed does not count as processed, whoever asks.
    pub fn call_failed(&mut self) {
        self.delivered = self.final_record.take().unwrap_or_else(|| self.delivered.clone());
        self.complete.clone_from(&self.before);
    }

    /// The last checkpoint stored.
    #[must_use]
    pub fn last(&self) -> &Checkpoint {
        &self.last
    }

    /// What to store for a wish; `None` if it is stored already.
    ///
    /// # Errors
    /// [`CheckpointErrorKind::OutOfRange`] when the wish is below the last checkpoint or above what was delivered.
    pub fn admit(&self, wish: Option<Checkpoint>) -> Result<Option<Checkpoint>, CheckpointError> {
        // The processor may have named a position beyond what a whole call has covered.
        let wish = wish.unwrap_or_else(|| self.complete.clone().max(self.last.clone()));
        let wish = if self.final_record.as_ref() == Some(&wish) { Checkpoint::ShardEnd } else { wish };
        if wish == self.last {
            return Ok(None);
        }
        if wish < self.last || wish > self.delivered {
            let message = format!("{wish} is outside {} to {}", self.last, self.delivered);
            return Err(CheckpointError::new(CheckpointErrorKind::OutOfRange, message));
        }
        Ok(Some(wish))
    }

    /// A checkpoint was stored.
    pub fn stored(&mut self, checkpoint: Checkpoint) {
        debug_assert!(checkpoint >= self.last, "a stored checkpoint never goes back");
        self.last = checkpoint;
    }
}

/// Stores how far a processor is. Cheap to clone; a clone may be kept and used from another task until the lease is lost.
#[derive(Debug, Clone)]
pub struct Checkpointer {
    lease: LeaseHandle,
    limits: Arc<Mutex<Limits>>,
}

/// A checkpoint whose intent is stored and which is completed by [`PreparedCheckpoint::checkpoint`].
#[derive(Debug, Clone)]
pub struct PreparedCheckpoint {
    checkpointer: Checkpointer,
    checkpoint: Checkpoint,
}

impl PreparedCheckpoint {
    /// Where it will checkpoint.
    #[must_use]
    pub fn position(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Completes it. A checkpoint made in between, if it was higher, makes this an error.
    ///
    /// # Errors
    /// As [`Checkpointer::checkpoint`].
    pub async fn checkpoint(&self) -> Result<(), CheckpointError> {
        self.checkpointer.store(Some(self.checkpoint.clone())).await
    }
}

impl Checkpointer {
    pub(crate) fn new(lease: LeaseHandle, checkpoint: Checkpoint) -> Self {
        Self { lease, limits: Arc::new(Mutex::new(Limits::from(checkpoint))) }
    }

    pub(crate) fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last checkpoint stored through this checkpointer or its clones; at first, the one in the lease.
    #[must_use]
    pub fn last(&self) -> Checkpoint {
        self.limits().last().clone()
    }

    /// Says that everything delivered so far has been processed, in `process_records` the batch of this call included; in
    /// `shard_ended`, that the shard is done. A batch whose call failed does not count.
    ///
    /// # Errors
    /// [`CheckpointError`]; [`CheckpointError::has_no_side_effects`] tells whether it may be stored all the same. Repeating is
    /// safe.
    pub async fn checkpoint(&self) -> Result<(), CheckpointError> {
        self.store(None).await
    }

    /// Says that everything up to and including this record has been processed.
    ///
    /// A bare sequence number means sub-sequence 0: inside an aggregate, give the record's whole position.
    ///
    /// # Errors
    /// As [`Self::checkpoint`].
    pub async fn checkpoint_at(&self, position: impl Into<RecordPosition>) -> Result<(), CheckpointError> {
        self.store(Some(Checkpoint::At(position.into()))).await
    }

    /// Stores the intent to checkpoint at `position` (everything delivered, if `None`) with some state, for work that
    /// needs two phases. If this worker dies before completing it, the next owner's `initialize` gets both.
    ///
    /// # Errors
    /// As [`Self::checkpoint`].
    pub async fn prepare(
        &self,
        position: Option<RecordPosition>,
        state: Option<Bytes>,
    ) -> Result<PreparedCheckpoint, CheckpointError> {
        let (checkpoint, is_new) = {
            let limits = self.limits();
            match limits.admit(position.map(Checkpoint::At))? {
                Some(checkpoint) => (checkpoint, true),
                None => (limits.last().clone(), false),
            }
        };
        if is_new {
            self.lease.prepare(PendingCheckpoint { checkpoint: checkpoint.clone(), state }).await?;
        }
        Ok(PreparedCheckpoint { checkpointer: self.clone(), checkpoint })
    }

    async fn store(&self, wish: Option<Checkpoint>) -> Result<(), CheckpointError> {
        let Some(checkpoint) = self.limits().admit(wish)? else { return Ok(()) };
        self.lease.checkpoint(checkpoint.clone()).await?;
        let mut limits = self.limits();
        // Another clone may have stored a higher one while this one waited.
        if checkpoint > limits.last {
            limits.stored(checkpoint);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(sequence: u64) -> Checkpoint {
        Checkpoint::At(RecordPosition { sequence: sequence.into(), sub_sequence: 0 })
    }

    fn delivered_to(sequence: u64) -> Limits {
        let mut limits = Limits::from(Checkpoint::TrimHorizon);
        limits.deliver(RecordPosition { sequence: sequence.into(), sub_sequence: 0 });
        limits
    }

    #[test]
    fn default_is_everything_delivered() {
        assert_eq!(delivered_to(9).admit(None).unwrap(), Some(at(9)));
    }

    #[test]
    fn refuses_what_was_not_delivered_and_what_is_behind() {
        let mut limits = delivered_to(9);
        assert_eq!(limits.admit(Some(at(10))).unwrap_err().kind(), CheckpointErrorKind::OutOfRange);
        limits.stored(at(5));
        assert_eq!(limits.admit(Some(at(4))).unwrap_err().kind(), CheckpointErrorKind::OutOfRange);
        assert_eq!(limits.admit(Some(at(5))).unwrap(), None);
    }

    #[test]
    fn the_final_record_means_the_end_once_everything_is_delivered() {
        let mut limits = delivered_to(9);
        limits.deliver_shard_end();
        limits.deliver_shard_end();
        assert_eq!(limits.admit(Some(at(8))).unwrap(), Some(at(8)));
        assert_eq!(limits.admit(Some(at(9))).unwrap(), Some(Checkpoint::ShardEnd));
        assert_eq!(limits.admit(None).unwrap(), Some(Checkpoint::ShardEnd));
    }

    #[test]
    fn a_batch_whose_call_failed_is_not_processed() {
        let mut limits = delivered_to(5);
        limits.deliver(RecordPosition { sequence: 9.into(), sub_sequence: 0 });
        limits.call_failed();
        assert_eq!(limits.admit(None).unwrap(), Some(at(5)));
        assert_eq!(limits.admit(Some(at(7))).unwrap(), Some(at(7)), "what it saw, it may name");
        limits.stored(at(7));
        assert_eq!(limits.admit(None).unwrap(), None);
        limits.deliver(RecordPosition { sequence: 9.into(), sub_sequence: 0 });
        assert_eq!(limits.admit(None).unwrap(), Some(at(9)));
    }

    #[test]
    fn an_end_whose_call_failed_is_not_reached() {
        let mut limits = delivered_to(9);
        limits.deliver_shard_end();
        limits.call_failed();
        assert_eq!(limits.admit(None).unwrap(), Some(at(9)));
        limits.deliver_shard_end();
        assert_eq!(limits.admit(None).unwrap(), Some(Checkpoint::ShardEnd));
    }

    #[test]
    fn an_untouched_shard_ends_too() {
        let mut limits = Limits::from(Checkpoint::TrimHorizon);
        limits.deliver_shard_end();
        assert_eq!(limits.admit(None).unwrap(), Some(Checkpoint::ShardEnd));
    }

    proptest! {
        #[test]
        fn stored_checkpoints_never_decrease_nor_pass_delivery(steps in prop::collection::vec((any::<bool>(), 0u64..50), 0..100)) {
            let mut limits = Limits::from(Checkpoint::TrimHorizon);
            let (mut last, mut delivered) = (Checkpoint::TrimHorizon, Checkpoint::TrimHorizon);
            for (is_delivery, number) in steps {
                if is_delivery {
                    limits.deliver(RecordPosition { sequence: number.into(), sub_sequence: 0 });
                    delivered = delivered.max(at(number));
                } else if let Ok(Some(stored)) = limits.admit(Some(at(number))) {
                    prop_assert!(stored > last && stored <= delivered);
                    limits.stored(stored.clone());
                    last = stored;
                }
            }
        }
    }
}
