//! The counter of a lease strictly increases with every accepted write, and nothing but a write changes a row.

use std::collections::BTreeMap;

use super::{View, actual_owner};
use crate::history::{Row, What};

/// What any worker may write at any time leaves the counter alone, and with it the checkpoint and who processes the shard.
const COUNTERLESS: [&str; 2] = ["name_children", "note_hash_range"];
/// So does what is said about a hand-off, until it is done.
const HAND_OFFS: [&str; 3] = ["request_hand_off", "withdraw_hand_off", "forget_hand_off"];

/// Checks it.
#[must_use]
pub fn check(view: &View<'_>) -> Vec<(u64, String)> {
    let mut rows: BTreeMap<_, Option<Row>> = BTreeMap::new();
    let mut broken = Vec::new();
    for entry in view.entries {
        let What::Write { operation, key, before, after } = &entry.what else { continue };
        let known = rows.insert(key, after.clone()).flatten();
        if known != *before {
            broken.push((entry.at, format!("{operation} of {key} met {before:?}, but the last write left {known:?}")));
        }
        if let (Some(before), Some(after)) = (before, after) {
            let is_same = after.counter == before.counter && after.checkpoint == before.checkpoint;
            let is_allowed = COUNTERLESS.contains(operation) && after == before
                || HAND_OFFS.contains(operation) && is_same && keeps_processor(operation, before, after);
            let is_growing = after.counter > before.counter || is_allowed;
            if !is_growing {
                let (was, is) = (before.counter, after.counter);
                broken.push((entry.at, format!("{operation} of {key} moved the counter from {was} to {is}")));
            }
        }
    }
    broken
}

/// Whoever processes the shard goes on; only what is left of a hand-off long done may be cleared.
fn keeps_processor(operation: &str, before: &Row, after: &Row) -> bool {
    operation == "forget_hand_off" || actual_owner(before) == actual_owner(after)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, at, held};
    use super::*;

    #[test]
    fn a_counter_that_stands_still_or_a_write_unseen_breaks_it() {
        let mut story = Story::begun();
        story.checkpoint(1, held(), at(3));
        story.passes(check);

        let mut story = Story::begun();
        story.write(1, "renew", Some(held()), Some(held()));
        story.breaks(check, "moved the counter from 1 to 1");

        let mut story = Story::begun();
        story.checkpoint(1, Row { counter: 4, ..held() }, at(3));
        story.breaks(check, "but the last write left");
    }
}
