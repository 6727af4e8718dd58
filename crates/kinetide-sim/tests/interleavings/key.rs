//! A state in its normal form as bytes: two states are the same if and only if their bytes are.

use super::config::Config;
use super::model::{HandOffs, Kind, Write};
use super::rows::{Row, START, small};
use super::world::{Holding, Sent, Worker, World};

/// Every byte of a state in its normal form that differs between states of one configuration.
pub(crate) fn key(world: &World, config: &Config) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let left = world.left;
    bytes.extend_from_slice(&[left.answers_lost, left.crashes, left.deletions, left.hand_offs, left.releases]);
    for lease in 0..config.leases() {
        put_option(&mut bytes, world.rows[lease].as_ref(), put_row);
        let past = world.past[lease];
        bytes.extend_from_slice(&[past.highest, u8::from(past.is_deleted) << 1 | u8::from(past.is_forgotten)]);
    }
    for worker in &world.workers[..config.workers] {
        (0..config.leases()).for_each(|lease| put_memory(&mut bytes, worker, lease));
        put_hand_offs(&mut bytes, config, &worker.hand_offs);
    }
    put_option(&mut bytes, world.late.as_ref(), put_sent);
    bytes
}

/// What one look depends on: the table, and what one worker remembers of it.
pub(crate) fn view_key(world: &World, config: &Config, by: usize) -> Vec<u8> {
    let mut bytes = vec![small(by)];
    let worker = &world.workers[by];
    for lease in 0..config.leases() {
        put_option(&mut bytes, world.rows[lease].as_ref(), put_row);
        put_seen(&mut bytes, worker, lease);
        bytes.push(u8::from(worker.held[lease].is_some()));
    }
    put_hand_offs(&mut bytes, config, &worker.hand_offs);
    bytes
}

fn put_memory(bytes: &mut Vec<u8>, worker: &Worker, lease: usize) {
    put_seen(bytes, worker, lease);
    put_option(bytes, worker.todo[lease].as_ref(), |bytes, todo| {
        put_row(bytes, &todo.known);
        let flags = [todo.takes, todo.asks, todo.forgets, todo.withdraws];
        bytes.push(flags.iter().fold(todo.reason as u8, |bits, flag| bits << 1 | u8::from(*flag)));
    });
    put_option(bytes, worker.held[lease].as_ref(), put_holding);
    let chore = worker.chores[lease];
    bytes.push(u8::from(chore.delete));
    put_option(bytes, chore.release.as_ref(), put_row);
}

fn put_seen(bytes: &mut Vec<u8>, worker: &Worker, lease: usize) {
    put_option(bytes, worker.seen[lease].as_ref(), |bytes, seen| {
        bytes.extend_from_slice(&[seen.counter, seen.age << 1 | u8::from(seen.is_oldest)]);
    });
}

fn put_hand_offs(bytes: &mut Vec<u8>, config: &Config, hand_offs: &HandOffs) {
    bytes.push(hand_offs.obliging << 4 | hand_offs.silent);
    for asked in &hand_offs.asked[..config.leases()] {
        bytes.push(asked.map_or(0, |(age, from)| 1 + from + (age << 2)));
    }
}

fn put_holding(bytes: &mut Vec<u8>, holding: &Holding) {
    put_row(bytes, &holding.known);
    let flags = u8::from(holding.is_unanswered)
        | u8::from(holding.is_missing) << 1
        | u8::from(holding.is_named) << 2
        | u8::from(holding.is_current) << 3
        | u8::from(holding.is_leaving) << 4;
    bytes.extend_from_slice(&[flags, holding.age | holding.created << 4]);
}

fn put_sent(bytes: &mut Vec<u8>, sent: &Sent) {
    let Write { by, lease, kind, known } = sent.write;
    let (kind, argument) = match kind {
        Kind::Create => (0, 0),
        Kind::Take => (1, 0),
        Kind::Renew => (2, 0),
        Kind::Checkpoint(checkpoint) => (3, checkpoint),
        Kind::Prepare(checkpoint) => (4, checkpoint),
        Kind::Release => (5, 0),
        Kind::ReleaseAbandoned => (6, 0),
        Kind::NameChildren => (7, 0),
        Kind::Delete => (8, 0),
        Kind::Ask => (9, 0),
        Kind::Withdraw => (10, 0),
        Kind::Forget => (11, 0),
    };
    bytes.extend_from_slice(&[by, lease, kind, argument, u8::from(sent.is_current), sent.reason as u8]);
    put_row(bytes, &known);
}

fn put_row(bytes: &mut Vec<u8>, row: &Row) {
    let worker = |worker: Option<u8>| worker.map_or(0, |worker| worker + 1);
    let workers = worker(row.owner) | worker(row.checkpoint_owner) << 2 | u8::from(row.children) << 4;
    // A checkpoint that is prepared is never the start.
    bytes.extend_from_slice(&[workers, row.counter, row.switches, row.checkpoint, row.pending.unwrap_or(START)]);
}

fn put_option<T>(bytes: &mut Vec<u8>, item: Option<&T>, put: impl Fn(&mut Vec<u8>, &T)) {
    bytes.push(u8::from(item.is_some()));
    if let Some(item) = item {
        put(bytes, item);
    }
}
