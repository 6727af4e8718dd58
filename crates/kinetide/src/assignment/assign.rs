//! What the leader of a 3.x fleet decides in one run: which lease goes to which worker.
//!
//! One worker decides for all, on every assignment interval, from one reading of the lease table and of the items that
//! workers write about themselves. Leases that nobody renews go to whoever has the most room; in every third run,
//! workers that are busier than the average hand some of theirs to those that are less. Everything is decided here, on
//! paper: reading, writing, clocks and leadership belong to others.
//!
//! The order of a run: who takes part ([`workers`]); how each open lease stands; how loaded everybody will be when what
//! is under way is done; then assignments, and balancing.
//!
//! Invariants:
//! - nothing is done to a lease that its owner renews while a hand-off of it is pending, until the deadline of that;
//! - nothing is given to a worker that has reached a limit, and nothing to or from one whose figures are missing;
//! - no lease is in two actions of a plan;
//! - the same input, in whatever order, and the same seed make the same plan.

mod fleet;
mod lease_count;
mod leases;
mod memory;
mod meters;
mod moves;
mod settings;
mod variance;
pub mod workers;

#[cfg(test)]
mod tests;

use crate::clock::Moment;
use crate::coordinator::worker_metrics::item::WorkerMetrics;
use crate::lease::{Lease, LeaseKey};
use crate::rng::Rng;
use crate::stream::WorkerId;

use super::observe::Observations;
use fleet::Fleet;
use leases::{Leases, OpenLease};
pub use memory::Memory;
pub use settings::{AssignSettings, Strategy};
use workers::Workers;

/// What the plan looks at.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// Every lease, as listed just now.
    pub leases: &'a [Lease],
    /// What the leader has seen of them, this listing included. A counter that went back counts as a sign of life
    /// there, for one failover time; to Java's leader only one that grew does.
    pub observations: &'a Observations,
    /// What workers have written about themselves, from every table where they do.
    pub metrics: &'a [WorkerMetrics],
    /// When, on the leader's monotonic clock.
    pub now: Moment,
    /// When, in seconds since 1970 on its wall clock: for the age of metrics only.
    pub now_seconds: u64,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make this worker the owner, if the lease has the same owner and checkpoint owner as here.
    Assign {
        /// As listed.
        lease: Lease,
        /// The new owner.
        to: WorkerId,
    },
    /// Ask its owner to hand the lease over to this worker.
    HandOff {
        /// As listed.
        lease: Lease,
        /// The next owner.
        to: WorkerId,
    },
    /// Delete what a worker wrote about itself long ago, if it has not written since.
    Forget {
        /// Whose item.
        worker: WorkerId,
        /// What it says of its age, in seconds since 1970.
        updated_at: u64,
    },
}

/// What to do in this run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Assignments first, those of the longest waiting before the others; then what balances; then what is forgotten.
    /// They may be carried out side by side.
    pub actions: Vec<Action>,
    /// Leases that wait on, because no worker may have them.
    pub left: Vec<LeaseKey>,
}

/// What the leader should do now.
#[must_use]
pub fn plan(snapshot: &Snapshot<'_>, settings: &AssignSettings, memory: &mut Memory, rng: &mut Rng) -> Plan {
    let workers = Workers::of(snapshot.metrics, snapshot.now_seconds, settings);
    memory.note_hand_offs(snapshot, settings);
    let leases = Leases::sort(snapshot, settings, memory);
    memory.note_holders(&leases, snapshot.now, settings);
    let mut fleet = Fleet::new(&workers, &leases, memory, snapshot.now, settings);

    let mut plan = assign(&mut fleet, &leases);
    if memory.is_time_to_balance(settings) {
        let transfers = match settings.strategy {
            Strategy::WorkerUtilizationAware => variance::balance(&mut fleet, leases.is_measured, settings, rng),
            Strategy::LeaseCountBased => lease_count::balance(&mut fleet, rng),
        };
        plan.actions.extend(transfers.into_iter().map(|(open, to)| {
            let (lease, to) = (open.lease.clone(), fleet.members[to].id.clone());
            if settings.graceful_hand_off { Action::HandOff { lease, to } } else { Action::Assign { lease, to } }
        }));
    }
    for action in &plan.actions {
        if let Action::HandOff { lease, to } = action {
            memory.note_request(lease, to, snapshot.now, settings);
        }
    }
    let forgotten = workers.stale.into_iter().map(|(worker, updated_at)| Action::Forget { worker, updated_at });
    plan.actions.extend(forgotten);
    plan
}

/// Gives away the leases that wait. One whose hand-off takes too long goes to the worker that waits for it; if that is
/// gone, to any.
fn assign<'a>(fleet: &mut Fleet<'a>, leases: &Leases<'a>) -> Plan {
    let mut plan = Plan::default();
    let mut waiting: Vec<&OpenLease<'a>> = leases.waiting();
    for open in leases.overdue() {
        match open.next_holder().filter(|next| fleet.has(next)) {
            Some(to) => plan.actions.push(Action::Assign { lease: open.lease.clone(), to: to.clone() }),
            None => waiting.push(open),
        }
    }
    for open in waiting {
        match fleet.taker_of(open) {
            Some(to) => {
                fleet.give(to, open);
                let to = fleet.members[to].id.clone();
                plan.actions.push(Action::Assign { lease: open.lease.clone(), to });
            }
            None => plan.left.push(open.lease.key.clone()),
        }
    }
    plan
}
