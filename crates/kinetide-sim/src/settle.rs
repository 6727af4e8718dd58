//! Progress: once everything is healed, every open shard comes to have a live owner, the shares come to be equal, and every
//! record put comes to be processed. What is not so yet is told by name. Then the fleet is left alone for a while: whether it
//! keeps still is [`crate::check::calm`]'s to say.

use std::collections::BTreeMap;
use std::time::Duration;

use kinetide::lease::{Lease, LeaseKey};
use kinetide::stream::{Checkpoint, ShardFilter, StreamSource, WorkerId};

use crate::check::Violation;
use crate::fleet::{Fleet, Identity, World};
use crate::history::{Life, What};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What began before everything was healed may last so long: calls that hang, writes with a late effect.
const ECHOES_MAX: Duration = Duration::from_secs(45);

/// Waits until nothing blocks any more, as long as the plan allows; then to the end of the run. Tells what blocks then.
pub async fn settle(world: &World, fleet: &mut Fleet, run_time_left: Duration) -> Vec<Violation> {
    let healed_at = world.clock.monotonic();
    let finished = world.store.rows().await.iter().filter(|lease| lease.is_finished()).count();
    let time_least = run_time_left.max(ECHOES_MAX);
    let mut was_settled = false;
    loop {
        refill(fleet).await;
        let blockers = blockers(world, fleet).await;
        let passed = world.clock.monotonic().since(healed_at);
        let open = world.stream.list_shards(ShardFilter::AtLatest).await.map_or(0, |shards| shards.len());
        let is_over = passed >= world.plan.settle_time_max(fleet.wanted(), open, finished);
        let is_settled = blockers.is_empty() && passed >= time_least;
        // Twice in a row: a take planned before the first look has come through by the second.
        if is_settled && was_settled {
            rest(world).await;
            return Vec::new();
        }
        was_settled = is_settled;
        if is_over && !blockers.is_empty() {
            let at = world.history.now();
            let text = |what| format!("{} s after everything was healed, {what}", passed.as_secs());
            return blockers.into_iter().map(|what| Violation { rule: "liveness", at, what: text(what) }).collect();
        }
        world.clock.sleep(LOOK_EVERY).await;
    }
}

/// Leaves everything alone for as long as it takes to see whether leases still move.
async fn rest(world: &World) {
    world.history.add(Life::default(), What::Settled);
    world.clock.sleep(world.plan.settings.failover_time * 3).await;
}

/// Workers that were on their way out when everything was healed come back.
async fn refill(fleet: &mut Fleet) {
    for index in fleet.reap().await {
        if fleet.slots()[index].is_wanted {
            // The same worker was built before.
            let _ = fleet.start(index, Identity::Same).await;
        }
    }
}

/// What is not yet as it should be.
pub async fn blockers(world: &World, fleet: &Fleet) -> Vec<String> {
    let rows = world.store.rows().await;
    let leases: BTreeMap<_, _> = rows.iter().map(|lease| (&lease.key, lease)).collect();
    let live = fleet.live_ids();
    let mut blockers = Vec::new();
    let shards = world.stream.list_shards(ShardFilter::AtLatest).await.unwrap_or_default();
    let mut held: BTreeMap<&WorkerId, usize> = live.iter().map(|worker| (worker, 0)).collect();
    for lease in rows.iter().filter(|lease| !lease.is_finished()) {
        if let Some(count) = lease.actual_owner().and_then(|owner| held.get_mut(owner)) {
            *count += 1;
        }
    }
    for shard in &shards {
        match leases.get(&LeaseKey::from(shard.id.clone())) {
            None => blockers.push(format!("{} has no lease", shard.id)),
            Some(lease) => blockers.extend(without_live_owner(lease, |owner| held.contains_key(owner))),
        }
    }
    let closed = rows.iter().filter(|lease| shards.iter().all(|shard| shard.id != lease.key.shard));
    let unfinished = closed.filter(|lease| lease.checkpoint != Checkpoint::ShardEnd);
    blockers.extend(unfinished.map(|lease| format!("{} is closed and stands at {}", lease.key, lease.checkpoint)));
    blockers.extend(imbalance(&held));
    let handed = rows.iter().filter(|lease| !lease.is_finished() && lease.next_owner().is_some());
    blockers.extend(handed.map(|lease| format!("the hand-off of {} is not over", lease.key)));
    let left = rows.iter().filter(|lease| could_be_deleted(lease, &leases));
    blockers.extend(left.map(|lease| format!("the finished lease of {} is still there", lease.key)));
    blockers.extend(world.history.unprocessed().into_iter().map(|(shard, count, first)| {
        format!("{count} records of {shard} are not processed, the first of them {first}")
    }));
    blockers
}

fn without_live_owner(lease: &Lease, is_live: impl Fn(&WorkerId) -> bool) -> Option<String> {
    let owner = lease.actual_owner();
    let is_owned = owner.is_some_and(is_live);
    (!is_owned).then(|| format!("{} is owned by {}", lease.key, owner.map_or("nobody", |owner| owner.as_str())))
}

/// A finished lease has no use any more once its parents are gone and every child has got beyond its start.
fn could_be_deleted(lease: &Lease, leases: &BTreeMap<&LeaseKey, &Lease>) -> bool {
    let is_started = |child: LeaseKey| {
        leases.get(&child).is_some_and(|row| matches!(row.checkpoint, Checkpoint::At(_) | Checkpoint::ShardEnd))
    };
    let has_parents = lease.parent_keys().any(|parent| leases.contains_key(&parent));
    let goes_on = !lease.children.is_empty() && lease.child_keys().all(is_started);
    lease.is_finished() && goes_on && !has_parents
}

/// Nobody has more than an equal share, rounded up, nor two less than that.
fn imbalance(held: &BTreeMap<&WorkerId, usize>) -> Option<String> {
    let (leases, workers) = (held.values().sum::<usize>(), held.len().max(1));
    let share = leases.div_ceil(workers).max(1);
    let is_fair = held.values().all(|count| *count <= share && *count + 1 >= share);
    (!is_fair).then(|| format!("{leases} leases are held unevenly: {held:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_equal_or_one_less() {
        let workers: Vec<WorkerId> = ["a", "b", "c"].map(|name| name.parse().unwrap()).into();
        let judge = |counts: [usize; 3]| imbalance(&workers.iter().zip(counts).collect()).is_none();
        assert!(judge([3, 2, 2]) && judge([1, 0, 0]) && judge([2, 2, 2]));
        assert!(!judge([4, 2, 1]) && !judge([3, 3, 1]) && !judge([2, 0, 1]));
    }
}
