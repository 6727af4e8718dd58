//! Which leases are missing: for an empty table, for a table in use, and at the end of a shard.
//!
//! All plans only ever add leases. In an empty table each shard that is listed at the initial position gets one. In a table
//! in use most shards get theirs at the end of their parents, so only shards that nobody leads to are added; see [`plan`].

use std::collections::{BTreeMap, BTreeSet};

use crate::lease::{Lease, LeaseKey};
use crate::stream::{Checkpoint, ChildShard, InitialPosition, Shard, ShardFilter, ShardId, StreamId, shard};

/// Which shards to list for an empty table.
#[must_use]
pub fn first_filter(position: InitialPosition) -> ShardFilter {
    match position {
        InitialPosition::TrimHorizon => ShardFilter::AtTrimHorizon,
        InitialPosition::Latest => ShardFilter::AtLatest,
        InitialPosition::AtTimestamp(time) => ShardFilter::AtTimestamp(time),
    }
}

/// The leases of an empty table; `None` if the shards leave out some hash keys, so that some records would not be read.
#[must_use]
pub fn plan_first(stream: Option<&StreamId>, shards: &[Shard], position: InitialPosition) -> Option<Vec<Lease>> {
    if !shard::covers_all(shards.iter().map(|shard| shard.hash_range)) {
        return None;
    }
    Some(in_order(shards.iter()).into_iter().map(|shard| Lease::of_shard(stream, shard, position)).collect())
}

/// The leases of one stream.
pub fn of_stream<'a>(leases: &'a [Lease], stream: Option<&StreamId>) -> impl Iterator<Item = &'a Lease> {
    leases.iter().filter(move |lease| lease.key.stream.as_ref() == stream)
}

/// Shards in the order in which their leases are written.
fn in_order<'a>(shards: impl Iterator<Item = &'a Shard>) -> Vec<&'a Shard> {
    let mut shards: Vec<_> = shards.collect();
    shards.sort_by(|a, b| (&a.starting_sequence, &a.id).cmp(&(&b.starting_sequence, &b.id)));
    shards
}

/// The leases of a stream missing from a table in use, given every shard of it that is listed; leases of other streams do not
/// matter.
///
/// From every open shard without a lease the ancestors are walked. If one of them has a lease, the shard follows from it
/// and gets its own lease when its parent ends; only the other side of a merge may be missing. If none has, the oldest
/// listed ancestors get leases (or, for the latest position, the open shard itself).
#[must_use]
pub fn plan(stream: Option<&StreamId>, shards: &[Shard], leases: &[Lease], position: InitialPosition) -> Vec<Lease> {
    let mut walk = Walk {
        shards: shards.iter().map(|shard| (&shard.id, shard)).collect(),
        leased: of_stream(leases, stream).map(|lease| &lease.key.shard).collect(),
        position,
        follows: BTreeMap::new(),
        missing: BTreeMap::new(),
    };
    for shard in shards.iter().filter(|shard| shard.is_open()) {
        if !walk.leased.contains(&shard.id) && !walk.follows(&shard.id) {
            walk.missing.insert(&shard.id, position.checkpoint());
        }
    }
    let missing = in_order(shards.iter().filter(|shard| walk.missing.contains_key(&shard.id)));
    missing
        .into_iter()
        .map(|shard| Lease { checkpoint: walk.missing[&shard.id].clone(), ..Lease::of_shard(stream, shard, position) })
        .collect()
}

/// Finished leases whose shards are open, and of whose children none is listed: they are of a former stream of the same
/// name. Only to be believed together with a hole, as a listing made during a reshard may look like it.
#[must_use]
pub fn of_former_stream<'a>(
    stream: Option<&StreamId>,
    shards: &'a [Shard],
    leases: &'a [Lease],
) -> Vec<(&'a Lease, &'a Shard)> {
    let listed: BTreeMap<&ShardId, &Shard> = shards.iter().map(|shard| (&shard.id, shard)).collect();
    let finished = of_stream(leases, stream).filter(|lease| lease.is_finished());
    let open =
        finished.filter_map(|lease| Some((lease, *listed.get(&lease.key.shard).filter(|shard| shard.is_open())?)));
    open.filter(|(lease, _)| !lease.children.iter().any(|child| listed.contains_key(child))).collect()
}

