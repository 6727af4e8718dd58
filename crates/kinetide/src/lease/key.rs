//! The key of a lease: its shard, and in an application that reads many streams also its stream.

use std::fmt;
use std::str::FromStr;

use crate::stream::id::InvalidName;
use crate::stream::{ShardId, StreamId};

/// Names a lease in its table: `shardId-…`, or `account:stream:epoch:shardId-…` in an application of many streams.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseKey {
    /// The stream; `None` in an application of one stream, whose table does not name it.
    pub stream: Option<StreamId>,
    /// The shard.
    pub shard: ShardId,
}

impl LeaseKey {
    /// The lease of another shard of the same stream.
    #[must_use]
    pub fn of(&self, shard: &ShardId) -> Self {
        Self { stream: self.stream.clone(), shard: shard.clone() }
    }
}

impl From<ShardId> for LeaseKey {
    fn from(shard: ShardId) -> Self {
        Self { stream: None, shard }
    }
}

impl FromStr for LeaseKey {
    type Err = InvalidName;

    /// Neither names of streams nor of shards have colons, so the last one ends the stream.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.rsplit_once(':') {
            None => Ok(ShardId::new(text)?.into()),
            Some((stream, shard)) => Ok(Self { stream: Some(stream.parse()?), shard: ShardId::new(shard)? }),
        }
    }
}

impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.stream {
            None => self.shard.fmt(f),
            Some(stream) => write!(f, "{stream}:{}", self.shard),
        }
    }
}

impl fmt::Debug for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        for text in ["shardId-000000000007", "123456789012:orders:1700000000:shardId-000000000007"] {
            assert_eq!(text.parse::<LeaseKey>().unwrap().to_string(), text);
        }
        for text in ["", "orders:shardId-1", "1:orders:0:shardId-1", "x:orders:1:shardId-1", "1:orders:1:"] {
            assert!(text.parse::<LeaseKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn relatives_are_of_the_same_stream() {
        let key: LeaseKey = "1:orders:2:shardId-000000000007".parse().unwrap();
        assert_eq!(key.of(&ShardId::new("s").unwrap()).to_string(), "1:orders:2:s");
    }
}
