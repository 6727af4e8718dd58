//! Signals that end the daemon, from the process or from a test.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// A request to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: a supervisor wants it.
    Terminate,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGHUP: the terminal is gone.
    Hangup,
}

impl Signal {
    /// The exit status of a process that this signal ended.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Terminate => 143,
            Self::Interrupt => 130,
            Self::Hangup => 129,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Hangup => "SIGHUP",
        }
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Signals as they come.
#[derive(Debug)]
pub struct Signals {
    receiver: mpsc::Receiver<Signal>,
    /// Tasks that pass the process's signals on; they end with this.
    _listening: JoinSet<()>,
}

/// They are taken as they come, so few wait.
const PENDING_MAX: usize = 4;

impl Signals {
    /// Those of this process. From now on they do not end it by themselves.
    ///
    /// # Errors
    /// When the system does not let the process listen.
    pub fn of_process() -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(PENDING_MAX);
        let mut listening = JoinSet::new();
        let kinds = [
            (SignalKind::terminate(), Signal::Terminate),
            (SignalKind::interrupt(), Signal::Interrupt),
            (SignalKind::hangup(), Signal::Hangup),
        ];
        for (kind, name) in kinds {
            let (mut stream, sender) = (signal(kind)?, sender.clone());
            listening.spawn(async move {
                while stream.recv().await.is_some() {
                    let _ = sender.try_send(name);
                }
            });
        }
        Ok(Self { receiver, _listening: listening })
    }

    /// Those that somebody sends; for tests and for programs with signals of their own.
    #[must_use]
    pub fn channel() -> (mpsc::Sender<Signal>, Self) {
        let (sender, receiver) = mpsc::channel(PENDING_MAX);
        (sender, Self { receiver, _listening: JoinSet::new() })
    }

    /// The next one; never, if there can be none.
    pub async fn next(&mut self) -> Signal {
        match self.receiver.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}
