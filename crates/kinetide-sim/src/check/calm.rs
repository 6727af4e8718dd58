//! A fleet at rest stays so: once everything is as it should be and nothing is disturbed, no lease moves or is asked for.

use super::View;
use crate::history::What;

/// Checks it.
#[must_use]
pub fn check(view: &View<'_>) -> Vec<(u64, String)> {
    let settled = view.entries.iter().skip_while(|entry| !matches!(entry.what, What::Settled));
    let calm = settled.take_while(|entry| !matches!(entry.what, What::Asked { .. }));
    let moved = calm.filter_map(|entry| match &entry.what {
        What::Write { operation: operation @ ("take" | "request_hand_off"), key, before, .. } => {
            let owner = before.as_ref().and_then(|row| row.owner.as_ref()).map_or("nobody", |owner| owner.as_str());
            Some((entry.at, format!("life {} does {operation} of {key}, owned by {owner}", entry.who.0)))
        }
        _ => None,
    });
    moved.collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, held};
    use super::*;

    #[test]
    fn a_take_without_need_breaks_it() {
        let mut story = Story::begun();
        story.take(2, held());
        story.add(0, What::Settled);
        story.passes(check);
        story.take(1, held());
        story.breaks(check, "life 1 does take of shardId-000000000000, owned by worker-1");
    }

    #[test]
    fn what_moves_when_workers_leave_does_not_break_it() {
        let mut story = Story::begun();
        story.add(0, What::Settled).add(1, What::Asked { is_orderly: true });
        story.take(2, held());
        story.passes(check);
    }
}
