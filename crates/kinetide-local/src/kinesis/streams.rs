//! The streams as the record path sees them: shards, their relatives, and the log of each.
//!
//! ferrokinesis owns streams and changes them in the background; asking it clones a whole stream, which at 1000 shards
//! costs more than a read. So a view is kept for [`VIEW_AGE_MAX`] and thrown away whenever a client may have learnt of
//! a change. Invariants: a log belongs to one shard of one incarnation of a stream; a view that is behind may still
//! send records to a shard that is over, never to one that a reader was told is over (`ShardLog::close_at`).

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ferrokinesis::store::Store;
use ferrokinesis::types::{EncryptionType, Shard, Stream, StreamStatus};

use super::shard_log::{ShardLog, parse};
use super::{mend, not_found};
use crate::clock;
use crate::faults::AwsError;

/// How long a resharding may go unnoticed if nobody asks about the stream meanwhile.
const VIEW_AGE_MAX: Duration = Duration::from_millis(50);

/// A shard with what is derived from its sequence numbers.
#[derive(Debug)]
pub(super) struct ShardView {
    pub(super) shard: Shard,
    pub(super) created_ms: u64,
    /// Last millisecond in which it may have been open; sequence numbers keep only the second.
    pub(super) ended_ms: Option<u64>,
    pub(super) log: Arc<ShardLog>,
}

/// A stream at one moment.
#[derive(Debug)]
pub(super) struct StreamView {
    pub(super) name: String,
    pub(super) status: StreamStatus,
    pub(super) retention_ms: u64,
    pub(super) encrypted: bool,
    pub(super) record_bytes_max: usize,
    pub(super) shards: Vec<ShardView>,
    /// Open shards by the start of their hash range.
    routes: Vec<(u128, usize)>,
    generation: u64,
    seen: Instant,
}

impl StreamView {
    /// The open shard that covers a hash key.
    pub(super) fn route(&self, hash: u128) -> Option<&ShardView> {
        let after = self.routes.partition_point(|(start, _)| *start <= hash);
        let (_, shard) = self.routes.get(after.checked_sub(1)?)?;
        self.shards.get(*shard)
    }

    pub(super) fn takes_records(&self) -> bool {
        matches!(self.status, StreamStatus::Active | StreamStatus::Updating)
    }

    /// Shards that continue this one.
    pub(super) fn children(&self, id: &str) -> impl Iterator<Item = &Shard> {
        let is_parent = move |parent: &Option<String>| parent.as_deref() == Some(id);
        let shards = self.shards.iter().map(|view| &view.shard);
        shards.filter(move |shard| is_parent(&shard.parent_shard_id) || is_parent(&shard.adjacent_parent_shard_id))
    }

    /// What is older than this has left the stream.
    pub(super) fn horizon_ms(&self) -> u64 {
        clock::wall_ms().saturating_sub(self.retention_ms)
    }
}

/// What is kept per stream name.
#[derive(Debug, Default)]
struct Kept {
    view: Option<Arc<StreamView>>,
    logs: BTreeMap<i64, Arc<ShardLog>>,
}

pub(super) struct Streams {
    pub(super) store: Store,
    enforce_limits: bool,
    generation: AtomicU64,
    kept: Mutex<HashMap<String, Kept>>,
}

impl Streams {
    pub(super) fn new(store: Store, enforce_limits: bool) -> Self {
        Self { store, enforce_limits, generation: AtomicU64::new(0), kept: Mutex::default() }
    }

