//! No lease is lost for nothing: a worker says that another one has it only when the row no longer names the worker by its own
//! take. A write whose answer was lost is the worker's own, and recognised as such.

use std::collections::BTreeMap;

use kinetide::Event;
use kinetide::lease::keeper::LossReason;

use super::{View, actual_owner};
use crate::history::{Life, What};

/// Checks it.
#[must_use]
pub fn check(view: &View<'_>) -> Vec<(u64, String)> {
    // Who took a lease last, and who has it now.
    let mut takers: BTreeMap<_, Life> = BTreeMap::new();
    let mut owners = BTreeMap::new();
    let mut broken = Vec::new();
    for entry in view.entries {
        match &entry.what {
            What::Write { operation, key, after, .. } => {
                if *operation == "take" {
                    takers.insert(key, entry.who);
                }
                owners.insert(key, after.as_ref().and_then(actual_owner));
            }
            What::Told(Event::LeaseEnded { shard, reason: LossReason::Taken }) => {
                let is_taker = takers.get(&shard.shard) == Some(&entry.who);
                let owner = owners.get(&shard.shard).copied().flatten();
                if is_taker && owner.is_some() && owner == view.worker(entry.who) {
                    broken.push((entry.at, format!("life {} gives up {shard}, which nobody else took", entry.who.0)));
                }
            }
            _ => {}
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, held, shard};
    use super::*;

    #[test]
    fn a_lease_given_up_for_nothing_breaks_it() {
        let taken = || What::Told(Event::LeaseEnded { shard: shard(0).into(), reason: LossReason::Taken });
        let mut story = Story::begun();
        story.take(2, held());
        story.add(1, taken());
        story.passes(check);

        let mut story = Story::begun();
        story.add(1, taken());
        story.breaks(check, "life 1 gives up shardId-000000000000");
    }
}
