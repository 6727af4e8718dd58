//! Builds a worker from settings (data) and components (what it talks to).

use std::sync::Arc;

use tokio::sync::watch;

use super::streams::{Streams, Tracked};
use super::{Mode, Parts, Worker};
use crate::aws::{Aws, AwsSettings, DynamoDbLeaseTable, KinesisStream};
use crate::clock::Clock;
use crate::error::WorkerError;
use crate::event::{Event, Events, Observer};
use crate::lease::LeaseTable;
use crate::processor::ProcessorFactory;
use crate::rng::Rng;
use crate::settings::Settings;
use crate::stream::id::TableName;
use crate::stream::{InitialPosition, StreamId, StreamName, StreamSource, WorkerId};

/// One of many streams.
struct Many {
    id: StreamId,
    source: Option<Arc<dyn StreamSource>>,
    position: InitialPosition,
}

/// Builds a [`Worker`].
#[must_use]
pub struct WorkerBuilder<F> {
    application: Option<String>,
    stream: Option<String>,
    table_name: Option<String>,
    worker_id: Option<String>,
    initial_position: InitialPosition,
    settings: Settings,
    aws: AwsSettings,
    table: Option<Arc<dyn LeaseTable>>,
    source: Option<Arc<dyn StreamSource>>,
    streams: Vec<Many>,
    clock: Option<Clock>,
    rng: Option<Rng>,
    observer: Option<Observer>,
    factory: F,
}

impl Default for WorkerBuilder<()> {
    fn default() -> Self {
        Self {
            application: None,
            stream: None,
            table_name: None,
            worker_id: None,
            initial_position: InitialPosition::Latest,
            settings: Settings::default(),
            aws: AwsSettings::default(),
            table: None,
            source: None,
            streams: Vec::new(),
            clock: None,
            rng: None,
            observer: None,
            factory: (),
        }
    }
}

impl<F> WorkerBuilder<F> {
    /// The application's name: what its workers have in common, and the lease table's name unless another is given.
    pub fn application(mut self, name: impl Into<String>) -> Self {
        self.application = Some(name.into());
        self
    }

    /// The stream to consume.
    pub fn stream(mut self, name: impl Into<String>) -> Self {
        self.stream = Some(name.into());
        self
    }

    /// One of many streams to consume, in any account this worker may read, and where its shards start without a checkpoint.
    /// The leases of all of them are in one table, which an application of one stream cannot share.
    pub fn stream_of(mut self, id: StreamId, position: InitialPosition) -> Self {
        self.streams.push(Many { id, source: None, position });
        self
    }

    /// One of many streams, read from here instead of from Kinesis.
    pub fn source_of(mut self, id: StreamId, source: impl StreamSource, position: InitialPosition) -> Self {
        self.streams.push(Many { id, source: Some(Arc::new(source)), position });
        self
    }

    /// The lease table, if it is not named like the application.
    pub fn table_name(mut self, name: impl Into<String>) -> Self {
        self.table_name = Some(name.into());
        self
    }

    /// The id by which this worker owns leases, unique in the fleet. By default a random UUID. A fixed one lets a worker
    /// that is started again take its own leases back at once.
    pub fn worker_id(mut self, id: impl Into<String>) -> Self {
        self.worker_id = Some(id.into());
        self
    }

    /// Where shards without a checkpoint start. Default: after the newest record.
    pub fn initial_position(mut self, position: InitialPosition) -> Self {
        self.initial_position = position;
        self
    }

    /// How it behaves.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// How AWS is reached: region, endpoints, credentials. By default as every AWS tool finds them.
    pub fn aws(mut self, aws: AwsSettings) -> Self {
        self.aws = aws;
        self
    }

    /// Keeps leases here instead of in DynamoDB.
    pub fn table(mut self, table: impl LeaseTable) -> Self {
        self.table = Some(Arc::new(table));
        self
    }

    /// Reads from here instead of from Kinesis.
    pub fn source(mut self, source: impl StreamSource) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The worker's clock; for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The worker's randomness; for tests.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = Some(rng);
        self
    }

    /// Gets every event of the worker. It is called in the worker's tasks and must return at once.
    pub fn observer(mut self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// What processes the records.
    pub fn processor<G: ProcessorFactory>(self, factory: G) -> WorkerBuilder<G> {
        WorkerBuilder {
            application: self.application,
            stream: self.stream,
            table_name: self.table_name,
            worker_id: self.worker_id,
            initial_position: self.initial_position,
            settings: self.settings,
            aws: self.aws,
            table: self.table,
            source: self.source,
            streams: self.streams,
            clock: self.clock,
            rng: self.rng,
            observer: self.observer,
            factory,
        }
    }
}

impl<F: ProcessorFactory> WorkerBuilder<F> {
    /// Checks everything that can be checked without a call to a service, and finds region and credentials.
    ///
    /// # Errors
    /// [`WorkerError`] names what is missing or wrong.
    pub async fn build(mut self) -> Result<Worker<F>, WorkerError> {
        self.settings.validate()?;
        let mut rng = self.rng.take().unwrap_or_else(Rng::system);
        let id = self.worker_id.take().unwrap_or_else(|| rng.uuid());
        let (table, streams) = self.table_and_streams().await?;
        let parts = Parts {
            id: WorkerId::new(id)?,
            table,
            streams,
            settings: Arc::new(self.settings),
            clock: self.clock.unwrap_or_else(Clock::system),
            rng,
            events: Events::to(self.observer),
        };
        Ok(Worker { parts, factory: self.factory, mode: watch::Sender::new(Mode::Run) })
    }

    async fn table_and_streams(&mut self) -> Result<(Arc<dyn LeaseTable>, Streams), WorkerError> {
        let has_sources = match &self.streams[..] {
            [] => self.source.is_some(),
            streams => streams.iter().all(|stream| stream.source.is_some()),
        };
        if let (Some(table), true) = (self.table.clone(), has_sources) {
            return Ok((table, self.tracked(None)?));
        }
        let table_name = self.table_name.take().or(self.application.take()).map(TableName::new).transpose()?;
        let aws = Aws::load(&self.aws).await?;
        let streams = self.tracked(Some(&aws))?;
        let table = match self.table.take() {
            Some(table) => table,
            None => {
                let name = table_name.ok_or(WorkerError::Incomplete("the application's name"))?;
                Arc::new(DynamoDbLeaseTable::new(&aws, &name))
            }
        };
        Ok((table, streams))
    }

    /// The streams to read; those without a source are read from Kinesis.
    fn tracked(&mut self, aws: Option<&Aws>) -> Result<Streams, WorkerError> {
        let missing = || WorkerError::Incomplete("the stream's name");
        if self.streams.is_empty() {
            let source = match (self.source.take(), self.stream.take(), aws) {
                (Some(source), ..) => source,
                (None, Some(name), Some(aws)) => Arc::new(KinesisStream::new(aws, StreamName::new(name)?)),
                _ => return Err(missing()),
            };
            return Ok(Streams::new([Tracked { id: None, source, initial_position: self.initial_position }]));
        }
        let mut tracked = Vec::new();
        for Many { id, source, position } in self.streams.drain(..) {
            let source = match (source, aws) {
                (Some(source), _) => source,
                (None, Some(aws)) => Arc::new(KinesisStream::of(aws, &id)),
                (None, None) => return Err(missing()),
            };
            tracked.push(Tracked { id: Some(id), source, initial_position: position });
        }
        Ok(Streams::new(tracked))
    }
}
