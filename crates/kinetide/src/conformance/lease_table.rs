//! What every [`LeaseTable`] must do.

use crate::checkpoint::PendingCheckpoint;
use crate::lease::usage::{Call, CallUsage, item_bytes, stale_read_units};
use crate::lease::{Claim, Lease, LeaseKey, LeaseTable, Prepared, TableErrorKind, TableUsage};
use crate::stream::{Checkpoint, HashKey, HashKeyRange, RecordPosition, ShardId, WorkerId};

/// Runs every check on a table that does not exist yet.
///
/// # Panics
/// When a check fails.
pub async fn run(table: &dyn LeaseTable) {
    is_missing_before_it_is_prepared(table).await;
    is_prepared_once(table).await;
    keeps_every_attribute(table).await;
    creates_a_row_once(table).await;
    lets_one_of_two_takers_win(table).await;
    refuses_writes_of_an_old_counter(table).await;
    checks_owners_on_release(table).await;
    keeps_prepared_checkpoints(table).await;
    names_children_without_the_counter(table).await;
    updates_no_row_that_is_gone(table).await;
    keeps_the_leases_of_many_streams(table).await;
    counts_what_calls_cost(table).await;
}

fn worker(name: &str) -> WorkerId {
    WorkerId::new(name).expect("a valid name")
}

fn lease(name: &str) -> Lease {
    Lease::new(ShardId::new(name).expect("a valid name"), Checkpoint::TrimHorizon)
}

async fn created(table: &dyn LeaseTable, name: &str) -> Lease {
    let lease = lease(name);
    assert_eq!(table.create(&lease).await.expect("create"), Claim::Won(lease.clone()));
    lease
}

async fn stored(table: &dyn LeaseTable, key: &LeaseKey) -> Lease {
    table.get(key).await.expect("get").expect("the row exists")
}

fn won(claim: Claim) -> Lease {
    match claim {
        Claim::Won(lease) => lease,
        Claim::Lost(row) => panic!("should have won, but {row:?} stood in the way"),
    }
}

async fn is_missing_before_it_is_prepared(table: &dyn LeaseTable) {
    let error = table.list().await.expect_err("there is no table yet");
    assert_eq!(error.kind(), TableErrorKind::Missing, "{error}");
    let error = table.create(&lease("early")).await.expect_err("there is no table yet");
    assert_eq!(error.kind(), TableErrorKind::Missing, "{error}");
}

async fn is_prepared_once(table: &dyn LeaseTable) {
    assert_eq!(table.prepare().await.expect("prepare"), Prepared::Created);
    assert_eq!(table.prepare().await.expect("prepare again"), Prepared::Existed);
    assert_eq!(table.list().await.expect("list"), []);
}

async fn keeps_every_attribute(table: &dyn LeaseTable) {
    let full = Lease {
        parents: vec![ShardId::new("parent-a").expect("valid"), ShardId::new("parent-b").expect("valid")],
        hash_range: Some(HashKeyRange { start: HashKey(1), end: HashKey(u128::MAX) }),
        ..lease("full")
    };
    won(table.create(&full).await.expect("create"));
    assert_eq!(stored(table, &full.key).await, full);
    assert_eq!(table.list().await.expect("list"), std::slice::from_ref(&full));
    table.delete(&full.key).await.expect("delete");
    table.delete(&full.key).await.expect("deleting twice is fine");
    assert_eq!(table.get(&full.key).await.expect("get"), None);
}

async fn creates_a_row_once(table: &dyn LeaseTable) {
    let first = created(table, "once").await;
    let other = Lease { checkpoint: Checkpoint::Latest, ..first.clone() };
    assert_eq!(table.create(&other).await.expect("create again"), Claim::Lost(Some(first.clone())));
    assert_eq!(stored(table, &first.key).await, first);
}

async fn lets_one_of_two_takers_win(table: &dyn LeaseTable) {
    let free = created(table, "contested").await;
    let (a, b) = (worker("a"), worker("b"));
    let owned = won(table.update(&free.take(&a)).await.expect("take"));
    assert_eq!((owned.owner.clone(), owned.counter, owned.owner_switches), (Some(a.clone()), 1, 0));
    assert_eq!(table.update(&free.take(&b)).await.expect("take"), Claim::Lost(Some(owned.clone())));
    let stolen = won(table.update(&owned.take(&b)).await.expect("steal"));
    assert_eq!((stolen.owner.clone(), stolen.counter, stolen.owner_switches), (Some(b), 2, 1));
    assert_eq!(stored(table, &free.key).await, stolen);
}

async fn refuses_writes_of_an_old_counter(table: &dyn LeaseTable) {
    let old = won(table.update(&created(table, "renewed").await.take(&worker("a"))).await.expect("take"));
    let renewed = won(table.update(&old.renew()).await.expect("renew"));
    assert_eq!(renewed.counter, old.counter + 1);
    for late in [old.renew(), old.checkpoint(Checkpoint::ShardEnd), old.take(&worker("b"))] {
        assert_eq!(table.update(&late).await.expect("answered"), Claim::Lost(Some(renewed.clone())), "{late:?}");
    }
}

