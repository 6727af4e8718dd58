//! Children come after their parents: no processor of a shard starts before the end of every shard it was made from is
//! checkpointed.

use std::collections::{BTreeMap, BTreeSet};

use kinetide::stream::Checkpoint;

use super::View;
use crate::history::What;

/// Checks it.
#[must_use]
pub fn check(view: &View<'_>) -> Vec<(u64, String)> {
    let mut parents_of = BTreeMap::new();
    let mut ended = BTreeSet::new();
    let mut broken = Vec::new();
    for entry in view.entries {
        match &entry.what {
            What::Resharded { parents, children } => {
                parents_of.extend(children.iter().map(|child| (child, parents)));
            }
            What::Write { key, after: Some(after), .. } if after.checkpoint == Checkpoint::ShardEnd => {
                ended.insert(key);
            }
            What::Initialized { tenure, .. } => {
                let shard = &view.processor(*tenure).shard;
                let parents = parents_of.get(shard).into_iter().copied().flatten();
                let open = parents.filter(|parent| !ended.contains(parent));
                broken.extend(open.map(|parent| (entry.at, format!("{shard} starts before the end of {parent}"))));
            }
            _ => {}
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, held, row, shard};
    use super::*;

    #[test]
    fn a_child_before_its_parents_end_breaks_it() {
        let mut story = Story::default();
        story.add(0, What::Resharded { parents: vec![shard(7)], children: vec![shard(0)] });
        let ended = row(1, 9, Checkpoint::ShardEnd);
        story.add(1, What::Write { operation: "checkpoint", key: shard(7), before: Some(held()), after: Some(ended) });
        story.take(1, row(0, 0, Checkpoint::TrimHorizon));
        story.passes(check);

        let mut story = Story::default();
        story.add(0, What::Resharded { parents: vec![shard(7)], children: vec![shard(0)] });
        story.take(1, row(0, 0, Checkpoint::TrimHorizon));
        story.breaks(check, "starts before the end of shardId-000000000007");
    }
}
