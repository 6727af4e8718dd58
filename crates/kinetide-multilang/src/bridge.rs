//! Lets a child be a [`RecordProcessor`]: one child per shard and tenure, started when the shard is initialised.
//!
//! It keeps the Java daemon's contract: a child that fails ends the daemon, except in `shutdownRequested`, where the
//! failure is only told. One deviation: a child that did not checkpoint the end of its shard is replaced by a fresh one
//! when it is asked again (Java asks for ever, with no child left to answer).
//!
//! ```text
//!   New ── initialize ──► Running ── lease_lost, shard_ended, a failure ──► Closed
//!    │                                                                       ▲ │
//!    └── lease_lost, shard_ended: nobody to tell ────────────────────────────┤ │
//!                                                                            │ ▼
//!          shard_ended again: a fresh child, initialize, shardEnded ─────────┴─┘
//!
//!   Running ── shutdown_requested, also if it fails ──► Running
//! ```

use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;

use kinetide::error::chain;
use kinetide::stream::{Checkpoint, ShardId};
use kinetide::{
    Batch, CheckpointError, CheckpointErrorKind, Checkpointer, Clock, Initialize, ProcessorError, ProcessorFactory,
    ProcessorResult, RecordPosition, RecordProcessor, ShardContext,
};
use tokio::sync::mpsc;

use crate::child::nursery::Nursery;
use crate::child::{Checkpoints, Child, ChildSettings};
use crate::message::{Action, ActionName, CheckpointRequest};
use crate::session::Fault;

/// Makes a [`Bridge`] for each shard.
#[derive(Clone)]
pub struct BridgeFactory {
    shared: Arc<Shared>,
}

struct Shared {
    children: ChildSettings,
    nursery: Nursery,
    clock: Clock,
    /// Takes the sentence with which the daemon ends at once.
    halt: mpsc::Sender<String>,
}

impl BridgeFactory {
    /// Bridges to children of this command. A child that runs out of time is told to `halt`.
    #[must_use]
    pub fn new(children: ChildSettings, nursery: Nursery, clock: Clock, halt: mpsc::Sender<String>) -> Self {
        Self { shared: Arc::new(Shared { children, nursery, clock, halt }) }
    }
}

impl ProcessorFactory for BridgeFactory {
    type Processor = Bridge;

    fn create(&self, context: &ShardContext) -> Bridge {
        Bridge {
            shared: self.shared.clone(),
            shard: context.shard.clone(),
            state: State::New,
            progress: Progress::default(),
        }
    }
}

/// A child seen as a processor.
pub struct Bridge {
    shared: Arc<Shared>,
    shard: ShardId,
    state: State,
    progress: Progress,
}

enum State {
    New,
    Running(Box<Child>),
    Closed,
}

/// A child that did not do its part. One sentence, with everything that is known.
#[derive(Debug)]
pub struct ChildFailed {
    shard: ShardId,
    action: ActionName,
    fault: Fault,
    ending: Option<ExitStatus>,
    command: String,
}

