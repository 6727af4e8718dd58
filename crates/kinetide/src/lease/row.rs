//! A lease and its legal transitions, without effects.
//!
//! A transition is data: a [`LeaseUpdate`] names the row, what must hold ([`Require`]) and what changes ([`Change`]). Every
//! table applies it the same way, in one conditional write. The transitions are those of the Java KCL, so that workers of
//! both kinds can share a table.
//!
//! Invariants:
//! - whoever changes the actual owner or the checkpoint moves the counter, so the holder of an older copy loses its next
//!   write; [`Lease::forget_hand_off`] alone clears an owner that holds nothing, and leaves the counter to whoever does;
//! - no transition lowers a checkpoint, and none but the deletion of a finished lease removes one; [`Lease::reopen`] is for
//!   a row whose shard is gone and whose key names another shard now.

use super::key::LeaseKey;
use crate::checkpoint::PendingCheckpoint;
use crate::stream::{Checkpoint, ChildShard, HashKeyRange, InitialPosition, Shard, ShardId, StreamId, WorkerId};

/// One row of the lease table.
#[derive(Debug, Clone, PartialEq)]
pub struct Lease {
    /// The shard, and its stream if the application reads many.
    pub key: LeaseKey,
    /// The worker that owns it; during a hand-off, the worker that will.
    pub owner: Option<WorkerId>,
    /// The worker that still processes it while a hand-off is pending.
    pub checkpoint_owner: Option<WorkerId>,
    /// Heartbeat and optimistic lock.
    pub counter: u64,
    /// Changes of owner since the last checkpoint.
    pub owner_switches: u64,
    /// How far the shard has been processed.
    pub checkpoint: Checkpoint,
    /// A prepared checkpoint, if one was not completed.
    pub pending: Option<PendingCheckpoint>,
    /// The shards it was made from.
    pub parents: Vec<ShardId>,
    /// The shards that follow it, once it is finished.
    pub children: Vec<ShardId>,
    /// The hash keys it holds, if known.
    pub hash_range: Option<HashKeyRange>,
    /// Moving average of bytes processed, in KB/s, as 3.x workers report it.
    pub throughput_kbps: Option<f64>,
}

/// What must hold for an update to be applied. All of an update's conditions must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Require {
    /// The row exists.
    Exists,
    /// The counter is this.
    Counter(u64),
    /// The owner is this; `None`: there is none.
    Owner(Option<WorkerId>),
    /// The checkpoint owner is this; `None`: there is none.
    CheckpointOwner(Option<WorkerId>),
}

/// One change an update makes.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Sets the counter.
    Counter(u64),
    /// Adds one to the counter.
    AddCounter,
    /// Sets or clears the owner.
    Owner(Option<WorkerId>),
    /// Sets the checkpoint owner: a hand-off is pending.
    SetCheckpointOwner(WorkerId),
    /// Clears the checkpoint owner.
    ClearCheckpointOwner,
    /// Sets the owner switches.
    OwnerSwitches(u64),
    /// Adds one to the owner switches.
    AddOwnerSwitch,
    /// Sets the checkpoint.
    Checkpoint(Checkpoint),
    /// Sets or clears the prepared checkpoint and its state.
    Pending(Option<PendingCheckpoint>),
    /// Sets the children.
    Children(Vec<ShardId>),
    /// Sets the hash range.
    HashRange(HashKeyRange),
    /// Sets the throughput.
    ThroughputKbps(f64),
    /// Repeats which stream and shard it is, beside the key, as applications of many streams do.
    Identity(LeaseKey),
}

/// One conditional write to one row.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseUpdate {
    /// What it is for, for logs and counters.
    pub operation: &'static str,
    /// The row.
    pub key: LeaseKey,
    /// What must hold.
    pub require: Vec<Require>,
    /// What changes.
    pub changes: Vec<Change>,
}

impl Lease {
    /// A lease for a shard that ListShards returned.
    #[must_use]
    pub fn of_shard(stream: Option<&StreamId>, shard: &Shard, position: InitialPosition) -> Self {
        let key = LeaseKey { stream: stream.cloned(), shard: shard.id.clone() };
        Self {
            parents: shard.parents.clone(),
            hash_range: Some(shard.hash_range),
            ..Self::new(key, position.checkpoint())
        }
    }

    /// A lease for a shard that the end of its parent named: it starts at its first record.
    #[must_use]
    pub fn of_child(parent: &LeaseKey, child: &ChildShard) -> Self {
        Self {
            parents: child.parents.clone(),
            hash_range: Some(child.hash_range),
            ..Self::new(parent.of(&child.id), Checkpoint::TrimHorizon)
        }
    }

