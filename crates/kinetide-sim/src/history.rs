//! What happened in a run, in order: what was put, what the lease table accepted, what processors were told and did, what
//! workers reported, and what was done to them. The checkers read nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kinetide::clock::Moment;
use kinetide::lease::Lease;
use kinetide::stream::{Checkpoint, ShardId, WorkerId};
use kinetide::{Clock, Event};

use crate::fault::Fault;

/// One life of one worker, from start to end; 0 is nobody: the world itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Life(pub u32);

/// One processor: a life's hold of one shard, from take to loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenure(pub usize);

/// The columns of a lease row that rules are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Who owns it.
    pub owner: Option<WorkerId>,
    /// Who still processes it during a hand-off.
    pub checkpoint_owner: Option<WorkerId>,
    /// The counter.
    pub counter: u64,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
}

impl From<&Lease> for Row {
    fn from(lease: &Lease) -> Self {
        Self {
            owner: lease.owner.clone(),
            checkpoint_owner: lease.checkpoint_owner.clone(),
            counter: lease.counter,
            checkpoint: lease.checkpoint.clone(),
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum What {
    /// A record was put and acknowledged.
    Put {
        /// Where it went.
        shard: ShardId,
        /// Its sequence number.
        sequence: u64,
    },
    /// Shards were closed and others opened.
    Resharded {
        /// The closed ones.
        parents: Vec<ShardId>,
        /// The opened ones.
        children: Vec<ShardId>,
    },
    /// The lease table accepted a write.
    Write {
        /// What it was for.
        operation: &'static str,
        /// The lease.
        key: ShardId,
        /// The row before; `None`: there was none.
        before: Option<Row>,
        /// The row after; `None`: it was deleted.
        after: Option<Row>,
    },
    /// A worker was started.
    Started {
        /// Its id.
        worker: WorkerId,
    },
    /// A worker's end was asked for, in an orderly way or not.
    Asked {
        /// True: processors may finish.
        is_orderly: bool,
    },
    /// A worker ended; nothing of it runs any more.
    Ended {
        /// Why, if not as asked.
        error: Option<String>,
    },
    /// A processor was made.
    Began {
        /// Its number.
        tenure: Tenure,
        /// Its shard.
        shard: ShardId,
        /// The counter of the write that took the lease.
        token: u64,
    },
    /// `initialize` was called.
    Initialized {
        /// The processor.
        tenure: Tenure,
        /// Where it starts.
        checkpoint: Checkpoint,
    },
    /// `process_records` was called.
    Delivered {
        /// The processor.
        tenure: Tenure,
        /// The sequence numbers.
        records: Vec<u64>,
    },
    /// One record was processed.
    Processed {
        /// The processor.
        tenure: Tenure,
        /// The record.
        sequence: u64,
    },
    /// `process_records` returned.
    Returned {
        /// The processor.
        tenure: Tenure,
        /// Whether it went well.
        is_ok: bool,
    },
    /// A checkpoint was asked for and answered.
    Checkpointed {
        /// The processor.
        tenure: Tenure,
        /// The record it was asked for at, if one was named.
        wish: Option<u64>,
        /// Where the checkpointer says that the shard stands now.
        last: Checkpoint,
        /// The answer, in case it was a refusal.
        error: Option<String>,
    },
    /// `lease_lost` was called.
    LeaseLost {
        /// The processor.
        tenure: Tenure,
    },
    /// `shard_ended` returned; the end is checkpointed if it went well.
    ShardEnded {
        /// The processor.
        tenure: Tenure,
        /// Whether it went well.
        is_ok: bool,
    },
    /// `shutdown_requested` was called.
    ShutdownRequested {
        /// The processor.
        tenure: Tenure,
    },
    /// A worker reported something.
    Told(Event),
    /// Something was done to a worker or the stream.
    Fault {
        /// What.
        fault: Fault,
        /// To which call, or how.
        detail: &'static str,
        /// For so long, in milliseconds.
        millis: u64,
        /// The shard it was about, if any.
        shard: Option<ShardId>,
    },
    /// From now on nothing is disturbed.
    Healed,
    /// Everything is as it should be, and from now on nothing has to move.
    Settled,
}

/// Something that happened, when, and to whom.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Virtual milliseconds since the start of the run.
    pub at: u64,
    /// Who did it, or whom it befell.
    pub who: Life,
    /// What.
    pub what: What,
}

/// Collects entries; clones share it.
#[derive(Debug, Clone)]
pub struct History {
    clock: Clock,
    started: Moment,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    /// By tenure.
    shards: Vec<ShardId>,
    /// Records put and not yet processed.
    unprocessed: BTreeMap<ShardId, BTreeSet<u64>>,
}

impl History {
    /// An empty one, which starts now.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { started: clock.monotonic(), clock, state: Arc::default() }
    }

    /// Virtual milliseconds since the start.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.clock.monotonic().since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    /// Adds what happened just now.
    pub fn add(&self, who: Life, what: What) {
        let at = self.now();
        let mut state = self.lock();
        if let What::Processed { tenure, sequence } = &what {
            state.processed(*tenure, *sequence);
        }
        state.entries.push(Entry { at, who, what });
    }

    /// Adds a record that was put.
    pub fn put(&self, shard: ShardId, sequence: u64) {
        self.lock().unprocessed.entry(shard.clone()).or_default().insert(sequence);
        self.add(Life::default(), What::Put { shard, sequence });
    }

    /// The shards with records that were put and not yet processed: how many, and the first.
    #[must_use]
    pub fn unprocessed(&self) -> Vec<(ShardId, usize, u64)> {
        let state = self.lock();
        let left = state.unprocessed.iter();
        left.filter_map(|(shard, left)| Some((shard.clone(), left.len(), *left.first()?))).collect()
    }

    /// Adds a fault.
    pub fn add_fault(&self, who: Life, fault: Fault, detail: &'static str, millis: u64) {
        self.add(who, What::Fault { fault, detail, millis, shard: None });
    }

    /// Adds a new processor; returns its number.
    pub fn begin(&self, who: Life, shard: ShardId, token: u64) -> Tenure {
        let tenure = {
            let mut state = self.lock();
            state.shards.push(shard.clone());
            Tenure(state.shards.len() - 1)
        };
        self.add(who, What::Began { tenure, shard, token });
        tenure
    }

    /// Everything so far; leaves it empty.
    #[must_use]
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut self.lock().entries)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn processed(&mut self, tenure: Tenure, sequence: u64) {
        let left = self.shards.get(tenure.0).and_then(|shard| self.unprocessed.get_mut(shard));
        if let Some(left) = left {
            left.remove(&sequence);
        }
    }
}
