//! A live lease is left to its owner: one whose counter moved within the last lease life is taken from another worker only to
//! even out the shares, and then only as many at once as the settings allow.

use std::collections::BTreeMap;

use super::View;
use crate::history::{Life, What};

/// Takes of one look come about together.
const LOOK_MILLIS: u64 = 40;
/// A look that took long is followed by the next at once, and so may be a look at the end of a shard.
const LOOKS_MAX: usize = 3;

/// Checks it.
#[must_use]
pub fn check(view: &View<'_>) -> Vec<(u64, String)> {
    let mut moved_at: BTreeMap<_, u64> = BTreeMap::new();
    let mut steals: BTreeMap<Life, Vec<u64>> = BTreeMap::new();
    let mut broken = Vec::new();
    for entry in view.entries {
        let What::Write { operation, key, before, after: Some(after) } = &entry.what else { continue };
        let before = before.as_ref();
        let is_moved = before.is_none_or(|before| before.counter != after.counter);
        let last = if is_moved { moved_at.insert(key, entry.at) } else { None }.unwrap_or(0);
        let owner = before.and_then(|before| before.owner.as_ref());
        let is_foreign = owner.is_some() && owner != view.worker(entry.who);
        // Times are rounded to milliseconds.
        if *operation != "take" || !is_foreign || entry.at + 1 >= last + view.bounds.lease_life_min {
            continue;
        }
        let steals = steals.entry(entry.who).or_default();
        steals.retain(|at| at + LOOK_MILLIS > entry.at);
        steals.push(entry.at);
        if steals.len() == view.bounds.steals_max.saturating_mul(LOOKS_MAX) + 1 {
            let text = format!("life {} takes {} live leases at once, the last is {key}", entry.who.0, steals.len());
            broken.push((entry.at, text));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, held, row, shard};
    use super::*;
    use kinetide::stream::Checkpoint;

    fn taken_together(wait: u64) -> Story {
        let mut story = Story::begun();
        for index in 0..4 {
            let before = row(0, 0, Checkpoint::TrimHorizon);
            story.write_to(1, "take", shard(index), before, held());
        }
        story.wait(wait);
        for index in 0..4 {
            story.at_once();
            story.write_to(2, "take", shard(index), held(), row(2, 2, Checkpoint::TrimHorizon));
        }
        story
    }

    #[test]
    fn many_live_leases_at_once_break_it() {
        taken_together(9_000).breaks(check, "life 2 takes 4 live leases at once");
        taken_together(10_000).passes(check);
    }
}
