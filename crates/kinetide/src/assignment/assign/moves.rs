//! Leases that came and went lately, so that figures from before are read as what they would be now.
//!
//! A worker's figure is an average over half a minute, and what counts is a moving average of several. After a lease
//! moved, its old worker looks busy for another minute or two, and its new one idle. A leader that took that for the
//! truth would move the same load twice. So each sample is corrected by what came or went after it was taken.

use std::collections::BTreeMap;
use std::time::Duration;

use super::leases::Leases;
use crate::clock::Moment;
use crate::lease::LeaseKey;
use crate::stream::WorkerId;

/// The leases that changed workers in the last few minutes, as far as this leader saw.
#[derive(Debug, Clone, Default)]
pub(super) struct Moves {
    /// Who had what in the last run; `None` before the first.
    last: Option<(Moment, BTreeMap<LeaseKey, WorkerId>)>,
    moves: Vec<Move>,
}

#[derive(Debug, Clone)]
struct Move {
    key: LeaseKey,
    from: Option<WorkerId>,
    to: Option<WorkerId>,
    at: Moment,
}

/// Load that came (positive) or went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shift {
    pub(super) weight: f64,
    /// How long ago.
    pub(super) age_seconds: f64,
}

impl Moves {
    /// Compares who has what with the last run. A move happened between the two: in the middle, as far as is known.
    pub(super) fn note(&mut self, holders: BTreeMap<LeaseKey, WorkerId>, now: Moment, keep: Duration) {
        self.moves.retain(|past| now.since(past.at) <= keep);
        if let Some((before, last)) = self.last.take() {
            let at = before.after(now.since(before) / 2);
            let arrived = holders.iter().filter(|(key, to)| last.get(*key) != Some(*to));
            let arrived = arrived.map(|(key, to)| Move {
                key: key.clone(),
                from: last.get(key).cloned(),
                to: Some(to.clone()),
                at,
            });
            let left = last.iter().filter(|(key, _)| !holders.contains_key(*key));
            let left = left.map(|(key, from)| Move { key: key.clone(), from: Some(from.clone()), to: None, at });
            self.moves.extend(arrived.chain(left));
        }
        self.last = Some((now, holders));
    }

    /// What came to each worker and what left it: lately, and in the hand-offs under way. A lease that is gone is left
    /// out.
    pub(super) fn shifts(&self, leases: &Leases<'_>, now: Moment) -> BTreeMap<WorkerId, Vec<Shift>> {
        let weights = leases.weights();
        let past = self.moves.iter().filter_map(|past| {
            let shift = Shift { weight: *weights.get(&past.key)?, age_seconds: now.since(past.at).as_secs_f64() };
            Some((past.from.as_ref(), past.to.as_ref(), shift))
        });
        let under_way = leases.open.iter().filter(|open| open.holder() != open.next_holder());
        let under_way =
            under_way.map(|open| (open.holder(), open.next_holder(), Shift { weight: open.weight, age_seconds: 0.0 }));
        let mut shifts: BTreeMap<WorkerId, Vec<Shift>> = BTreeMap::new();
        for (from, to, shift) in past.chain(under_way) {
            let gone = Shift { weight: -shift.weight, ..shift };
            for (worker, shift) in [(from, gone), (to, shift)] {
                if let Some(worker) = worker {
                    shifts.entry(worker.clone()).or_default().push(shift);
                }
            }
        }
        shifts
    }
}

impl Shift {
    /// What a sample misses of it that covers these ages: all if it was taken before, nothing if after.
    pub(super) fn missed_by(&self, youngest_seconds: f64, interval_seconds: f64) -> f64 {
        let before = (youngest_seconds + interval_seconds - self.age_seconds) / interval_seconds;
        self.weight * before.clamp(0.0, 1.0)
    }
}
