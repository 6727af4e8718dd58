//! The counter of a lease strictly increases with every accepted write, and nothing but a write changes a row.

use std::collections::BTreeMap;

use super::View;
use crate::history::{Row, What};

/// What any worker may write at any time leaves the counter alone, and owner and checkpoint with it.
const COUNTERLESS: [&str; 2] = ["name_children", "note_hash_range"];

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
            let is_growing = after.counter > before.counter || COUNTERLESS.contains(operation) && after == before;
            if !is_growing {
                let (was, is) = (before.counter, after.counter);
                broken.push((entry.at, format!("{operation} of {key} moved the counter from {was} to {is}")));
            }
        }
    }
    broken
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
