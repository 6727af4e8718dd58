//! Finds hash keys that no lease holds: records put there would never be read.
//!
//! A look at the table while somebody writes to it may show a hole that is none, so a hole counts only when it was seen
//! several times in a row.

use std::fmt;

use crate::lease::Lease;
use crate::stream::{HashKey, HashKeyRange};

/// Times in a row a hole must be seen. The Java default.
pub const CONFIDENCE: u32 = 3;

/// Hash keys that no lease holds, by what bounds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The last key held below; `None`: there is none.
    pub after: Option<HashKey>,
    /// The first key held above; `None`: there is none.
    pub before: Option<HashKey>,
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.after {
            Some(after) => write!(f, "above {after}")?,
            None => f.write_str("from 0")?,
        }
        match self.before {
            Some(before) => write!(f, ", below {before}"),
            None => f.write_str(" to the last"),
        }
    }
}

/// The lowest hole between the leases of a stream that are not finished; `None` if they hold every key.
///
/// Leases whose keys are not known are left out, so they can only add holes.
#[must_use]
pub fn find_hole<'a>(leases: impl IntoIterator<Item = &'a Lease>) -> Option<Hole> {
    let open = leases.into_iter().filter(|lease| !lease.is_finished());
    let mut ranges: Vec<HashKeyRange> = open.filter_map(|lease| lease.hash_range).collect();
    ranges.sort_unstable();
    let mut held: Option<HashKey> = None;
    for range in ranges {
        let needed = held.map_or(Some(0), |held| held.0.checked_add(1));
        if needed.is_some_and(|needed| range.start.0 > needed) {
            return Some(Hole { after: held, before: Some(range.start) });
        }
        held = held.max(Some(range.end));
    }
    (held != Some(HashKeyRange::ALL.end)).then_some(Hole { after: held, before: None })
}

/// Counts how often the same hole was seen in a row.
#[derive(Debug, Clone, Default)]
pub struct HoleWatch {
    hole: Option<Hole>,
    times: u32,
}

impl HoleWatch {
    /// Takes note of one look; true if the hole has now been seen often enough to be believed.
    pub fn note(&mut self, hole: Option<Hole>) -> bool {
        self.times = match hole {
            None => 0,
            Some(_) if hole == self.hole => self.times + 1,
            Some(_) => 1,
        };
        self.hole = hole;
        self.times >= CONFIDENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Checkpoint, ShardId};

    fn lease(index: usize, start: u128, end: u128) -> Lease {
        let key = ShardId::new(format!("shardId-{index:012}")).unwrap();
        let hash_range = Some(HashKeyRange { start: HashKey(start), end: HashKey(end) });
        Lease { hash_range, ..Lease::new(key, Checkpoint::Latest) }
    }

    fn hole(after: Option<u128>, before: Option<u128>) -> Option<Hole> {
        Some(Hole { after: after.map(HashKey), before: before.map(HashKey) })
    }

    #[test]
    fn holes_are_found_at_both_ends_and_in_the_middle() {
        let (low, middle, high) = (lease(0, 0, 9), lease(1, 10, 19), lease(2, 20, u128::MAX));
        assert_eq!(find_hole(&[high.clone(), low.clone(), middle.clone()]), None);
        assert_eq!(find_hole(&[middle.clone(), high.clone()]), hole(None, Some(10)));
        assert_eq!(find_hole(&[low.clone(), high]), hole(Some(9), Some(20)));
        assert_eq!(find_hole(&[low, middle]), hole(Some(19), None));
        assert_eq!(find_hole(&[]), hole(None, None));
    }

    #[test]
    fn a_long_lease_hides_no_hole_behind_a_short_one() {
        // The short one ends first; what the long one holds beyond it is held.
        assert_eq!(find_hole(&[lease(0, 0, 99), lease(1, 10, 20), lease(2, 100, u128::MAX)]), None);
        assert_eq!(find_hole(&[lease(0, 0, u128::MAX), lease(1, 5, 6)]), None);
    }

    #[test]
    fn finished_leases_hold_nothing() {
        let finished = Lease { checkpoint: Checkpoint::ShardEnd, ..lease(0, 0, u128::MAX) };
        assert_eq!(find_hole(&[finished]), hole(None, None));
    }

    #[test]
    fn only_the_same_hole_three_times_in_a_row_counts() {
        let mut watch = HoleWatch::default();
        let (one, other) = (hole(Some(9), Some(20)), hole(Some(9), Some(21)));
        assert!(![one, one, other, one, one].into_iter().any(|seen| watch.note(seen)));
        assert!(watch.note(one));
        assert!(watch.note(one), "it stays believed until it is gone");
        assert!(!watch.note(None));
        assert!(!watch.note(one));
    }
}
