//! A record is processed again only after its batch failed, or by another tenure; and both are bounded.
//!
//! A tenure begins where the lease stood when it was taken, so what comes again is at most what lay between the last
//! checkpoint and the end of the tenure before. That one begins no batch later than one failover time after its last write
//! that the table accepted: a worker that does not know that it was replaced is silent by then.

use std::collections::{BTreeMap, BTreeSet};

use super::View;
use crate::history::{Life, Tenure, What};

/// Virtual time is counted in whole milliseconds.
const ROUNDING_MILLIS: u64 = 2;

/// Checks it.
#[must_use]
pub fn check(view: &View<'_>) -> Vec<(u64, String)> {
    let mut broken = within_tenures(view);
    broken.extend(across_tenures(view));
    broken
}

/// Records processed twice by one processor without a failure in between.
fn within_tenures(view: &View<'_>) -> Vec<(u64, String)> {
    let mut processed: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
    // Records of the batch that failed last; they may come once more.
    let mut failed: BTreeSet<Tenure> = BTreeSet::new();
    let mut repeated: BTreeSet<Tenure> = BTreeSet::new();
    let mut broken = Vec::new();
    for entry in view.entries {
        match &entry.what {
            What::Returned { tenure, is_ok: false } => drop(failed.insert(*tenure)),
            What::Delivered { tenure, .. } => {
                if failed.remove(tenure) {
                    repeated.insert(*tenure);
                } else {
                    repeated.remove(tenure);
                }
            }
            What::Processed { tenure, sequence } => {
                let is_new = processed.entry(*tenure).or_default().insert(*sequence);
                if !is_new && !repeated.contains(tenure) {
                    let shard = &view.processor(*tenure).shard;
                    broken.push((entry.at, format!("{sequence} of {shard} was processed twice in one tenure")));
                }
            }
            _ => {}
        }
    }
    broken
}

/// Tenures that begin elsewhere than at the lease's checkpoint, or go on for too long.
fn across_tenures(view: &View<'_>) -> Vec<(u64, String)> {
    let mut rows = BTreeMap::new();
    let mut written_at: BTreeMap<(Life, _), u64> = BTreeMap::new();
    let mut broken = Vec::new();
    for entry in view.entries {
        match &entry.what {
            What::Write { operation, key, after: Some(after), .. } => {
                rows.insert((key, after.counter), &after.checkpoint);
                if matches!(*operation, "take" | "renew" | "checkpoint" | "prepare") {
                    written_at.insert((entry.who, key), entry.at);
                }
            }
            What::Initialized { tenure, checkpoint } => {
                let processor = view.processor(*tenure);
                let row = rows.get(&(&processor.shard, processor.token)).copied();
                if row != Some(checkpoint) {
                    let text = format!("{} was taken at {row:?} and begins at {checkpoint}", processor.shard);
                    broken.push((entry.at, text));
                }
            }
            What::Delivered { tenure, .. } => {
                let shard = &view.processor(*tenure).shard;
                let last = written_at.get(&(entry.who, shard)).copied().unwrap_or(0);
                let silent_at = last + view.bounds.lease_life_max + ROUNDING_MILLIS;
                if entry.at > silent_at {
                    let late = entry.at - last;
                    let text = format!("{shard}: life {} begins a batch {late} ms after its last write", entry.who.0);
                    broken.push((entry.at, text));
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
    fn a_record_twice_in_one_tenure_breaks_it() {
        let mut story = Story::begun();
        story.failed_batch(1, FIRST, 1..3);
        story.batch(1, FIRST, 1..3);
        story.passes(check);
        story.batch(1, FIRST, 2..4);
        story.breaks(check, "2 of shardId-000000000000 was processed twice");
    }

    #[test]
    fn a_tenure_that_begins_behind_the_checkpoint_breaks_it() {
        let mut story = Story::begun();
        story.batch(1, FIRST, 1..6);
        story.checkpoint(1, held(), at(5));
        let second = story.take(2, row(1, 2, at(5)));
        story.batch(2, second, 6..8);
        story.passes(check);
        story.add(2, What::Initialized { tenure: second, checkpoint: at(3) });
        story.breaks(check, "and begins at 3/0");
    }

    #[test]
    fn a_worker_that_was_replaced_long_ago_and_goes_on_breaks_it() {
        let mut story = Story::begun();
        story.take(2, held());
        story.wait(9_000).batch(1, FIRST, 1..2);
        story.passes(check);
        story.wait(2_000).batch(1, FIRST, 2..3);
        story.breaks(check, "life 1 begins a batch");
    }
}
