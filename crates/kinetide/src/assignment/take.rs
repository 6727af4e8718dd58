//! Which leases this worker should take now: the algorithm of the 1.x and 2.x workers.
//!
//! Every worker decides for itself from the same table: leases that are free or expired are taken up to an equal share;
//! if there are none, one is taken from the busiest worker. Finished leases count for nobody: nothing is left to process.

use std::collections::BTreeMap;

use super::observe::Observations;
use crate::clock::Moment;
use crate::lease::Lease;
use crate::rng::Rng;
use crate::settings::Settings;
use crate::stream::WorkerId;

/// What the plan looks at.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// Every lease, as listed just now.
    pub leases: &'a [Lease],
    /// What has been seen of them, this listing included.
    pub observations: &'a Observations,
    /// This worker.
    pub me: &'a WorkerId,
    /// When.
    pub now: Moment,
}

impl<'a> Snapshot<'a> {
    fn is_available(&self, lease: &Lease, settings: &Settings) -> bool {
        let is_expired = self.observations.is_still_for(&lease.key, self.now, settings.failover_time);
        lease.owner.is_none() && lease.checkpoint_owner.is_none() || is_expired
    }

    /// The open leases: free or expired ones, and those that live, by owner; one that is being handed over belongs to
    /// whoever waits for it, as every worker counts it.
    fn sort_leases(&self, settings: &Settings) -> (Vec<&'a Lease>, BTreeMap<&'a WorkerId, Vec<&'a Lease>>) {
        let (mut available, mut owned) = (Vec::new(), BTreeMap::from([(self.me, Vec::new())]));
        for lease in self.leases.iter().filter(|lease| !lease.is_finished()) {
            match lease.owner.as_ref() {
                Some(owner) if !self.is_available(lease, settings) => {
                    owned.entry(owner).or_insert_with(Vec::new).push(lease)
                }
                _ => available.push(lease),
            }
        }
        (available, owned)
    }
}

/// What to take.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan<'a> {
    /// These are free, or their owners are dead.
    Free(Vec<&'a Lease>),
    /// These belong to the busiest worker, which is alive.
    Owned(Vec<&'a Lease>),
}

impl<'a> Plan<'a> {
    /// The leases, in order.
    #[must_use]
    pub fn leases(&self) -> &[&'a Lease] {
        let (Self::Free(leases) | Self::Owned(leases)) = self;
        leases
    }
}

/// Which leases to take.
#[must_use]
pub fn plan<'a>(snapshot: Snapshot<'a>, settings: &Settings, rng: &mut Rng) -> Plan<'a> {
    let (mut available, owned) = snapshot.sort_leases(settings);
    let leases = available.len() + owned.values().map(Vec::len).sum::<usize>();
    let mine = owned[snapshot.me].len();
    let most = usize::try_from(settings.leases_per_worker_max.get()).unwrap_or(usize::MAX);
    let target = target(leases, owned.len(), most);

    rng.shuffle(&mut available);
    if settings.priority_lease_assignment {
        // Watched for so long by this worker itself, while those who lack leases let them lie. (To Java a lease that was never
        // owned is old at first sight, so that whoever starts first takes everything.)
        let long = settings.failover_time * 3;
        let mut oldest = available.clone();
        oldest.retain(|lease| snapshot.observations.watched_still_for(&lease.key, snapshot.now) > long);
        if !oldest.is_empty() {
            oldest.truncate(most.saturating_sub(mine));
            return Plan::Free(oldest);
        }
    }
    let need = target.saturating_sub(mine);
    if !available.is_empty() {
        available.truncate(need);
        return Plan::Free(available);
    }
    Plan::Owned(steal(&owned, need, target, settings, rng))
}

/// An equal share, rounded up; one lease each if there are more workers than leases.
fn target(leases: usize, workers: usize, most: usize) -> usize {
    if workers >= leases { 1 } else { leases.div_ceil(workers).min(most) }
}