impl fmt::Display for ChildFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shard, action, fault, command, .. } = self;
        write!(f, "the child '{command}' of {shard} {fault} while {action} was under way")?;
        match self.ending {
            Some(ending) => write!(f, "; it ended with {ending}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ChildFailed {}

impl RecordProcessor for Bridge {
    async fn initialize(&mut self, start: &Initialize) -> ProcessorResult {
        self.progress = Progress { last: start.checkpoint.clone(), delivered: start.checkpoint.clone() };
        self.start().await
    }

    async fn process_records(&mut self, batch: &Batch, checkpointer: &Checkpointer) -> ProcessorResult {
        if let Some(last) = batch.records.last() {
            self.progress.delivered = Checkpoint::At(last.position.clone());
        }
        let action =
            Action::ProcessRecords { records: &batch.records, millis_behind_latest: batch.millis_behind_latest };
        self.call(&action, Some(checkpointer)).await
    }

    async fn lease_lost(&mut self) -> ProcessorResult {
        if matches!(self.state, State::Running(_)) {
            self.call(&Action::LeaseLost, None).await?;
        }
        self.close().await;
        Ok(())
    }

    async fn shard_ended(&mut self, checkpointer: &Checkpointer) -> ProcessorResult {
        if matches!(self.state, State::Closed) {
            tracing::warn!("the child of {} did not checkpoint the end of its shard: a fresh one is asked", self.shard);
            self.start().await?;
        }
        if matches!(self.state, State::Running(_)) {
            self.progress.delivered = Checkpoint::ShardEnd;
            self.call(&Action::ShardEnded, Some(checkpointer)).await?;
        }
        self.close().await;
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> ProcessorResult {
        let State::Running(child) = &mut self.state else { return Ok(()) };
        let mut checkpoints = ChildCheckpoints { checkpointer: Some(checkpointer), progress: &mut self.progress };
        if let Err(fault) = child.call(&Action::ShutdownRequested, &mut checkpoints).await {
            tracing::error!("the child of {} {fault} while shutdownRequested was under way", self.shard);
            self.halt_if_timed_out(ActionName::ShutdownRequested, &fault);
        }
        Ok(())
    }
}

impl Bridge {
    /// Starts a child and initialises it with the last checkpoint.
    async fn start(&mut self) -> ProcessorResult {
        let Shared { children, nursery, clock, .. } = &*self.shared;
        let child = Child::spawn(children, nursery, clock).map_err(ProcessorError::fatal)?;
        self.state = State::Running(Box::new(child));
        let (shard, checkpoint) = (self.shard.clone(), self.progress.last.clone());
        self.call(&Action::Initialize { shard: &shard, checkpoint: &checkpoint }, None).await
    }

    /// Has the child do something; its failure closes it and ends the daemon.
    async fn call(&mut self, action: &Action<'_>, checkpointer: Option<&Checkpointer>) -> ProcessorResult {
        let State::Running(child) = &mut self.state else { return Ok(()) };
        let mut checkpoints = ChildCheckpoints { checkpointer, progress: &mut self.progress };
        let Err(fault) = child.call(action, &mut checkpoints).await else { return Ok(()) };
        let name = action.name();
        // A daemon that halts waits for nobody.
        let ending = if self.halt_if_timed_out(name, &fault) { None } else { self.close().await };
        Err(ProcessorError::fatal(self.failure(name, fault, ending)))
    }

    fn failure(&self, action: ActionName, fault: Fault, ending: Option<ExitStatus>) -> ChildFailed {
        let command = self.shared.children.command.join(" ");
        ChildFailed { shard: self.shard.clone(), action, fault, ending, command }
    }

    fn halt_if_timed_out(&self, action: ActionName, fault: &Fault) -> bool {
        let is_timed_out = *fault == Fault::TimedOut;
        if is_timed_out {
            // One sentence is enough: a second child that runs out of time finds the daemon halting already.
            let _ = self.shared.halt.try_send(self.failure(action, fault.clone(), None).to_string());
        }
        is_timed_out
    }

    async fn close(&mut self) -> Option<ExitStatus> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Running(child) => child.close().await,
            State::New | State::Closed => None,
        }
    }
}

/// How far a shard is, as far as the bridge must know it: to start a fresh child, and to judge sentinels.
#[derive(Debug)]
struct Progress {
    last: Checkpoint,
    delivered: Checkpoint,
}

impl Default for Progress {
    fn default() -> Self {
        Self { last: Checkpoint::TrimHorizon, delivered: Checkpoint::TrimHorizon }
    }
}

/// What a request comes to.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    /// Everything delivered; at the end of a shard, its end.
    Everything,
    /// Up to and including this record.
    At(RecordPosition),
    /// What is stored already.
    Nothing,
}

impl Progress {
    /// Reads a request. A number alone means sub-sequence 0; a sentinel is allowed where it is true already.
    fn wish(&self, request: &CheckpointRequest) -> Result<Wish, CheckpointErrorKind> {
        let out_of_range = CheckpointErrorKind::OutOfRange;
        let Some(text) = &request.sequence_number else { return Ok(Wish::Everything) };
        let sub_sequence = u64::try_from(request.sub_sequence_number.unwrap_or(0)).map_err(|_| out_of_range)?;
        match Checkpoint::parse(text, sub_sequence).map_err(|_| out_of_range)? {
            Checkpoint::At(position) => Ok(Wish::At(position)),
            Checkpoint::ShardEnd if self.delivered == Checkpoint::ShardEnd => Ok(Wish::Everything),
            sentinel if sentinel == self.last => Ok(Wish::Nothing),
            _ => Err(out_of_range),
        }
    }

