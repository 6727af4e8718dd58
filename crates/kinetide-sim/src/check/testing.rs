//! Histories written by hand, for the tests of the checkers.
#![cfg(test)]

use kinetide::stream::{Checkpoint, RecordPosition, ShardId, WorkerId};

use super::{Bounds, Rule, View};
use crate::history::{Entry, Life, Row, Tenure, What};

/// A history under construction; every entry is 100 ms after the one before.
#[derive(Debug, Default)]
pub(crate) struct Story {
    entries: Vec<Entry>,
    tenures: usize,
    now: u64,
}

pub(crate) fn shard(index: usize) -> ShardId {
    ShardId::new(format!("shardId-{index:012}")).unwrap()
}

pub(crate) fn at(sequence: u64) -> Checkpoint {
    Checkpoint::At(RecordPosition::from(kinetide::stream::SequenceNumber::from(sequence)))
}

pub(crate) fn row(owner: u32, counter: u64, checkpoint: Checkpoint) -> Row {
    let owner = (owner > 0).then(|| WorkerId::new(format!("worker-{owner}")).unwrap());
    Row { owner, checkpoint_owner: None, counter, checkpoint }
}

impl Story {
    /// Shard 0 with records 1 to 9, workers 1 and 2, and worker 1's first tenure from the beginning.
    pub(crate) fn begun() -> Self {
        let mut story = Self::default();
        for who in [1, 2] {
            story.add(who, What::Started { worker: WorkerId::new(format!("worker-{who}")).unwrap() });
        }
        for sequence in 1..10 {
            story.add(0, What::Put { shard: shard(0), sequence });
        }
        story.write(1, "create", None, Some(row(0, 0, Checkpoint::TrimHorizon)));
        story.take(1, row(0, 0, Checkpoint::TrimHorizon));
        story
    }

    pub(crate) fn add(&mut self, who: u32, what: What) -> &mut Self {
        self.now += 100;
        self.entries.push(Entry { at: self.now, who: Life(who), what });
        self
    }

    /// The next entry comes at the time of the last.
    pub(crate) fn at_once(&mut self) -> &mut Self {
        self.now -= 100;
        self
    }

    /// A write to another shard's lease.
    pub(crate) fn write_to(&mut self, who: u32, operation: &'static str, key: ShardId, before: Row, after: Row) {
        self.add(who, What::Write { operation, key, before: Some(before), after: Some(after) });
    }

    pub(crate) fn wait(&mut self, millis: u64) -> &mut Self {
        self.now += millis;
        self
    }

    /// A write to the lease of shard 0.
    pub(crate) fn write(
        &mut self,
        who: u32,
        operation: &'static str,
        before: Option<Row>,
        after: Option<Row>,
    ) -> &mut Self {
        self.add(who, What::Write { operation, key: shard(0), before, after })
    }

    /// A take of shard 0's lease and the processor that follows; returns its number.
    pub(crate) fn take(&mut self, who: u32, before: Row) -> Tenure {
        let after = row(who, before.counter + 1, before.checkpoint.clone());
        let (token, checkpoint) = (after.counter, after.checkpoint.clone());
        self.write(who, "take", Some(before), Some(after));
        let tenure = Tenure(self.tenures);
        self.tenures += 1;
        self.add(who, What::Began { tenure, shard: shard(0), token });
        self.add(who, What::Initialized { tenure, checkpoint });
        tenure
    }

    /// A batch that is processed well.
    pub(crate) fn batch(&mut self, who: u32, tenure: Tenure, records: impl IntoIterator<Item = u64>) -> &mut Self {
        let records: Vec<u64> = records.into_iter().collect();
        self.add(who, What::Delivered { tenure, records: records.clone() });
        for sequence in records {
            self.add(who, What::Processed { tenure, sequence });
        }
        self.add(who, What::Returned { tenure, is_ok: true })
    }

    /// A batch that is delivered and fails.
    pub(crate) fn failed_batch(&mut self, who: u32, tenure: Tenure, records: impl IntoIterator<Item = u64>) {
        self.add(who, What::Delivered { tenure, records: records.into_iter().collect() });
        self.add(who, What::Returned { tenure, is_ok: false });
    }

    /// An accepted checkpoint of shard 0's lease.
    pub(crate) fn checkpoint(&mut self, who: u32, before: Row, checkpoint: Checkpoint) -> Row {
        let after = Row { counter: before.counter + 1, checkpoint, ..before.clone() };
        self.write(who, "checkpoint", Some(before), Some(after.clone()));
        after
    }

    /// What a rule says about it, with leases that live for ten seconds and records for a minute.
    pub(crate) fn judge(&self, check: Rule) -> Vec<String> {
        let bounds = Bounds {
            lease_life_max: 10_000,
            lease_life_min: 10_000,
            hand_off_min: 5_000,
            steals_max: 1,
            retention: 60_000,
        };
        let view = View::new(&self.entries, bounds);
        check(&view).into_iter().map(|(_, what)| what).collect()
    }

    /// Requires that a rule finds nothing.
    pub(crate) fn passes(&self, check: Rule) {
        assert_eq!(self.judge(check), Vec::<String>::new());
    }

    /// Requires that a rule finds this and nothing else.
    pub(crate) fn breaks(&self, check: Rule, with: &str) {
        let found = self.judge(check);
        assert!(found.len() == 1 && found[0].contains(with), "expected one '{with}', found {found:?}");
    }
}

pub(crate) const FIRST: Tenure = Tenure(0);

/// The row of shard 0 after worker 1 took it.
pub(crate) fn held() -> Row {
    row(1, 1, Checkpoint::TrimHorizon)
}
