//! The data directory: who may use it, and where the stores live in it.
//!
//! Not here: the formats of the stores. Invariant: at most one endpoint uses a directory at a time, over processes too.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock;
use crate::settings::LocalError;

/// An endpoint that was dropped in this process lets go a moment later, when its tasks have noticed.
const RETRIES: u32 = 20;
const RETRY: Duration = Duration::from_millis(50);

/// The directory is ours while this lives. The operating system lifts the lock when a process dies, however it dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) async fn take(directory: &Path) -> Result<Self, LocalError> {
        std::fs::create_dir_all(directory).map_err(|error| unusable(directory, "create", &error))?;
        let path = directory.join("lock");
        let opened = File::options().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(|error| unusable(&path, "open", &error))?;
        for _ in 0..RETRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) => clock::sleep(RETRY).await,
                Err(TryLockError::Error(error)) => return Err(unusable(&path, "lock", &error)),
            }
        }
        Err(LocalError::DataDirInUse { path: directory.to_owned() })
    }
}

pub(crate) fn unusable(path: &Path, attempt: &str, error: &dyn std::fmt::Display) -> LocalError {
    LocalError::DataDir { path: path.to_owned(), reason: format!("cannot {attempt}: {error}") }
}

/// Stream metadata, kept by ferrokinesis.
pub(crate) fn streams(directory: &Path) -> PathBuf {
    directory.join("streams")
}

/// Records, kept by `kinesis::journal`.
pub(crate) fn records(directory: &Path) -> PathBuf {
    directory.join("records.log")
}

/// Tables, kept by dynoxide.
pub(crate) fn tables(directory: &Path) -> PathBuf {
    directory.join("tables.sqlite")
}