    fn stored(&mut self, wish: Wish) {
        match wish {
            Wish::Everything => self.last = self.delivered.clone(),
            Wish::At(position) => self.last = Checkpoint::At(position),
            Wish::Nothing => {}
        }
    }
}

/// Takes a child's requests to the lease.
struct ChildCheckpoints<'a> {
    checkpointer: Option<&'a Checkpointer>,
    progress: &'a mut Progress,
}

impl Checkpoints for ChildCheckpoints<'_> {
    async fn checkpoint(&mut self, request: &CheckpointRequest) -> Result<(), CheckpointErrorKind> {
        let checkpointer = self.checkpointer.ok_or(CheckpointErrorKind::InvalidState)?;
        let wish = self.progress.wish(request)?;
        let result = match &wish {
            Wish::Everything => checkpointer.checkpoint().await,
            Wish::At(position) => checkpointer.checkpoint_at(position.clone()).await,
            Wish::Nothing => Ok(()),
        };
        // The client learns only the error's name, so the log has the rest.
        result
            .inspect_err(|error| tracing::warn!("{}", chain(error)))
            .map_err(|error: CheckpointError| error.kind())?;
        self.progress.stored(wish);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(sequence_number: Option<&str>, sub_sequence_number: Option<i64>) -> CheckpointRequest {
        CheckpointRequest { sequence_number: sequence_number.map(str::to_owned), sub_sequence_number }
    }

    fn at(sequence: u64, sub_sequence: u64) -> RecordPosition {
        RecordPosition { sequence: sequence.into(), sub_sequence }
    }

    fn progress() -> Progress {
        Progress { last: Checkpoint::TrimHorizon, delivered: Checkpoint::At(at(9, 0)) }
    }

    #[test]
    fn requests_are_read_as_java_reads_them() {
        let wish = |sequence, sub| progress().wish(&request(sequence, sub));
        assert_eq!(wish(None, None), Ok(Wish::Everything));
        assert_eq!(wish(None, Some(-5)), Ok(Wish::Everything));
        assert_eq!(wish(Some("7"), None), Ok(Wish::At(at(7, 0))));
        assert_eq!(wish(Some("7"), Some(3)), Ok(Wish::At(at(7, 3))));
        assert_eq!(wish(Some("TRIM_HORIZON"), None), Ok(Wish::Nothing));
        for refused in [("7", Some(-1)), ("abc", None), ("", None), ("LATEST", None), ("SHARD_END", None), ("-7", None)]
        {
            assert_eq!(wish(Some(refused.0), refused.1), Err(CheckpointErrorKind::OutOfRange), "{refused:?}");
        }
    }

    #[test]
    fn the_end_may_be_named_at_the_end() {
        let ending = Progress { last: Checkpoint::At(at(9, 0)), delivered: Checkpoint::ShardEnd };
        assert_eq!(ending.wish(&request(Some("SHARD_END"), None)), Ok(Wish::Everything));
    }

    #[test]
    fn a_fresh_child_starts_at_the_last_checkpoint() {
        let mut progress = progress();
        progress.stored(Wish::At(at(5, 2)));
        assert_eq!(progress.last, Checkpoint::At(at(5, 2)));
        progress.stored(Wish::Nothing);
        progress.stored(Wish::Everything);
        assert_eq!(progress.last, Checkpoint::At(at(9, 0)));
    }

    #[test]
    fn failures_are_one_sentence() {
        let failed = ChildFailed {
            shard: ShardId::new("shardId-0").unwrap(),
            action: ActionName::ProcessRecords,
            fault: Fault::OutputEnded,
            ending: None,
            command: "python app.py".to_owned(),
        };
        assert_eq!(
            failed.to_string(),
            "the child 'python app.py' of shardId-0 closed its output without an answer while processRecords was under way"
        );
    }
}
