//! Hand-offs that this worker has asked for: which are under way, which took too long, and who does not answer.
//!
//! A worker that knows hand-offs finishes its batch, checkpoints, and hands the lease over. A Java worker of 1.x or 2.x goes on as
//! if nothing had been asked: after a failover time the lease is taken from it, and it is not asked again.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Moment;
use crate::lease::{Lease, LeaseKey};
use crate::settings::Settings;
use crate::stream::WorkerId;

/// What this worker knows of hand-offs.
#[derive(Debug, Default)]
pub struct HandOffs {
    /// Since when, and from whom.
    asked: BTreeMap<LeaseKey, (Moment, WorkerId)>,
    /// Workers that have handed over.
    obliging: BTreeSet<WorkerId>,
    /// Workers that have not answered.
    silent: BTreeSet<WorkerId>,
}

impl HandOffs {
    /// True if this worker may be asked.
    #[must_use]
    pub fn may_ask(&self, owner: &WorkerId) -> bool {
        !self.silent.contains(owner)
    }

    /// True while a lease is waited for.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    /// A lease was asked for.
    pub fn ask(&mut self, lease: &Lease, now: Moment) {
        if let Some(owner) = &lease.owner {
            self.asked.insert(lease.key.clone(), (now, owner.clone()));
        }
    }

    /// Takes note of a listing; returns the leases that were waited for too long.
    pub fn update<'a>(
        &mut self,
        leases: &'a [Lease],
        me: &WorkerId,
        now: Moment,
        settings: &Settings,
    ) -> Vec<&'a Lease> {
        let (mut overdue, mut asked) = (Vec::new(), BTreeMap::new());
        for lease in leases.iter().filter(|lease| lease.owner.as_ref() == Some(me)) {
            let before = self.asked.remove(&lease.key);
            let Some(owner) = lease.checkpoint_owner.clone().filter(|owner| owner != me) else {
                self.obliging.extend(before.map(|(_, owner)| owner));
                continue;
            };
            // One that an earlier life of this worker asked for is waited for from now on.
            let (since, _) = before.unwrap_or((now, owner.clone()));
            let limit = match self.obliging.contains(&owner) {
                true => settings.hand_off_time + settings.failover_time,
                false => settings.failover_time,
            };
            if now.since(since) > limit {
                self.silent.insert(owner.clone());
                overdue.push(lease);
            }
            asked.insert(lease.key.clone(), (since, owner));
        }
        self.asked = asked;
        self.forget_gone(leases);
        overdue
    }

    /// Workers that own nothing any more may be gone.
    fn forget_gone(&mut self, leases: &[Lease]) {
        let owners: BTreeSet<_> = leases.iter().filter_map(Lease::actual_owner).collect();
        self.obliging.retain(|worker| owners.contains(worker));
        self.silent.retain(|worker| owners.contains(worker));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stream::Checkpoint;

    fn worker(name: &str) -> WorkerId {
        WorkerId::new(name).unwrap()
    }

    fn lease(owner: &str, checkpoint_owner: Option<&str>) -> Lease {
        Lease {
            owner: Some(worker(owner)),
            checkpoint_owner: checkpoint_owner.map(worker),
            ..Lease::new("shard".parse::<LeaseKey>().unwrap(), Checkpoint::Latest)
        }
    }

    fn overdue(hand_offs: &mut HandOffs, lease: &Lease, seconds: u64) -> usize {
        let now = Moment::at(Duration::from_secs(seconds));
        hand_offs.update(std::slice::from_ref(lease), &worker("me"), now, &Settings::default()).len()
    }

    #[test]
    fn a_worker_that_does_not_answer_is_not_asked_again() {
        let mut hand_offs = HandOffs::default();
        hand_offs.ask(&lease("java", None), Moment::at(Duration::ZERO));
        let pending = lease("me", Some("java"));
        assert_eq!((overdue(&mut hand_offs, &pending, 10), overdue(&mut hand_offs, &pending, 11)), (0, 1));
        assert!(!hand_offs.may_ask(&worker("java")) && hand_offs.may_ask(&worker("other")));
        assert_eq!(overdue(&mut hand_offs, &lease("me", None), 12), 0);
        assert!(!hand_offs.is_waiting() && hand_offs.may_ask(&worker("java")), "it owns nothing any more");
    }

    #[test]
    fn a_worker_that_has_handed_over_is_given_its_time() {
        let mut hand_offs = HandOffs::default();
        let other = Lease { key: "other".parse().unwrap(), ..lease("kinetide", None) };
        let look = |hand_offs: &mut HandOffs, lease: Lease, seconds| {
            let now = Moment::at(Duration::from_secs(seconds));
            hand_offs.update(&[lease, other.clone()], &worker("me"), now, &Settings::default()).len()
        };
        hand_offs.ask(&lease("kinetide", None), Moment::at(Duration::ZERO));
        assert_eq!(look(&mut hand_offs, lease("me", None), 1), 0);
        hand_offs.ask(&lease("kinetide", None), Moment::at(Duration::from_secs(2)));
        let pending = lease("me", Some("kinetide"));
        assert_eq!((look(&mut hand_offs, pending.clone(), 42), look(&mut hand_offs, pending, 43)), (0, 1));
    }
}
