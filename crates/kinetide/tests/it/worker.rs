//! Workers on the memory table and stream, in paused time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kinetide::lease::{LeaseTable, MemoryLeaseTable};
use kinetide::stream::{Checkpoint, MemoryStream, ShardId, StreamName};
use kinetide::{
    Batch, Checkpointer, Clock, Event, InitialPosition, Initialize, ProcessorError, ProcessorResult, RecordProcessor,
    Rng, Settings, ShardContext, Timestamp, Worker, WorkerError, WorkerHandle,
};
use tokio::task::JoinHandle;

/// What the processors of a test were told, in order: (worker, shard, what).
#[derive(Debug, Clone, Default)]
struct Story(Arc<Mutex<Vec<(String, String, String)>>>);

impl Story {
    fn tell(&self, context: &ShardContext, what: impl Into<String>) {
        self.0.lock().unwrap().push((context.worker.to_string(), context.shard.to_string(), what.into()));
    }

    fn records(&self) -> Vec<String> {
        let told = self.0.lock().unwrap();
        told.iter().filter_map(|(_, _, what)| what.strip_prefix("record ").map(str::to_owned)).collect()
    }

    fn count(&self, what: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|(_, _, told)| told == what).count()
    }

    fn calls(&self, shard: &str) -> Vec<String> {
        let told = self.0.lock().unwrap();
        let calls = told.iter().filter(|(_, told, what)| told == shard && !what.starts_with("record "));
        calls.map(|(_, _, what)| what.clone()).collect()
    }
}

/// Tells the story, and fails when the data says so.
struct Teller {
    story: Story,
    context: ShardContext,
    failures_left: u32,
}

impl RecordProcessor for Teller {
    async fn initialize(&mut self, start: &Initialize) -> ProcessorResult {
        self.story.tell(&self.context, format!("initialize {}", start.checkpoint));
        Ok(())
    }

    async fn process_records(&mut self, batch: &Batch, checkpointer: &Checkpointer) -> ProcessorResult {
        for record in batch.records.iter() {
            let text = String::from_utf8_lossy(&record.data).into_owned();
            match text.as_str() {
                "poison" if self.failures_left > 0 => {
                    self.failures_left -= 1;
                    self.story.tell(&self.context, "failed");
                    return Err(std::io::Error::other("poisoned").into());
                }
                "hang" => std::future::pending().await,
                "fatal" => return Err(ProcessorError::fatal("it cannot go on")),
                "panic" => panic!("as asked"),
                _ => self.story.tell(&self.context, format!("record {text}")),
            }
        }
        Ok(checkpointer.checkpoint().await?)
    }

    async fn lease_lost(&mut self) -> ProcessorResult {
        self.story.tell(&self.context, "lease_lost");
        Ok(())
    }

    async fn shard_ended(&mut self, checkpointer: &Checkpointer) -> ProcessorResult {
        self.story.tell(&self.context, "shard_ended");
        Ok(checkpointer.checkpoint().await?)
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> ProcessorResult {
        self.story.tell(&self.context, "shutdown_requested");
        Ok(checkpointer.checkpoint().await?)
    }
}

struct World {
    clock: Clock,
    stream: MemoryStream,
    table: MemoryLeaseTable,
    story: Story,
    settings: Settings,
    failures: u32,
    events: Arc<Mutex<Vec<Event>>>,
}

struct Running {
    handle: WorkerHandle,
    task: JoinHandle<Result<(), WorkerError>>,
}

impl World {
    fn new(shards: usize) -> Self {
        let clock = Clock::starting_at(Timestamp::from_millis(1_700_000_000_000));
        let stream = MemoryStream::new(StreamName::new("orders").unwrap(), shards, clock.clone());
        let (table, story, events) = (MemoryLeaseTable::new("leases"), Story::default(), Arc::default());
        Self { clock, stream, table, story, settings: Settings::default(), failures: 1, events }
    }

