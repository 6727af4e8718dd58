//! A child process and the conversation with it.
//!
//! [`process`] starts, closes and kills; [`nursery`] knows every child that lives, so that none outlives the daemon;
//! this module moves bytes and time between the pipes and the pure [`Session`]. What to say, and where checkpoints go,
//! is [`crate::bridge`]'s business.
//!
//! Invariants:
//! - output is read only while an action is outstanding, and writing never keeps it from being read, so a child that
//!   talks before it listens is no deadlock;
//! - a call that is dropped half-way leaves the session broken: half a message may be in the pipe;
//! - dropping a child, or a close under way, sees to its end in the background: input closed, then SIGTERM, then
//!   SIGKILL.

pub mod nursery;
pub mod process;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use kinetide::stream::ShardId;
use kinetide::{CheckpointErrorKind, Clock, Moment};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::lines::Lines;
use crate::message::{Action, CheckpointRequest};
use crate::session::{Fault, Input, Output, Session};
use nursery::Nursery;
use process::{Deadline, ErrorSink, Patience, Process, SpawnError};

/// One pipe's worth.
const READ_BYTES: usize = 64 << 10;
/// A message buffer that is kept for the next batch is no larger.
const SPARE_BYTES_MAX: usize = 4 << 20;

/// Where the checkpoints that a child asks for go.
pub trait Checkpoints: Send {
    /// Stores one.
    fn checkpoint(
        &mut self,
        request: &CheckpointRequest,
    ) -> impl Future<Output = Result<(), CheckpointErrorKind>> + Send;
}

/// How children are started and how long they may take.
#[derive(Clone)]
pub struct ChildSettings {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How long a child may be silent while it owes an answer.
    pub timeout: Option<Duration>,
    /// How long a child may take to end after its last action.
    pub patience: Patience,
    /// How long a child may take to end after the daemon has dropped it.
    pub patience_when_dropped: Patience,
    /// Where the children's stderr goes.
    pub stderr: ErrorSink,
}

/// What a wait came to.
enum Happened {
    Wrote(io::Result<usize>),
    Read(io::Result<usize>),
    Silence,
}

/// A child, alive, with its conversation.
pub struct Child {
    /// `None` only while it is being closed or dropped.
    process: Option<Process>,
    session: Session,
    lines: Lines,
    is_output_over: bool,
    /// Messages to write, the first one perhaps begun.
    outbox: VecDeque<Vec<u8>>,
    written: usize,
    /// The last batch's buffer, for the next.
    spare: Vec<u8>,
    input: Box<[u8]>,
    deadline: Option<Moment>,
    settings: ChildSettings,
    nursery: Nursery,
    clock: Clock,
}

impl Child {
    /// Starts one for a shard.
    ///
    /// # Errors
    /// [`SpawnError`] names the command and what is wrong with it.
    pub fn spawn(
        settings: &ChildSettings,
        shard: &ShardId,
        nursery: &Nursery,
        clock: &Clock,
    ) -> Result<Self, SpawnError> {
        let process = Process::spawn(&settings.command, shard, settings.stderr.clone(), nursery, clock)?;
        Ok(Self {
            session: Session::with(&process.name),
            process: Some(process),
            lines: Lines::new(),
            is_output_over: false,
            outbox: VecDeque::new(),
            written: 0,
            spare: Vec::new(),
            input: vec![0; READ_BYTES].into(),
            deadline: None,
            settings: settings.clone(),
            nursery: nursery.clone(),
            clock: clock.clone(),
        })
    }

    /// Has the child do something, and waits until it says that it has.
    ///
    /// # Errors
    /// [`Fault`]; every later call fails with [`Fault::Broken`].
    pub async fn call(&mut self, action: &Action<'_>, checkpoints: &mut impl Checkpoints) -> Result<(), Fault> {
        let mut message = std::mem::take(&mut self.spare);
        message.clear();
        action.encode(&mut message);
        let mut output = self.session.on(Input::Call(action.name(), message));
        let mut waits = None;
        loop {
            match output {
                Some(Output::Finished(result)) => return result,
                Some(Output::Write(message)) => self.outbox.push_back(message),
                Some(Output::Checkpoint(request)) => {
                    let result = checkpoints.checkpoint(&request).await;
                    output = self.session.on(Input::Checkpointed(result));
                    continue;
                }
                None => {}
            }
            if waits != Some(self.session.waits()) {
                waits = Some(self.session.waits());
                self.deadline = self.settings.timeout.map(|timeout| self.clock.monotonic().after(timeout));
            }
            output = match self.hear() {
                Heard::Said(output) => output,
                Heard::Nothing => {
                    let happened = self.happen().await;
                    self.note(happened)
                }
            };
        }
    }

