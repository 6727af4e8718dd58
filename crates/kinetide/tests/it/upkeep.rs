//! What a fleet does about its leases beside taking them: missing ones, finished ones, ones of another stream, and shards
//! that stand still.

use std::time::Duration;

use kinetide::consumer::watch::Stage;
use kinetide::lease::{Lease, LeaseTable};
use kinetide::stream::{Checkpoint, ShardId};
use kinetide::{Event, Settings, WorkerError};

use crate::world::{World, assert_each_once};

fn shard(index: usize) -> ShardId {
    ShardId::new(format!("shardId-{index:012}")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_missing_shard_is_added_when_a_worker_starts() {
    let world = World::new(4);
    world.put(0..100);
    let first = world.start("a").await;
    world.wait_for_records(100).await;
    first.handle.shutdown();
    first.task.await.unwrap().unwrap();
    let lost = ShardId::new("shardId-000000000002").unwrap();
    world.table.delete(&lost.clone().into()).await.unwrap();
    let second = world.start("b").await;
    world.wait(5).await;
    assert_eq!(world.table.list().await.unwrap().len(), 4);
    second.handle.stop();
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_outlived_its_retention_gives_way_to_its_children() {
    let world = World::new(1);
    world.put(0..10);
    let first = world.start("a").await;
    world.wait_for_records(10).await;
    first.handle.shutdown();
    first.task.await.unwrap().unwrap();
    let parent = ShardId::new("shardId-000000000000").unwrap();
    let children = world.stream.split(&parent).unwrap();
    world.stream.forget(&parent);
    world.put(10..20);
    let second = world.start("b").await;
    world.wait_for_records(20).await;
    assert_each_once(&world.story.records(), 20);
    assert_eq!(world.table.get(&parent.clone().into()).await.unwrap().unwrap().children, children);
    second.handle.stop();
}

#[tokio::test(start_paused = true)]
async fn finished_leases_are_deleted_once_their_children_are_under_way() {
    let world = World::new(1);
    world.put(0..10);
    let worker = world.start("a").await;
    world.wait_for_records(10).await;
    let parent = ShardId::new("shardId-000000000000").unwrap();
    let [left, right] = world.stream.split(&parent).unwrap();
    world.wait(130).await;
    assert!(world.table.get(&parent.clone().into()).await.unwrap().is_some(), "the children have read nothing yet");
    world.put(10..100);
    world.wait(130).await;
    assert_eq!(world.table.get(&parent.clone().into()).await.unwrap(), None);
    let keys: Vec<_> = world.table.list().await.unwrap().into_iter().map(|lease| lease.key.shard).collect();
    assert_eq!(keys, [left, right]);
    assert_each_once(&world.story.records(), 100);
    worker.handle.stop();
}

#[tokio::test(start_paused = true)]
async fn a_hole_that_stays_is_filled() {
    let world = World::new(4);
    let worker = world.start("a").await;
    world.wait(30).await;
    // Neither held here any more nor in the table: as if another worker had lost it for good.
    let lost = ShardId::new("shardId-000000000002").unwrap();
    let row = world.table.get(&lost.clone().into()).await.unwrap().unwrap();
    world.table.update(&row.take(&"thief".parse().unwrap())).await.unwrap();
    world.wait(5).await;
    world.table.delete(&lost.clone().into()).await.unwrap();
    world.put(0..100);
    world.wait(300).await;
    assert_each_once(&world.story.records(), 100);
    let found = |event: &Event| matches!(event, Event::HoleFound { .. });
    assert_eq!(world.events.lock().unwrap().iter().filter(|event| found(event)).count(), 1);
    worker.handle.stop();
}

#[tokio::test(start_paused = true)]
async fn a_stream_made_anew_is_read_from_its_start_whatever_its_leases_say() {
    let world = World::new(4);
    world.put(0..100);
    let first = world.start("a").await;
    world.wait_for_records(100).await;
    // One lease is finished, three stand at numbers of the old stream, and the new one has fewer shards.
    world.stream.split(&shard(0)).unwrap();
    world.wait(30).await;
    first.handle.shutdown();
    first.task.await.unwrap().unwrap();
    assert_eq!(world.table.get(&shard(0).clone().into()).await.unwrap().unwrap().checkpoint, Checkpoint::ShardEnd);
    world.stream.recreate(3);
    world.put(100..200);
    let second = world.start("b").await;
    world.wait(600).await;
    assert_each_once(&world.story.records(), 200);
    let keys: Vec<_> = world.table.list().await.unwrap().into_iter().map(|lease| lease.key.shard).collect();
    assert_eq!(keys, [shard(0), shard(1), shard(2)], "leases of shards that are gone are deleted");
    let told = |shard: ShardId| {
        world.count(|event| matches!(event, Event::StreamRecreated { shard: told } if told.shard == shard))
    };
    assert_eq!([shard(1), shard(2)].map(told), [1, 1], "and the hole that shard 0 left was filled");
    second.handle.stop();
}

#[tokio::test(start_paused = true)]
async fn the_finished_lease_of_a_former_shard_is_opened_again() {
    let world = World::new(1);
    world.table.prepare().await.unwrap();
    let former = Lease { children: vec![shard(8)], ..Lease::new(shard(0), Checkpoint::ShardEnd) };
    world.table.create(&former).await.unwrap();
    world.put(0..10);
    let worker = world.start("a").await;
    world.wait(100).await;
    assert!(world.story.records().is_empty(), "one look is not enough");
    world.wait(200).await;
    assert_each_once(&world.story.records(), 10);
    assert_eq!(world.count(|event| matches!(event, Event::StreamRecreated { .. })), 1);
    worker.handle.stop();
}

#[tokio::test(start_paused = true)]
async fn a_deleted_stream_is_waited_for_and_nothing_is_finished() {
    let world = World::new(2);
    world.put(0..10);
    let worker = world.start("a").await;
    world.wait_for_records(10).await;
    world.stream.recreate(0);
    world.wait(20).await;
    world.stream.recreate(2);
    world.put(10..20);
    world.wait_for_records(20).await;
    assert_each_once(&world.story.records(), 20);
    worker.handle.stop();
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_does_not_return_is_told_as_stalled_once() {
    let world =
        World { settings: Settings { stall_time: Duration::from_secs(30), ..Settings::default() }, ..World::new(2) };
    let (stalled, _) = world.stream.put("key", "hang").unwrap();
    let worker = world.start("a").await;
    world.wait(300).await;
    let is_told = |event: &Event| matches!(event, Event::ShardStalled { shard, stage: Stage::Call("processRecords"), .. } if shard.shard == stalled);
    assert_eq!(world.count(is_told), 1);
    assert_eq!(world.count(|event| matches!(event, Event::ShardStalled { .. })), 1, "the other shard is only idle");
    worker.handle.stop();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_may_take_is_told() {
    let settings = Settings { leases_per_worker_max: 1.try_into().unwrap(), ..Settings::default() };
    let world = World { settings, ..World::new(2) };
    let worker = world.start("a").await;
    world.wait(120).await;
    assert_eq!(world.count(|event| matches!(event, Event::ShardStalled { stage: Stage::Lease, .. })), 1);
    let second = world.start("b").await;
    world.wait(30).await;
    assert_eq!(world.count(|event| matches!(event, Event::ShardMoved { stage: Stage::Lease, .. })), 1);
    worker.handle.stop();
    second.handle.stop();
}

#[tokio::test(start_paused = true)]
async fn a_worker_id_that_is_a_leases_key_is_refused() {
    let world = World::new(2);
    let worker = world.start(shard(1).as_str()).await;
    let error = worker.task.await.unwrap().unwrap_err();
    assert!(matches!(error, WorkerError::WorkerIdTaken(_)), "{error}");
    let sentence = "worker id 'shardId-000000000001' is the key of a lease; give the worker another id";
    assert_eq!(error.to_string(), sentence);
}

#[tokio::test(start_paused = true)]
async fn the_table_counts_what_it_costs() {
    let world = World::new(4);
    let worker = world.start("a").await;
    world.wait(60).await;
    let usage = worker.handle.table_usage();
    let calls =
        |name: &str| usage.calls.iter().filter(|(call, _)| call.to_string() == name).map(|(_, u)| u.calls).sum::<u64>();
    assert_eq!((calls("PutItem"), calls("UpdateItem (take)")), (4, 4));
    assert_eq!(calls("UpdateItem (renew)"), 4 * 13, "every 4.44 s");
    assert!((90..=110).contains(&calls("Scan")), "{usage:?}");
    worker.handle.stop();
}