    async fn start(&self, name: &str) -> Running {
        let (story, failures, events) = (self.story.clone(), self.failures, self.events.clone());
        let worker = Worker::builder()
            .worker_id(name)
            .table(self.table.clone())
            .source(self.stream.clone())
            .clock(self.clock.clone())
            .rng(Rng::seeded(name.len() as u64))
            .settings(self.settings.clone())
            .initial_position(InitialPosition::TrimHorizon)
            .observer(move |event| events.lock().unwrap().push(event.clone()))
            .processor(move |context: &ShardContext| Teller {
                story: story.clone(),
                context: context.clone(),
                failures_left: failures,
            })
            .build()
            .await
            .unwrap();
        Running { handle: worker.handle(), task: tokio::spawn(worker.run()) }
    }

    fn put(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.stream.put(&format!("key {}", number % 50), number.to_string()).unwrap();
        }
    }

    async fn wait(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    async fn owners(&self) -> BTreeMap<String, usize> {
        let mut owners = BTreeMap::new();
        for lease in self.table.list().await.unwrap().into_iter().filter(|lease| !lease.is_finished()) {
            *owners.entry(lease.owner.map_or("nobody".to_owned(), |owner| owner.to_string())).or_default() += 1;
        }
        owners
    }

    async fn wait_for_records(&self, count: usize) {
        for _ in 0..600 {
            if self.story.records().len() >= count {
                return;
            }
            self.clock.sleep(Duration::from_millis(100)).await;
        }
        panic!("{} of {count} records after a minute", self.story.records().len());
    }
}

fn assert_each_once(records: &[String], count: u32) {
    let unique: BTreeSet<_> = records.iter().collect();
    assert_eq!((records.len(), unique.len()), (count as usize, count as usize));
}

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
        let row = world.table.get(parent).await.unwrap().unwrap();
        assert_eq!((row.checkpoint, row.owner), (Checkpoint::ShardEnd, None));
    }
    assert_eq!(world.table.get(&merged).await.unwrap().unwrap().parents, [left, right]);
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
    let stopped = |event: &Event| matches!(event, Event::ShardStopped { shard: stopped } if *stopped == shard);
    assert_eq!(world.events.lock().unwrap().iter().filter(|event| stopped(event)).count(), 1);
    assert_eq!(world.story.count("failed"), 11, "one call and ten retries");
    let row = world.table.get(&shard).await.unwrap().unwrap();
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
    let stopped = |event: &Event| matches!(event, Event::ShardStopped { shard: stopped } if *stopped == shard);
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

#[tokio::test(start_paused = true)]
async fn a_missing_shard_is_added_when_a_worker_starts() {
    let world = World::new(4);
    world.put(0..100);
    let first = world.start("a").await;
    world.wait_for_records(100).await;
    first.handle.shutdown();
    first.task.await.unwrap().unwrap();
    let lost = ShardId::new("shardId-000000000002").unwrap();
    world.table.delete(&lost).await.unwrap();
    let second = world.start("b").await;
    world.wait(5).await;
    assert_eq!(world.table.list().await.unwrap().len(), 4);
    second.handle.stop();
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
    let row = world.table.get(&shard).await.unwrap().unwrap();
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
    assert_eq!(world.table.get(&parent).await.unwrap().unwrap().children, children);
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
    assert!(world.table.get(&parent).await.unwrap().is_some(), "the children have read nothing yet");
    world.put(10..100);
    world.wait(130).await;
    assert_eq!(world.table.get(&parent).await.unwrap(), None);
    let keys: Vec<_> = world.table.list().await.unwrap().into_iter().map(|lease| lease.key).collect();
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
    let row = world.table.get(&lost).await.unwrap().unwrap();
    world.table.update(&row.take(&"thief".parse().unwrap())).await.unwrap();
    world.wait(5).await;
    world.table.delete(&lost).await.unwrap();
    world.put(0..100);
    world.wait(300).await;
    assert_each_once(&world.story.records(), 100);
    let found = |event: &Event| matches!(event, Event::HoleFound { .. });
    assert_eq!(world.events.lock().unwrap().iter().filter(|event| found(event)).count(), 1);
    worker.handle.stop();
}
