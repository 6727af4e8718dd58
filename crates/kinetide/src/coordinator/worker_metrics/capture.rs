//! Gauges: one look at the counters of a machine says how busy it is, in percent.
//!
//! There is one per kind of platform, with the formulas of the Java KCL, because the leader compares the workers'
//! numbers, whoever wrote them. Parsing and arithmetic are pure functions of text; reading is a thin layer whose
//! [`Root`] and [`http::Fetch`] a test replaces. Which gauge fits is [`super::select`]'s business.
//!
//! Counters say something only by how they moved, so a first look says 0, as in Java. A look that cannot be understood
//! is an error: the value is not counted, and the next look starts anew.

pub mod cgroup;
pub mod ecs;
pub mod http;
pub mod proc_stat;

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use async_trait::async_trait;

use crate::clock::Moment;

/// The short name of the metric that every gauge here captures.
pub const CPU: &str = "C";

/// A file is read up to here: of the longest one, only the first line counts.
const FILE_BYTES_MAX: usize = 4096;
/// This much of a value that makes no sense is told.
const VALUE_CHARS_MAX: usize = 80;

/// Tells how busy this worker is.
#[async_trait]
pub trait Gauge: Send {
    /// The short name of the metric, as it is stored.
    fn metric(&self) -> &'static str;

    /// How busy it was since the last look, from 0 to 100; 0 at the first one. It comes back within a few seconds,
    /// whatever happens: it has no other guard.
    async fn capture(&mut self, now: Moment) -> Result<f64, CaptureError>;
}

/// Why a look said nothing: what is wrong, where, and the value at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureError {
    problem: Cow<'static, str>,
    source: String,
    value: Option<String>,
}

impl CaptureError {
    /// Something could not be read at all.
    #[must_use]
    pub fn unreadable(source: &str, error: impl fmt::Display) -> Self {
        Self { problem: format!("cannot be read: {error}").into(), source: source.to_owned(), value: None }
    }

    /// What was read makes no sense. Of a long value only the beginning is kept, and all of it in one line.
    #[must_use]
    pub fn senseless(source: &str, problem: &'static str, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        let printable = value.trim_end().chars().map(|char| if char.is_control() { ' ' } else { char });
        let value = printable.take(VALUE_CHARS_MAX).collect();
        Self { problem: problem.into(), source: source.to_owned(), value: Some(value) }
    }
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, source={}", self.problem, self.source)?;
        self.value.iter().try_for_each(|value| write!(f, " value='{value}'"))
    }
}

impl std::error::Error for CaptureError {}

/// The root of a file system: `/`, or what a test puts in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The root is this directory.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// True if there is something at this absolute path.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.place(path).exists()
    }

    /// The beginning of the file at this absolute path.
    ///
    /// It is read in the calling task: what is read here is made by the kernel in memory, which takes microseconds.
    ///
    /// # Errors
    /// [`CaptureError`] names the file.
    pub fn read(&self, path: &str) -> Result<String, CaptureError> {
        self.beginning(path).map_err(|error| CaptureError::unreadable(path, error))
    }

    /// As [`Root::read`]; `None` if there is no such file.
    ///
    /// # Errors
    /// [`CaptureError`] names the file.
    pub fn read_if_any(&self, path: &str) -> Result<Option<String>, CaptureError> {
        match self.beginning(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(|error| CaptureError::unreadable(path, error)),
        }
    }

    fn beginning(&self, path: &str) -> io::Result<String> {
        let mut text = String::with_capacity(FILE_BYTES_MAX);
        File::open(self.place(path))?.take(FILE_BYTES_MAX as u64).read_to_string(&mut text)?;
        Ok(text)
    }

    fn place(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A root with these files; it is gone with the directory.
    pub(in crate::coordinator::worker_metrics) fn root_with(files: &[(&str, &str)]) -> (TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        for (path, text) in files {
            put(&root, path, text);
        }
        (directory, root)
    }

    pub(in crate::coordinator::worker_metrics) fn put(root: &Root, path: &str, text: &str) {
        let place = root.place(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, text).unwrap();
    }

    #[test]
    fn files_are_read_below_the_root_and_up_to_a_bound() {
        let long = "x".repeat(FILE_BYTES_MAX + 1);
        let (_directory, root) = root_with(&[("/a/b", "text\n"), ("/long", &long)]);
        assert!(root.has("/a/b") && !root.has("/a/c"));
        assert_eq!(root.read("/a/b"), Ok("text\n".to_owned()));
        assert_eq!(root.read("/long").unwrap().len(), FILE_BYTES_MAX);
        assert_eq!(root.read_if_any("/a/c"), Ok(None));
        let error = root.read("/a/c").unwrap_err().to_string();
        assert!(error.starts_with("cannot be read: ") && error.ends_with(", source=/a/c"), "{error}");
    }

    #[test]
    fn an_error_is_one_sentence_with_the_value() {
        let error = CaptureError::senseless("/proc/stat", "no number", format!("{}\n", "7".repeat(100)));
        assert_eq!(error.to_string(), format!("no number, source=/proc/stat value='{}'", "7".repeat(80)));
        let error = CaptureError::senseless("/proc/stat", "no number", "two\nlines\n");
        assert_eq!(error.to_string(), "no number, source=/proc/stat value='two lines'");
    }
}
