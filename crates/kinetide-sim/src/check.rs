//! What must hold in every history, whatever was done to the fleet. One rule, one file; each is a pure function of a
//! [`View`], and each is shown to fail when its rule is broken.

pub mod calm;
pub mod checkpoints;
pub mod counters;
pub mod duplicates;
pub mod hand_offs;
pub mod losses;
pub mod order;
pub mod owners;
pub mod parents;
pub mod silence;
pub mod skips;
pub mod takes;
pub(crate) mod testing;

use std::collections::BTreeMap;
use std::fmt;

use kinetide::stream::{Checkpoint, ShardId, WorkerId};

use crate::history::{Entry, Life, Row, Tenure, What};
use crate::processor::number;

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The checker.
    pub rule: &'static str,
    /// When, in virtual milliseconds.
    pub at: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:.3} s: {}", self.rule, self.at as f64 / 1_000.0, self.what)
    }
}

/// A processor, as its first entry tells.
#[derive(Debug, Clone)]
pub struct Processor {
    /// Of whom.
    pub who: Life,
    /// Its shard.
    pub shard: ShardId,
    /// The counter of the write that took the lease.
    pub token: u64,
}

/// What the settings of a run allow, whichever way its workers' clocks are wrong; times are milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How long any worker may think that a lease lives without a renewal.
    pub lease_life_max: u64,
    /// How long every worker thinks so.
    pub lease_life_min: u64,
    /// How long a processor has to finish when its lease is asked for.
    pub hand_off_min: u64,
    /// Leases that a worker takes from a live one in one look.
    pub steals_max: usize,
    /// How long the stream keeps records.
    pub retention: u64,
}

/// A history with what checkers look up all the time.
#[derive(Debug)]
pub struct View<'a> {
    /// What happened.
    pub entries: &'a [Entry],
    /// What its times are judged by.
    pub bounds: Bounds,
    put_at: BTreeMap<u64, u64>,
    processors: Vec<Processor>,
    workers: BTreeMap<Life, WorkerId>,
    puts: BTreeMap<ShardId, Vec<u64>>,
}

impl<'a> View<'a> {
    /// Looks at a whole history.
    #[must_use]
    pub fn new(entries: &'a [Entry], bounds: Bounds) -> Self {
        let mut view = Self {
            entries,
            bounds,
            put_at: BTreeMap::new(),
            processors: Vec::new(),
            workers: BTreeMap::new(),
            puts: BTreeMap::new(),
        };
        for entry in entries {
            match &entry.what {
                What::Began { shard, token, .. } => {
                    view.processors.push(Processor { who: entry.who, shard: shard.clone(), token: *token });
                }
                What::Started { worker } => drop(view.workers.insert(entry.who, worker.clone())),
                What::Put { shard, sequence } => {
                    view.puts.entry(shard.clone()).or_default().push(*sequence);
                    view.put_at.insert(*sequence, entry.at);
                }
                _ => {}
            }
        }
        view
    }

    /// The processor of a tenure.
    #[must_use]
    pub fn processor(&self, tenure: Tenure) -> &Processor {
        &self.processors[tenure.0]
    }

    /// The worker of a life.
    #[must_use]
    pub fn worker(&self, who: Life) -> Option<&WorkerId> {
        self.workers.get(&who)
    }

    /// True if the stream may have forgotten a record by then.
    #[must_use]
    pub fn is_expired(&self, sequence: u64, at: u64) -> bool {
        self.put_at.get(&sequence).is_some_and(|put_at| put_at + self.bounds.retention <= at)
    }

    /// The records put into a shard, in order.
    #[must_use]
    pub fn puts(&self, shard: &ShardId) -> &[u64] {
        self.puts.get(shard).map_or(&[], Vec::as_slice)
    }
}

/// The highest sequence number that a checkpoint covers.
#[must_use]
pub fn covered(checkpoint: &Checkpoint) -> u64 {
    match checkpoint {
        Checkpoint::At(position) => number(&position.sequence),
        Checkpoint::ShardEnd => u64::MAX,
        _ => 0,
    }
}

/// Who processes the shard of this row.
#[must_use]
pub fn actual_owner(row: &Row) -> Option<&WorkerId> {
    row.checkpoint_owner.as_ref().or(row.owner.as_ref())
}

/// A rule: when it was broken, and how.
pub type Rule = fn(&View<'_>) -> Vec<(u64, String)>;

/// Every rule, in the order of its name.
pub const RULES: [(&str, Rule); 12] = [
    ("calm", calm::check),
    ("checkpoints", checkpoints::check),
    ("counters", counters::check),
    ("duplicates", duplicates::check),
    ("hand-offs", hand_offs::check),
    ("losses", losses::check),
    ("order", order::check),
    ("owners", owners::check),
    ("parents", parents::check),
    ("silence", silence::check),
    ("skips", skips::check),
    ("takes", takes::check),
];

/// Everything that is wrong with a history, by time.
#[must_use]
pub fn all(view: &View<'_>) -> Vec<Violation> {
    let found = RULES.iter().flat_map(|(rule, check)| {
        let broken = check(view).into_iter();
        broken.map(|(at, what)| Violation { rule, at, what })
    });
    let mut found: Vec<_> = found.collect();
    found.sort_by(|a, b| (a.at, a.rule).cmp(&(b.at, b.rule)));
    found
}
