//! `kinetide consume`: a worker for pipes. Records are written to standard output, and only then checkpointed.
//!
//! A closed pipe ends it cleanly: what could not be written is not checkpointed, and the next run begins there.

use std::process::ExitCode;
use std::sync::Arc;

use kinetide::{Batch, Checkpointer, Clock, ProcessorError, ProcessorResult, RecordProcessor, ShardContext, Worker};
use tokio::io::{AsyncWriteExt, Stdout};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::position;
use crate::args::{ConsumeArgs, Global};
use crate::output::write_record;

/// Standard output, shared by the processors of all shards; whole batches at a time.
struct Sink {
    out: Stdout,
    left: Option<usize>,
}

struct Printer {
    context: ShardContext,
    sink: Arc<Mutex<Sink>>,
    as_json: bool,
    /// Nothing more is wanted: the pipe is closed, or the limit reached.
    done: CancellationToken,
}

pub(crate) async fn run(global: &Global, args: &ConsumeArgs) -> anyhow::Result<ExitCode> {
    let sink = Arc::new(Mutex::new(Sink { out: tokio::io::stdout(), left: args.limit }));
    let (as_json, done) = (global.is_json(), CancellationToken::new());
    let mut builder = Worker::builder()
        .application(&args.application)
        .stream(&args.stream)
        .initial_position(position::parse_initial(&args.from, Clock::system().wall())?)
        .aws(global.aws());
    if let Some(id) = &args.worker_id {
        builder = builder.worker_id(id);
    }
    let is_done = done.clone();
    let factory = move |context: &ShardContext| Printer {
        context: context.clone(),
        sink: sink.clone(),
        as_json,
        done: done.clone(),
    };
    let worker = builder.processor(factory).build().await?;
    let handle = worker.handle();
    let mut running = std::pin::pin!(worker.run());
    tokio::select! {
        result = &mut running => return Ok(result.map(|()| ExitCode::SUCCESS)?),
        asked = super::asked_to_end() => {
            asked?;
            handle.shutdown();
            // Whoever asks twice does not want to wait for a pipe that nobody reads.
            tokio::select! {
                result = &mut running => return Ok(result.map(|()| ExitCode::SUCCESS)?),
                again = super::asked_to_end() => again?,
            }
            handle.stop();
        }
        () = is_done.cancelled() => handle.stop(),
    }
    running.await?;
    Ok(ExitCode::SUCCESS)
}

impl Sink {
    /// Writes as many records as are still wanted; returns how many were.
    async fn write(&mut self, batch: &Batch, printer: &ShardContext, as_json: bool) -> std::io::Result<usize> {
        let count = self.left.map_or(batch.records.len(), |left| left.min(batch.records.len()));
        let mut text = Vec::new();
        for record in &batch.records[..count] {
            write_record(&mut text, &printer.shard, record, as_json);
        }
        self.out.write_all(&text).await?;
        self.out.flush().await?;
        if let Some(left) = &mut self.left {
            *left -= count;
        }
        Ok(count)
    }
}

impl RecordProcessor for Printer {
    async fn process_records(&mut self, batch: &Batch, checkpointer: &Checkpointer) -> ProcessorResult {
        let mut sink = self.sink.lock().await;
        let written = match sink.write(batch, &self.context, self.as_json).await {
            Ok(written) => written,
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => self.finish().await,
            Err(error) => return Err(ProcessorError::fatal(error)),
        };
        if let Some(last) = written.checked_sub(1).and_then(|index| batch.records.get(index)) {
            checkpointer.checkpoint_at(last.position.clone()).await?;
        }
        if sink.left == Some(0) { self.finish().await } else { Ok(()) }
    }
}

impl Printer {
    /// Asks for the end and waits for it: the worker drops this call when it stops.
    async fn finish<T>(&self) -> T {
        self.done.cancel();
        std::future::pending().await
    }
}
