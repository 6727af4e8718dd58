//! A stream, a table and a processor that tells what it is told, for tests of workers in paused time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kinetide::lease::{LeaseTable, MemoryLeaseTable};
use kinetide::stream::{MemoryStream, StreamName};
use kinetide::{
    Batch, Checkpointer, Clock, Event, InitialPosition, Initialize, ProcessorError, ProcessorResult, RecordProcessor,
    Rng, Settings, ShardContext, Timestamp, Worker, WorkerError, WorkerHandle,
};
use tokio::task::JoinHandle;

/// What the processors of a test were told, in order: (worker, shard, what).
#[derive(Debug, Clone, Default)]
pub(crate) struct Story(pub(crate) Arc<Mutex<Vec<(String, String, String)>>>);

impl Story {
    pub(crate) fn tell(&self, context: &ShardContext, what: impl Into<String>) {
        self.0.lock().unwrap().push((context.worker.to_string(), context.shard.to_string(), what.into()));
    }

    pub(crate) fn records(&self) -> Vec<String> {
        let told = self.0.lock().unwrap();
        told.iter().filter_map(|(_, _, what)| what.strip_prefix("record ").map(str::to_owned)).collect()
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|(_, _, told)| told == what).count()
    }

    pub(crate) fn calls(&self, shard: &str) -> Vec<String> {
        let told = self.0.lock().unwrap();
        let calls = told.iter().filter(|(_, told, what)| told == shard && !what.starts_with("record "));
        calls.map(|(_, _, what)| what.clone()).collect()
    }
}

/// Tells the story, and fails when the data says so.
pub(crate) struct Teller {
    pub(crate) story: Story,
    pub(crate) context: ShardContext,
    pub(crate) failures_left: u32,
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

pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) stream: MemoryStream,
    pub(crate) table: MemoryLeaseTable,
    pub(crate) story: Story,
    pub(crate) settings: Settings,
    pub(crate) failures: u32,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
}

pub(crate) struct Running {
    pub(crate) handle: WorkerHandle,
    pub(crate) task: JoinHandle<Result<(), WorkerError>>,
}

impl World {
    pub(crate) fn new(shards: usize) -> Self {
        let clock = Clock::starting_at(Timestamp::from_millis(1_700_000_000_000));
        let stream = MemoryStream::new(StreamName::new("orders").unwrap(), shards, clock.clone());
        let (table, story, events) = (MemoryLeaseTable::new("leases"), Story::default(), Arc::default());
        Self { clock, stream, table, story, settings: Settings::default(), failures: 1, events }
    }

    pub(crate) async fn start(&self, name: &str) -> Running {
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

    pub(crate) fn count(&self, is_counted: impl Fn(&Event) -> bool) -> usize {
        self.events.lock().unwrap().iter().filter(|event| is_counted(event)).count()
    }

    pub(crate) fn put(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.stream.put(&format!("key {}", number % 50), number.to_string()).unwrap();
        }
    }

    pub(crate) async fn wait(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    pub(crate) async fn owners(&self) -> BTreeMap<String, usize> {
        let mut owners = BTreeMap::new();
        for lease in self.table.list().await.unwrap().into_iter().filter(|lease| !lease.is_finished()) {
            *owners.entry(lease.owner.map_or("nobody".to_owned(), |owner| owner.to_string())).or_default() += 1;
        }
        owners
    }

    pub(crate) async fn wait_for_records(&self, count: usize) {
        for _ in 0..600 {
            if self.story.records().len() >= count {
                return;
            }
            self.clock.sleep(Duration::from_millis(100)).await;
        }
        panic!("{} of {count} records after a minute", self.story.records().len());
    }
}

pub(crate) fn assert_each_once(records: &[String], count: u32) {
    let unique: BTreeSet<_> = records.iter().collect();
    assert_eq!((records.len(), unique.len()), (count as usize, count as usize));
}
