//! The process of a child: started in a group of its own, closed with patience, killed without.
//!
//! ```text
//! close: input closed ─► output drained ─► waited for ─► over
//!                            │ too long        │ too long
//!                            └──► SIGTERM ◄────┘
//!                                    │ too long
//!                                    └──► SIGKILL ─► waited for ─► over
//! ```
//! The group of its own keeps a terminal's Ctrl-C away from children: only the daemon gets it, and asks them to finish.
//!
//! Whoever waits for a close may give up: the steps go on in the background, and sooner.
//!
//! Invariant: nobody waits for a child without a bound. Not for one that does not end, nor for a grandchild that holds
//! a pipe.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kinetide::Clock;
use kinetide::stream::ShardId;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::nursery::{Membership, Nursery};
use crate::lines::Lines;
use crate::session::shown;

/// Where the stderr of all children goes; each line is written whole.
pub type ErrorSink = Arc<Mutex<dyn AsyncWrite + Send + Unpin>>;

/// How long a child may take to end.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// By itself, once its input is closed.
    pub end: Duration,
    /// Once it was asked with SIGTERM.
    pub terminate: Duration,
}

impl Patience {
    /// After its last action: it may have something to finish.
    pub const DEFAULT: Self = Self { end: Duration::from_secs(10), terminate: Duration::from_secs(2) };
    /// When the daemon ends.
    pub const SHORT: Self = Self { end: Duration::from_secs(1), terminate: Duration::from_millis(500) };
}

/// The part of a patience that one step of a close has.
type Step = fn(&Patience) -> Duration;

/// How long a child that is being closed may take, by who waits for it.
#[derive(Debug, Clone)]
pub(super) struct Deadline {
    /// While somebody waits.
    pub(super) awaited: Patience,
    /// From the moment on at which nobody does: the daemon is about to end.
    pub(super) dropped: Patience,
    /// Cancelled at that moment.
    pub(super) is_dropped: CancellationToken,
}

impl Deadline {
    /// Returns when one step has taken too long, and says how long it was given.
    async fn passes(&self, clock: &Clock, step: Step) -> Duration {
        let (awaited, dropped) = (step(&self.awaited), step(&self.dropped));
        let hurry = async {
            self.is_dropped.cancelled().await;
            clock.sleep(dropped).await;
        };
        tokio::select! {
            () = clock.sleep(awaited) => awaited,
            () = hurry => dropped,
        }
    }
}

/// A command that cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("executableName '{}' cannot be started: {fault}", command.join(" "))]
pub struct SpawnError {
    command: Vec<String>,
    fault: String,
}

const EXEC_FORMAT_ERROR: i32 = 8;
/// A line of stderr longer than this is passed on in pieces.
const ERROR_LINE_MAX: usize = 64 << 10;
const READ_BYTES: usize = 16 << 10;

/// A running child.
pub struct Process {
    /// What it is called in the log: its shard and its number.
    pub(super) name: String,
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    /// Before the child: a group is killed while its leader's number is still taken.
    membership: Membership,
    child: tokio::process::Child,
    /// One task that passes stderr on; ends with the process.
    stderr: JoinSet<()>,
    clock: Clock,
}

impl Process {
    /// Starts a command for a shard: the program is looked up on PATH, environment and working directory are inherited.
    ///
    /// # Errors
    /// [`SpawnError`] names the command and what is wrong with it.
    pub fn spawn(
        command: &[String],
        shard: &ShardId,
        errors: ErrorSink,
        nursery: &Nursery,
        clock: &Clock,
    ) -> Result<Self, SpawnError> {
        let refused = |fault: String| SpawnError { command: command.to_vec(), fault };
        let (program, arguments) = command.split_first().ok_or_else(|| refused("it is empty".to_owned()))?;
        let mut child = start(program, arguments).map_err(|error| refused(explain(program, &error)))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        let (Some(group), Some(stdin), Some(stdout), Some(stderr)) =
            (group, child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(refused("it has no pipes".to_owned()));
        };
        let mut passing = JoinSet::new();
        passing.spawn(pass_on(stderr, errors));
        let membership = nursery.enter(group);
        let name = format!("the child of {shard} (pid {})", membership.pid());
        Ok(Self { name, stdin, stdout, membership, child, stderr: passing, clock: clock.clone() })
    }

