//! Lets a child be a [`RecordProcessor`]: one child per shard and tenure, started when the shard is initialised.
//!
//! It keeps the Java daemon's contract: a child that fails ends the daemon, except in `shutdownRequested`, where the
//! failure is only told. One deviation: a child that did not checkpoint the end of its shard is replaced by a fresh one
//! when it is asked again (Java asks for ever, with no child left to answer). When [`FRESH_CHILDREN_MAX`] fresh ones
//! did not do it either, the daemon ends: the shard's children wait for that checkpoint.
//!
//! ```text
//!   New ── initialize ──► Running ── lease_lost, shard_ended, a failure ──► Closed
//!    │                                                                       ▲ │
//!    └── lease_lost, shard_ended: nobody to tell ────────────────────────────┤ │
//!                                                                            │ ▼
//!          shard_ended again: a fresh child, initialize, shardEnded ─────────┴─┘   the 4th time without: fatal
//!
//!   Running ── shutdown_requested, also if it fails ──► Running
//! ```

use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

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

/// Fresh children that are asked to checkpoint the end of a shard when the first one did not.
pub const FRESH_CHILDREN_MAX: u32 = 3;

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
            start: Checkpoint::TrimHorizon,
            ends_missed: 0,
        }
    }
}

/// A child seen as a processor.
pub struct Bridge {
    shared: Arc<Shared>,
    shard: ShardId,
    state: State,
    /// Where the next child starts.
    start: Checkpoint,
    /// Children that were told of the shard's end and did not checkpoint it.
    ends_missed: u32,
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
    timeout: Option<Duration>,
}

impl fmt::Display for ChildFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shard, action, fault, command, .. } = self;
        write!(f, "the child '{command}' of {shard} {fault} while {action} was under way")?;
        if let (Fault::TimedOut, Some(timeout)) = (fault, self.timeout) {
            write!(f, " (timeoutInSeconds is {})", timeout.as_secs_f64())?;
        }
        match self.ending {
            Some(ending) => write!(f, "; it ended with {ending}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ChildFailed {}

/// No child checkpointed the end of its shard.
#[derive(Debug, thiserror::Error)]
#[error(
    "the child '{command}' of {shard} answered shardEnded and the end of the shard was not checkpointed, nor was it by \
     {FRESH_CHILDREN_MAX} fresh ones: a processor must checkpoint before it answers shardEnded"
)]
pub struct EndMissed {
    shard: ShardId,
    command: String,
}

impl RecordProcessor for Bridge {
    async fn initialize(&mut self, start: &Initialize) -> ProcessorResult {
        self.start = start.checkpoint.clone();
        self.start().await
    }

    async fn process_records(&mut self, batch: &Batch, checkpointer: &Checkpointer) -> ProcessorResult {
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
            let shard = &self.shard;
            tracing::warn!("the end of {shard} was not checkpointed in shardEnded: a fresh child is asked");
            self.start = checkpointer.last();
            self.start().await?;
        }
        if matches!(self.state, State::Running(_)) {
            self.call(&Action::ShardEnded, Some(checkpointer)).await?;
            self.ends_missed += u32::from(checkpointer.last() != Checkpoint::ShardEnd);
        }
        self.close().await;
        match self.ends_missed > FRESH_CHILDREN_MAX {
            true => Err(ProcessorError::fatal(EndMissed { shard: self.shard.clone(), command: self.command() })),
            false => Ok(()),
        }
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> ProcessorResult {
        let State::Running(child) = &mut self.state else { return Ok(()) };
        let mut checkpoints = ChildCheckpoints { checkpointer: Some(checkpointer), is_at_end: false };
        if let Err(fault) = child.call(&Action::ShutdownRequested, &mut checkpoints).await {
            let name = ActionName::ShutdownRequested;
            // What halts the daemon is told by whoever ends it.
            if !self.halt_if_timed_out(name, &fault) {
                tracing::error!("{}", self.failure(name, fault, None));
            }
        }
        Ok(())
    }
}

impl Bridge {
    /// Starts a child and initialises it.
    async fn start(&mut self) -> ProcessorResult {
        let Shared { children, nursery, clock, .. } = &*self.shared;
        let child = Child::spawn(children, &self.shard, nursery, clock).map_err(ProcessorError::fatal)?;
        self.state = State::Running(Box::new(child));
        let (shard, checkpoint) = (self.shard.clone(), self.start.clone());
        self.call(&Action::Initialize { shard: &shard, checkpoint: &checkpoint }, None).await
    }

