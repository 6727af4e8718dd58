//! Where a processor goes on after its worker is gone: inside aggregates, and between two phases of a checkpoint.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kinetide::lease::{LeaseTable, MemoryLeaseTable};
use kinetide::stream::{Checkpoint, MemoryStream, StreamName};
use kinetide::{
    Batch, Checkpointer, Clock, InitialPosition, Initialize, ProcessorResult, RecordProcessor, Rng, ShardContext,
    Timestamp, Worker,
};
use md5::{Digest, Md5};

/// Small aggregates, written by hand: one partition key, every field shorter than 128 bytes.
fn aggregate(texts: &[&str]) -> Vec<u8> {
    let mut body = vec![0x0a, 1, b'k'];
    for text in texts {
        let inner = [&[0x08, 0, 0x1a, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        body.extend([0x1a, u8::try_from(inner.len()).unwrap()]);
        body.extend(inner);
    }
    [&[0xf3, 0x89, 0x9a, 0xc2], &body[..], &Md5::digest(&body)[..]].concat()
}

/// What a processor saw.
#[derive(Debug, Clone, Default)]
struct Seen {
    texts: Arc<Mutex<Vec<String>>>,
    starts: Arc<Mutex<Vec<Initialize>>>,
}

/// Checkpoints after the text "stop" and then never returns, or prepares there.
struct Careful {
    seen: Seen,
    prepares: bool,
}

impl RecordProcessor for Careful {
    async fn initialize(&mut self, start: &Initialize) -> ProcessorResult {
        self.seen.starts.lock().unwrap().push(start.clone());
        Ok(())
    }

    async fn process_records(&mut self, batch: &Batch, checkpointer: &Checkpointer) -> ProcessorResult {
        for record in &batch.records {
            let text = String::from_utf8_lossy(&record.data).into_owned();
            self.seen.texts.lock().unwrap().push(text.clone());
            if text == "stop" && self.prepares {
                let state = Some(bytes::Bytes::from_static(b"half done"));
                checkpointer.prepare(Some(record.position.clone()), state).await?;
                std::future::pending::<()>().await;
            } else if text == "stop" {
                checkpointer.checkpoint_at(record.position.clone()).await?;
                std::future::pending::<()>().await;
            }
        }
        Ok(())
    }
}

struct World {
    clock: Clock,
    stream: MemoryStream,
    table: MemoryLeaseTable,
    seen: Seen,
}

impl World {
    fn new() -> Self {
        let clock = Clock::starting_at(Timestamp::from_millis(1_700_000_000_000));
        let stream = MemoryStream::new(StreamName::new("orders").unwrap(), 1, clock.clone());
        Self { clock, stream, table: MemoryLeaseTable::new("leases"), seen: Seen::default() }
    }

    /// Runs a worker for a minute and then drops it, as a crash would.
    async fn run_and_crash(&self, prepares: bool) {
        let seen = self.seen.clone();
        let worker = Worker::builder()
            .worker_id("same")
            .table(self.table.clone())
            .source(self.stream.clone())
            .clock(self.clock.clone())
            .rng(Rng::seeded(1))
            .initial_position(InitialPosition::TrimHorizon)
            .processor(move |_: &ShardContext| Careful { seen: seen.clone(), prepares })
            .build()
            .await
            .unwrap();
        assert!(self.clock.timeout(Duration::from_secs(60), worker.run()).await.is_err());
    }

    fn texts(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.texts.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_cut_by_a_checkpoint_goes_on_inside() {
    let world = World::new();
    world.stream.put("k", "first").unwrap();
    world.stream.put("k", aggregate(&["a", "stop", "b", "c"])).unwrap();
    world.stream.put("k", "last").unwrap();
    world.run_and_crash(false).await;
    assert_eq!(world.texts(), ["first", "a", "stop"]);
    let Checkpoint::At(position) = world.table.list().await.unwrap()[0].checkpoint.clone() else { panic!("a record") };
    assert_eq!(position.sub_sequence, 1);
    world.run_and_crash(false).await;
    assert_eq!(world.texts(), ["b", "c", "last"]);
}

#[tokio::test(start_paused = true)]
async fn a_prepared_checkpoint_is_handed_to_the_next_processor() {
    let world = World::new();
    world.stream.put("k", "stop").unwrap();
    world.run_and_crash(true).await;
    world.run_and_crash(false).await;
    assert_eq!(world.texts(), ["stop", "stop"], "a prepared checkpoint is not a checkpoint");
    let starts = world.seen.starts.lock().unwrap().clone();
    let found: Vec<_> = starts.iter().map(|start| (&start.checkpoint, start.pending.is_some())).collect();
    assert_eq!(found, [(&Checkpoint::TrimHorizon, false), (&Checkpoint::TrimHorizon, true)]);
    let pending = starts[1].pending.as_ref().unwrap();
    assert!(matches!(pending.checkpoint, Checkpoint::At(_)));
    assert_eq!(pending.state.as_deref(), Some(&b"half done"[..]));
    let row = world.table.list().await.unwrap().remove(0);
    assert_eq!(row.pending, None, "a later checkpoint ends the prepared one");
}
