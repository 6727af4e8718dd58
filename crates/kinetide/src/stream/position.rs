//! Positions in a shard: where a record is, where a consumer has got to, where a new one starts.

use std::fmt;

use super::record::Timestamp;
use super::sequence::{InvalidSequenceNumber, SequenceNumber};

/// Where a user record is: the sequence number of the Kinesis record that carried it, and its index inside that record.
///
/// The index is 0 unless the record is an aggregate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordPosition {
    /// The sequence number of the Kinesis record.
    pub sequence: SequenceNumber,
    /// The index of the user record inside an aggregate.
    pub sub_sequence: u64,
}

impl From<SequenceNumber> for RecordPosition {
    fn from(sequence: SequenceNumber) -> Self {
        Self { sequence, sub_sequence: 0 }
    }
}

impl fmt::Display for RecordPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.sequence, self.sub_sequence)
    }
}

/// How far a shard has been processed, up to and including.
///
/// The order of the variants is the order of the protocol: `AT_TIMESTAMP` < `TRIM_HORIZON` < `LATEST` < any number < `SHARD_END`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checkpoint {
    /// Nothing yet; starts at the timestamp in the settings, which the lease does not store.
    AtTimestamp,
    /// Nothing yet; starts at the oldest record.
    TrimHorizon,
    /// Nothing yet; starts after the newest record.
    Latest,
    /// Everything up to and including this record.
    At(RecordPosition),
    /// Everything: the shard is closed and done.
    ShardEnd,
}

impl Checkpoint {
    /// Reads the two attributes of a lease.
    ///
    /// # Errors
    /// [`InvalidSequenceNumber`] when the text is neither a sentinel nor a number.
    pub fn parse(text: &str, sub_sequence: u64) -> Result<Self, InvalidSequenceNumber> {
        Ok(match text {
            "AT_TIMESTAMP" => Self::AtTimestamp,
            "TRIM_HORIZON" => Self::TrimHorizon,
            "LATEST" => Self::Latest,
            "SHARD_END" => Self::ShardEnd,
            _ => Self::At(RecordPosition { sequence: SequenceNumber::new(text)?, sub_sequence }),
        })
    }

    /// The text stored in a lease: a sentinel or a number.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::AtTimestamp => "AT_TIMESTAMP",
            Self::TrimHorizon => "TRIM_HORIZON",
            Self::Latest => "LATEST",
            Self::At(position) => position.sequence.as_str(),
            Self::ShardEnd => "SHARD_END",
        }
    }

    /// The sub-sequence number stored beside it; 0 for sentinels.
    #[must_use]
    pub fn sub_sequence(&self) -> u64 {
        match self {
            Self::At(position) => position.sub_sequence,
            _ => 0,
        }
    }

    /// True if this checkpoint says that the record at `position` has been processed.
    #[must_use]
    pub fn covers(&self, position: &RecordPosition) -> bool {
        match self {
            Self::At(done) => position <= done,
            Self::ShardEnd => true,
            _ => false,
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(position) => position.fmt(f),
            sentinel => f.write_str(sentinel.as_str()),
        }
    }
}

/// Where a shard without a checkpoint starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialPosition {
    /// At the oldest record still kept.
    TrimHorizon,
    /// After the newest record.
    Latest,
    /// At the first record that arrived at or after this time.
    AtTimestamp(Timestamp),
}

impl InitialPosition {
    /// The sentinel a new lease stores.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        match self {
            Self::TrimHorizon => Checkpoint::TrimHorizon,
            Self::Latest => Checkpoint::Latest,
            Self::AtTimestamp(_) => Checkpoint::AtTimestamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: u64, sub_sequence: u64) -> Checkpoint {
        Checkpoint::At(RecordPosition { sequence: sequence.into(), sub_sequence })
    }

    #[test]
    fn orders_as_the_protocol_does() {
        let ordered = [
            Checkpoint::AtTimestamp,
            Checkpoint::TrimHorizon,
            Checkpoint::Latest,
            at(9, 0),
            at(9, 3),
            at(10, 0),
            Checkpoint::ShardEnd,
        ];
        assert!(ordered.is_sorted());
    }

    #[test]
    fn survives_the_lease_table() {
        for checkpoint in [Checkpoint::AtTimestamp, Checkpoint::Latest, at(12, 4), Checkpoint::ShardEnd] {
            let read = Checkpoint::parse(checkpoint.as_str(), checkpoint.sub_sequence()).unwrap();
            assert_eq!(read, checkpoint);
        }
        assert!(Checkpoint::parse("latest", 0).is_err());
    }

    #[test]
    fn covers_up_to_and_including() {
        let covered =
            |sequence: u64, sub_sequence| at(9, 3).covers(&RecordPosition { sequence: sequence.into(), sub_sequence });
        assert!(covered(8, 99) && covered(9, 3));
        assert!(!covered(9, 4) && !covered(10, 0));
    }
}
