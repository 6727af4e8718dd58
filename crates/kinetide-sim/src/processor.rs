//! The processors of a run: they tell the history what they are given and what they do, and checkpoint by the run's policy.

use std::time::Duration;

use kinetide::checkpoint::CheckpointError;
use kinetide::stream::{RecordPosition, SequenceNumber};
use kinetide::{
    Batch, CheckpointErrorKind, Checkpointer, Initialize, ProcessorResult, RecordProcessor, Rng, ShardContext,
};

use crate::check::covered;
use crate::fault::Fault;
use crate::history::{Tenure, What};
use crate::link::Link;
use crate::plan::{Pace, Policy};

/// After every so many batches it asks for checkpoints that must be refused.
const BOLD_EVERY: usize = 5;
/// Batches between a checkpoint that may be stored or not, and the wish for one just before it.
const DOUBT_BATCHES: usize = 3;

/// One processor.
pub struct Auditor {
    link: Link,
    tenure: Tenure,
    policy: Policy,
    failover_time: Duration,
    rng: Rng,
    records: usize,
    batches: usize,
    /// The last record processed: what was delivered and failed must not be checkpointed.
    last: Option<RecordPosition>,
    /// A checkpoint of which it does not know whether it is stored, and when it was made, in batches.
    doubtful: Option<(u64, usize)>,
    /// A batch that is to fail fails once.
    has_failed: bool,
}

/// The sequence number of a record, as the number it is in a memory stream.
#[must_use]
pub fn number(sequence: &SequenceNumber) -> u64 {
    sequence.as_str().parse().unwrap_or(u64::MAX)
}

impl Auditor {
    /// The processor of one shard, for one tenure.
    #[must_use]
    pub fn new(link: Link, context: &ShardContext, policy: Policy, failover_time: Duration, rng: Rng) -> Self {
        let tenure = link.history().begin(link.life(), context.shard.clone(), context.fencing_token);
        let (records, batches, last, doubtful, has_failed) = (0, 0, None, None, false);
        Self { link, tenure, policy, failover_time, rng, records, batches, last, doubtful, has_failed }
    }

    fn tell(&self, what: What) {
        self.link.history().add(self.link.life(), what);
    }

    async fn be_slow(&mut self) {
        self.link.stand_still().await;
        if !self.link.is_healed() && self.rng.unit() < self.policy.slow {
            let wait = self.failover_time.mul_f64(0.5 + self.rng.unit() * 1.5);
            self.link.tell(Fault::SlowProcessor, "process_records", u64::try_from(wait.as_millis()).unwrap_or(0));
            self.link.clock().sleep(wait).await;
            self.link.stand_still().await;
        }
    }

    /// After how many records of the batch it fails, if it is to.
    fn draw_failure(&mut self, records: usize) -> Option<usize> {
        let is_failing = !self.has_failed && !self.link.is_healed() && self.rng.unit() < self.policy.failing;
        self.has_failed = is_failing;
        is_failing.then(|| self.rng.below(records + 1))
    }

    async fn work(&mut self, batch: &Batch, checkpointer: &Checkpointer) -> ProcessorResult {
        self.be_slow().await;
        let failure = self.draw_failure(batch.records.len());
        for (index, record) in batch.records.iter().enumerate() {
            if failure == Some(index) {
                return self.fail();
            }
            self.tell(What::Processed { tenure: self.tenure, sequence: number(&record.position.sequence) });
            self.records += 1;
            self.last = Some(record.position.clone());
            if let Pace::Records(every) = self.policy.pace
                && self.records.is_multiple_of(every)
            {
                let result = self.checkpoint(checkpointer, Some(record.position.clone())).await;
                self.accept(result)?;
            }
        }
        if failure.is_some() {
            return self.fail();
        }
        self.batches += 1;
        let is_due = match self.policy.pace {
            Pace::Batch => true,
            Pace::Batches(every) => self.batches.is_multiple_of(every),
            Pace::Records(_) => false,
        };
        if is_due {
            let result = self.checkpoint(checkpointer, None).await;
            self.accept(result)?;
        }
        if self.batches.is_multiple_of(BOLD_EVERY) {
            self.be_bold(checkpointer).await;
        }
        if let Some((doubtful, _)) = self.doubtful.take_if(|(_, made)| *made + DOUBT_BATCHES <= self.batches) {
            let before = SequenceNumber::from(doubtful.saturating_sub(1));
            // Stored, or behind what is stored: either is in the history.
            let _ = self.checkpoint(checkpointer, Some(before.into())).await;
        }
        Ok(())
    }

