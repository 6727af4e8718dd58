//! The protocol with one child, as a machine without effects: it is told what happened and says what to do next.
//!
//! It is not for pipes, clocks or leases: [`crate::child`] reads, writes and waits for it, and [`crate::bridge`]
//! checkpoints.
//!
//! ```text
//!           call                      status of the call, all written
//!   Idle ─────────► Waiting ──────────────────────────────────────────► Idle
//!                    │ ▲  │ status of the call, not all written
//!   checkpoint       │ │  └────────────► Settling ── all written ─────► Idle
//!   request, allowed │ │ all written
//!                    ▼ │
//!             Checkpointing ── checkpointed ──► Replying
//!                                                 ▲ │
//!                                                 │ └── all written ──► Waiting
//!   Waiting ── checkpoint request, not allowed ───┘
//!
//!   any of them ── wrong status, output ended, write failed, timed out ──► Broken
//! ```
//!
//! Invariants:
//! - strict lock-step: a call starts in `Idle` only, and lines are taken in `Waiting` only, so what a child says too
//!   early stays in the pipe until it is asked for;
//! - the reply to a checkpoint request is the next thing written after it;
//! - every call finishes exactly once;
//! - a broken session does nothing but refuse calls.

#[cfg(test)]
mod tests;

use std::fmt;

use kinetide::CheckpointErrorKind;

use crate::message::{ActionName, CheckpointRequest, ChildMessage, Judged, decode, encode_reply};

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// An action is to be done; here is its message.
    Call(ActionName, Vec<u8>),
    /// The child wrote this line. Only while [`Session::wants_line`].
    Line(&'a [u8]),
    /// The child closed its output, or it could not be read.
    OutputEnded(Option<String>),
    /// The requested checkpoint was stored, or was not.
    Checkpointed(Result<(), CheckpointErrorKind>),
    /// The oldest message not yet written is now.
    Written,
    /// The child does not take what it is told.
    WriteFailed(String),
    /// The child has been silent for too long. Only while [`Session::wants_line`].
    TimedOut,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Write this to the child.
    Write(Vec<u8>),
    /// Checkpoint, and say how it went.
    Checkpoint(CheckpointRequest),
    /// The call is over.
    Finished(Result<(), Fault>),
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The child says that it has done something else.
    WrongStatus(Option<String>),
    /// The child closed its output.
    OutputEnded,
    /// The child's output could not be read, or is no text.
    ReadFailed(String),
    /// The child does not take what it is told.
    WriteFailed(String),
    /// The child has been silent for too long.
    TimedOut,
    /// An earlier call failed.
    Broken,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongStatus(Some(name)) => write!(f, "answered with a status for '{name}'"),
            Self::WrongStatus(None) => f.write_str("answered with a status that names no action"),
            Self::OutputEnded => f.write_str("closed its output without an answer"),
            Self::ReadFailed(error) => write!(f, "cannot be read from: {error}"),
            Self::WriteFailed(error) => write!(f, "cannot be written to: {error}"),
            Self::TimedOut => f.write_str("did not answer in time"),
            Self::Broken => f.write_str("failed before"),
        }
    }
}

/// The Java exception by which clients know a failed checkpoint.
#[must_use]
pub fn exception_name(kind: CheckpointErrorKind) -> &'static str {
    match kind {
        CheckpointErrorKind::Throttled => "ThrottlingException",
        CheckpointErrorKind::LeaseLost => "ShutdownException",
        CheckpointErrorKind::InvalidState => INVALID_STATE,
        CheckpointErrorKind::OutOfRange => "IllegalArgumentException",
        // Every kind of the library is named above; one that is added must not look like a request to retry or to stop.
        CheckpointErrorKind::Dependency | _ => "KinesisClientLibDependencyException",
    }
}

const INVALID_STATE: &str = "InvalidStateException";

/// Where the session is, and in which action.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Idle,
    Waiting(ActionName),
    Checkpointing(ActionName, CheckpointRequest),
    Replying(ActionName),
    Settling,
    Broken,
}

/// The machine.
#[derive(Debug)]
pub struct Session {
    /// What the child is called in the log.
    name: String,
    state: State,
    /// Messages given out and not yet written; at most the action and one reply.
    unwritten: usize,
    waits: u64,
}

impl Session {
    /// With a child of this name, which only the log needs.
    #[must_use]
    pub fn with(name: &str) -> Self {
        Self { name: name.to_owned(), state: State::Idle, unwritten: 0, waits: 0 }
    }