    /// An unowned lease.
    #[must_use]
    pub fn new(key: impl Into<LeaseKey>, checkpoint: Checkpoint) -> Self {
        Self {
            key: key.into(),
            owner: None,
            checkpoint_owner: None,
            counter: 0,
            owner_switches: 0,
            checkpoint,
            pending: None,
            parents: Vec::new(),
            children: Vec::new(),
            hash_range: None,
            throughput_kbps: None,
        }
    }

    /// The leases of the shards it was made from.
    pub fn parent_keys(&self) -> impl Iterator<Item = LeaseKey> {
        self.parents.iter().map(|parent| self.key.of(parent))
    }

    /// The leases of the shards that follow it.
    pub fn child_keys(&self) -> impl Iterator<Item = LeaseKey> {
        self.children.iter().map(|child| self.key.of(child))
    }

    /// The worker that processes it now: while a hand-off is pending, still the old owner.
    #[must_use]
    pub fn actual_owner(&self) -> Option<&WorkerId> {
        self.checkpoint_owner.as_ref().or(self.owner.as_ref())
    }

    /// The worker that waits for it, while a hand-off is pending.
    #[must_use]
    pub fn next_owner(&self) -> Option<&WorkerId> {
        let next = self.owner.as_ref()?;
        self.checkpoint_owner.as_ref().filter(|current| *current != next).map(|_| next)
    }

