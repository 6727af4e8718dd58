//! Each accepted renewal, checkpoint and prepared checkpoint came from the worker that owned the lease at that moment: the
//! same life of it that took the lease last. A lease is given back by its owner only.

use std::collections::BTreeMap;

use super::{View, actual_owner};
use crate::history::{Life, What};

/// Checks it.
#[must_use]
pub fn check(view: &View<'_>) -> Vec<(u64, String)> {
    let mut takers: BTreeMap<_, Life> = BTreeMap::new();
    let mut broken = Vec::new();
    for entry in view.entries {
        let What::Write { operation, key, before: Some(before), after: Some(after) } = &entry.what else { continue };
        let who = entry.who;
        let worker = view.worker(who);
        match *operation {
            "take" => {
                takers.insert(key, who);
                if after.owner.as_ref() != worker || after.checkpoint != before.checkpoint {
                    broken.push((entry.at, format!("{worker:?} took {key} and left {after:?}")));
                }
            }
            "renew" | "checkpoint" | "prepare" => {
                let owner = actual_owner(before);
                if owner.is_none() || owner != worker || takers.get(key) != Some(&who) {
                    let text = format!("{operation} of {key} by {worker:?} (life {}), owned by {owner:?}", who.0);
                    broken.push((entry.at, text));
                }
            }
            "release" if actual_owner(before) != worker => {
                let owner = actual_owner(before);
                broken.push((entry.at, format!("{key} was given back by {worker:?}, owned by {owner:?}")));
            }
            _ => {}
        }
        let changes_checkpoint = after.checkpoint != before.checkpoint;
        if changes_checkpoint && *operation != "checkpoint" {
            broken.push((entry.at, format!("{operation} of {key} changed its checkpoint")));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, at, held, row};
    use super::*;

    #[test]
    fn a_checkpoint_by_somebody_else_breaks_it() {
        let mut story = Story::begun();
        story.checkpoint(1, held(), at(3));
        story.passes(check);

        let mut story = Story::begun();
        story.checkpoint(2, held(), at(3));
        story.breaks(check, "checkpoint of shardId-000000000000 by Some(worker-2)");
    }

    #[test]
    fn a_write_by_an_earlier_life_of_the_same_worker_breaks_it() {
        let mut story = Story::begun();
        story.add(3, What::Started { worker: "worker-1".parse().unwrap() });
        story.write(3, "take", Some(held()), Some(row(1, 2, held().checkpoint)));
        story.checkpoint(1, row(1, 2, held().checkpoint), at(3));
        story.breaks(check, "(life 1)");
    }

    #[test]
    fn giving_back_what_another_owns_breaks_it() {
        let mut story = Story::begun();
        story.write(2, "release", Some(held()), Some(row(0, 2, held().checkpoint)));
        story.breaks(check, "given back by Some(worker-2)");
    }
}