    /// True if the next line of the child is to be given.
    #[must_use]
    pub fn wants_line(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    /// Grows whenever a wait for a message begins: the moment from which its time limit counts.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.waits
    }

    /// True if no call is under way and none has failed.
    #[cfg(test)]
    fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Goes on. Input that does not fit the state is ignored, except for a call, which is refused.
    pub fn on(&mut self, input: Input<'_>) -> Option<Output> {
        match input {
            Input::Call(action, message) => Some(self.start(action, message)),
            Input::Line(line) => self.hear(line),
            Input::Checkpointed(result) => self.answer(result),
            Input::Written => self.wrote(),
            Input::OutputEnded(None) => self.fail(Fault::OutputEnded),
            Input::OutputEnded(Some(error)) => self.fail(Fault::ReadFailed(error)),
            Input::WriteFailed(error) => self.fail(Fault::WriteFailed(error)),
            Input::TimedOut => self.fail(Fault::TimedOut),
        }
    }

    fn start(&mut self, action: ActionName, message: Vec<u8>) -> Output {
        if self.state != State::Idle {
            return Output::Finished(Err(Fault::Broken));
        }
        self.wait(action);
        self.write(message)
    }

    fn wait(&mut self, action: ActionName) {
        self.state = State::Waiting(action);
        self.waits += 1;
    }

    fn write(&mut self, message: Vec<u8>) -> Output {
        self.unwritten += 1;
        Output::Write(message)
    }

    fn hear(&mut self, line: &[u8]) -> Option<Output> {
        let State::Waiting(action) = self.state else { return None };
        match decode(line) {
            Judged::Message(ChildMessage::Status { response_for }) => self.close(action, response_for),
            Judged::Message(ChildMessage::Checkpoint(request)) => Some(self.request(action, request)),
            Judged::Message(ChildMessage::Irrelevant) => {
                self.wait(action);
                None
            }
            Judged::Empty => None,
            Judged::Skipped(why) => {
                tracing::info!("skipped a line of {}, because {why}: {}", self.name, shown(line));
                None
            }
        }
    }

    fn close(&mut self, action: ActionName, response_for: Option<String>) -> Option<Output> {
        if response_for.as_deref() != Some(action.as_str()) {
            return self.fail(Fault::WrongStatus(response_for));
        }
        if self.unwritten > 0 {
            self.state = State::Settling;
            return None;
        }
        self.state = State::Idle;
        Some(Output::Finished(Ok(())))
    }

    fn request(&mut self, action: ActionName, request: CheckpointRequest) -> Output {
        if action.may_checkpoint() {
            self.state = State::Checkpointing(action, request.clone());
            Output::Checkpoint(request)
        } else {
            self.reply(action, &request, Some(INVALID_STATE))
        }
    }

    fn reply(&mut self, action: ActionName, request: &CheckpointRequest, error: Option<&str>) -> Output {
        let mut message = Vec::new();
        encode_reply(&mut message, request, error);
        self.state = State::Replying(action);
        self.write(message)
    }

    fn answer(&mut self, result: Result<(), CheckpointErrorKind>) -> Option<Output> {
        if !matches!(self.state, State::Checkpointing(..)) {
            return None;
        }
        let State::Checkpointing(action, request) = std::mem::replace(&mut self.state, State::Broken) else {
            return None;
        };
        Some(self.reply(action, &request, result.err().map(exception_name)))
    }

    fn wrote(&mut self) -> Option<Output> {
        self.unwritten = self.unwritten.saturating_sub(1);
        if self.unwritten > 0 {
            return None;
        }
        match self.state {
            State::Replying(action) => {
                self.wait(action);
                None
            }
            State::Settling => {
                self.state = State::Idle;
                Some(Output::Finished(Ok(())))
            }
            _ => None,
        }
    }

    fn fail(&mut self, fault: Fault) -> Option<Output> {
        match std::mem::replace(&mut self.state, State::Broken) {
            // Between calls nobody waits for an answer; the next call is refused.
            State::Idle | State::Broken => None,
            _ => Some(Output::Finished(Err(fault))),
        }
    }
}

/// The beginning of a line, fit for a log.
pub(crate) fn shown(line: &[u8]) -> String {
    const SHOWN_MAX: usize = 200;
    let text = String::from_utf8_lossy(&line[..line.len().min(SHOWN_MAX * 4)]);
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}
