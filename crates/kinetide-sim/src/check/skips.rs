//! No acknowledged record is skipped: whatever a stored checkpoint covers was processed before, and a processor is delivered
//! every record of its shard after the one before, from its first checkpoint on. Only what somebody has processed may be
//! missing, once it is so old that the stream has forgotten it.

use std::collections::{BTreeMap, BTreeSet};

use super::{View, covered};
use crate::history::What;

/// Checks it.
#[must_use]
pub fn check(view: &View<'_>) -> Vec<(u64, String)> {
    let mut broken = not_processed(view);
    broken.extend(not_delivered(view));
    broken
}

/// Checkpoints that cover what nobody processed.
fn not_processed(view: &View<'_>) -> Vec<(u64, String)> {
    let mut processed: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
    // How many records of each shard are known to be processed.
    let mut done: BTreeMap<_, usize> = BTreeMap::new();
    let mut broken = Vec::new();
    for entry in view.entries {
        match &entry.what {
            What::Processed { tenure, sequence } => {
                processed.entry(&view.processor(*tenure).shard).or_default().insert(*sequence);
            }
            What::Write { key, after: Some(after), .. } => {
                let (covered, done) = (covered(&after.checkpoint), done.entry(key).or_default());
                let processed = processed.entry(key).or_default();
                while let Some(next) = view.puts(key).get(*done).filter(|next| **next <= covered) {
                    if !processed.remove(next) {
                        let text = format!("{key} is checkpointed at {}, {next} was not processed", after.checkpoint);
                        broken.push((entry.at, text));
                    }
                    *done += 1;
                }
            }
            _ => {}
        }
    }
    broken
}

/// Batches that begin or go on behind a gap.
fn not_delivered(view: &View<'_>) -> Vec<(u64, String)> {
    let mut ends: BTreeMap<_, u64> = BTreeMap::new();
    let mut processed = BTreeSet::new();
    let mut broken = Vec::new();
    for entry in view.entries {
        match &entry.what {
            What::Processed { sequence, .. } => drop(processed.insert(*sequence)),
            What::Initialized { tenure, checkpoint } => drop(ends.insert(*tenure, covered(checkpoint))),
            What::Delivered { tenure, records } => {
                let puts = view.puts(&view.processor(*tenure).shard);
                let end = ends.entry(*tenure).or_default();
                for record in records {
                    if record <= end {
                        continue;
                    }
                    let mut missing = puts[puts.partition_point(|put| *put <= *end)..].iter();
                    let missing = missing.by_ref().take_while(|put| *put < record);
                    let is_gone = |put: &u64| processed.contains(put) && view.is_expired(*put, entry.at);
                    if let Some(first) = missing.copied().find(|put| !is_gone(put)) {
                        let shard = &view.processor(*tenure).shard;
                        broken.push((entry.at, format!("{shard} was delivered {record}, the next record is {first}")));
                    }
                    *end = *record;
                }
            }
            _ => {}
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::super::testing::{FIRST, Story, at, held};
    use super::*;
    use kinetide::stream::Checkpoint;

    #[test]
    fn a_checkpoint_over_a_record_nobody_processed_breaks_it() {
        let mut story = Story::begun();
        story.batch(1, FIRST, 1..4);
        story.failed_batch(1, FIRST, 4..6);
        let row = story.checkpoint(1, held(), at(3));
        story.passes(check);
        story.checkpoint(1, row, at(4));
        story.breaks(check, "4 was not processed");
    }

    #[test]
    fn the_end_over_a_record_nobody_processed_breaks_it() {
        let mut story = Story::begun();
        story.batch(1, FIRST, 1..9);
        story.checkpoint(1, held(), Checkpoint::ShardEnd);
        story.breaks(check, "9 was not processed");
    }

    #[test]
    fn what_was_processed_and_is_forgotten_by_the_stream_may_be_missing() {
        let mut story = Story::begun();
        story.batch(1, FIRST, 1..4);
        let second = story.take(2, held());
        story.wait(60_000).batch(2, second, 4..6);
        story.passes(check);
        let third = story.take(1, held());
        story.batch(1, third, 7..9);
        story.breaks(check, "the next record is 6");
    }

    #[test]
    fn a_gap_in_delivery_breaks_it() {
        let mut story = Story::begun();
        story.batch(1, FIRST, 1..4);
        story.batch(1, FIRST, 5..9);
        story.breaks(check, "was delivered 5, the next record is 4");
    }
}
