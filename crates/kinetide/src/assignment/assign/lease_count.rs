//! Balancing by number: whoever has the most leases hands some to whoever has the fewest, until they differ by one at
//! most.
//!
//! Java stops when nobody has more than its share, rounded up; so does this, and then evens out what rounding left.

use super::fleet::Fleet;
use super::variance::Transfer;
use crate::rng::Rng;

/// The leases to hand over in this run.
pub(super) fn balance<'a>(fleet: &mut Fleet<'a>, rng: &mut Rng) -> Vec<Transfer<'a>> {
    let mut offers: Vec<_> = fleet.members.iter().map(|member| member.movable.clone()).collect();
    offers.iter_mut().for_each(|leases| rng.shuffle(leases));
    let mut transfers = Vec::new();
    loop {
        let donors = (0..offers.len()).filter(|index| !offers[*index].is_empty()).rev();
        let Some(donor) = donors.max_by_key(|index| fleet.members[*index].count) else { break };
        let Some(fewest) = fleet.in_line().next().map(|index| fleet.members[index].count) else { break };
        if fleet.members[donor].count < fewest + 2 {
            break;
        }
        let Some(open) = offers[donor].pop() else { break };
        let receiver = fleet.in_line().find(|index| fleet.has_room(*index, &open));
        if let Some(to) = receiver.filter(|to| fleet.members[donor].count >= fleet.members[*to].count + 2) {
            fleet.pass_on(donor, to, &open);
            offers[to].clear();
            transfers.push((open, to));
        }
    }
    transfers
}