    /// Has the child do something; its failure closes it and ends the daemon.
    async fn call(&mut self, action: &Action<'_>, checkpointer: Option<&Checkpointer>) -> ProcessorResult {
        let State::Running(child) = &mut self.state else { return Ok(()) };
        let name = action.name();
        let mut checkpoints = ChildCheckpoints { checkpointer, is_at_end: name == ActionName::ShardEnded };
        let Err(fault) = child.call(action, &mut checkpoints).await else { return Ok(()) };
        // A daemon that halts waits for nobody.
        let ending = if self.halt_if_timed_out(name, &fault) { None } else { self.close().await };
        Err(ProcessorError::fatal(self.failure(name, fault, ending)))
    }

    fn failure(&self, action: ActionName, fault: Fault, ending: Option<ExitStatus>) -> ChildFailed {
        let timeout = self.shared.children.timeout;
        ChildFailed { shard: self.shard.clone(), action, fault, ending, command: self.command(), timeout }
    }

    fn command(&self) -> String {
        self.shared.children.command.join(" ")
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

impl Wish {
    /// Reads a request. A number alone means sub-sequence 0; a sentinel is allowed where it is true already.
    fn read(request: &CheckpointRequest, last: &Checkpoint, is_at_end: bool) -> Result<Self, CheckpointErrorKind> {
        let out_of_range = CheckpointErrorKind::OutOfRange;
        let Some(text) = &request.sequence_number else { return Ok(Self::Everything) };
        let sub_sequence = u64::try_from(request.sub_sequence_number.unwrap_or(0)).map_err(|_| out_of_range)?;
        match Checkpoint::parse(text, sub_sequence).map_err(|_| out_of_range)? {
            Checkpoint::At(position) => Ok(Self::At(position)),
            Checkpoint::ShardEnd if is_at_end => Ok(Self::Everything),
            sentinel if sentinel == *last => Ok(Self::Nothing),
            _ => Err(out_of_range),
        }
    }
}

/// Takes a child's requests to the lease.
struct ChildCheckpoints<'a> {
    checkpointer: Option<&'a Checkpointer>,
    /// The end of the shard may be named.
    is_at_end: bool,
}

impl Checkpoints for ChildCheckpoints<'_> {
    async fn checkpoint(&mut self, request: &CheckpointRequest) -> Result<(), CheckpointErrorKind> {
        let checkpointer = self.checkpointer.ok_or(CheckpointErrorKind::InvalidState)?;
        let result = match Wish::read(request, &checkpointer.last(), self.is_at_end)? {
            Wish::Everything => checkpointer.checkpoint().await,
            Wish::At(position) => checkpointer.checkpoint_at(position).await,
            Wish::Nothing => Ok(()),
        };
        // The client learns only the error's name, so the log has the rest.
        result.inspect_err(|error| tracing::warn!("{}", chain(error))).map_err(|error: CheckpointError| error.kind())
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

    #[test]
    fn requests_are_read_as_java_reads_them() {
        let wish = |sequence, sub| Wish::read(&request(sequence, sub), &Checkpoint::TrimHorizon, false);
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
        let wish = Wish::read(&request(Some("SHARD_END"), None), &Checkpoint::At(at(9, 0)), true);
        assert_eq!(wish, Ok(Wish::Everything));
    }

    #[test]
    fn failures_are_one_sentence() {
        let mut failed = ChildFailed {
            shard: ShardId::new("shardId-0").unwrap(),
            action: ActionName::ProcessRecords,
            fault: Fault::OutputEnded,
            ending: None,
            command: "python app.py".to_owned(),
            timeout: Some(Duration::from_secs(30)),
        };
        assert_eq!(
            failed.to_string(),
            "the child 'python app.py' of shardId-0 closed its output without an answer while processRecords was under way"
        );
        failed.fault = Fault::TimedOut;
        let sentence = failed.to_string();
        assert!(
            sentence.ends_with("in time while processRecords was under way (timeoutInSeconds is 30)"),
            "{sentence}"
        );
    }
}
