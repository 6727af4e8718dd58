//! Workers on the memory table and stream, in paused time.

use std::collections::BTreeMap;
use std::time::Duration;

use kinetide::lease::LeaseTable;
use kinetide::stream::{Checkpoint, ShardId};
use kinetide::{
    Batch, Checkpointer, Event, InitialPosition, ProcessorError, ProcessorResult, RecordProcessor, Rng, Settings,
    ShardContext, Worker,
};

use crate::world::{Story, World, assert_each_once};

#[tokio::test(start_paused = true)]
async fn a_new_application_reads_at_once_and_everything_once() {
    let world = World::new(4);
    world.put(0..1_000);
    let started = world.clock.monotonic();
    let worker = world.start("a").await;
    world.wait_for_records(1_000).await;
    assert!(world.clock.monotonic().since(started) < Duration::from_secs(1), "no waits on the way to the first record");
    assert_each_once(&world.story.records(), 1_000);
    worker.handle.shutdown();
    worker.task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_checkpoints_and_gives_leases_back() {
    let world = World::new(2);
    world.put(0..100);
    let first = world.start("a").await;
    world.wait_for_records(100).await;
    first.handle.shutdown();
    first.task.await.unwrap().unwrap();
    assert_eq!(world.owners().await, BTreeMap::from([("nobody".to_owned(), 2)]));
    assert_eq!(world.story.count("shutdown_requested"), 2);
    assert_eq!(world.story.count("lease_lost"), 2);

    world.put(100..200);
    let started = world.clock.monotonic();
    let second = world.start("b").await;
    world.wait_for_records(200).await;
    assert!(world.clock.monotonic().since(started) < Duration::from_secs(1), "nobody waits for a failover time");
    assert_each_once(&world.story.records(), 200);
    second.handle.stop();
    second.task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_quick_stop_tells_processors_nothing_and_gives_leases_back() {
    let world = World::new(2);
    world.put(0..10);
    let worker = world.start("a").await;
    world.wait_for_records(10).await;
    worker.handle.stop();
    worker.task.await.unwrap().unwrap();
    assert_eq!((world.story.count("shutdown_requested"), world.story.count("lease_lost")), (0, 0));
    assert_eq!(world.owners().await, BTreeMap::from([("nobody".to_owned(), 2)]));
}

#[tokio::test(start_paused = true)]
async fn a_fleet_shares_and_a_dead_workers_shards_are_taken() {
    let world = World::new(4);
    let a = world.start("a").await;
    let b = world.start("bb").await;
    world.wait(60).await;
    let balanced = BTreeMap::from([("a".to_owned(), 2), ("bb".to_owned(), 2)]);
    assert_eq!(world.owners().await, balanced);

    a.task.abort();
    let died = world.clock.monotonic();
    world.put(0..100);
    world.wait_for_records(100).await;
    let took = world.clock.monotonic().since(died);
    assert!(took > Duration::from_secs(2) && took < Duration::from_secs(14), "taken over after {took:?}");
    assert_each_once(&world.story.records(), 100);
    assert_eq!(world.owners().await, BTreeMap::from([("bb".to_owned(), 4)]));
    b.handle.stop();
}

#[tokio::test(start_paused = true)]
async fn parents_come_before_their_children() {
    let world = World::new(2);
    world.put(0..100);
    let worker = world.start("a").await;
    world.wait_for_records(100).await;
    let shard = |index: u32| ShardId::new(format!("shardId-{index:012}")).unwrap();
    let [left, right] = world.stream.split(&shard(0)).unwrap();
    world.put(100..200);
    let merged = world.stream.merge(&left, &right).unwrap();
    world.put(200..300);
    world.wait_for_records(300).await;
    assert_each_once(&world.story.records(), 300);
    for parent in [&shard(0), &left, &right] {
        assert_eq!(world.story.calls(parent.as_str()).last().map(String::as_str), Some("shard_ended"));
        let row = world.table.get(&parent.clone().into()).await.unwrap().unwrap();
        assert_eq!((row.checkpoint, row.owner), (Checkpoint::ShardEnd, None));
    }
    assert_eq!(world.table.get(&merged.clone().into()).await.unwrap().unwrap().parents, [left, right]);
    let told = world.story.0.lock().unwrap().clone();
    let position = |shard: &ShardId, what: &str| {
        told.iter().position(|(_, on, told)| on == shard.as_str() && told.starts_with(what)).unwrap()
    };
    let last_parent = position(&shard(2), "shard_ended").max(position(&shard(3), "shard_ended"));
    assert!(position(&merged, "initialize") > last_parent, "{told:?}");
    worker.handle.stop();
}

#[tokio::test(start_paused = true)]
async fn a_failing_batch_is_given_again_and_nothing_is_skipped() {
    let world = World { failures: 2, ..World::new(1) };
    world.put(0..3);
    world.stream.put("key", "poison").unwrap();
    let worker = world.start("a").await;
    world.wait(30).await;
    assert_eq!(world.story.count("failed"), 2);
    assert_eq!(world.story.records().last().map(String::as_str), Some("poison"));
    worker.handle.stop();
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_keeps_failing_stops_its_shard_loudly_and_keeps_its_lease() {
    let world = World { failures: u32::MAX, ..World::new(2) };
    let (shard, _) = world.stream.put("key", "poison").unwrap();
    let worker = world.start("a").await;
    world.wait(120).await;
    let stopped = |event: &Event| matches!(event, Event::ShardStopped { shard: stopped } if stopped.shard == shard);
    assert_eq!(world.events.lock().unwrap().iter().filter(|event| stopped(event)).count(), 1);
    assert_eq!(world.story.count("failed"), 11, "one call and ten retries");
    let row = world.table.get(&shard.clone().into()).await.unwrap().unwrap();
    assert_eq!((row.owner.unwrap().as_str(), row.checkpoint), ("a", Checkpoint::TrimHorizon));
    worker.handle.stop();
    worker.task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_fatal_failure_ends_the_worker() {
    let world = World::new(2);
    world.stream.put("key", "fatal").unwrap();
    let error = world.start("a").await.task.await.unwrap().unwrap_err();
    assert_eq!(kinetide::error::chain(&error), "a processor failed: it cannot go on");
    assert_eq!(world.owners().await, BTreeMap::from([("nobody".to_owned(), 2)]));
}

#[tokio::test(start_paused = true)]
async fn a_panic_stops_its_shard_and_no_other() {
    let world = World::new(2);
    let (shard, _) = world.stream.put("key", "panic").unwrap();
    let worker = world.start("a").await;
    world.wait(1).await;
    let other = (0..).find_map(|index| {
        let (other, _) = world.stream.put(&format!("key {index}"), "fine").unwrap();
        (other != shard).then_some(other)
    });
    world.wait(5).await;
    assert!(world.story.records().contains(&"fine".to_owned()));
    let stopped = |event: &Event| matches!(event, Event::ShardStopped { shard: stopped } if stopped.shard == shard);
    assert!(world.events.lock().unwrap().iter().any(stopped));
    assert!(other.is_some() && !worker.task.is_finished());
    worker.handle.stop();
}

#[tokio::test(start_paused = true)]
async fn a_stolen_lease_stops_delivery_and_checkpoints() {
    let world = World::new(1);
    world.put(0..10);
    let worker = world.start("a").await;
    world.wait_for_records(10).await;
    let row = world.table.list().await.unwrap().remove(0);
    world.table.update(&row.take(&"thief".parse().unwrap())).await.unwrap();
    world.wait(4).await;
    world.put(10..20);
    world.wait(3).await;
    assert_eq!(world.story.records().len(), 10, "nothing after the lease was lost");
    assert_eq!(world.story.count("lease_lost"), 1);
    worker.handle.stop();
}

/// A batch that fails until the worker is asked to stop.
struct FailsUntilStop {
    story: Story,
    context: ShardContext,
}

impl RecordProcessor for FailsUntilStop {
    async fn process_records(&mut self, batch: &Batch, _checkpointer: &Checkpointer) -> ProcessorResult {
        for record in &batch.records {
            self.story.tell(&self.context, format!("record {}", String::from_utf8_lossy(&record.data)));
        }
        Err(ProcessorError::new("not now"))
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> ProcessorResult {
        Ok(checkpointer.checkpoint().await?)
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_checkpoint_a_batch_that_failed() {
    let world = World::new(1);
    world.put(0..3);
    let (story, table, stream) = (world.story.clone(), world.table.clone(), world.stream.clone());
    let worker = Worker::builder()
        .worker_id("failing")
        .table(table)
        .source(stream)
        .clock(world.clock.clone())
        .rng(Rng::seeded(1))
        .initial_position(InitialPosition::TrimHorizon)
        .processor(move |context: &ShardContext| FailsUntilStop { story: story.clone(), context: context.clone() })
        .build()
        .await
        .unwrap();
    let handle = worker.handle();
    let task = tokio::spawn(worker.run());
    world.wait(1).await;
    handle.shutdown();
    task.await.unwrap().unwrap();
    assert!(world.story.records().len() >= 3);
    assert_eq!(world.table.list().await.unwrap()[0].checkpoint, Checkpoint::TrimHorizon);
}

/// Checkpoints every record, and fails once in the middle.
struct EachRecord {
    story: Story,
    context: ShardContext,
    has_failed: bool,
}

impl RecordProcessor for EachRecord {
    async fn process_records(&mut self, batch: &Batch, checkpointer: &Checkpointer) -> ProcessorResult {
        for record in &batch.records {
            let text = String::from_utf8_lossy(&record.data).into_owned();
            if text == "5" && !self.has_failed {
                self.has_failed = true;
                return Err(ProcessorError::new("once"));
            }
            self.story.tell(&self.context, format!("record {text}"));
            checkpointer.checkpoint_at(record.position.clone()).await?;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_given_again_starts_after_what_was_checkpointed() {
    let world = World::new(1);
    world.put(0..10);
    let story = world.story.clone();
    let worker = Worker::builder()
        .worker_id("each")
        .table(world.table.clone())
        .source(world.stream.clone())
        .clock(world.clock.clone())
        .rng(Rng::seeded(1))
        .initial_position(InitialPosition::TrimHorizon)
        .processor(move |context: &ShardContext| EachRecord {
            story: story.clone(),
            context: context.clone(),
            has_failed: false,
        })
        .build()
        .await
        .unwrap();
    let handle = worker.handle();
    let _task = tokio::spawn(worker.run());
    world.wait_for_records(10).await;
    assert_each_once(&world.story.records(), 10);
    handle.stop();
}

#[tokio::test(start_paused = true)]
async fn a_stopped_shard_whose_lease_was_lost_may_be_taken_again() {
    let world = World { failures: u32::MAX, ..World::new(1) };
    let (shard, _) = world.stream.put("key", "poison").unwrap();
    let worker = world.start("a").await;
    world.wait(120).await;
    let row = world.table.get(&shard.clone().into()).await.unwrap().unwrap();
    world.table.update(&row.take(&"thief".parse().unwrap())).await.unwrap();
    let failed = world.story.count("failed");
    world.wait(60).await;
    assert!(world.story.count("failed") > failed, "the thief died, and somebody tries again");
    worker.handle.stop();
}

#[tokio::test(start_paused = true)]
async fn a_slow_processor_holds_up_no_other_shard() {
    let settings = Settings { prefetch_bytes_max: 1_000.try_into().unwrap(), ..Settings::default() };
    let world = World { settings, ..World::new(2) };
    let (slow, _) = world.stream.put("key", "hang").unwrap();
    let worker = world.start("a").await;
    world.wait(5).await;
    for index in 0..200 {
        world.stream.put("key", "x".repeat(1_000)).unwrap();
        if index % 10 == 0 {
            world.wait(1).await;
        }
    }
    let other = (0..).find(|index| world.stream.put(&format!("key {index}"), "fine").unwrap().0 != slow);
    assert!(other.is_some());
    world.wait(10).await;
    assert!(world.story.records().contains(&"fine".to_owned()));
    worker.handle.stop();
}
