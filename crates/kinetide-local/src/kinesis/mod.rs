//! Kinesis: streams, shards and consumers by ferrokinesis; records, and what it gets wrong, by ourselves.
//!
//! | Ours | Because ferrokinesis |
//! |---|---|
//! | `put` | keeps arrival times in seconds, lets records overtake each other, rewrites all it has for a durable put |
//! | `read` | names no child shards, does not bound a call in bytes, is never behind, has no read limits |
//! | `list_shards` | ignores the filter and its own token |
//! | `subscribe` | is never behind, looks every 200 ms |
//! | `reshard` | gives the shards of UpdateShardCount no parents |
//!
//! Everything else is handed to its `dispatch` after its validation. Not here: protocols (`wire`). Invariant:
//! ferrokinesis holds no records, so what it writes to disk is small, and there is one place where a record can be.

mod encode;
mod journal;
mod limits;
mod list_shards;
mod put;
mod read;
mod reshard;
mod shard_log;
mod streams;
mod subscribe;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::response::Response;
use bytes::Bytes;
use ferrokinesis::actions::{Operation, dispatch};
use ferrokinesis::error::KinesisErrorResponse;
use ferrokinesis::store::{DurableStateOptions, Store, StoreOptions};
use ferrokinesis::types::{ConsumerStatus, StreamStatus};
use ferrokinesis::validation;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use crate::faults::AwsError;
use crate::settings::{LocalError, Settings, StreamSpec};
use crate::wire::{self, Protocol};
use crate::{clock, storage};
use journal::{Entry, Journal};
use shard_log::Record;
use streams::Streams;
use subscribe::Subscriptions;

/// Long enough that a client meets CREATING and UPDATING, short enough that nobody waits.
const TRANSITION_MS: u64 = 10;
/// How often ferrokinesis may fold its log of stream changes into a snapshot.
const SNAPSHOT_S: u64 = 30;
/// How often the journal goes to the disk.
const SYNC: Duration = Duration::from_secs(1);
/// How often old records go away.
const TRIM: Duration = Duration::from_secs(60);
/// How long a stop waits for ferrokinesis' transitions; the longest takes half a second.
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// What RegisterStreamConsumer takes with `aws_timing`.
const REGISTERING: Duration = Duration::from_secs(5);
/// How long the streams of the settings may take to become ACTIVE.
const CREATE_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Kinesis {
    streams: Arc<Streams>,
    journal: Option<Arc<Journal>>,
    subscriptions: Subscriptions,
    /// When consumers become ACTIVE, with `aws_timing`.
    registering: Option<Mutex<HashMap<String, Instant>>>,
    account_id: String,
    closing: CancellationToken,
}

impl std::fmt::Debug for Kinesis {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Kinesis").finish_non_exhaustive()
    }
}

impl Kinesis {
    pub(crate) async fn open(settings: &Settings, closing: CancellationToken) -> Result<Self, LocalError> {
        let directory = settings.data_dir.as_deref();
        if let Some(directory) = directory {
            let log = storage::streams(directory).join("wal.log");
            journal::mend_stream_log(&log).map_err(|error| storage::unusable(&log, "mend", &error))?;
        }
        let store = Store::new(options(settings));
        store.check_ready().map_err(|error| LocalError::Store { store: "Kinesis", reason: error.to_string() })?;
        let streams = Arc::new(Streams::new(store, settings.enforce_limits));
        let journal = directory.map(|directory| replay(&streams, directory).map(Arc::new)).transpose()?;
        let kinesis = Self {
            streams,
            journal,
            subscriptions: Subscriptions::default(),
            registering: settings.aws_timing.then(Mutex::default),
            account_id: settings.account_id.clone(),
            closing,
        };
        kinesis.drop_orphans().await;
        for spec in &settings.streams {
            kinesis.create(spec).await?;
        }
        Ok(kinesis)
    }

