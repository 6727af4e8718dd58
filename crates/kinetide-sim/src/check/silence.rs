//! Silence: a processor is told nothing before `initialize`, nothing after `lease_lost` or an end that went well, no records
//! after `shutdown_requested` or once its worker said that the lease is over; nothing of an ended worker goes on.

use std::collections::{BTreeMap, BTreeSet};

use kinetide::Event;
use kinetide::stream::ShardId;

use super::View;
use crate::history::{Life, Tenure, What};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Made,
    Running,
    /// It may finish, and gets no more records.
    Leaving,
    Over,
}

#[derive(Debug, Default)]
struct Silences<'a> {
    stages: BTreeMap<Tenure, Stage>,
    current: BTreeMap<(Life, &'a ShardId), Tenure>,
    ended: BTreeSet<Life>,
}

/// Checks it.
#[must_use]
pub fn check(view: &View<'_>) -> Vec<(u64, String)> {
    let mut silences = Silences::default();
    let mut broken = Vec::new();
    for entry in view.entries {
        let told = silences.follow(view, entry.who, &entry.what);
        broken.extend(told.map(|what| (entry.at, what)));
    }
    broken
}

impl<'a> Silences<'a> {
    /// Takes note of an entry; says what is wrong with it.
    fn follow(&mut self, view: &'a View<'_>, who: Life, what: &'a What) -> Option<String> {
        if self.ended.contains(&who) && !matches!(what, What::Write { .. } | What::Fault { .. }) {
            return Some(format!("life {} has ended and goes on with {what:?}", who.0));
        }
        match what {
            What::Ended { .. } => drop(self.ended.insert(who)),
            What::Began { tenure, shard, .. } => {
                self.stages.insert(*tenure, Stage::Made);
                self.current.insert((who, shard), *tenure);
            }
            What::Told(Event::LeaseEnded { shard, .. }) => {
                let current = self.current.get(&(who, &shard.shard)).copied();
                let stage = current.and_then(|tenure| self.stages.get_mut(&tenure));
                if let Some(stage) = stage.filter(|stage| **stage == Stage::Running) {
                    *stage = Stage::Leaving;
                }
            }
            What::Initialized { tenure, .. } => {
                return self.call(view, *tenure, "initialize", Stage::Made, Stage::Running);
            }
            What::Delivered { tenure, .. } => {
                return self.call(view, *tenure, "process_records", Stage::Running, Stage::Running);
            }
            What::ShutdownRequested { tenure } => {
                return self.call(view, *tenure, "shutdown_requested", Stage::Leaving, Stage::Leaving);
            }
            What::LeaseLost { tenure } => {
                return self.call(view, *tenure, "lease_lost", Stage::Leaving, Stage::Over);
            }
            What::ShardEnded { tenure, is_ok } => {
                let next = if *is_ok { Stage::Over } else { Stage::Running };
                return self.call(view, *tenure, "shard_ended", Stage::Leaving, next);
            }
            _ => {}
        }
        None
    }

    /// A call that is allowed up to and including a stage, but not before `initialize`.
    fn call(&mut self, view: &View<'_>, tenure: Tenure, name: &str, most: Stage, next: Stage) -> Option<String> {
        let stage = self.stages.get(&tenure).copied().unwrap_or(Stage::Made);
        let is_early = stage == Stage::Made && name != "initialize";
        self.stages.insert(tenure, next.max(stage));
        let processor = view.processor(tenure);
        let place = format!("{name} of {} by life {}", processor.shard, processor.who.0);
        (is_early || stage > most).then(|| format!("{place}, whose processor is {stage:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{FIRST, Story, shard};
    use super::*;

    #[test]
    fn a_batch_after_lease_lost_breaks_it() {
        let mut story = Story::begun();
        story.batch(1, FIRST, 1..3).add(1, What::LeaseLost { tenure: FIRST });
        story.passes(check);
        story.batch(1, FIRST, 3..4);
        story.breaks(check, "process_records of shardId-000000000000 by life 1, whose processor is Over");
    }

    #[test]
    fn a_call_after_the_end_breaks_it() {
        let mut story = Story::begun();
        story.add(1, What::ShardEnded { tenure: FIRST, is_ok: false });
        story.add(1, What::ShardEnded { tenure: FIRST, is_ok: true });
        story.passes(check);
        story.add(1, What::LeaseLost { tenure: FIRST });
        story.breaks(check, "lease_lost");
    }

    #[test]
    fn a_batch_after_the_worker_said_that_the_lease_is_over_breaks_it() {
        let mut story = Story::begun();
        let reason = kinetide::lease::keeper::LossReason::Taken;
        story.add(1, What::Told(Event::LeaseEnded { shard: shard(0).into(), reason }));
        story.batch(1, FIRST, 1..2);
        story.breaks(check, "whose processor is Leaving");
    }

    #[test]
    fn a_batch_of_a_dead_worker_breaks_it() {
        let mut story = Story::begun();
        story.add(1, What::Ended { error: None });
        story.add(1, What::Delivered { tenure: FIRST, records: vec![1] });
        story.breaks(check, "life 1 has ended");
    }

    #[test]
    fn a_batch_after_shutdown_requested_breaks_it() {
        let mut story = Story::begun();
        story.add(1, What::ShutdownRequested { tenure: FIRST });
        story.batch(1, FIRST, 1..2);
        story.breaks(check, "whose processor is Leaving");
    }
}
