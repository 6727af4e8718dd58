//! The open leases as the leader sees them: who has each, who will, which wait for a worker, and what each weighs.
//!
//! Finished leases are not among them: nothing is left to process, and they count for nobody. (Java's leader does give
//! them away, because there the worker that has a finished lease is the one that deletes it. Here the leader deletes
//! it, whoever has it, so that it keeps nobody waiting.)

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::memory::Memory;
use super::{AssignSettings, Snapshot};
use crate::lease::{Lease, LeaseKey};
use crate::stream::WorkerId;

/// What an idle lease weighs, as a part of the average: it is polled and kept, if nothing else.
const IDLE_WEIGHT: f64 = 0.05;

/// Less than this cannot be stored.
const KBPS_MIN: f64 = 1e-6;

/// How a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody has it, or its counter has stood still for too long: for so long, or since before it was first seen.
    Waiting(Option<Duration>),
    /// Its owner renews it.
    Held,
    /// Its owner renews it and was asked to hand it over.
    Pending,
    /// Its owner renews it, and should have handed it over by now.
    Overdue,
}

/// An open lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenLease<'a> {
    pub(super) lease: &'a Lease,
    pub(super) phase: Phase,
    /// Its throughput; the average of the others if it has none to show.
    pub(super) kbps: f64,
    /// What it adds to its worker's load, in a unit that is the same for all leases of one run.
    pub(super) weight: f64,
}

impl<'a> OpenLease<'a> {
    /// The worker that processes it.
    pub(super) fn holder(&self) -> Option<&'a WorkerId> {
        self.lease.actual_owner().filter(|_| !matches!(self.phase, Phase::Waiting(_)))
    }

    /// The worker that will have it when the hand-offs under way are done.
    pub(super) fn next_holder(&self) -> Option<&'a WorkerId> {
        self.lease.next_owner().filter(|_| self.holder().is_some()).or(self.holder())
    }
}

/// All open leases, by key.
#[derive(Debug)]
pub(super) struct Leases<'a> {
    pub(super) open: Vec<OpenLease<'a>>,
    /// False if no lease shows any throughput: each weighs 1 then.
    pub(super) is_measured: bool,
}

impl<'a> Leases<'a> {
    /// Sorts a listing by what was observed and is remembered.
    pub(super) fn sort(snapshot: &Snapshot<'a>, settings: &AssignSettings, memory: &Memory) -> Self {
        let leases = snapshot.leases.iter().filter(|lease| !lease.is_finished());
        let mut leases: Vec<&Lease> = leases.collect();
        leases.sort_by_key(|lease| &lease.key);
        let measured: Vec<f64> = leases.iter().filter_map(|lease| kbps(lease)).collect();
        let average = measured.iter().sum::<f64>() / measured.len().max(1) as f64;
        let is_measured = average >= KBPS_MIN;
        let open = leases.into_iter().map(|lease| {
            let kbps = kbps(lease).unwrap_or(average);
            let weight = if is_measured { kbps.max(IDLE_WEIGHT * average) } else { 1.0 };
            OpenLease { lease, phase: phase(lease, snapshot, settings, memory), kbps, weight }
        });
        Self { open: open.collect(), is_measured }
    }

    /// Those that wait for a worker, the longest first.
    pub(super) fn waiting(&self) -> Vec<&OpenLease<'a>> {
        let since = |lease: &OpenLease<'_>| match lease.phase {
            Phase::Waiting(still_for) => Some(still_for.map(Reverse)),
            _ => None,
        };
        let mut waiting: Vec<_> = self.open.iter().filter(|lease| since(lease).is_some()).collect();
        waiting.sort_by_key(|lease| since(lease));
        waiting
    }

    /// Those whose hand-offs should be done by now.
    pub(super) fn overdue(&self) -> impl Iterator<Item = &OpenLease<'a>> {
        self.open.iter().filter(|lease| lease.phase == Phase::Overdue)
    }

    /// What each weighs.
    pub(super) fn weights(&self) -> BTreeMap<&'a LeaseKey, f64> {
        self.open.iter().map(|lease| (&lease.lease.key, lease.weight)).collect()
    }

    /// What each of so many workers should carry; something even if there is nothing.
    pub(super) fn share(&self, workers: usize) -> f64 {
        let all: f64 = self.open.iter().map(|lease| lease.weight).sum();
        if all > 0.0 { all / workers.max(1) as f64 } else { 1.0 }
    }
}

fn kbps(lease: &Lease) -> Option<f64> {
    lease.throughput_kbps.filter(|kbps| kbps.is_finite() && *kbps >= 0.0)
}

fn phase(lease: &Lease, snapshot: &Snapshot<'_>, settings: &AssignSettings, memory: &Memory) -> Phase {
    let (observations, now) = (snapshot.observations, snapshot.now);
    let is_seen = observations.seen_since(&lease.key).is_some();
    let is_expired = is_seen && observations.is_still_for(&lease.key, now, settings.failover_time);
    if lease.actual_owner().is_none() || is_expired {
        Phase::Waiting(observations.still_for(&lease.key, now))
    } else if lease.checkpoint_owner.is_none() {
        Phase::Held
    } else if memory.is_overdue(&lease.key, now) {
        Phase::Overdue
    } else {
        Phase::Pending
    }
}
