//! What a user can set, and what can go wrong while starting.
//!
//! Data only: nothing here opens a file or a socket. Invariant: `Settings::default()` starts an endpoint that needs no
//! account, leaves no file behind and throttles nobody.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::faults::Faults;

/// The port that local Kinesis emulators have answered on since kinesalite.
pub const PORT_DEFAULT: u16 = 4567;

/// How the endpoint behaves. Everything has a default; see each field.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Port on 127.0.0.1. Default 4567; 0 takes any free one, which [`Local::port`](crate::Local::port) then tells.
    pub port: u16,
    /// Directory that keeps streams, records and tables over restarts. Default none: everything lives in memory.
    ///
    /// What was acknowledged survives a killed process; see the crate documentation for what a power cut may take.
    pub data_dir: Option<PathBuf>,
    /// Open shards over all streams. Default 1000; more is refused with `LimitExceededException`.
    pub shards_max: u32,
    /// Throttle like the real service: per shard 5 GetRecords and 2 MB read, 1 MB and 1000 records written, each
    /// second. Default off.
    pub enforce_limits: bool,
    /// Be as slow as the real service where that matters: 8 s until a table is ACTIVE, 60 s for an index added later, 5
    /// s for a registered consumer. Default off.
    pub aws_timing: bool,
    /// Streams that exist when [`Local::start`](crate::Local::start) returns. Those already in the data directory are
    /// left as they are.
    pub streams: Vec<StreamSpec>,
    /// Rules that disturb requests, for tests. Default none. The handle is shared: rules can change while the endpoint
    /// runs.
    pub faults: Faults,
    /// Region in ARNs. Default us-east-1.
    pub region: String,
    /// Account in ARNs, 12 digits. Default 000000000000.
    pub account_id: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: PORT_DEFAULT,
            data_dir: None,
            shards_max: 1000,
            enforce_limits: false,
            aws_timing: false,
            streams: Vec::new(),
            faults: Faults::default(),
            region: "us-east-1".to_owned(),
            account_id: "000000000000".to_owned(),
        }
    }
}

/// A stream to create, written `name` or `name:shards`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSpec {
    /// 1 to 128 letters, digits, `_`, `.` or `-`.
    pub name: String,
    /// At least 1.
    pub shards: u32,
}

/// Why a text is not a [`StreamSpec`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamSpecError {
    /// The name is empty, too long or has other characters than the service allows.
    #[error("stream {value:?} has no valid name: 1 to 128 letters, digits, '_', '.' or '-' are needed")]
    Name {
        /// The text as given.
        value: String,
    },
    /// What follows the colon is not a positive number.
    #[error("stream {value:?} has no valid shard count: a number of at least 1 is needed after ':'")]
    Shards {
        /// The text as given.
        value: String,
    },
}

impl FromStr for StreamSpec {
    type Err = StreamSpecError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let (name, shards) = match value.split_once(':') {
            Some((name, shards)) => (name, shards.parse().ok().filter(|&count| count > 0)),
            None => (value, Some(1)),
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if name.is_empty() || name.len() > 128 || !name.chars().all(legal) {
            return Err(StreamSpecError::Name { value: value.to_owned() });
        }
        let shards = shards.ok_or_else(|| StreamSpecError::Shards { value: value.to_owned() })?;
        Ok(Self { name: name.to_owned(), shards })
    }
}

/// Why the endpoint did not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// Somebody else listens on the port.
    #[error("port {} is in use ({address}): stop what listens there, or choose another (0 takes any)", address.port())]
    PortInUse {
        /// Where the endpoint wanted to listen.
        address: SocketAddr,
    },
    /// The address could not be bound for another reason.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where the endpoint wanted to listen.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The data directory cannot be created, read or written.
    #[error("data directory {path:?} is unusable: {reason}")]
    DataDir {
        /// The directory, or the file in it.
        path: PathBuf,
        /// What was attempted, and what came of it.
        reason: String,
    },
    /// Another process holds the data directory.
    #[error("data directory {path:?} is in use by another process")]
    DataDirInUse {
        /// The directory.
        path: PathBuf,
    },
    /// A stream named in the settings could not be created.
    #[error("stream {name:?} could not be created: {reason}")]
    Stream {
        /// The stream.
        name: String,
        /// What the service answered.
        reason: String,
    },
    /// A store could not be opened.
    #[error("{store} store did not open: {reason}")]
    Store {
        /// Which of the two.
        store: &'static str,
        /// What it answered.
        reason: String,
    },
    /// Serving ended although nobody asked for it.
    #[error("serving ended: {reason}")]
    Serve {
        /// What ended it.
        reason: String,
    },
}
