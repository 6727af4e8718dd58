//! Many streams in one application.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use kinetide::lease::{LeaseTable, MemoryLeaseTable};
use kinetide::stream::{MemoryStream, StreamId};
use kinetide::{
    Batch, Checkpointer, Clock, InitialPosition, ProcessorResult, RecordProcessor, Rng, ShardContext, Timestamp,
    Worker, WorkerBuilder, WorkerError,
};

use crate::world::World;

/// Tells which stream each record came from.
struct Teller {
    context: ShardContext,
    told: Arc<Mutex<Vec<String>>>,
}

impl RecordProcessor for Teller {
    async fn process_records(&mut self, batch: &Batch, checkpointer: &Checkpointer) -> ProcessorResult {
        let stream = self.context.stream_id.as_ref().map(ToString::to_string).unwrap_or_default();
        for record in &batch.records {
            self.told.lock().unwrap().push(format!("{stream} {}", String::from_utf8_lossy(&record.data)));
        }
        Ok(checkpointer.checkpoint().await?)
    }
}

fn id(text: &str) -> StreamId {
    text.parse().unwrap()
}

struct Many {
    clock: Clock,
    table: MemoryLeaseTable,
    told: Arc<Mutex<Vec<String>>>,
}

impl Many {
    fn new() -> Self {
        let clock = Clock::starting_at(Timestamp::from_millis(1_700_000_000_000));
        Self { clock, table: MemoryLeaseTable::new("leases"), told: Arc::default() }
    }

    fn stream(&self, id: &StreamId, shards: usize) -> MemoryStream {
        MemoryStream::new(id.name.clone(), shards, self.clock.clone())
    }

    fn builder(&self, name: &str) -> WorkerBuilder<()> {
        let builder = Worker::builder().worker_id(name).table(self.table.clone()).clock(self.clock.clone());
        builder.rng(Rng::seeded(name.len() as u64))
    }

    async fn run(&self, builder: WorkerBuilder<()>) -> tokio::task::JoinHandle<Result<(), WorkerError>> {
        let told = self.told.clone();
        let make = move |context: &ShardContext| Teller { context: context.clone(), told: told.clone() };
        tokio::spawn(builder.processor(make).build().await.unwrap().run())
    }

    async fn wait(&self, seconds: u64) {
        self.clock.sleep(std::time::Duration::from_secs(seconds)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_worker_reads_them_all_each_from_its_own_position() {
    let many = Many::new();
    let (old, new) = (id("1:orders:7"), id("2:orders:7"));
    let (first, second) = (many.stream(&old, 2), many.stream(&new, 1));
    first.put("key", "early").unwrap();
    second.put("key", "skipped").unwrap();
    let builder = many.builder("a").source_of(old.clone(), first.clone(), InitialPosition::TrimHorizon);
    let worker = many.run(builder.source_of(new.clone(), second.clone(), InitialPosition::Latest)).await;
    many.wait(5).await;
    first.put("key", "late").unwrap();
    second.put("key", "late").unwrap();
    many.wait(5).await;
    let told: BTreeSet<String> = many.told.lock().unwrap().iter().cloned().collect();
    assert_eq!(told, ["1:orders:7 early", "1:orders:7 late", "2:orders:7 late"].map(str::to_owned).into());
    let keys: Vec<_> = many.table.rows().into_iter().map(|lease| lease.key.to_string()).collect();
    let expected =
        ["1:orders:7:shardId-000000000000", "1:orders:7:shardId-000000000001", "2:orders:7:shardId-000000000000"];
    assert_eq!(keys, expected);
    worker.abort();
}

#[tokio::test(start_paused = true)]
async fn a_fleet_shares_the_shards_of_all_and_each_stream_reshards_by_itself() {
    let many = Many::new();
    let (one, two) = (id("1:orders:7"), id("1:returns:7"));
    let (orders, returns) = (many.stream(&one, 2), many.stream(&two, 2));
    let start = |name| {
        let builder = many.builder(name).source_of(one.clone(), orders.clone(), InitialPosition::TrimHorizon);
        many.run(builder.source_of(two.clone(), returns.clone(), InitialPosition::TrimHorizon))
    };
    let workers = [start("a").await, start("b").await];
    many.wait(20).await;
    orders.split(&"shardId-000000000000".parse().unwrap()).unwrap();
    for index in 0..100 {
        orders.put(&index.to_string(), index.to_string()).unwrap();
        returns.put(&index.to_string(), index.to_string()).unwrap();
    }
    many.wait(300).await;
    assert_eq!(many.told.lock().unwrap().len(), 200);
    let keys: Vec<_> = many.table.rows().into_iter().map(|lease| lease.key.to_string()).collect();
    assert_eq!(keys.len(), 5, "the finished parent is gone, and nothing of the other stream: {keys:?}");
    workers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn both_kinds_of_keys_in_one_table_are_refused() {
    let many = Many::new();
    let orders = id("1:orders:7");
    let stream = many.stream(&orders, 1);
    let worker = many.run(many.builder("a").source_of(orders, stream.clone(), InitialPosition::TrimHorizon)).await;
    many.wait(5).await;
    let single = many.run(many.builder("b").source(stream)).await;
    let error = single.await.unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "table 'leases' has the lease '1:orders:7:shardId-000000000000' of an application that reads many streams, and this \
         one reads one stream: give it another"
    );
    worker.abort();

    let world = World::new(1);
    let worker = world.start("a").await;
    world.wait(5).await;
    let builder = Worker::builder().worker_id("b").table(world.table.clone()).clock(world.clock.clone());
    let other = many.run(builder.source_of(id("1:orders:7"), world.stream.clone(), InitialPosition::Latest)).await;
    assert!(matches!(other.await.unwrap(), Err(WorkerError::ForeignKeys { are_many: true, .. })));
    assert_eq!(world.table.list().await.unwrap().len(), 1);
    worker.handle.stop();
}