    pub(crate) async fn handle(&self, operation: &str, protocol: Protocol, body: Bytes) -> Response {
        let answered = match operation {
            "PutRecords" => self.put_records(protocol, &body).await.map(|answer| wire::answer(protocol, answer)),
            "PutRecord" => self.put_record(protocol, &body).await.map(|answer| wire::answer(protocol, answer)),
            _ => self.checked(operation, protocol, &body).await,
        };
        answered.unwrap_or_else(|error| wire::error(protocol, &error))
    }

    /// Waits until nothing changes in the background any more, then puts the journal on the disk.
    pub(crate) async fn settle(&self) {
        let settled = async {
            while self.is_changing().await {
                clock::sleep(Duration::from_millis(TRANSITION_MS)).await;
            }
        };
        if clock::timeout(SETTLE_MAX, settled).await.is_none() {
            tracing::warn!("a stream or consumer still changes; the next start goes on with it");
        }
        self.on_disk(|_, journal| journal.sync()).await;
    }

    async fn is_changing(&self) -> bool {
        let store = &self.streams.store;
        for name in store.list_stream_names().await {
            let Ok(stream) = store.get_stream(&name).await else { continue };
            let consumers = store.list_consumers_for_stream(&stream.stream_arn).await;
            let consumer_changes = consumers.iter().any(|consumer| consumer.consumer_status != ConsumerStatus::Active);
            if stream.stream_status != StreamStatus::Active || consumer_changes {
                return true;
            }
        }
        false
    }

    /// Trims what has outlived its retention, keeps the journal on the disk and its garbage bounded, until the endpoint
    /// closes.
    pub(crate) async fn upkeep(&self) {
        let pause = if self.journal.is_some() { SYNC } else { TRIM };
        let mut trimmed = clock::monotonic();
        while clock::timeout(pause, self.closing.cancelled()).await.is_none() {
            self.on_disk(|_, journal| journal.sync()).await;
            if trimmed.elapsed() >= TRIM {
                trimmed = clock::monotonic();
                self.trim().await;
                self.on_disk(compact).await;
            }
        }
    }

