//! Which worker leads, in a fleet without a leader lock: the 1.x and 2.x workers' rule, so that every worker of a mixed
//! fleet comes to the same answer from the same table.
//!
//! The owners in the table are sorted and shuffled with a fixed seed; the first one leads. The shuffle is Java's, so the
//! generator and the order of strings must be Java's too. Nobody asks the leader whether it lives: a dead one drops out
//! when its leases are taken.

use std::collections::BTreeSet;

use crate::lease::Lease;
use crate::stream::WorkerId;

/// The seed every KCL uses.
const SEED: u64 = 1947;

/// The worker that leads; `None` while nobody owns a lease, and then everybody may act.
#[must_use]
pub fn elect(leases: &[Lease]) -> Option<&WorkerId> {
    let owners: BTreeSet<&WorkerId> = leases.iter().filter_map(|lease| lease.owner.as_ref()).collect();
    let mut owners: Vec<_> = owners.into_iter().collect();
    // Java orders strings by UTF-16 units, Rust by code points; they differ beyond U+FFFF.
    owners.sort_by(|a, b| a.as_str().encode_utf16().cmp(b.as_str().encode_utf16()));
    JavaRandom::seeded(SEED).shuffle(&mut owners);
    owners.first().copied()
}

/// True if this worker leads, or may act because nobody does.
#[must_use]
pub fn is_leader(leases: &[Lease], me: &WorkerId) -> bool {
    elect(leases).is_none_or(|leader| leader == me)
}

/// `java.util.Random`: a linear congruential generator of 48 bits.
struct JavaRandom(u64);

impl JavaRandom {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;

    fn seeded(seed: u64) -> Self {
        Self((seed ^ Self::MULTIPLIER) & Self::MASK)
    }

    /// The top 31 of the next 48 bits.
    fn next_31(&mut self) -> u64 {
        self.0 = (self.0.wrapping_mul(Self::MULTIPLIER).wrapping_add(0xB)) & Self::MASK;
        self.0 >> 17
    }

    /// A number below `bound`, which is at most 2^31 − 1.
    fn below(&mut self, bound: u64) -> u64 {
        if bound.is_power_of_two() {
            return (bound * self.next_31()) >> 31;
        }
        loop {
            let bits = self.next_31();
            let value = bits % bound;
            // Java looks whether this overflows 32 bits: the last, incomplete stretch of numbers is drawn again.
            if bits - value + (bound - 1) < 1 << 31 {
                return value;
            }
        }
    }

    /// `java.util.Collections.shuffle`.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for size in (2..=items.len()).rev() {
            let other = usize::try_from(self.below(size as u64)).unwrap_or(0);
            items.swap(size - 1, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Checkpoint, ShardId};

    fn owned_by(index: usize, owner: &str) -> Lease {
        let key = ShardId::new(format!("shardId-{index:012}")).unwrap();
        Lease { owner: Some(WorkerId::new(owner).unwrap()), ..Lease::new(key, Checkpoint::TrimHorizon) }
    }

    #[test]
    fn nobody_leads_where_nobody_owns() {
        let free = Lease::new(ShardId::new("s").unwrap(), Checkpoint::TrimHorizon);
        assert_eq!(elect(std::slice::from_ref(&free)), None);
        assert!(is_leader(&[free], &WorkerId::new("me").unwrap()));
    }

    /// What a Java program with `Collections.shuffle` chose: a line a fleet, the leader first.
    #[test]
    fn the_choice_is_javas() {
        let vectors = include_str!("leader/vectors.txt");
        let mut fleets = 0;
        for line in vectors.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (leader, owners) = line.split_once('\t').unwrap();
            let leases: Vec<_> = owners.split(',').enumerate().map(|(index, owner)| owned_by(index, owner)).collect();
            assert_eq!(elect(&leases).map(WorkerId::as_str), Some(leader), "{line}");
            fleets += 1;
        }
        assert!(fleets > 10, "{fleets} fleets");
    }

    #[test]
    fn owners_count_once_and_in_any_order() {
        let mut leases: Vec<_> = (0..9).map(|index| owned_by(index, &format!("w{}", index % 3))).collect();
        let leader = elect(&leases).cloned();
        leases.reverse();
        assert_eq!(elect(&leases).cloned(), leader);
    }
}
