//! Rows of the lease table in a small form, so that a state is a few hundred bytes, and the way from them to real
//! leases and back. Nothing here knows a rule.

use std::fmt;

use kinetide::PendingCheckpoint;
use kinetide::lease::{Lease, LeaseKey};
use kinetide::stream::{Checkpoint, ChildShard, HashKey, HashKeyRange, RecordPosition, ShardId, WorkerId};

pub(crate) const WORKERS_MAX: usize = 3;
pub(crate) const LEASES_MAX: usize = 4;

/// The checkpoint of a lease nobody has worked on.
pub(crate) const START: u8 = 0;
/// The checkpoint of a finished lease; everything between the two is a sequence number.
pub(crate) const END: u8 = u8::MAX;

/// The index of a worker or a lease, in the small form.
pub(crate) fn small(index: usize) -> u8 {
    u8::try_from(index).expect("a handful of workers and leases")
}

/// What a worker is called.
pub(crate) fn name(worker: u8) -> &'static str {
    ["a", "b", "c"][usize::from(worker)]
}

/// One row. Workers and leases are named by their index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Row {
    pub(crate) owner: Option<u8>,
    pub(crate) checkpoint_owner: Option<u8>,
    pub(crate) counter: u8,
    pub(crate) switches: u8,
    pub(crate) checkpoint: u8,
    pub(crate) pending: Option<u8>,
    /// It names its children.
    pub(crate) children: bool,
}

impl Row {
    /// The worker that processes it now.
    pub(crate) fn actual_owner(&self) -> Option<u8> {
        self.checkpoint_owner.or(self.owner)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.checkpoint == END
    }
}

/// The real names behind the indices, and what never changes of a lease.
pub(crate) struct Names {
    pub(crate) workers: Vec<WorkerId>,
    pub(crate) keys: Vec<LeaseKey>,
    parents: Vec<Vec<ShardId>>,
    children: Vec<Vec<ShardId>>,
}

impl Names {
    pub(crate) fn new(workers: usize, children: &[&[usize]]) -> Self {
        let shards: Vec<_> =
            (0..children.len()).map(|index| ShardId::new(format!("shardId-{index:012}")).unwrap()).collect();
        let is_parent = |parent: usize, child: usize| children[parent].contains(&child);
        let parents_of = |child: usize| (0..children.len()).filter(move |parent| is_parent(*parent, child));
        let named = |indices: &mut dyn Iterator<Item = usize>| indices.map(|index| shards[index].clone()).collect();
        Self {
            workers: (0..small(workers)).map(|worker| WorkerId::new(name(worker)).unwrap()).collect(),
            parents: (0..shards.len()).map(|index| named(&mut parents_of(index))).collect(),
            children: children.iter().map(|of| named(&mut of.iter().copied())).collect(),
            keys: shards.into_iter().map(LeaseKey::from).collect(),
        }
    }

    /// The lease this row stands for.
    pub(crate) fn lease(&self, lease: usize, row: &Row) -> Lease {
        Lease {
            key: self.keys[lease].clone(),
            owner: row.owner.map(|owner| self.workers[usize::from(owner)].clone()),
            checkpoint_owner: row.checkpoint_owner.map(|owner| self.workers[usize::from(owner)].clone()),
            counter: u64::from(row.counter),
            owner_switches: u64::from(row.switches),
            checkpoint: checkpoint(row.checkpoint),
            pending: row.pending.map(pending),
            parents: self.parents[lease].clone(),
            children: if row.children { self.children[lease].clone() } else { Vec::new() },
            hash_range: Some(hash_range(lease)),
            throughput_kbps: None,
        }
    }

    /// The row that stands for this lease; `None` if there is no such row.
    pub(crate) fn row(&self, index: usize, lease: &Lease) -> Option<Row> {
        let worker = |id: &WorkerId| Some(small(self.workers.iter().position(|worker| worker == id)?));
        let row = Row {
            owner: lease.owner.as_ref().and_then(worker),
            checkpoint_owner: lease.checkpoint_owner.as_ref().and_then(worker),
            counter: u8::try_from(lease.counter).ok()?,
            switches: u8::try_from(lease.owner_switches).ok()?,
            checkpoint: number(&lease.checkpoint)?,
            pending: lease.pending.as_ref().and_then(|pending| number(&pending.checkpoint)),
            children: !lease.children.is_empty(),
        };
        (self.lease(index, &row) == *lease).then_some(row)
    }

    /// A child as the end of its parent names it.
    pub(crate) fn child(&self, lease: usize) -> ChildShard {
        let (id, parents) = (self.keys[lease].shard.clone(), self.parents[lease].clone());
        ChildShard { id, parents, hash_range: hash_range(lease) }
    }

    pub(crate) fn children(&self, lease: usize) -> Vec<ShardId> {
        self.children[lease].clone()
    }
}

pub(crate) fn checkpoint(number: u8) -> Checkpoint {
    match number {
        START => Checkpoint::TrimHorizon,
        END => Checkpoint::ShardEnd,
        number => Checkpoint::At(RecordPosition { sequence: u64::from(number).into(), sub_sequence: 0 }),
    }
}

fn number(checkpoint: &Checkpoint) -> Option<u8> {
    match checkpoint {
        Checkpoint::TrimHorizon => Some(START),
        Checkpoint::ShardEnd => Some(END),
        Checkpoint::At(position) => position.sequence.as_str().parse().ok(),
        Checkpoint::AtTimestamp | Checkpoint::Latest => None,
    }
}

/// A prepared checkpoint, with a state that tells it from others.
pub(crate) fn pending(number: u8) -> PendingCheckpoint {
    PendingCheckpoint { checkpoint: checkpoint(number), state: Some(vec![number].into()) }
}

fn hash_range(lease: usize) -> HashKeyRange {
    let start = lease as u128 * 100;
    HashKeyRange { start: HashKey(start), end: HashKey(start + 99) }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{} at {}", self.owner.map_or("nobody", name), self.counter, checkpoint(self.checkpoint))?;
        if let Some(owner) = self.checkpoint_owner {
            write!(f, ", still with {}", name(owner))?;
        }
        self.pending.map_or(Ok(()), |pending| write!(f, ", {pending} prepared"))
    }
}
