//! Silence: a processor is told nothing before `initialize`, nothing after `lease_lost` or an end that went well, no records
//! after `shutdown_requested` or once its worker said that the lease is over; nothing of an ended worker goes on. A processor
//! is asked to finish while its lease is held, and before it is told that the lease is lost; a worker makes the next processor
//! of a shard when the last one is over.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

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
    /// Those whose lease was over before they were initialised: they may still be, and then have to leave.
    late: BTreeSet<Tenure>,
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
            What::Began { tenure, shard, .. } => return self.begin(who, shard, *tenure),
            What::Told(Event::LeaseEnded { shard, .. }) => self.lease_ended(who, &shard.shard),
            What::Initialized { tenure, .. } => {
                let next = if self.late.contains(tenure) { Stage::Leaving } else { Stage::Running };
                return self.call(view, *tenure, "initialize", Stage::Made..=Stage::Made, next);
            }
            What::Delivered { tenure, .. } => {
                return self.call(view, *tenure, "process_records", Stage::Running..=Stage::Running, Stage::Running);
            }
            What::ShutdownRequested { tenure } => {
                return self.call(view, *tenure, "shutdown_requested", Stage::Running..=Stage::Running, Stage::Leaving);
            }
            What::LeaseLost { tenure } => {
                return self.call(view, *tenure, "lease_lost", Stage::Leaving..=Stage::Leaving, Stage::Over);
            }
            What::ShardEnded { tenure, is_ok } => {
                let next = if *is_ok { Stage::Over } else { Stage::Running };
                return self.call(view, *tenure, "shard_ended", Stage::Running..=Stage::Leaving, next);
            }
            _ => {}
        }
        None
    }

    fn begin(&mut self, who: Life, shard: &'a ShardId, tenure: Tenure) -> Option<String> {
        self.stages.insert(tenure, Stage::Made);
        let last = self.current.insert((who, shard), tenure)?;
        let stage = self.stages.get(&last).copied().filter(|stage| [Stage::Running, Stage::Leaving].contains(stage))?;
        Some(format!("a second processor of {shard} by life {}, whose first one is {stage:?}", who.0))
    }

    fn lease_ended(&mut self, who: Life, shard: &'a ShardId) {
        let Some(tenure) = self.current.get(&(who, shard)).copied() else { return };
        let stage = self.stages.entry(tenure).or_insert(Stage::Made);
        match *stage {
            Stage::Made => drop(self.late.insert(tenure)),
            Stage::Running => *stage = Stage::Leaving,
            Stage::Leaving | Stage::Over => {}
        }
    }

    /// A call that is allowed in some stages.
    fn call(
        &mut self,
        view: &View<'_>,
        tenure: Tenure,
        name: &str,
        allowed: RangeInclusive<Stage>,
        next: Stage,
    ) -> Option<String> {
        let stage = self.stages.get(&tenure).copied().unwrap_or(Stage::Made);
        self.stages.insert(tenure, next.max(stage));
        let processor = view.processor(tenure);
        let place = format!("{name} of {} by life {}", processor.shard, processor.who.0);
        (!allowed.contains(&stage)).then(|| format!("{place}, whose processor is {stage:?}"))
    }
}

#[cfg(test)]
mod tests {
    use kinetide::lease::keeper::LossReason;

    use super::super::testing::{FIRST, Story, held, shard};
    use super::*;

    fn lease_ended(reason: LossReason) -> What {
        What::Told(Event::LeaseEnded { shard: shard(0).into(), reason })
    }

    #[test]
    fn a_batch_after_lease_lost_breaks_it() {
        let mut story = Story::begun();
        story.batch(1, FIRST, 1..3).add(1, What::ShutdownRequested { tenure: FIRST });
        story.add(1, What::LeaseLost { tenure: FIRST });
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
        story.add(1, lease_ended(LossReason::Taken));
        story.batch(1, FIRST, 1..2);
        story.breaks(check, "whose processor is Leaving");
    }

    #[test]
    fn a_batch_of_a_processor_initialised_too_late_breaks_it() {
        let mut story = Story::begun();
        let tenure = Tenure(1);
        story.add(2, What::Began { tenure, shard: shard(0), token: 2 });
        story.add(2, lease_ended(LossReason::Taken));
        story.add(2, What::Initialized { tenure, checkpoint: held().checkpoint });
        story.passes(check);
        story.batch(2, tenure, 1..2);
        story.breaks(check, "process_records of shardId-000000000000 by life 2, whose processor is Leaving");
    }

    #[test]
    fn a_last_chance_after_the_lease_was_given_back_breaks_it() {
        let mut story = Story::begun();
        story.add(1, lease_ended(LossReason::Released)).add(1, What::ShutdownRequested { tenure: FIRST });
        story.breaks(check, "shutdown_requested of shardId-000000000000 by life 1, whose processor is Leaving");
    }

    #[test]
    fn no_last_chance_breaks_it() {
        let mut story = Story::begun();
        story.batch(1, FIRST, 1..2).add(1, What::LeaseLost { tenure: FIRST });
        story.breaks(check, "lease_lost of shardId-000000000000 by life 1, whose processor is Running");
    }

    #[test]
    fn a_second_processor_beside_the_first_breaks_it() {
        let mut story = Story::begun();
        story.add(1, lease_ended(LossReason::Expired));
        story.take(1, held());
        story.breaks(check, "a second processor of shardId-000000000000 by life 1, whose first one is Leaving");
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