    /// A client may have learnt of a change: all views are outdated.
    pub(super) fn outdate(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// The stream, at most [`VIEW_AGE_MAX`] ago.
    pub(super) async fn view(&self, name: &str) -> Result<Arc<StreamView>, AwsError> {
        let generation = self.generation.load(Ordering::Acquire);
        if let Some(view) = self.lock().get(name).and_then(|kept| kept.view.clone())
            && view.generation == generation
            && view.seen.elapsed() < VIEW_AGE_MAX
        {
            return Ok(view);
        }
        let seen = clock::monotonic();
        match self.store.get_stream(name).await {
            Ok(stream) => Ok(self.build(stream, generation, seen)),
            Err(error) => {
                self.drop_stream(name);
                Err(mend(error))
            }
        }
    }

    /// Forgets a stream and its records.
    pub(super) fn drop_stream(&self, name: &str) {
        self.lock().remove(name);
    }

    /// The log of a shard of an earlier life, made if need be. One of an older incarnation of the stream gives way.
    pub(super) fn log(&self, stream: &str, shard: i64, created_ms: u64) -> Arc<ShardLog> {
        let mut kept = self.lock();
        let kept = kept.entry(stream.to_owned()).or_default();
        self.log_in(&mut kept.logs, shard, created_ms)
    }

    /// All logs with the name of their stream.
    pub(super) fn logs(&self) -> Vec<(String, Arc<ShardLog>)> {
        let kept = self.lock();
        kept.iter().flat_map(|(name, kept)| kept.logs.values().map(|log| (name.clone(), Arc::clone(log)))).collect()
    }

    /// Names of the streams that have logs.
    pub(super) fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    fn log_in(&self, logs: &mut BTreeMap<i64, Arc<ShardLog>>, shard: i64, created_ms: u64) -> Arc<ShardLog> {
        let fresh = || Arc::new(ShardLog::new(shard, created_ms, self.enforce_limits));
        let log = logs.entry(shard).or_insert_with(fresh);
        if log.created_ms != created_ms {
            *log = fresh();
        }
        Arc::clone(log)
    }

    fn build(&self, stream: Stream, generation: u64, seen: Instant) -> Arc<StreamView> {
        let mut kept = self.lock();
        let kept = kept.entry(stream.stream_name.clone()).or_default();
        // Two requests may build at once; the one that looked later stays.
        if let Some(newer) = kept.view.as_ref().filter(|view| view.seen > seen) {
            return Arc::clone(newer);
        }
        let shards: Vec<ShardView> =
            stream.shards.into_iter().zip(0..).map(|(shard, ix)| self.shard(&mut kept.logs, shard, ix)).collect();
        let count = i64::try_from(shards.len()).unwrap_or(i64::MAX);
        kept.logs.retain(|shard, _| *shard < count || shards.is_empty());
        let view = Arc::new(StreamView {
            routes: routes(&shards),
            name: stream.stream_name,
            status: stream.stream_status,
            retention_ms: u64::from(stream.retention_period_hours) * 3_600_000,
            encrypted: stream.encryption_type == EncryptionType::Kms,
            record_bytes_max: stream.max_record_size_kib as usize * 1024,
            shards,
            generation,
            seen,
        });
        kept.view = Some(Arc::clone(&view));
        view
    }

    fn shard(&self, logs: &mut BTreeMap<i64, Arc<ShardLog>>, shard: Shard, ix: i64) -> ShardView {
        let range = &shard.sequence_number_range;
        let created_ms = parse(&range.starting_sequence_number).map_or(0, |start| start.shard_create_time);
        let ended = range.ending_sequence_number.as_deref().and_then(parse).and_then(|end| end.seq_time);
        // The number keeps whole seconds, and the shard was open into the one it ended in.
        let ended_ms = ended.map(|second| (second + 999).max(created_ms));
        ShardView { created_ms, ended_ms, log: self.log_in(logs, ix, created_ms), shard }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn routes(shards: &[ShardView]) -> Vec<(u128, usize)> {
    let open = shards.iter().enumerate().filter(|(_, view)| view.ended_ms.is_none());
    let mut routes: Vec<_> = open.map(|(ix, view)| (view.shard.hash_key_range.start_u128(), ix)).collect();
    routes.sort_unstable();
    routes
}

/// The shard with this id.
pub(super) fn shard_of<'a>(view: &'a StreamView, id: &str, account: &str) -> Result<&'a ShardView, AwsError> {
    let found = ferrokinesis::sequence::resolve_shard_id(id)
        .ok()
        .and_then(|(_, ix)| view.shards.get(usize::try_from(ix).ok()?));
    found
        .ok_or_else(|| not_found(&format!("Shard {id} in stream {} under account {account} does not exist", view.name)))
}