async fn checks_owners_on_release(table: &dyn LeaseTable) {
    let owned = won(table.update(&created(table, "released").await.take(&worker("a"))).await.expect("take"));
    let renewed = won(table.update(&owned.renew()).await.expect("renew"));
    // The counter has moved on; the owner is what counts.
    let released = won(table.update(&owned.release()).await.expect("release"));
    assert_eq!((released.owner.clone(), released.counter), (None, renewed.counter + 1));
    assert_eq!(released.checkpoint, Checkpoint::TrimHorizon);
    assert_eq!(table.update(&owned.release()).await.expect("answered"), Claim::Lost(Some(released)));
}

async fn keeps_prepared_checkpoints(table: &dyn LeaseTable) {
    let position = RecordPosition { sequence: 495.into(), sub_sequence: 3 };
    let pending = PendingCheckpoint {
        checkpoint: Checkpoint::At(position.clone()),
        state: Some(bytes::Bytes::from_static(b"x")),
    };
    let lease = created(table, "prepared").await;
    let prepared = won(table.update(&lease.prepare(pending.clone())).await.expect("prepare"));
    assert_eq!((prepared.pending.clone(), prepared.checkpoint.clone()), (Some(pending), Checkpoint::TrimHorizon));
    assert_eq!(stored(table, &lease.key).await, prepared);
    let done = won(table.update(&prepared.checkpoint(Checkpoint::At(position.clone()))).await.expect("checkpoint"));
    assert_eq!((done.pending.clone(), done.checkpoint.clone()), (None, Checkpoint::At(position)));
    assert_eq!(stored(table, &lease.key).await, done);
}

async fn names_children_without_the_counter(table: &dyn LeaseTable) {
    let lease = created(table, "parent").await;
    let children = vec![ShardId::new("child-a").expect("valid"), ShardId::new("child-b").expect("valid")];
    let named = won(table.update(&lease.name_children(children.clone())).await.expect("name children"));
    assert_eq!((named.children.clone(), named.counter), (children, lease.counter));
    assert_eq!(stored(table, &lease.key).await, named);
}

async fn updates_no_row_that_is_gone(table: &dyn LeaseTable) {
    let lease = created(table, "gone").await;
    table.delete(&lease.key).await.expect("delete");
    let updates = [
        lease.renew(),
        lease.take(&worker("a")),
        lease.release(),
        lease.release_abandoned(),
        lease.checkpoint(Checkpoint::ShardEnd),
        lease.name_children(vec![lease.key.shard.clone()]),
    ];
    for update in updates {
        assert_eq!(table.update(&update).await.expect("answered"), Claim::Lost(None), "{update:?}");
    }
    assert_eq!(table.get(&lease.key).await.expect("get"), None, "no update may bring a row back");
}

async fn keeps_the_leases_of_many_streams(table: &dyn LeaseTable) {
    let keys =
        ["1:orders:7:shardId-000000000000", "1:orders:8:shardId-000000000000", "2:orders:7:shardId-000000000000"];
    for key in keys {
        let key: LeaseKey = key.parse().expect("a valid key");
        let lease = Lease::new(key.clone(), Checkpoint::Latest);
        assert_eq!(table.create(&lease).await.expect("create"), Claim::Won(lease.clone()));
        let taken = won(table.update(&lease.take(&worker("a"))).await.expect("take"));
        won(table.update(&taken.checkpoint(Checkpoint::ShardEnd)).await.expect("checkpoint"));
        assert_eq!(stored(table, &key).await.key, key);
        table.delete(&key).await.expect("delete");
    }
}

/// Tables that count nothing pass too; those that do count as DynamoDB bills.
async fn counts_what_calls_cost(table: &dyn LeaseTable) {
    let before = table.usage();
    let lease = created(table, "costly").await;
    let renewed = won(table.update(&lease.renew()).await.expect("renew"));
    assert!(matches!(table.update(&lease.renew()).await.expect("renew again"), Claim::Lost(_)));
    stored(table, &renewed.key).await;
    let leases = table.list().await.expect("list");
    table.delete(&renewed.key).await.expect("delete");
    let usage = table.usage();
    if usage == TableUsage::default() {
        return;
    }
    let bytes = leases.iter().map(item_bytes).sum();
    let cost = usage.since(&before);
    let of = |call| cost.calls.get(&call).copied().unwrap_or_default();
    let read = |read_units| CallUsage { calls: 1, read_units, write_units: 0.0 };
    let write = |calls| CallUsage { calls, read_units: 0.0, write_units: calls as f64 };
    assert_eq!(of(Call::of("PutItem")), write(1));
    assert_eq!(of(Call::update("renew")), write(2), "a refused write costs as much");
    assert_eq!(of(Call::of("GetItem")), read(1.0));
    assert_eq!(of(Call::of("Scan")), read(stale_read_units(bytes)));
    assert_eq!(of(Call::of("DeleteItem")), write(1));
}
