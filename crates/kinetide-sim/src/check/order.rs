//! Within a tenure, records come in the order of the shard, after the checkpoint it began at; only a batch that failed comes
//! again, without what the failed call checkpointed.

use std::collections::BTreeMap;

use super::{View, covered};
use crate::history::What;

#[derive(Debug, Default)]
struct Progress<'a> {
    end: u64,
    batch: &'a [u64],
    is_failed: bool,
}

/// Checks it.
#[must_use]
pub fn check(view: &View<'_>) -> Vec<(u64, String)> {
    let mut tenures: BTreeMap<_, Progress<'_>> = BTreeMap::new();
    let mut stored: BTreeMap<_, u64> = BTreeMap::new();
    let mut broken = Vec::new();
    for entry in view.entries {
        match &entry.what {
            What::Initialized { tenure, checkpoint } => {
                tenures.insert(*tenure, Progress { end: covered(checkpoint), ..Progress::default() });
            }
            What::Write { key, after: Some(after), .. } => drop(stored.insert(key, covered(&after.checkpoint))),
            What::Returned { tenure, is_ok } => tenures.entry(*tenure).or_default().is_failed = !is_ok,
            What::Delivered { tenure, records } => {
                let progress = tenures.entry(*tenure).or_default();
                let shard = &view.processor(*tenure).shard;
                let stored = stored.get(shard).copied().unwrap_or(0);
                // A checkpoint whose answer was lost is in the table and unknown to the worker, so more may come again.
                let covered = progress.batch.partition_point(|record| *record <= stored);
                let again = if progress.is_failed { &progress.batch[covered..] } else { &[] };
                let is_repeat = progress.is_failed && progress.batch.ends_with(records) && records.ends_with(again);
                if !again.is_empty() && !is_repeat {
                    let text = format!("{shard} failed with {again:?} and was then given {records:?}");
                    broken.push((entry.at, text));
                } else if !is_repeat && !follows(progress.end, records) {
                    let text = format!("{shard} stood at {} and was given {records:?}", progress.end);
                    broken.push((entry.at, text));
                }
                let end = records.last().copied().unwrap_or(0).max(progress.end);
                *progress = Progress { end, batch: records, is_failed: false };
            }
            _ => {}
        }
    }
    broken
}

fn follows(end: u64, records: &[u64]) -> bool {
    records.first().is_none_or(|first| *first > end) && records.windows(2).all(|pair| pair[0] < pair[1])
}

#[cfg(test)]
mod tests {
    use super::super::testing::{FIRST, Story, at, held, row};
    use super::*;

    #[test]
    fn a_failed_batch_may_come_again_and_no_other() {
        let mut story = Story::begun();
        story.batch(1, FIRST, 1..3);
        story.failed_batch(1, FIRST, 3..6);
        let row = story.checkpoint(1, held(), at(3));
        story.failed_batch(1, FIRST, 4..6);
        story.checkpoint(1, row, at(5));
        story.batch(1, FIRST, 6..8);
        story.passes(check);
        story.batch(1, FIRST, 5..8);
        story.breaks(check, "stood at 7 and was given [5, 6, 7]");
    }

    #[test]
    fn another_batch_after_a_failed_one_breaks_it() {
        let mut story = Story::begun();
        story.failed_batch(1, FIRST, 1..3);
        story.batch(1, FIRST, 3..6);
        story.breaks(check, "failed with [1, 2]");
    }

    #[test]
    fn records_out_of_order_break_it() {
        let mut story = Story::begun();
        story.batch(1, FIRST, [1, 3, 2]);
        story.breaks(check, "[1, 3, 2]");
    }

    #[test]
    fn a_start_before_the_checkpoint_breaks_it() {
        let mut story = Story::begun();
        story.batch(1, FIRST, 1..6);
        story.checkpoint(1, held(), at(5));
        let second = story.take(2, row(1, 2, at(5)));
        story.batch(2, second, 5..7);
        story.breaks(check, "stood at 5 and was given [5, 6]");
    }
}
