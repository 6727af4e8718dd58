//! Shards and the ranges of hash keys they hold.

use std::fmt;

use super::id::ShardId;
use super::sequence::SequenceNumber;

/// A 128-bit hash key: the MD5 of a partition key, big-endian, or an explicit one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashKey(pub u128);

impl HashKey {
    /// The hash key of a partition key.
    #[must_use]
    pub fn of(partition_key: &str) -> Self {
        use md5::Digest;
        Self(u128::from_be_bytes(md5::Md5::digest(partition_key.as_bytes()).into()))
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for HashKey {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// The hash keys of one shard, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashKeyRange {
    /// The first hash key.
    pub start: HashKey,
    /// The last hash key.
    pub end: HashKey,
}

impl HashKeyRange {
    /// Every hash key there is.
    pub const ALL: Self = Self { start: HashKey(0), end: HashKey(u128::MAX) };

    /// True if the key is inside.
    #[must_use]
    pub fn contains(&self, key: HashKey) -> bool {
        (self.start..=self.end).contains(&key)
    }
}

/// True if the ranges together hold every hash key.
#[must_use]
pub fn covers_all(ranges: impl IntoIterator<Item = HashKeyRange>) -> bool {
    let mut ranges: Vec<_> = ranges.into_iter().collect();
    ranges.sort_unstable();
    let mut next = Some(0u128);
    for range in ranges {
        match next {
            Some(needed) if range.start.0 > needed => return false,
            Some(needed) if range.end.0 >= needed => next = range.end.0.checked_add(1),
            _ => {}
        }
    }
    next.is_none()
}

/// A shard as ListShards describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: ShardId,
    /// The shards it was made from: none, one (split) or two (merge).
    pub parents: Vec<ShardId>,
    /// The hash keys it holds.
    pub hash_range: HashKeyRange,
    /// Its first sequence number.
    pub starting_sequence: SequenceNumber,
    /// Its last sequence number, once it is closed.
    pub ending_sequence: Option<SequenceNumber>,
}

impl Shard {
    /// True while records can still be put into it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ending_sequence.is_none()
    }
}

/// A child as the last GetRecords answer of a closed shard names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildShard {
    /// Its id.
    pub id: ShardId,
    /// All its parents: one after a split, two after a merge.
    pub parents: Vec<ShardId>,
    /// The hash keys it holds.
    pub hash_range: HashKeyRange,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u128, end: u128) -> HashKeyRange {
        HashKeyRange { start: HashKey(start), end: HashKey(end) }
    }

    #[test]
    fn hash_key_is_md5_big_endian() {
        assert_eq!(HashKey::of("").0, 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
    }

    #[test]
    fn coverage_sees_holes_and_forgives_overlaps() {
        assert!(covers_all([HashKeyRange::ALL]));
        assert!(covers_all([range(5, u128::MAX), range(0, 9)]));
        assert!(covers_all([range(0, u128::MAX), range(3, 4)]));
        assert!(!covers_all([range(0, 3), range(5, u128::MAX)]));
        assert!(!covers_all([range(0, 9)]));
        assert!(!covers_all([]));
    }
}
