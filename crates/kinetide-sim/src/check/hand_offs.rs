//! A worker that is asked for a lease lets its processor finish: from then on no more records, and the lease is given back when
//! the processor is over, or has had all the time there is. A worker that was asked to stop has other bounds.

use std::collections::{BTreeMap, BTreeSet};

use kinetide::Event;
use kinetide::lease::keeper::LossReason;
use kinetide::stream::ShardId;

use super::View;
use crate::history::{Life, Row, What};

#[derive(Debug, Default)]
struct HandOffs<'a> {
    /// Processors that were initialised and are not over.
    working: BTreeSet<(Life, &'a ShardId)>,
    /// When they were asked for their leases.
    asked: BTreeMap<(Life, &'a ShardId), u64>,
    /// Those of them that know that another one waits now. Who learns of it too late may go on.
    pending: BTreeSet<(Life, &'a ShardId)>,
    /// Leases that another one waits for, as the table has it.
    waited_for: BTreeSet<&'a ShardId>,
    stopping: BTreeSet<Life>,
}

/// Checks it.
#[must_use]
pub fn check(view: &View<'_>) -> Vec<(u64, String)> {
    let mut hand_offs = HandOffs::default();
    let mut broken = Vec::new();
    for entry in view.entries {
        let told = hand_offs.follow(view, entry.at, entry.who, &entry.what);
        broken.extend(told.map(|what| (entry.at, what)));
    }
    broken
}

impl<'a> HandOffs<'a> {
    /// Takes note of an entry; says what is wrong with it.
    fn follow(&mut self, view: &'a View<'_>, at: u64, who: Life, what: &'a What) -> Option<String> {
        match what {
            What::Asked { .. } => drop(self.stopping.insert(who)),
            What::Initialized { tenure, .. } => drop(self.working.insert((who, &view.processor(*tenure).shard))),
            What::LeaseLost { tenure } | What::ShardEnded { tenure, is_ok: true } => {
                self.working.remove(&(who, &view.processor(*tenure).shard));
            }
            What::Told(Event::HandOffRequested { shard, .. }) => {
                self.asked.insert((who, &shard.shard), at);
                if self.waited_for.contains(&shard.shard) {
                    self.pending.insert((who, &shard.shard));
                }
            }
            What::Write { key, after, .. } if is_waited_for(after.as_ref()) => drop(self.waited_for.insert(key)),
            What::Write { key, .. } => {
                self.waited_for.remove(key);
                self.pending.retain(|(_, shard)| *shard != key);
            }
            What::Told(Event::LeaseEnded { shard, reason }) => {
                return self.ended(view, at, (who, &shard.shard), *reason);
            }
            What::Delivered { tenure, .. } => {
                let shard = &view.processor(*tenure).shard;
                let is_pending = self.pending.contains(&(who, shard));
                return is_pending.then(|| format!("life {} goes on with {shard}, which another one waits for", who.0));
            }
            _ => {}
        }
        None
    }

    fn ended(&mut self, view: &View<'_>, at: u64, tenure: (Life, &'a ShardId), reason: LossReason) -> Option<String> {
        self.pending.remove(&tenure);
        let waited = self.asked.remove(&tenure).map_or(0, |since| at - since);
        let is_early = reason == LossReason::Released && waited + 1 < view.bounds.hand_off_min;
        let is_working = self.working.contains(&tenure) && !self.stopping.contains(&tenure.0);
        let (Life(life), shard) = tenure;
        (is_early && is_working).then(|| format!("life {life} gives {shard} back while its processor is at work"))
    }
}

fn is_waited_for(row: Option<&Row>) -> bool {
    row.is_some_and(|row| row.checkpoint_owner.is_some() && row.checkpoint_owner != row.owner)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{FIRST, Story, held, shard};
    use super::*;

    fn asked() -> Story {
        let mut story = Story::begun();
        story.batch(1, FIRST, 1..3);
        let next = Row { owner: "worker-2".parse().ok(), checkpoint_owner: held().owner, ..held() };
        story.write(2, "request_hand_off", Some(held()), Some(next));
        story.add(1, What::Told(Event::HandOffRequested { shard: shard(0).into(), next: None }));
        story
    }

    fn released() -> What {
        What::Told(Event::LeaseEnded { shard: shard(0).into(), reason: LossReason::Released })
    }

    #[test]
    fn a_batch_while_another_worker_waits_breaks_it() {
        let mut story = asked();
        story.passes(check);
        story.batch(1, FIRST, 3..4);
        story.breaks(check, "life 1 goes on with shardId-000000000000");
    }

    #[test]
    fn a_lease_given_back_while_its_processor_is_at_work_breaks_it() {
        let mut story = asked();
        story.add(1, What::LeaseLost { tenure: FIRST }).add(1, released());
        story.passes(check);
        let mut story = asked();
        story.wait(5_000).add(1, released());
        story.passes(check);
        let mut story = asked();
        story.wait(4_000).add(1, released());
        story.breaks(check, "life 1 gives shardId-000000000000 back");
    }
}
