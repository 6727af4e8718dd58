//! The way to the first lease: the stream exists, the table is ready, every shard that needs a lease has one. No waits on
//! the way, except after failures.

use super::Parts;
use super::streams::Tracked;
use crate::coordinator::shard_sync;
use crate::error::{WorkerError, chain};
use crate::event::Event;
use crate::lease::{Claim, Lease, Prepared};
use crate::retry::Backoff;
use crate::stream::{Shard, ShardFilter, SourceError, SourceErrorKind};

/// Prepares everything, in as many attempts as the settings allow.
pub(super) async fn start(parts: &mut Parts) -> Result<(), WorkerError> {
    let first = parts.settings.initialization_backoff;
    let mut backoff = Backoff::new(first, first);
    let mut told = String::new();
    for attempts_left in (0..parts.settings.initialization_attempts_max.get()).rev() {
        let error = match attempt(parts).await {
            Ok(()) => return Ok(()),
            Err(error) if attempts_left == 0 || !error.is_retryable() => return Err(error),
            Err(error) => chain(&error),
        };
        let wait = backoff.next(&mut parts.rng);
        if error == told {
            tracing::debug!("starting failed again: {error}");
        } else {
            told.clone_from(&error);
            parts.events.emit(Event::CallFailed { what: "starting", error, retry_in: wait });
        }
        parts.clock.sleep(wait).await;
    }
    Ok(())
}

async fn attempt(parts: &mut Parts) -> Result<(), WorkerError> {
    // The streams first: a misspelt one must not leave a table behind.
    let mut listed = Vec::new();
    for stream in parts.streams.clone().iter() {
        let shards = list_shards(parts, stream, shard_sync::first_filter(stream.initial_position)).await?;
        listed.push((stream.clone(), shards));
    }
    let prepared = parts.table.prepare().await?;
    let (table, is_new) = (parts.table.name().to_owned(), prepared == Prepared::Created);
    parts.events.emit(Event::TableReady { table, is_new });

    let leases = parts.table.list().await?;
    check_keys(parts, &leases)?;
    for (stream, shards) in listed {
        let is_id_taken = shards.iter().any(|shard| shard.id.as_str() == parts.id.as_str());
        if is_id_taken {
            return Err(WorkerError::WorkerIdTaken(parts.id.to_string()));
        }
        let missing = if leases.is_empty() {
            let plan = shard_sync::plan_first(stream.id.as_ref(), &shards, stream.initial_position);
            plan.ok_or_else(|| WorkerError::ShardsIncomplete(stream.name()))?
        } else if parts.settings.skip_shard_sync_if_leases_exist {
            Vec::new()
        } else {
            missing(parts, &stream, &leases).await?
        };
        create(parts, missing).await?;
    }
    Ok(())
}

/// Keys of one stream and of many do not go together, and a worker's id must not be one of them.
fn check_keys(parts: &Parts, leases: &[Lease]) -> Result<(), WorkerError> {
    let is_foreign = |lease: &&Lease| lease.key.stream.is_some() != parts.streams.are_many();
    if let Some(lease) = leases.iter().find(is_foreign) {
        let (table, key) = (parts.table.name().to_owned(), lease.key.to_string());
        return Err(WorkerError::ForeignKeys { table, key, are_many: parts.streams.are_many() });
    }
    if leases.iter().any(|lease| lease.key.to_string() == parts.id.as_str()) {
        return Err(WorkerError::WorkerIdTaken(parts.id.to_string()));
    }
    Ok(())
}

/// The leases of a stream missing from a table in use.
pub(super) async fn missing(parts: &mut Parts, stream: &Tracked, leases: &[Lease]) -> Result<Vec<Lease>, WorkerError> {
    let mut shards = list_shards(parts, stream, ShardFilter::All).await?;
    if parts.settings.ignore_unexpected_child_shards {
        shards = shard_sync::without_unexpected_children(shards);
    } else if let Some(child) = shard_sync::unexpected_child(&shards) {
        let (stream, child) = (stream.name(), child.id.to_string());
        return Err(WorkerError::UnexpectedChild { stream, child });
    }
    Ok(shard_sync::plan(stream.id.as_ref(), &shards, leases, stream.initial_position))
}

pub(super) async fn create(parts: &Parts, missing: Vec<Lease>) -> Result<(), WorkerError> {
    let mut created = Vec::new();
    for lease in missing {
        if let Claim::Won(lease) = parts.table.create(&lease).await? {
            created.push(lease.key);
        }
    }
    if !created.is_empty() {
        parts.events.emit(Event::LeasesCreated { shards: created });
    }
    Ok(())
}

/// ListShards has a low rate limit, shared by every worker of the account: being throttled is waited out here.
pub(super) async fn list_shards(
    parts: &mut Parts,
    stream: &Tracked,
    filter: ShardFilter,
) -> Result<Vec<Shard>, WorkerError> {
    let wait = parts.settings.list_shards_backoff;
    for _ in 1..parts.settings.list_shards_attempts_max.get() {
        match stream.source.list_shards(filter.clone()).await {
            Err(error) if error.kind() == SourceErrorKind::Throttled => {
                let error = chain(&error);
                parts.events.emit(Event::CallFailed { what: "listing shards", error, retry_in: wait });
                parts.clock.sleep(wait / 2 + parts.rng.duration_to(wait / 2)).await;
            }
            result => return result.map_err(|error| source_error(stream, error)),
        }
    }
    stream.source.list_shards(filter).await.map_err(|error| source_error(stream, error))
}

fn source_error(stream: &Tracked, error: SourceError) -> WorkerError {
    let stream = stream.name();
    match error.kind() {
        SourceErrorKind::NotFound => WorkerError::StreamMissing(stream),
        _ => WorkerError::Source { stream, source: error },
    }
}