    /// Closes its input and waits for its end. `None`: it could not be waited for.
    pub(super) async fn close(self, mut lines: Lines, deadline: Deadline) -> Option<ExitStatus> {
        let Self { name, stdin, mut stdout, mut membership, mut child, mut stderr, clock } = self;
        drop(stdin);
        // The process is waited for only when its output has ended: until then its number is certainly its own.
        let mut end = std::pin::pin!(async {
            drain(&name, &mut stdout, &mut lines).await;
            child.wait().await
        });
        let (by_itself, when_asked): (Step, Step) = (|patience| patience.end, |patience| patience.terminate);
        let steps = [(by_itself, Force::Terminate), (when_asked, Force::Kill), (when_asked, Force::None)];
        let mut status = None;
        for (step, force) in steps {
            tokio::select! {
                // Time first, or a child that only babbles would never run out of it.
                biased;
                waited = deadline.passes(&clock, step) => force.apply(&name, &membership, waited),
                ended = &mut end => {
                    status = Some(ended);
                    break;
                }
            }
        }
        // Killed and still not over: a grandchild in a group of its own holds the output. That is left to itself.
        let status = status?;
        membership.leave();
        // What it said last is worth a moment: it is often why it ended.
        tokio::select! {
            _ = stderr.join_next() => {}
            _ = deadline.passes(&clock, when_asked) => {}
        }
        let status = status.inspect_err(|error| tracing::warn!("{name} cannot be waited for: {error}")).ok()?;
        tracing::debug!("{name} ended with {status}");
        Some(status)
    }
}

/// What is done about a child that takes too long.
enum Force {
    Terminate,
    Kill,
    None,
}

impl Force {
    fn apply(self, name: &str, membership: &Membership, waited: Duration) {
        let waited = waited.as_millis();
        match self {
            Self::Terminate => {
                tracing::warn!("{name} did not end within {waited} ms of its last action: it gets SIGTERM");
                membership.terminate();
            }
            Self::Kill => {
                tracing::warn!("{name} did not end within {waited} ms of SIGTERM: it gets SIGKILL");
                membership.kill();
            }
            Self::None => {}
        }
    }
}

fn start(program: &str, arguments: &[String]) -> io::Result<tokio::process::Child> {
    match piped(Command::new(program)).args(arguments).spawn() {
        // A script without a first line that says what runs it. Java gives it to the shell, and so must we: neither the
        // kernel nor every C library does.
        Err(error) if error.raw_os_error() == Some(EXEC_FORMAT_ERROR) => {
            let path = find(program).ok_or(error)?;
            piped(Command::new("/bin/sh")).arg(path).args(arguments).spawn()
        }
        result => result,
    }
}

fn piped(mut command: Command) -> Command {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command
}

/// Where a program is: a path as it is, a name on PATH.
fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return is_file(Path::new(program)).then(|| PathBuf::from(program));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| is_executable(file))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn explain(program: &str, error: &io::Error) -> String {
    match (error.kind(), find(program)) {
        (io::ErrorKind::NotFound, Some(path)) => {
            format!("the interpreter in the first line of '{}' does not exist", path.display())
        }
        (io::ErrorKind::NotFound, None) if program.contains('/') => format!("there is no file '{program}'"),
        (io::ErrorKind::NotFound, None) => format!("'{program}' is not on PATH"),
        (io::ErrorKind::PermissionDenied, _) => format!("'{program}' is not executable"),
        _ => format!("'{program}': {error}"),
    }
}

/// Reads what a child still says, so that it can end; says it to the log.
async fn drain(name: &str, stdout: &mut ChildStdout, lines: &mut Lines) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        while let Ok(Some(line)) = lines.next_line() {
            note(name, line);
        }
        match stdout.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) if !lines.has_room() => *lines = Lines::new(),
            Ok(bytes) => lines.push(&buffer[..bytes]),
        }
    }
    if let Some(line) = lines.last_line() {
        note(name, &line);
    }
}

fn note(name: &str, line: &[u8]) {
    if !line.trim_ascii().is_empty() {
        tracing::info!("{name} said after its last action: {}", shown(line));
    }
}

/// Passes stderr on, whole lines at a time, byte for byte. A sink that fails does not stop the child.
async fn pass_on(mut stderr: ChildStderr, sink: ErrorSink) {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        let is_over = matches!(stderr.read_buf(&mut buffer).await, Ok(0) | Err(_));
        let whole = match buffer.iter().rposition(|byte| *byte == b'\n') {
            _ if is_over || buffer.len() >= ERROR_LINE_MAX => buffer.len(),
            Some(last) => last + 1,
            None => 0,
        };
        if whole > 0 {
            let mut sink = sink.lock().await;
            let _ = sink.write_all(&buffer[..whole]).await;
            let _ = sink.flush().await;
            buffer.drain(..whole);
        }
        if is_over {
            return;
        }
    }
}