    /// Asks for what must be refused: a checkpoint at a record it was not given, and one behind the last.
    async fn be_bold(&mut self, checkpointer: &Checkpointer) {
        let Some(given) = self.last.as_ref().map(|last| number(&last.sequence)) else { return };
        let stored = covered(&checkpointer.last());
        let wishes = [Some(given + 1), stored.checked_sub(1)];
        for wish in wishes.into_iter().flatten() {
            // What comes of it is in the history.
            let _ = self.checkpoint(checkpointer, Some(SequenceNumber::from(wish).into())).await;
        }
    }

    fn fail(&self) -> ProcessorResult {
        self.link.tell(Fault::FailingProcessor, "process_records", 0);
        Err(std::io::Error::other("failing as planned").into())
    }

    /// A batch given again may stand behind a checkpoint made in its middle; that is no failure of the processor's.
    fn accept(&self, result: Result<(), CheckpointError>) -> Result<(), CheckpointError> {
        match result {
            Err(error) if error.kind() == CheckpointErrorKind::OutOfRange => Ok(()),
            Err(error) if error.is_retryable() && !self.policy.is_strict => Ok(()),
            result => result,
        }
    }

    async fn checkpoint(
        &mut self,
        checkpointer: &Checkpointer,
        position: Option<RecordPosition>,
    ) -> Result<(), CheckpointError> {
        let wish = position.as_ref().map(|position| number(&position.sequence));
        let result = match (self.policy.is_two_phase, position) {
            (true, position) => match checkpointer.prepare(position, None).await {
                Ok(prepared) => prepared.checkpoint().await,
                Err(error) => Err(error),
            },
            (false, Some(position)) => checkpointer.checkpoint_at(position).await,
            (false, None) => checkpointer.checkpoint().await,
        };
        let is_doubtful = result.as_ref().is_err_and(|error| !error.has_no_side_effects());
        if let (true, Some(position)) = (is_doubtful, wish.or(self.last.as_ref().map(|last| number(&last.sequence)))) {
            self.doubtful = Some((position, self.batches));
        }
        let error = result.as_ref().err().map(|error| format!("{:?}", error.kind()));
        self.tell(What::Checkpointed { tenure: self.tenure, wish, last: checkpointer.last(), error });
        result
    }
}

impl RecordProcessor for Auditor {
    async fn initialize(&mut self, start: &Initialize) -> ProcessorResult {
        self.link.stand_still().await;
        self.tell(What::Initialized { tenure: self.tenure, checkpoint: start.checkpoint.clone() });
        Ok(())
    }

    async fn process_records(&mut self, batch: &Batch, checkpointer: &Checkpointer) -> ProcessorResult {
        let records = batch.records.iter().map(|record| number(&record.position.sequence)).collect();
        self.tell(What::Delivered { tenure: self.tenure, records });
        let result = self.work(batch, checkpointer).await;
        self.tell(What::Returned { tenure: self.tenure, is_ok: result.is_ok() });
        result
    }

    async fn lease_lost(&mut self) -> ProcessorResult {
        self.tell(What::LeaseLost { tenure: self.tenure });
        Ok(())
    }

    async fn shard_ended(&mut self, checkpointer: &Checkpointer) -> ProcessorResult {
        self.link.stand_still().await;
        let result = self.checkpoint(checkpointer, None).await;
        self.tell(What::ShardEnded { tenure: self.tenure, is_ok: result.is_ok() });
        Ok(result?)
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> ProcessorResult {
        self.tell(What::ShutdownRequested { tenure: self.tenure });
        self.link.stand_still().await;
        let Some(last) = self.last.clone() else { return Ok(()) };
        // Who counts in batches names no record: that means every batch that went well.
        let position = matches!(self.policy.pace, Pace::Records(_)).then_some(last);
        let result = self.checkpoint(checkpointer, position).await;
        Ok(self.accept(result)?)
    }
}
