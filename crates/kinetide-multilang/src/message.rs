//! The messages of the MultiLang protocol: one JSON object per line, in both directions.
//!
//! [`Action::encode`] writes what the daemon says, byte for byte as the Java daemon does; [`decode`] judges what a
//! child says. Who may say what when is [`crate::session`]'s business, and so is everything about pipes
//! [`crate::child`]'s.
//!
//! Invariants: an encoded message is one line, ends with a line feed, is UTF-8, and writes every field, `null`
//! included; the keys are in the Java daemon's order. Nested objects are records and nothing else, because clients
//! dispatch on every object.

mod decode;
mod encode;

#[cfg(test)]
mod tests;

pub use decode::{CheckpointRequest, ChildMessage, Judged, decode};
pub use encode::{Action, encode_reply};

/// The name of an action, as `action` and `responseFor` carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActionName {
    /// Starts a shard.
    Initialize,
    /// Hands over records.
    ProcessRecords,
    /// The lease is gone.
    LeaseLost,
    /// The shard is read to its end.
    ShardEnded,
    /// The lease will be given up.
    ShutdownRequested,
}

impl ActionName {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::ProcessRecords => "processRecords",
            Self::LeaseLost => "leaseLost",
            Self::ShardEnded => "shardEnded",
            Self::ShutdownRequested => "shutdownRequested",
        }
    }

    /// True if the child may checkpoint before it answers.
    #[must_use]
    pub const fn may_checkpoint(self) -> bool {
        match self {
            Self::ProcessRecords | Self::ShardEnded | Self::ShutdownRequested => true,
            Self::Initialize | Self::LeaseLost => false,
        }
    }
}

impl std::fmt::Display for ActionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