/// A shard that is listed as the child of one that is still open: a listing made while the stream was changing.
///
/// Acting on it would start the child before its parent's end is known.
#[must_use]
pub fn unexpected_child(shards: &[Shard]) -> Option<&Shard> {
    let open: BTreeSet<_> = shards.iter().filter(|shard| shard.is_open()).map(|shard| &shard.id).collect();
    shards.iter().find(|shard| shard.parents.iter().any(|parent| open.contains(parent)))
}

/// The listing without such shards: their leases come at their parents' ends.
#[must_use]
pub fn without_unexpected_children(mut shards: Vec<Shard>) -> Vec<Shard> {
    while let Some(id) = unexpected_child(&shards).map(|shard| shard.id.clone()) {
        shards.retain(|shard| shard.id != id);
    }
    shards
}

struct Walk<'a> {
    shards: BTreeMap<&'a ShardId, &'a Shard>,
    leased: BTreeSet<&'a ShardId>,
    position: InitialPosition,
    /// Answers of `follows`, so that each shard is walked once.
    follows: BTreeMap<&'a ShardId, bool>,
    missing: BTreeMap<&'a ShardId, Checkpoint>,
}

impl<'a> Walk<'a> {
    /// True if the shard has a lease, or will get one when the leases there are (or are to be added) come to their ends.
    fn follows(&mut self, id: &'a ShardId) -> bool {
        if let Some(answer) = self.follows.get(id) {
            return *answer;
        }
        // Ancestors are older than their children, so this ends; the entry guards against a listing that says otherwise.
        self.follows.insert(id, false);
        let answer = self.leased.contains(id) || self.follows_from_parents(id);
        self.follows.insert(id, answer);
        answer
    }

    fn follows_from_parents(&mut self, id: &'a ShardId) -> bool {
        let Some(shard) = self.shards.get(id).copied() else { return false };
        // A parent that is no longer listed still leads here if it has a lease.
        let is_known = |parent: &&ShardId| self.shards.contains_key(parent) || self.leased.contains(parent);
        let listed: Vec<_> = shard.parents.iter().filter(is_known).collect();
        let leading: Vec<_> = listed.iter().map(|parent| self.follows(parent)).collect();
        if leading.contains(&true) {
            for (parent, is_leading) in listed.iter().zip(leading) {
                self.add_parent(parent, is_leading);
            }
            return true;
        }
        // Nobody leads here: this is the oldest ancestor that is listed.
        let is_marked = self.position != InitialPosition::Latest && !shard.is_open();
        if is_marked {
            self.missing.insert(id, self.position.checkpoint());
        }
        is_marked
    }

    /// A parent that neither has a lease nor gets one at its own parent's end is the other side of a merge.
    fn add_parent(&mut self, parent: &'a ShardId, is_leading: bool) {
        if !is_leading && !self.leased.contains(parent) {
            self.missing.entry(parent).or_insert(self.position.checkpoint());
        }
    }
}

/// What to do about the leases of the shards that follow a finished one.
#[derive(Debug, Clone, PartialEq)]
pub enum ChildPlan {
    /// Add these, unless they exist.
    Create(Vec<Lease>),
    /// Of the two parents of a merge only one has a lease, so the child would not wait for the other: look again later.
    Wait {
        /// The parent without a lease.
        parent: ShardId,
    },
}

/// Plans the leases of the shards that follow this one; `has_lease` tells of the parents named by the children.
#[must_use]
pub fn plan_children(lease: &LeaseKey, children: &[ChildShard], has_lease: impl Fn(&ShardId) -> bool) -> ChildPlan {
    if let [merged] = children {
        let (with, without): (Vec<_>, Vec<_>) = merged.parents.iter().partition(|parent| has_lease(parent));
        if let (false, Some(parent)) = (with.is_empty(), without.first()) {
            return ChildPlan::Wait { parent: (*parent).clone() };
        }
    }
    ChildPlan::Create(children.iter().map(|child| Lease::of_child(lease, child)).collect())
}

#[cfg(test)]
mod tests;
