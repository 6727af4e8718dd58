//! What the leader remembers from one run to the next.

use std::collections::BTreeMap;
use std::time::Duration;

use super::leases::Leases;
use super::moves::Moves;
use super::{AssignSettings, Snapshot};
use crate::clock::Moment;
use crate::lease::{Lease, LeaseKey};
use crate::stream::WorkerId;

/// How long past moves matter, in report intervals: a worker keeps its last ten figures.
const FIGURES_KEPT: u32 = 12;

/// What the leader remembers from one run to the next. Nothing in it is needed for safety: a new leader starts without.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Runs since the last balancing.
    runs: u32,
    hand_offs: BTreeMap<LeaseKey, HandOff>,
    pub(super) moves: Moves,
}

/// A hand-off that is under way: between whom, and until when it is waited for.
#[derive(Debug, Clone)]
struct HandOff {
    from: Option<WorkerId>,
    to: Option<WorkerId>,
    deadline: Moment,
}

impl Memory {
    /// Forgets everything. To be called when leadership is gained: what an earlier term left is out of date.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// True in the first run, and then in every so many.
    pub(super) fn is_time_to_balance(&mut self, settings: &AssignSettings) -> bool {
        let is_time = self.runs == 0;
        self.runs = (self.runs + 1) % settings.balancing_frequency;
        is_time
    }

    /// Notes which hand-offs are pending in this listing; one that is new, or between other workers than before, gets
    /// its time from now.
    pub(super) fn note_hand_offs(&mut self, snapshot: &Snapshot<'_>, settings: &AssignSettings) {
        let pending = snapshot.leases.iter().filter(|lease| lease.checkpoint_owner.is_some() && !lease.is_finished());
        let hand_offs = pending.map(|lease| {
            let (from, to) = (lease.checkpoint_owner.clone(), lease.owner.clone());
            let known = self.hand_offs.get(&lease.key).filter(|known| known.from == from && known.to == to);
            let deadline = known.map_or_else(|| deadline(snapshot.now, settings), |known| known.deadline);
            (lease.key.clone(), HandOff { from, to, deadline })
        });
        self.hand_offs = hand_offs.collect();
    }

    /// A hand-off is asked for now; if that fails, the next listing shows none, and it is forgotten.
    pub(super) fn note_request(&mut self, lease: &Lease, to: &WorkerId, now: Moment, settings: &AssignSettings) {
        let hand_off = HandOff { from: lease.owner.clone(), to: Some(to.clone()), deadline: deadline(now, settings) };
        self.hand_offs.insert(lease.key.clone(), hand_off);
    }

    /// Notes who has which lease.
    pub(super) fn note_holders(&mut self, leases: &Leases<'_>, now: Moment, settings: &AssignSettings) {
        let holders = leases.open.iter().filter_map(|open| Some((open.lease.key.clone(), open.holder()?.clone())));
        let keep: Duration = settings.metrics_report_interval.saturating_mul(FIGURES_KEPT);
        self.moves.note(holders.collect(), now, keep);
    }

    /// True for a hand-off that was waited for long enough.
    pub(super) fn is_overdue(&self, key: &LeaseKey, now: Moment) -> bool {
        self.hand_offs.get(key).is_some_and(|hand_off| now >= hand_off.deadline)
    }
}

/// What a worker needs to notice, and what its processor gets to finish.
fn deadline(now: Moment, settings: &AssignSettings) -> Moment {
    now.after(settings.hand_off_time + settings.failover_time)
}
