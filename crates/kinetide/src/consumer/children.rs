//! Writes the leases of the shards that follow a finished one.

use std::collections::BTreeSet;

use crate::coordinator::shard_sync::{ChildPlan, plan_children};
use crate::event::{Event, Events};
use crate::lease::keeper::LeaseHandle;
use crate::lease::{Claim, LeaseTable, TableError};
use crate::stream::{ChildShard, ShardId};

/// How writing the leases went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildrenWritten {
    /// Each of them has a lease.
    Yes,
    /// The shard's own lease is not held any more.
    Lost,
    /// One parent of a merge has no lease yet.
    Waiting {
        /// That parent.
        parent: ShardId,
    },
}

/// Adds a lease for each child of this lease's shard that has none.
///
/// # Errors
/// [`TableError`]; repeating is safe.
pub async fn write(
    table: &dyn LeaseTable,
    handle: &LeaseHandle,
    children: &[ChildShard],
    events: &Events,
) -> Result<ChildrenWritten, TableError> {
    let mut known = BTreeSet::new();
    // Only a merge depends on who else has a lease.
    let merged = if let [merged] = children { &merged.parents[..] } else { &[] };
    for parent in merged {
        if table.get(&handle.key().of(parent)).await?.is_some() {
            known.insert(parent.clone());
        }
    }
    let leases = match plan_children(handle.key(), children, |parent| known.contains(parent)) {
        ChildPlan::Wait { parent } => return Ok(ChildrenWritten::Waiting { parent }),
        ChildPlan::Create(leases) => leases,
    };
    let mut created = Vec::new();
    for lease in &leases {
        // A lease created late, by a worker that slept here, would bring a shard back that is long done with.
        if !handle.confirm().await {
            return Ok(ChildrenWritten::Lost);
        }
        if let Claim::Won(lease) = table.create(lease).await? {
            created.push(lease.key);
        }
    }
    if !created.is_empty() {
        events.emit(Event::LeasesCreated { shards: created });
    }
    Ok(ChildrenWritten::Yes)
}
