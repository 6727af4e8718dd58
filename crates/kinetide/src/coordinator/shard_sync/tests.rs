use std::time::Duration;

use super::*;
use crate::Clock;
use crate::stream::{HashKey, HashKeyRange, MemoryStream, SequenceNumber, StreamName, StreamSource, Timestamp};

fn id(index: u32) -> ShardId {
    ShardId::new(format!("shardId-{index:012}")).unwrap()
}

fn listed(index: u32, parents: &[u32], is_open: bool) -> Shard {
    Shard {
        id: id(index),
        parents: parents.iter().copied().map(id).collect(),
        hash_range: HashKeyRange { start: HashKey(0), end: HashKey(1) },
        starting_sequence: SequenceNumber::from(u64::from(index)),
        ending_sequence: (!is_open).then(|| SequenceNumber::from(1000)),
    }
}

fn leased(index: u32) -> Lease {
    Lease::new(id(index), Checkpoint::TrimHorizon)
}

/// Shards 0 to 5 at first; 0 and 1 merged into 6, 2 and 3 into 7, 6 and 7 into 8, 4 left alone, 5 split into 9 and 10.
fn family() -> Vec<Shard> {
    vec![
        listed(0, &[], false),
        listed(1, &[], false),
        listed(2, &[], false),
        listed(3, &[], false),
        listed(4, &[], true),
        listed(5, &[], false),
        listed(6, &[0, 1], false),
        listed(7, &[2, 3], false),
        listed(8, &[6, 7], true),
        listed(9, &[5], true),
        listed(10, &[5], true),
    ]
}

fn planned(leases: &[u32], position: InitialPosition) -> Vec<(ShardId, Checkpoint)> {
    let leases: Vec<_> = leases.iter().copied().map(leased).collect();
    plan(None, &family(), &leases, position).into_iter().map(|lease| (lease.key.shard, lease.checkpoint)).collect()
}

#[test]
fn the_other_side_of_a_merge_is_added() {
    let at = InitialPosition::AtTimestamp(Timestamp::from_millis(5));
    assert_eq!(planned(&[4, 5, 7], InitialPosition::Latest), [(id(6), Checkpoint::Latest)]);
    let oldest = [(id(0), Checkpoint::TrimHorizon), (id(1), Checkpoint::TrimHorizon)];
    assert_eq!(planned(&[4, 5, 7], InitialPosition::TrimHorizon), oldest);
    let dated = [(id(0), Checkpoint::AtTimestamp), (id(1), Checkpoint::AtTimestamp)];
    assert_eq!(planned(&[4, 5, 7], at), dated);
}

#[test]
fn nothing_is_added_where_every_open_shard_is_led_to() {
    for position in [InitialPosition::Latest, InitialPosition::TrimHorizon] {
        assert_eq!(planned(&[4, 5, 6, 7], position), []);
        assert_eq!(planned(&[4, 8, 9, 10], position), []);
        assert_eq!(planned(&[0, 1, 2, 3, 4, 5], position), []);
    }
}

#[test]
fn a_family_without_any_lease_is_added_where_the_position_says() {
    let added = |position| planned(&[4, 8], position).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(added(InitialPosition::Latest), [id(9), id(10)]);
    assert_eq!(added(InitialPosition::TrimHorizon), [id(5)]);
}

#[test]
fn a_half_written_first_listing_is_completed() {
    let shards: Vec<_> = (0..4).map(|index| listed(index, &[], true)).collect();
    let added = plan(None, &shards, &[leased(0), leased(2)], InitialPosition::TrimHorizon);
    assert_eq!(added.iter().map(|lease| lease.key.shard.clone()).collect::<Vec<_>>(), [id(1), id(3)]);
    assert!(added.iter().all(|lease| lease.checkpoint == Checkpoint::TrimHorizon));
}

#[test]
fn children_of_open_shards_are_left_for_later() {
    let shards = vec![listed(0, &[], true), listed(1, &[0], true), listed(2, &[], true)];
    assert_eq!(unexpected_child(&shards).map(|shard| shard.id.clone()), Some(id(1)));
    let kept = without_unexpected_children(shards);
    assert_eq!(kept.iter().map(|shard| shard.id.clone()).collect::<Vec<_>>(), [id(0), id(2)]);
    assert_eq!(unexpected_child(&family()), None);
}

#[test]
fn a_listing_in_circles_ends() {
    let shards = [listed(0, &[1], false), listed(1, &[0], true)];
    assert_eq!(plan(None, &shards, &[], InitialPosition::Latest).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_empty_table_gets_the_shards_of_its_position_in_order() {
    let clock = Clock::starting_at(Timestamp::from_millis(1_000_000));
    let stream = MemoryStream::new(StreamName::new("s").unwrap(), 2, clock.clone());
    clock.sleep(Duration::from_secs(60)).await;
    let [left, right] = stream.split(&id(0)).unwrap();
    for (position, expected) in [
        (InitialPosition::TrimHorizon, vec![id(0), id(1)]),
        (InitialPosition::Latest, vec![id(1), left.clone(), right.clone()]),
        (InitialPosition::AtTimestamp(Timestamp::from_millis(1_030_000)), vec![id(0), id(1)]),
    ] {
        let shards = stream.list_shards(first_filter(position)).await.unwrap();
        let leases = plan_first(None, &shards, position).unwrap();
        assert_eq!(leases.iter().map(|lease| lease.key.shard.clone()).collect::<Vec<_>>(), expected, "{position:?}");
        assert!(leases.iter().all(|lease| lease.checkpoint == position.checkpoint() && lease.counter == 0));
    }
}

#[test]
fn shards_that_leave_a_hole_are_refused() {
    assert_eq!(plan_first(None, &[listed(0, &[], true)], InitialPosition::Latest), None);
}

#[test]
fn a_merge_waits_for_its_second_parent() {
    let range = HashKeyRange::ALL;
    let merged = [ChildShard { id: id(6), parents: vec![id(0), id(1)], hash_range: range }];
    assert_eq!(plan_children(&id(0).into(), &merged, |parent| *parent == id(0)), ChildPlan::Wait { parent: id(1) });
    let ChildPlan::Create(leases) = plan_children(&id(0).into(), &merged, |_| true) else {
        panic!("both parents are known")
    };
    assert_eq!((leases[0].checkpoint.clone(), leases[0].parents.len()), (Checkpoint::TrimHorizon, 2));
    assert!(matches!(plan_children(&id(0).into(), &merged, |_| false), ChildPlan::Create(_)));
    let split = [6, 7].map(|index| ChildShard { id: id(index), parents: vec![id(0)], hash_range: range });
    assert!(matches!(plan_children(&id(0).into(), &split, |_| true), ChildPlan::Create(leases) if leases.len() == 2));
}