    /// Work that waits for the disk, if there is a journal.
    async fn on_disk(&self, work: impl FnOnce(&Streams, &Journal) -> io::Result<()> + Send + 'static) {
        let Some(journal) = self.journal.clone() else { return };
        let streams = Arc::clone(&self.streams);
        #[expect(clippy::disallowed_methods, reason = "a journal waits for the disk, which a runtime thread must not")]
        let task = tokio::task::spawn_blocking(move || work(&streams, &journal));
        if let Err(error) = task.await.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            tracing::error!(%error, "the record journal is not safe on the disk");
        }
    }

    /// Everything but the puts: small requests, checked by ferrokinesis' rules.
    async fn checked(&self, operation: &str, protocol: Protocol, body: &[u8]) -> Result<Response, AwsError> {
        let unknown =
            || AwsError::new(400, "UnknownOperationException", format!("Kinesis has no operation {operation:?}"));
        let operation: Operation = operation.parse().map_err(|()| unknown())?;
        let mut request = wire::decode(protocol, body)?;
        self.name_stream(operation, &mut request)?;
        let checked = check(operation, &request)?;
        let answer = match operation {
            Operation::GetRecords => return Ok(wire::answer(protocol, self.get_records(protocol, &request).await?)),
            Operation::SubscribeToShard => return self.subscribe_to_shard(protocol, &request).await,
            Operation::GetShardIterator => Some(self.get_shard_iterator(&request).await?),
            Operation::ListShards => {
                self.streams.outdate();
                Some(self.list_shards(&request).await?)
            }
            Operation::UpdateShardCount => {
                let answer = self.update_shard_count(&request).await;
                self.streams.outdate();
                Some(answer?)
            }
            _ => self.hand_over(operation, checked).await?,
        };
        Ok(answer.map_or_else(
            || wire::answer(protocol, ""),
            |answer| wire::answer(protocol, wire::encode(protocol, answer)),
        ))
    }

    /// To ferrokinesis, and back with what depends on it.
    async fn hand_over(&self, operation: Operation, request: Json) -> Result<Option<Json>, AwsError> {
        let deleted = (operation == Operation::DeleteStream).then(|| self.streams.store.resolve_stream_name(&request));
        let answer = dispatch(&self.streams.store, operation, request).await;
        // Whatever it was, the client may now know more about a stream than the views do.
        self.streams.outdate();
        let mut answer = answer.map_err(mend)?;
        if let Some(Ok(name)) = deleted {
            self.drop_records(&name)?;
        }
        if let Some(answer) = &mut answer {
            self.age_consumers(operation, answer);
        }
        Ok(answer)
    }

    fn drop_records(&self, stream: &str) -> Result<(), AwsError> {
        self.streams.drop_stream(stream);
        let Some(journal) = &self.journal else { return Ok(()) };
        let mut writer = journal.writer();
        writer.add(&Entry::Drop { stream });
        writer
            .commit()
            .map_err(|error| AwsError::new(500, "InternalFailure", format!("the deletion was not recorded: {error}")))
    }

    /// With `aws_timing`, a consumer is CREATING for as long as the real service needs.
    fn age_consumers(&self, operation: Operation, answer: &mut Json) {
        let Some(registering) = &self.registering else { return };
        if operation == Operation::RegisterStreamConsumer
            && let Some(arn) = answer["Consumer"]["ConsumerARN"].as_str()
        {
            let ready = clock::monotonic() + REGISTERING;
            registering.lock().unwrap_or_else(PoisonError::into_inner).insert(arn.to_owned(), ready);
        }
        let one = answer.get_mut("ConsumerDescription").into_iter();
        let consumers: Vec<&mut Json> = match operation {
            Operation::DescribeStreamConsumer => one.collect(),
            Operation::ListStreamConsumers => answer["Consumers"].as_array_mut().into_iter().flatten().collect(),
            _ => return,
        };
        for consumer in consumers {
            if consumer["ConsumerARN"].as_str().is_some_and(|arn| self.is_registering(arn)) {
                consumer["ConsumerStatus"] = json!("CREATING");
            }
        }
    }

    fn is_registering(&self, arn: &str) -> bool {
        let Some(registering) = &self.registering else { return false };
        let mut registering = registering.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::monotonic();
        registering.retain(|_, ready| *ready > now);
        registering.contains_key(arn)
    }

    /// The stream a request names, one way or the other.
    fn stream_name(&self, name: Option<&str>, arn: Option<&str>) -> Result<String, AwsError> {
        match (name, arn) {
            (Some(name), _) => Ok(name.to_owned()),
            (None, Some(arn)) => self
                .streams
                .store
                .stream_name_from_arn(arn)
                .ok_or_else(|| not_found(&format!("Stream {arn} not found."))),
            (None, None) => Err(invalid("Either StreamName or StreamARN must be provided.")),
        }
    }

    /// ferrokinesis' rules demand a name from many operations that may name their stream by ARN alone.
    fn name_stream(&self, operation: Operation, request: &mut Json) -> Result<(), AwsError> {
        let by_name = operation.validation_rules().iter().any(|(field, _)| *field == "StreamName");
        let arn = request["StreamARN"].as_str().filter(|_| by_name && request["StreamName"].is_null());
        if let Some(arn) = arn.map(str::to_owned) {
            request["StreamName"] = Json::String(self.stream_name(None, Some(&arn))?);
            request.as_object_mut().and_then(|request| request.remove("StreamARN"));
        }
        Ok(())
    }

    async fn create(&self, spec: &StreamSpec) -> Result<(), LocalError> {
        let failed = |reason: String| LocalError::Stream { name: spec.name.clone(), reason };
        let store = &self.streams.store;
        if !store.contains_stream(&spec.name).await {
            let request = json!({ "StreamName": spec.name, "ShardCount": spec.shards });
            let created = dispatch(store, Operation::CreateStream, request).await;
            created.map_err(|error| failed(mend(error).message))?;
        }
        let active = async {
            while store.get_stream(&spec.name).await.is_ok_and(|stream| stream.stream_status != StreamStatus::Active) {
                clock::sleep(Duration::from_millis(1)).await;
            }
        };
        clock::timeout(CREATE_MAX, active).await.ok_or_else(|| failed("it did not become ACTIVE".to_owned()))
    }

    /// Forgets records of streams that were deleted after the records were written, and of earlier streams of a name.
    async fn drop_orphans(&self) {
        for name in self.streams.names() {
            // Looking is enough: a view drops what is not of the stream it shows.
            let _ = self.streams.view(&name).await;
        }
    }

    async fn trim(&self) {
        for name in self.streams.names() {
            let Ok(view) = self.streams.view(&name).await else { continue };
            let horizon = view.horizon_ms();
            view.shards.iter().for_each(|shard| shard.log.trim(horizon));
        }
    }
}