/// Some leases of the busiest worker, if it has more than its share.
fn steal<'a>(
    owned: &BTreeMap<&WorkerId, Vec<&'a Lease>>,
    need: usize,
    target: usize,
    settings: &Settings,
    rng: &mut Rng,
) -> Vec<&'a Lease> {
    let busiest = owned.values().rev().max_by_key(|leases| leases.len());
    let Some(busiest) = busiest.filter(|_| need > 0) else { return Vec::new() };
    let surplus = busiest.len().saturating_sub(target);
    let count = match need.min(surplus) {
        // Everybody has the target and this worker lacks more than one: the shares do not divide evenly.
        0 if need > 1 && busiest.len() >= target => 1,
        count => count,
    };
    let count = count.min(usize::try_from(settings.leases_stolen_max.get()).unwrap_or(usize::MAX));
    let mut candidates = busiest.clone();
    candidates.retain(|lease| lease.checkpoint_owner.is_none());
    rng.shuffle(&mut candidates);
    candidates.truncate(count);
    candidates
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::rng::Rng;
    use crate::stream::{Checkpoint, ShardId};

    fn worker(index: usize) -> WorkerId {
        WorkerId::new(format!("worker-{index}")).unwrap()
    }

    fn lease(index: usize, owner: Option<usize>) -> Lease {
        let key = ShardId::new(format!("shardId-{index:012}")).unwrap();
        Lease { owner: owner.map(worker), ..Lease::new(key, Checkpoint::TrimHorizon) }
    }

    fn plan_for(me: usize, leases: &[Lease], settings: &Settings) -> Vec<String> {
        let mut observations = Observations::default();
        let now = Moment::at(Duration::from_secs(100));
        observations.update(leases, now);
        let me = worker(me);
        let snapshot = Snapshot { leases, observations: &observations, me: &me, now };
        plan(snapshot, settings, &mut Rng::seeded(1)).leases().iter().map(|lease| lease.key.to_string()).collect()
    }

    fn frugal() -> Settings {
        Settings { priority_lease_assignment: false, ..Settings::default() }
    }

    #[test]
    fn free_leases_are_taken_up_to_the_share() {
        let mut leases: Vec<_> = (0..4).map(|index| lease(index, None)).collect();
        assert_eq!(plan_for(0, &leases, &Settings::default()).len(), 4, "nobody else is known");
        let limited = Settings { leases_per_worker_max: 3.try_into().unwrap(), ..Settings::default() };
        assert_eq!(plan_for(0, &leases, &limited).len(), 3);
        leases.extend((4..6).map(|index| lease(index, Some(1))));
        assert_eq!(plan_for(0, &leases, &Settings::default()).len(), 3);
    }

    #[test]
    fn leases_that_nobody_takes_for_long_are_taken_beyond_the_share() {
        let mut leases: Vec<_> = (0..7).map(|index| lease(index, (index == 0).then_some(1))).collect();
        let (me, mut observations) = (worker(0), Observations::default());
        let mut plan_at = |seconds| {
            let now = Moment::at(Duration::from_secs(seconds));
            // The other worker is alive, and takes nothing.
            leases[0].counter += 1;
            observations.update(&leases, now);
            let snapshot = Snapshot { leases: &leases, observations: &observations, me: &me, now };
            plan(snapshot, &Settings::default(), &mut Rng::seeded(1)).leases().len()
        };
        assert_eq!((plan_at(100), plan_at(129), plan_at(131)), (4, 4, 6));
    }

    #[test]
    fn without_priority_only_the_share_is_taken() {
        let mut leases: Vec<_> = (0..3).map(|index| lease(index, None)).collect();
        leases.push(lease(3, Some(1)));
        assert_eq!(plan_for(0, &leases, &frugal()).len(), 2);
    }

    #[test]
    fn one_lease_at_a_time_is_taken_from_the_busiest() {
        let leases: Vec<_> = (0..6).map(|index| lease(index, Some(usize::from(index == 0) + 1))).collect();
        // Workers 1 and 2 hold 1 and 5 of 6; worker 0 lacks two.
        assert_eq!(plan_for(0, &leases, &frugal()).len(), 1);
        let eager = Settings { leases_stolen_max: 9.try_into().unwrap(), ..frugal() };
        assert_eq!(plan_for(0, &leases, &eager).len(), 2);
        assert!(plan_for(1, &leases, &frugal()).is_empty(), "the busiest takes nothing");
    }

    #[test]
    fn finished_leases_count_for_nobody() {
        let mut leases = vec![lease(0, None), lease(1, Some(1))];
        leases[0].checkpoint = Checkpoint::ShardEnd;
        assert!(plan_for(1, &leases, &Settings::default()).is_empty());
    }

    #[test]
    fn a_pending_hand_off_is_left_alone_while_it_lives() {
        let handed = Lease { owner: Some(worker(0)), checkpoint_owner: Some(worker(1)), ..lease(0, None) };
        assert!(plan_for(0, std::slice::from_ref(&handed), &Settings::default()).is_empty());
    }

    proptest! {
        /// A fleet that plans in turn and takes what it planned comes to an equal share, and then moves nothing.
        #[test]
        fn a_fleet_settles_balanced(workers in 1usize..6, leases in 1usize..24, owner in 0usize..6, seed: u64) {
            let mut rows: Vec<_> = (0..leases).map(|index| lease(index, (owner < workers).then_some(owner))).collect();
            let mut rng = Rng::seeded(seed);
            let settings = frugal();
            let mut moved_last = usize::MAX;
            for round in 0..200u64 {
                moved_last = 0;
                for index in 0..workers {
                    let now = Moment::at(Duration::from_secs(100 + round));
                    let mut observations = Observations::default();
                    observations.update(&rows, now);
                    let me = worker(index);
                    let snapshot = Snapshot { leases: &rows, observations: &observations, me: &me, now };
                    let planned = plan(snapshot, &settings, &mut rng);
                    let keys: Vec<_> = planned.leases().iter().map(|lease| lease.key.clone()).collect();
                    moved_last += keys.len();
                    for row in rows.iter_mut().filter(|row| keys.contains(&row.key)) {
                        row.owner = Some(me.clone());
                        row.counter += 1;
                    }
                }
                if moved_last == 0 {
                    break;
                }
            }
            prop_assert_eq!(moved_last, 0, "still moving after 200 rounds");
            let share = leases.div_ceil(workers);
            for index in 0..workers {
                let count = rows.iter().filter(|row| row.owner == Some(worker(index))).count();
                prop_assert!(count <= share, "worker {} has {} of {}", index, count, leases);
            }
            prop_assert!(rows.iter().all(|row| row.owner.is_some()));
        }
    }
}