    /// Closes the conversation and waits for the child's end, with force if it takes too long. Whoever stops waiting
    /// leaves the rest to the background, where the child has less time.
    pub async fn close(mut self) -> Option<ExitStatus> {
        let is_dropped = CancellationToken::new();
        let _waiting = is_dropped.clone().drop_guard();
        self.end(is_dropped)?.await.ok().flatten()
    }

    fn end(&mut self, is_dropped: CancellationToken) -> Option<JoinHandle<Option<ExitStatus>>> {
        let (process, lines) = (self.process.take()?, std::mem::take(&mut self.lines));
        let (awaited, dropped) = (self.settings.patience, self.settings.patience_when_dropped);
        self.nursery.see_out(process.close(lines, Deadline { awaited, dropped, is_dropped }))
    }

    /// Gives the session the next line, if it wants one and there is one.
    fn hear(&mut self) -> Heard {
        if !self.session.wants_line() {
            return Heard::Nothing;
        }
        let input = match self.lines.next_line() {
            Ok(Some(line)) => Input::Line(line),
            Err(error) => Input::OutputEnded(Some(error.to_string())),
            Ok(None) if self.is_output_over => match self.lines.last_line() {
                Some(line) => return Heard::Said(self.session.on(Input::Line(&line))),
                None => Input::OutputEnded(None),
            },
            Ok(None) => return Heard::Nothing,
        };
        Heard::Said(self.session.on(input))
    }

    async fn happen(&mut self) -> Happened {
        let can_read = !self.is_output_over && self.lines.has_room();
        let is_waiting = self.session.wants_line();
        let Some(process) = &mut self.process else { return Happened::Read(Err(io::ErrorKind::NotConnected.into())) };
        let (clock, deadline) = (&self.clock, self.deadline);
        let silence = async {
            match deadline {
                Some(deadline) => clock.sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let unwritten = self.outbox.front().map_or(&[][..], |message| &message[self.written..]);
        tokio::select! {
            biased;
            // Time first, or a child that only babbles would never run out of it; then what it is owed, then what it
            // says.
            () = silence, if is_waiting => Happened::Silence,
            result = process.stdin.write(unwritten), if !unwritten.is_empty() => Happened::Wrote(result),
            result = process.stdout.read(&mut self.input), if can_read => Happened::Read(result),
            else => Happened::Read(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    fn note(&mut self, happened: Happened) -> Option<Output> {
        match happened {
            Happened::Wrote(Ok(0)) => self.session.on(Input::WriteFailed("it is closed".to_owned())),
            Happened::Wrote(Ok(bytes)) => self.wrote(bytes),
            Happened::Wrote(Err(error)) => self.session.on(Input::WriteFailed(error.to_string())),
            Happened::Read(Ok(0)) => {
                self.is_output_over = true;
                None
            }
            Happened::Read(Ok(bytes)) => {
                self.lines.push(&self.input[..bytes]);
                None
            }
            Happened::Read(Err(error)) => {
                self.is_output_over = true;
                self.session.on(Input::OutputEnded(Some(error.to_string())))
            }
            Happened::Silence => self.session.on(Input::TimedOut),
        }
    }

    fn wrote(&mut self, bytes: usize) -> Option<Output> {
        self.written += bytes;
        if self.outbox.front().is_some_and(|message| self.written < message.len()) {
            return None;
        }
        self.written = 0;
        if let Some(message) = self.outbox.pop_front()
            && message.capacity() <= SPARE_BYTES_MAX
            && message.capacity() > self.spare.capacity()
        {
            self.spare = message;
        }
        self.session.on(Input::Written)
    }
}

/// What listening came to.
enum Heard {
    Nothing,
    Said(Option<Output>),
}

impl Drop for Child {
    fn drop(&mut self) {
        let is_dropped = CancellationToken::new();
        is_dropped.cancel();
        // Nobody awaits it, and the nursery sees to it.
        drop(self.end(is_dropped));
    }
}
