//! Why a worker could not start or had to stop: [`WorkerError`].

use crate::lease::TableError;
use crate::settings::InvalidSetting;
use crate::stream::SourceError;
use crate::stream::id::InvalidName;

/// A worker that could not start or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// Something the builder needs was not given.
    #[error("{0} was not given")]
    Incomplete(&'static str),
    /// A setting is out of its bounds.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// A name is not allowed.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// AWS cannot be used: no region, or no credentials.
    #[error("{0}")]
    Aws(String),
    /// The stream does not exist.
    #[error("stream '{0}' does not exist")]
    StreamMissing(String),
    /// The stream could not be read.
    #[error("stream '{stream}' cannot be read")]
    Source {
        /// The stream.
        stream: String,
        /// The cause.
        source: SourceError,
    },
    /// The lease table could not be used.
    #[error("the lease table cannot be used")]
    Table(#[from] TableError),
    /// The worker's id is the key of a lease: workers and leases share one space of keys in tables of newer fleets.
    #[error("worker id '{0}' is the key of a lease; give the worker another id")]
    WorkerIdTaken(String),
    /// The table belongs to an application of the other kind: its keys name streams, or do not.
    #[error(
        "table '{table}' has the lease '{key}' of an application that reads {}, and this one reads {}: give it another",
        if *are_many { "one stream" } else { "many streams" },
        if *are_many { "many streams" } else { "one stream" }
    )]
    ForeignKeys {
        /// The table.
        table: String,
        /// One of its leases.
        key: String,
        /// True if this application reads many streams.
        are_many: bool,
    },
    /// The shards listed do not hold every hash key, so some records would not be read.
    #[error("the shards listed for stream '{0}' leave out some hash keys; it may be changing")]
    ShardsIncomplete(String),
    /// A shard is listed as the child of one that is still open, so the listing is of no use.
    #[error("stream '{stream}' is changing: {child} is listed as the child of an open shard")]
    UnexpectedChild {
        /// The stream.
        stream: String,
        /// The child.
        child: String,
    },
    /// A processor failed for good.
    #[error("a processor failed")]
    Processor(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl WorkerError {
    /// True if the same worker may start later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Source { source, .. } => source.is_retryable(),
            Self::Table(error) => error.is_retryable(),
            Self::ShardsIncomplete(_) | Self::UnexpectedChild { .. } => true,
            _ => false,
        }
    }
}

/// An error and its causes in one line, without repetitions.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !line.contains(&message) {
            line = format!("{line}: {message}");
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::TableErrorKind;

    #[test]
    fn a_chain_tells_each_thing_once() {
        let io = std::io::Error::other("connection refused");
        let error = TableError::new(TableErrorKind::Unavailable, "Scan", "app", "no connection").with_source(io);
        let error = WorkerError::Table(error);
        let expected = "the lease table cannot be used: Scan failed: no connection, table=app: connection refused";
        assert_eq!(chain(&error), expected);
    }
}
