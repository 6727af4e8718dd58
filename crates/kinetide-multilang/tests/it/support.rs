//! Scripts, a sink for stderr, and checkpoints that go nowhere.

use std::path::PathBuf;
use std::pin::Pin;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use kinetide::CheckpointErrorKind;
use kinetide_multilang::child::process::{ErrorSink, Patience};
use kinetide_multilang::child::{Checkpoints, ChildSettings};
use kinetide_multilang::message::CheckpointRequest;
use tempfile::TempDir;

/// Answers every action; `$action` is its name.
pub(crate) const ANSWER: &str = r#"
answer() { printf '\n{"action": "status", "responseFor": "%s"}\n' "$action"; }
next() { IFS= read -r line || return 1; action=${line#*\"action\":\"}; action=${action%%\"*}; }
"#;

/// A folder with one executable script in it.
pub(crate) struct Script {
    pub(crate) folder: TempDir,
}

impl Script {
    pub(crate) fn new(body: &str) -> Self {
        let script = Self { folder: tempfile::tempdir().unwrap() };
        // Another process writes it: a file that this one still had open for writing while another test forks could not
        // be executed.
        let write = r#"printf '%s' "$2" > "$1" && chmod +x "$1""#;
        let status = Command::new("sh").args(["-c", write, "sh"]).arg(script.path()).arg(body).status().unwrap();
        assert!(status.success());
        script
    }

    /// A script with the helpers in front.
    pub(crate) fn answering(body: &str) -> Self {
        Self::new(&format!("{ANSWER}\n{body}\n"))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("child")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) fn logged(&self) -> Vec<String> {
        std::fs::read_to_string(self.log()).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Run by the shell, with the log as its argument.
    pub(crate) fn command(&self) -> Vec<String> {
        ["sh".into(), self.path(), self.log()].iter().map(|word: &PathBuf| word.display().to_string()).collect()
    }
}

/// Keeps what children write to stderr.
#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub(crate) fn sink(&self) -> ErrorSink {
        Arc::new(tokio::sync::Mutex::new(self.clone()))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }
}

impl tokio::io::AsyncWrite for Captured {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Short times, so that tests of impatience are short, and long enough for a busy machine.
pub(crate) fn settings(command: Vec<String>, captured: &Captured) -> ChildSettings {
    let patience = Patience { end: Duration::from_secs(1), terminate: Duration::from_secs(2) };
    ChildSettings { command, timeout: None, patience, patience_when_dropped: patience, stderr: captured.sink() }
}

/// Remembers what was asked and answers with the same each time.
pub(crate) struct Asked {
    pub(crate) requests: Vec<CheckpointRequest>,
    pub(crate) answer: Result<(), CheckpointErrorKind>,
}

impl Asked {
    pub(crate) fn answering(answer: Result<(), CheckpointErrorKind>) -> Self {
        Self { requests: Vec::new(), answer }
    }
}

impl Checkpoints for Asked {
    async fn checkpoint(&mut self, request: &CheckpointRequest) -> Result<(), CheckpointErrorKind> {
        self.requests.push(request.clone());
        self.answer
    }
}