/// Rewrites a journal that is mostly about records that are gone. Puts wait meanwhile.
fn compact(streams: &Streams, journal: &Journal) -> io::Result<()> {
    let live: usize = streams.logs().iter().map(|(_, log)| log.bytes()).sum();
    if !journal.is_mostly_garbage(live as u64) {
        return Ok(());
    }
    journal.rewrite(|writer| {
        for (stream, log) in streams.logs() {
            log.all().iter().for_each(|record| writer.add(&put::entry(&stream, &log, record)));
        }
    })
}

fn options(settings: &Settings) -> StoreOptions {
    let durable = settings.data_dir.as_deref().map(|directory| DurableStateOptions {
        state_dir: storage::streams(directory),
        snapshot_interval_secs: SNAPSHOT_S,
        max_retained_bytes: None,
    });
    StoreOptions {
        create_stream_ms: TRANSITION_MS,
        delete_stream_ms: TRANSITION_MS,
        update_stream_ms: TRANSITION_MS,
        shard_limit: settings.shards_max,
        durable,
        aws_account_id: settings.account_id.clone(),
        aws_region: settings.region.clone(),
        ..StoreOptions::default()
    }
}

fn replay(streams: &Streams, directory: &Path) -> Result<Journal, LocalError> {
    let path = storage::records(directory);
    let opened = Journal::open(&path, |entry| match entry {
        Entry::Drop { stream } => streams.drop_stream(stream),
        Entry::Put { stream, shard, created_ms, index, arrival_ms, key, data } => {
            let log = streams.log(stream, shard, created_ms);
            let sequence = log.sequence(index, arrival_ms.max(created_ms)).into();
            log.restore(Record { index, sequence, arrival_ms, key: key.into(), data: Bytes::copy_from_slice(data) });
        }
    });
    opened.map_err(|error| storage::unusable(&path, "open", &error))
}

fn check(operation: Operation, request: &Json) -> Result<Json, AwsError> {
    let rules = operation.validation_rules();
    let fields: Vec<_> = rules.iter().map(|(name, field)| (*name, field)).collect();
    let request = validation::check_types(request, &fields).map_err(mend)?;
    validation::check_validations(&request, &fields, None).map_err(mend)?;
    Ok(request)
}

/// ferrokinesis' error as ours.
fn mend(error: KinesisErrorResponse) -> AwsError {
    AwsError::new(error.status_code, error.body.error_type, error.body.message.unwrap_or_default())
}

fn invalid(message: &str) -> AwsError {
    AwsError::new(400, "InvalidArgumentException", message)
}

fn not_found(message: &str) -> AwsError {
    AwsError::new(400, "ResourceNotFoundException", message)
}

fn expired(message: &str) -> AwsError {
    AwsError::new(400, "ExpiredIteratorException", message)
}
