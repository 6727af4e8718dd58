//! What the leader of a fleet does from time to time: delete finished leases, and fill holes between the others. Whoever looks
//! gives back finished leases whose owner is gone, because the leader is elected among owners.
//!
//! Every worker runs this and decides for itself, from the table, whether it leads. Two that believe so at once do no harm:
//! leases are only added where there is none, and only deleted when their children are under way.

use std::collections::BTreeMap;

use super::Parts;
use super::streams::Tracked;
use crate::assignment::observe::Observations;
use crate::coordinator::audit::{HoleWatch, find_hole};
use crate::coordinator::{cleanup, leader, shard_sync};
use crate::error::{WorkerError, chain};
use crate::event::Event;
use crate::lease::{Claim, Lease, LeaseKey};
use crate::stream::{ShardFilter, ShardId, StreamId};

/// What one worker remembers between two passes.
#[derive(Default)]
struct Memory {
    holes: BTreeMap<Option<StreamId>, HoleWatch>,
    observations: Observations,
}

/// Runs until it is dropped.
pub(super) async fn run(mut parts: Parts) {
    let mut memory = Memory::default();
    loop {
        parts.clock.sleep(parts.settings.upkeep_interval).await;
        if let Err(error) = pass(&mut parts, &mut memory).await {
            let (what, error, retry_in) = ("upkeep of leases", chain(&error), parts.settings.upkeep_interval);
            parts.events.emit(Event::CallFailed { what, error, retry_in });
        }
    }
}

async fn pass(parts: &mut Parts, memory: &mut Memory) -> Result<(), WorkerError> {
    let mut leases = parts.table.list().await?;
    let now = parts.clock.monotonic();
    memory.observations.update(&leases, now);
    // Every earlier holder has met the row as it is now, or given up: nobody can still write what it was.
    let settled_after = parts.settings.failover_time * 2;
    let is_settled = |key: &LeaseKey| memory.observations.watched_still_for(key, now) >= settled_after;
    release_abandoned(parts, &leases, is_settled).await?;
    if !leader::is_leader(&leases, &parts.id) {
        // What it saw before says nothing about what a later leader sees.
        memory.holes.clear();
        return Ok(());
    }
    if parts.settings.cleanup_finished_leases {
        delete_finished(parts, &leases, is_settled).await?;
    }
    for stream in parts.streams.clone().iter() {
        note_hash_ranges(parts, stream, &mut leases).await?;
        let hole = find_hole(shard_sync::of_stream(&leases, stream.id.as_ref()));
        let is_certain = memory.holes.entry(stream.id.clone()).or_default().note(hole);
        if let (true, Some(hole)) = (is_certain, hole) {
            parts.events.emit(Event::HoleFound { stream: stream.name(), hole: hole.to_string() });
            fill(parts, stream, &leases).await?;
        }
    }
    Ok(())
}

/// Finished leases are never taken, so an owner that died with one would be elected for ever.
async fn release_abandoned(
    parts: &Parts,
    leases: &[Lease],
    is_settled: impl Fn(&LeaseKey) -> bool,
) -> Result<(), WorkerError> {
    for lease in leases.iter().filter(|lease| lease.is_finished() && lease.owner.is_some() && is_settled(&lease.key)) {
        // Whoever was faster did the same.
        parts.table.update(&lease.release_abandoned()).await?;
    }
    Ok(())
}

/// One generation in a pass. A parent that goes together with its finished child leaves nothing behind that would tell a
/// worker which slept at the parent's end that the child's lease is not missing but done with.
async fn delete_finished(
    parts: &mut Parts,
    leases: &[Lease],
    is_settled: impl Fn(&LeaseKey) -> bool,
) -> Result<(), WorkerError> {
    let mut finished = cleanup::plan(leases);
    finished.append(&mut garbage(parts, leases).await?);
    finished.retain(is_settled);
    for key in &finished {
        parts.table.delete(key).await?;
    }
    if !finished.is_empty() {
        parts.events.emit(Event::LeasesDeleted { shards: finished });
    }
    Ok(())
}

/// The streams are asked only if there is something to ask about.
async fn garbage(parts: &mut Parts, leases: &[Lease]) -> Result<Vec<LeaseKey>, WorkerError> {
    if !leases.iter().any(cleanup::is_childless) {
        return Ok(Vec::new());
    }
    let mut garbage = Vec::new();
    for stream in parts.streams.clone().iter() {
        let shards = super::start::list_shards(parts, stream, ShardFilter::All).await?;
        garbage.append(&mut cleanup::plan_garbage(stream.id.as_ref(), leases, &shards));
    }
    Ok(garbage)
}

/// Old leases know no hash keys; without them every look would find holes.
async fn note_hash_ranges(parts: &mut Parts, stream: &Tracked, leases: &mut [Lease]) -> Result<(), WorkerError> {
    let is_known = |lease: &Lease| lease.hash_range.is_some() || lease.is_finished();
    if shard_sync::of_stream(leases, stream.id.as_ref()).all(is_known) {
        return Ok(());
    }
    let shards = super::start::list_shards(parts, stream, ShardFilter::All).await?;
    let ranges: BTreeMap<&ShardId, _> = shards.iter().map(|shard| (&shard.id, shard.hash_range)).collect();
    let own = leases.iter_mut().filter(|lease| lease.key.stream == stream.id);
    for lease in own.filter(|lease| lease.hash_range.is_none()) {
        let Some(range) = ranges.get(&lease.key.shard) else { continue };
        if let Claim::Won(row) = parts.table.update(&lease.note_hash_range(*range)).await? {
            *lease = row;
        }
    }
    Ok(())
}

async fn fill(parts: &mut Parts, stream: &Tracked, leases: &[Lease]) -> Result<(), WorkerError> {
    let shards = super::start::list_shards(parts, stream, ShardFilter::All).await?;
    for (lease, shard) in shard_sync::of_former_stream(stream.id.as_ref(), &shards, leases) {
        if let Claim::Won(row) = parts.table.update(&lease.reopen(shard)).await? {
            parts.events.emit(Event::StreamRecreated { shard: row.key });
        }
    }
    let missing = super::start::missing(parts, stream, leases).await?;
    super::start::create(parts, missing).await
}
