//! Which finished leases can go: those whose children are on their way and whose parents are gone.
//!
//! A finished lease says two things: its children may be read, and nobody must read it again. It says so until every child
//! has checkpointed something of its own; and parents go before their children, so that no shard is ever taken for new
//! because its lease went first.

use std::collections::BTreeMap;

use super::shard_sync::of_stream;
use crate::lease::{Lease, LeaseKey};
use crate::stream::{Checkpoint, Shard, ShardId, StreamId};

/// The leases to delete, given the whole table.
#[must_use]
pub fn plan(leases: &[Lease]) -> Vec<LeaseKey> {
    let rows: BTreeMap<&LeaseKey, &Lease> = leases.iter().map(|lease| (&lease.key, lease)).collect();
    let can_go = |lease: &&Lease| lease.is_finished() && parents_are_gone(lease, &rows) && children_go_on(lease, &rows);
    leases.iter().filter(can_go).map(|lease| lease.key.clone()).collect()
}

/// Finished leases of a stream that lead nowhere: they name no children, and neither their shards nor children of them are listed. They
/// are of shards that were gone before they were read to their ends.
#[must_use]
pub fn plan_garbage(stream: Option<&StreamId>, leases: &[Lease], shards: &[Shard]) -> Vec<LeaseKey> {
    let listed = |id: &ShardId| shards.iter().any(|shard| shard.id == *id || shard.parents.contains(id));
    let gone = of_stream(leases, stream).filter(|lease| is_childless(lease) && !listed(&lease.key.shard));
    gone.map(|lease| lease.key.clone()).collect()
}

/// True for a finished lease that names no children.
#[must_use]
pub fn is_childless(lease: &Lease) -> bool {
    lease.is_finished() && lease.children.is_empty()
}

fn parents_are_gone(lease: &Lease, rows: &BTreeMap<&LeaseKey, &Lease>) -> bool {
    !lease.parent_keys().any(|parent| rows.contains_key(&parent))
}

/// A lease that names no children is left alone: whether there are any only the stream can say, see [`plan_garbage`].
fn children_go_on(lease: &Lease, rows: &BTreeMap<&LeaseKey, &Lease>) -> bool {
    let goes_on = |child: LeaseKey| rows.get(&child).is_some_and(|row| is_under_way(&row.checkpoint));
    !lease.children.is_empty() && lease.child_keys().all(goes_on)
}

/// A child at one of these sentinels has not shown yet that it is read.
fn is_under_way(checkpoint: &Checkpoint) -> bool {
    !matches!(checkpoint, Checkpoint::TrimHorizon | Checkpoint::AtTimestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::RecordPosition;

    fn id(index: u32) -> ShardId {
        ShardId::new(format!("shardId-{index:012}")).unwrap()
    }

    fn key(index: u32) -> LeaseKey {
        id(index).into()
    }

    fn finished(index: u32, parents: &[u32], children: &[u32]) -> Lease {
        Lease {
            parents: parents.iter().copied().map(id).collect(),
            children: children.iter().copied().map(id).collect(),
            ..Lease::new(id(index), Checkpoint::ShardEnd)
        }
    }

    fn fresh(index: u32, parents: &[u32]) -> Lease {
        Lease { checkpoint: Checkpoint::TrimHorizon, ..finished(index, parents, &[]) }
    }

    fn under_way(index: u32, parents: &[u32]) -> Lease {
        let position = RecordPosition { sequence: 9.into(), sub_sequence: 0 };
        Lease { checkpoint: Checkpoint::At(position), ..finished(index, parents, &[]) }
    }

    #[test]
    fn a_finished_lease_goes_when_every_child_is_under_way() {
        assert_eq!(plan(&[finished(0, &[], &[1, 2]), under_way(1, &[0]), under_way(2, &[0])]), [key(0)]);
        assert_eq!(plan(&[finished(0, &[], &[1, 2]), under_way(1, &[0]), fresh(2, &[0])]), []);
        assert_eq!(plan(&[finished(0, &[], &[1, 2]), under_way(1, &[0])]), [], "a child without a lease");
    }

    #[test]
    fn parents_go_before_their_children() {
        let family = [finished(0, &[], &[1]), finished(1, &[0], &[2]), under_way(2, &[1])];
        assert_eq!(plan(&family), [key(0)]);
        assert_eq!(plan(&family[1..]), [key(1)]);
    }

    #[test]
    fn what_leads_nowhere_goes_once_the_stream_knows_nothing_of_it() {
        let listed = |index, parents: &[u32]| Shard {
            id: id(index),
            parents: parents.iter().copied().map(id).collect(),
            hash_range: crate::stream::HashKeyRange::ALL,
            starting_sequence: 1.into(),
            ending_sequence: None,
        };
        let leases = [finished(0, &[], &[]), finished(1, &[], &[5]), under_way(2, &[])];
        assert_eq!(plan_garbage(None, &leases, &[]), [key(0)]);
        assert_eq!(plan_garbage(None, &leases, &[listed(0, &[])]), []);
        assert_eq!(plan_garbage(None, &leases, &[listed(7, &[0])]), []);
    }

    #[test]
    fn what_is_not_finished_or_names_no_children_stays() {
        assert_eq!(plan(&[under_way(0, &[]), finished(1, &[], &[])]), []);
    }
}