    /// True if the shard is done.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.checkpoint == Checkpoint::ShardEnd
    }

    /// Keeps it for another failover time. Refused when a hand-off was requested that is not known here yet: so the owner
    /// learns of it.
    #[must_use]
    pub fn renew(&self) -> LeaseUpdate {
        let mut require = vec![Require::Counter(self.counter)];
        if self.checkpoint_owner.is_none() {
            require.push(Require::CheckpointOwner(None));
        }
        self.update("renew", require, vec![Change::Counter(self.counter + 1)])
    }

    /// Asks its owner to hand it over. The counter stays, so the owner's next write is not lost, and it goes on until its
    /// processor has checkpointed.
    #[must_use]
    pub fn request_hand_off(&self, next: &WorkerId) -> LeaseUpdate {
        let require = vec![Require::Owner(self.owner.clone()), Require::CheckpointOwner(None)];
        let mut changes = vec![Change::Owner(Some(next.clone()))];
        changes.extend(self.owner.clone().map(Change::SetCheckpointOwner));
        self.update("request_hand_off", require, changes)
    }

    /// Takes such a request back: the lease stays with whom it was.
    #[must_use]
    pub fn withdraw_hand_off(&self) -> LeaseUpdate {
        let require = vec![Require::Owner(self.owner.clone()), Require::CheckpointOwner(self.checkpoint_owner.clone())];
        let changes = vec![Change::Owner(self.checkpoint_owner.clone()), Change::ClearCheckpointOwner];
        self.update("withdraw_hand_off", require, changes)
    }

    /// Clears what a hand-off left behind when its old owner does not hold the lease any more; whoever owns it by now goes
    /// on undisturbed.
    #[must_use]
    pub fn forget_hand_off(&self) -> LeaseUpdate {
        let require = vec![
            Require::Counter(self.counter),
            Require::Owner(self.owner.clone()),
            Require::CheckpointOwner(self.checkpoint_owner.clone()),
        ];
        self.update("forget_hand_off", require, vec![Change::ClearCheckpointOwner])
    }

    /// Makes `worker` its owner, whether it is free or owned by somebody else.
    #[must_use]
    pub fn take(&self, worker: &WorkerId) -> LeaseUpdate {
        let mut changes = vec![
            Change::Counter(self.counter + 1),
            Change::Owner(Some(worker.clone())),
            // A 2.x worker would leave it behind, and a 3.x worker then ignores the lease.
            Change::ClearCheckpointOwner,
        ];
        let is_switch = self.owner.as_ref().is_some_and(|owner| owner != worker);
        if is_switch || self.checkpoint_owner.as_ref() == Some(worker) {
            changes.push(Change::AddOwnerSwitch);
        }
        self.update("take", vec![Require::Counter(self.counter)], changes)
    }

    /// Gives it back: no owner, or the one that waits for it, and a counter that tells everybody.
    #[must_use]
    pub fn release(&self) -> LeaseUpdate {
        let mut changes = vec![Change::ClearCheckpointOwner, Change::AddCounter];
        changes.push(if self.checkpoint_owner.is_none() { Change::Owner(None) } else { Change::AddOwnerSwitch });
        let require = vec![Require::Owner(self.owner.clone()), Require::CheckpointOwner(self.checkpoint_owner.clone())];
        self.update("release", require, changes)
    }

    /// Gives back what its owner left behind, unless it has moved since it was read.
    #[must_use]
    pub fn release_abandoned(&self) -> LeaseUpdate {
        let mut release = self.release();
        release.operation = "release_abandoned";
        release.require.push(Require::Counter(self.counter));
        release
    }

    /// Stores a checkpoint; a prepared one is done with.
    #[must_use]
    pub fn checkpoint(&self, checkpoint: Checkpoint) -> LeaseUpdate {
        let changes = vec![
            Change::Counter(self.counter + 1),
            Change::Checkpoint(checkpoint),
            Change::OwnerSwitches(0),
            Change::Pending(None),
        ];
        self.update("checkpoint", vec![Require::Counter(self.counter)], self.with_metadata(changes))
    }

    /// Stores the intent to checkpoint, and leaves the checkpoint as it is.
    #[must_use]
    pub fn prepare(&self, pending: PendingCheckpoint) -> LeaseUpdate {
        let changes = vec![
            Change::Counter(self.counter + 1),
            Change::Checkpoint(self.checkpoint.clone()),
            Change::OwnerSwitches(self.owner_switches),
            Change::Pending(Some(pending)),
        ];
        self.update("prepare", vec![Require::Counter(self.counter)], self.with_metadata(changes))
    }

    /// Makes the finished lease of a former stream's shard the fresh lease of the shard that has its id now.
    #[must_use]
    pub fn reopen(&self, shard: &Shard) -> LeaseUpdate {
        let changes = vec![
            Change::AddCounter,
            Change::Owner(None),
            Change::Checkpoint(Checkpoint::TrimHorizon),
            Change::OwnerSwitches(0),
            Change::Pending(None),
            Change::Children(Vec::new()),
            Change::HashRange(shard.hash_range),
        ];
        self.update("reopen", vec![Require::Counter(self.counter)], changes)
    }

    /// Names the shards that follow; any worker may.
    #[must_use]
    pub fn name_children(&self, children: Vec<ShardId>) -> LeaseUpdate {
        self.update("name_children", vec![Require::Exists], vec![Change::Children(children)])
    }

    /// Notes which hash keys it holds; any worker may.
    #[must_use]
    pub fn note_hash_range(&self, range: HashKeyRange) -> LeaseUpdate {
        self.update("note_hash_range", vec![Require::Exists], vec![Change::HashRange(range)])
    }

    /// A checkpoint also writes what is known of the shard, as the Java KCL does.
    fn with_metadata(&self, mut changes: Vec<Change>) -> Vec<Change> {
        if !self.children.is_empty() {
            changes.push(Change::Children(self.children.clone()));
        }
        changes.extend(self.hash_range.map(Change::HashRange));
        if self.key.stream.is_some() {
            changes.push(Change::Identity(self.key.clone()));
        }
        changes
    }

    fn update(&self, operation: &'static str, require: Vec<Require>, changes: Vec<Change>) -> LeaseUpdate {
        LeaseUpdate { operation, key: self.key.clone(), require, changes }
    }

    /// True if every condition holds for this row.
    #[must_use]
    pub fn satisfies(&self, require: &[Require]) -> bool {
        require.iter().all(|condition| match condition {
            Require::Exists => true,
            Require::Counter(counter) => self.counter == *counter,
            Require::Owner(owner) => self.owner == *owner,
            Require::CheckpointOwner(owner) => self.checkpoint_owner == *owner,
        })
    }

    /// The row after these changes.
    #[must_use]
    pub fn with_changes(mut self, changes: &[Change]) -> Self {
        for change in changes {
            match change.clone() {
                Change::Counter(counter) => self.counter = counter,
                Change::AddCounter => self.counter += 1,
                Change::Owner(owner) => self.owner = owner,
                Change::SetCheckpointOwner(owner) => self.checkpoint_owner = Some(owner),
                Change::ClearCheckpointOwner => self.checkpoint_owner = None,
                Change::OwnerSwitches(switches) => self.owner_switches = switches,
                Change::AddOwnerSwitch => self.owner_switches += 1,
                Change::Checkpoint(checkpoint) => self.checkpoint = checkpoint,
                Change::Pending(pending) => self.pending = pending,
                Change::Children(children) => self.children = children,
                Change::HashRange(range) => self.hash_range = Some(range),
                Change::ThroughputKbps(throughput) => self.throughput_kbps = Some(throughput),
                // The key says it.
                Change::Identity(_) => {}
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::RecordPosition;
    use proptest::prelude::*;

    fn worker(name: &str) -> WorkerId {
        WorkerId::new(name).unwrap()
    }

    fn lease() -> Lease {
        Lease::new(ShardId::new("shardId-000000000000").unwrap(), Checkpoint::TrimHorizon)
    }

    fn apply(lease: &Lease, update: &LeaseUpdate) -> Option<Lease> {
        lease.satisfies(&update.require).then(|| lease.clone().with_changes(&update.changes))
    }

    #[test]
    fn taking_counts_a_switch_only_from_another_owner() {
        let (a, b) = (worker("a"), worker("b"));
        let first = apply(&lease(), &lease().take(&a)).unwrap();
        assert_eq!((first.owner_switches, first.counter, first.owner.clone()), (0, 1, Some(a.clone())));
        let stolen = apply(&first, &first.take(&b)).unwrap();
        assert_eq!((stolen.owner_switches, stolen.counter), (1, 2));
        let again = apply(&stolen, &stolen.take(&b)).unwrap();
        assert_eq!(again.owner_switches, 1);
    }

    #[test]
    fn the_old_owner_loses_after_a_take() {
        let owned = apply(&lease(), &lease().take(&worker("a"))).unwrap();
        let stolen = apply(&owned, &owned.take(&worker("b"))).unwrap();
        assert_eq!(apply(&stolen, &owned.renew()), None);
        assert_eq!(apply(&stolen, &owned.checkpoint(Checkpoint::ShardEnd)), None);
        assert_eq!(apply(&stolen, &owned.release()), None);
    }

    #[test]
    fn taking_clears_a_pending_hand_off() {
        let pending = Lease { owner: Some(worker("b")), checkpoint_owner: Some(worker("a")), ..lease() };
        assert_eq!(pending.actual_owner(), Some(&worker("a")));
        let taken = apply(&pending, &pending.take(&worker("c"))).unwrap();
        assert_eq!((taken.owner, taken.checkpoint_owner), (Some(worker("c")), None));
    }

    #[test]
    fn release_during_a_hand_off_leaves_the_next_owner() {
        let pending = Lease { owner: Some(worker("b")), checkpoint_owner: Some(worker("a")), ..lease() };
        let released = apply(&pending, &pending.release()).unwrap();
        assert_eq!((released.owner, released.checkpoint_owner), (Some(worker("b")), None));
    }

    #[test]
    fn a_hand_off_is_noticed_by_the_owner_and_by_nobody_else() {
        let (a, b) = (worker("a"), worker("b"));
        let owned = apply(&lease(), &lease().take(&a)).unwrap();
        let pending = apply(&owned, &owned.request_hand_off(&b)).unwrap();
        assert_eq!(
            (pending.actual_owner(), pending.next_owner(), pending.counter),
            (Some(&a), Some(&b), owned.counter)
        );
        assert_eq!(apply(&pending, &owned.renew()), None, "so the owner looks");
        let renewed = apply(&pending, &pending.renew()).unwrap();
        assert!(apply(&renewed, &renewed.request_hand_off(&worker("c"))).is_none(), "one at a time");
        let handed = apply(&renewed, &renewed.release()).unwrap();
        assert_eq!((handed.owner.clone(), handed.next_owner(), handed.owner_switches), (Some(b), None, 1));
        let back = apply(&renewed, &renewed.withdraw_hand_off()).unwrap();
        assert_eq!((back.owner, back.checkpoint_owner, back.counter), (Some(a), None, renewed.counter));
        let forgotten = apply(&renewed, &renewed.forget_hand_off()).unwrap();
        assert_eq!((forgotten.next_owner(), forgotten.counter), (None, renewed.counter));
    }

    #[test]
    fn a_checkpoint_ends_a_prepared_one() {
        let pending = PendingCheckpoint { checkpoint: Checkpoint::ShardEnd, state: None };
        let prepared = apply(&lease(), &lease().prepare(pending.clone())).unwrap();
        assert_eq!((prepared.pending.clone(), prepared.checkpoint.clone()), (Some(pending), Checkpoint::TrimHorizon));
        let done = apply(&prepared, &prepared.checkpoint(Checkpoint::ShardEnd)).unwrap();
        assert_eq!((done.pending, done.checkpoint), (None, Checkpoint::ShardEnd));
    }

    proptest! {
        /// Only a checkpoint changes the checkpoint, and an accepted owner's write moves the counter.
        #[test]
        fn transitions_keep_checkpoints(steps in prop::collection::vec((0u8..5, 0u64..100), 1..50)) {
            let mut row = lease();
            let workers = [worker("a"), worker("b")];
            for (step, number) in steps {
                let position = RecordPosition { sequence: (row.counter * 1000 + number).into(), sub_sequence: 0 };
                let checkpoint = Checkpoint::At(position);
                let update = match step {
                    0 => row.renew(),
                    1 => row.take(&workers[(number % 2) as usize]),
                    2 => row.release(),
                    3 => row.prepare(PendingCheckpoint { checkpoint, state: None }),
                    _ => row.checkpoint(checkpoint),
                };
                let next = apply(&row, &update).unwrap();
                prop_assert!(next.counter > row.counter);
                prop_assert!(next.checkpoint >= row.checkpoint);
                prop_assert!(step == 4 || next.checkpoint == row.checkpoint);
                row = next;
            }
        }
    }
}
