//! A checkpoint never decreases, not even by the deletion of its lease, and never passes what its worker was delivered. The
//! end is stored only for a shard that was closed. What a processor is told is stored is stored, and is what it asked for.

use std::collections::{BTreeMap, BTreeSet};

use kinetide::stream::Checkpoint;

use super::{View, covered};
use crate::history::What;

/// Checks it.
#[must_use]
pub fn check(view: &View<'_>) -> Vec<(u64, String)> {
    let mut highest: BTreeMap<_, Checkpoint> = BTreeMap::new();
    let mut delivered: BTreeMap<_, u64> = BTreeMap::new();
    let mut closed = BTreeSet::new();
    let mut broken = Vec::new();
    for entry in view.entries {
        match &entry.what {
            What::Resharded { parents, .. } => closed.extend(parents),
            What::Delivered { tenure, records } => {
                let seen = delivered.entry((entry.who, &view.processor(*tenure).shard)).or_default();
                *seen = (*seen).max(records.last().copied().unwrap_or(0));
            }
            What::Write { operation, key, before, after: Some(after) } => {
                let last = highest.entry(key).or_insert_with(|| after.checkpoint.clone());
                if after.checkpoint < *last {
                    let text = format!("{operation} of {key} moved its checkpoint from {last} to {}", after.checkpoint);
                    broken.push((entry.at, text));
                }
                *last = last.clone().max(after.checkpoint.clone());
                let is_new = before.as_ref().is_some_and(|before| before.checkpoint != after.checkpoint);
                let known = delivered.get(&(entry.who, key)).copied().unwrap_or(0);
                match &after.checkpoint {
                    Checkpoint::ShardEnd if is_new && !closed.contains(key) => {
                        broken.push((entry.at, format!("{key} was checkpointed at its end and is open")));
                    }
                    Checkpoint::At(position) if is_new && covered(&after.checkpoint) > known => {
                        let text = format!("{key} was checkpointed at {position}, delivered was up to {known}");
                        broken.push((entry.at, text));
                    }
                    _ => {}
                }
            }
            What::Checkpointed { tenure, wish, last, error: None } => {
                let key = &view.processor(*tenure).shard;
                if highest.get(key).is_none_or(|stored| stored < last) {
                    let text = format!("{key} is said to stand at {last}, stored is {:?}", highest.get(key));
                    broken.push((entry.at, text));
                }
                if let Some(wish) = wish.filter(|wish| ![*wish, u64::MAX].contains(&covered(last))) {
                    broken.push((entry.at, format!("{key} stands at {last} and accepted a checkpoint at {wish}")));
                }
            }
            _ => {}
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::super::testing::{FIRST, Story, at, held, row};
    use super::*;

    #[test]
    fn a_checkpoint_that_goes_back_breaks_it() {
        let mut story = Story::begun();
        story.batch(1, FIRST, 1..6);
        let row = story.checkpoint(1, held(), at(5));
        story.passes(check);
        story.checkpoint(1, row, at(4));
        story.breaks(check, "from 5/0 to 4/0");
    }

    #[test]
    fn a_deleted_lease_that_comes_back_from_the_start_breaks_it() {
        let mut story = Story::begun();
        story.batch(1, FIRST, 1..6);
        let done = story.checkpoint(1, held(), at(5));
        story.write(2, "delete", Some(done), None);
        story.write(2, "create", None, Some(row(0, 0, Checkpoint::TrimHorizon)));
        story.breaks(check, "from 5/0 to TRIM_HORIZON");
    }

    #[test]
    fn a_checkpoint_ahead_of_delivery_breaks_it() {
        let mut story = Story::begun();
        story.batch(1, FIRST, 1..6);
        story.checkpoint(1, held(), at(6));
        story.breaks(check, "delivered was up to 5");
    }

    #[test]
    fn a_checkpoint_told_and_not_stored_breaks_it() {
        let told = |wish, last| What::Checkpointed { tenure: FIRST, wish, last, error: None };
        let mut story = Story::begun();
        story.batch(1, FIRST, 1..6);
        story.checkpoint(1, held(), at(4));
        story.add(1, told(Some(4), at(4))).add(1, told(None, at(4)));
        story.passes(check);
        story.add(1, told(None, at(5)));
        story.breaks(check, "is said to stand at 5/0");
    }

    #[test]
    fn a_checkpoint_accepted_behind_the_last_breaks_it() {
        let mut story = Story::begun();
        story.batch(1, FIRST, 1..6);
        story.checkpoint(1, held(), at(4));
        story.add(1, What::Checkpointed { tenure: FIRST, wish: Some(3), last: at(4), error: None });
        story.breaks(check, "accepted a checkpoint at 3");
    }

    #[test]
    fn the_end_of_an_open_shard_breaks_it() {
        let mut story = Story::begun();
        story.checkpoint(1, held(), Checkpoint::ShardEnd);
        story.breaks(check, "and is open");
    }
}
