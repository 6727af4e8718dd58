//! What every [`StreamSource`] must do.

use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Clock;
use crate::stream::{
    GetRecords, Record, SequenceNumber, ShardFilter, ShardId, SourceErrorKind, StartAt, StreamSource, shard,
};

/// How the suite fills and reshapes the stream under test.
#[async_trait]
pub trait StreamFixture: Send + Sync {
    /// The stream under test: two open shards, nothing in them.
    fn source(&self) -> &dyn StreamSource;
    /// Puts a record.
    async fn put(&self, partition_key: &str, data: &str) -> (ShardId, SequenceNumber);
    /// Splits a shard in the middle; returns when the children can be listed.
    async fn split(&self, shard: &ShardId);
    /// Merges two neighbours; returns when the child can be listed.
    async fn merge(&self, left: &ShardId, right: &ShardId);
    /// The clock to wait on.
    fn clock(&self) -> &Clock;
}

/// Runs every check on a fresh stream of two shards.
///
/// # Panics
/// When a check fails.
pub async fn run(stream: &dyn StreamFixture) {
    lists_open_shards_that_cover_every_key(stream).await;
    gives_records_in_order(stream).await;
    starts_where_it_is_told(stream).await;
    pages_without_gaps_or_repeats(stream).await;
    refuses_unknown_shards(stream).await;
    ends_a_split_shard_and_names_its_children(stream).await;
    ends_merged_shards_and_names_their_child(stream).await;
    filters_shards(stream).await;
}

async fn open_shards(stream: &dyn StreamFixture) -> Vec<crate::stream::Shard> {
    let mut shards = stream.source().list_shards(ShardFilter::AtLatest).await.expect("list");
    shards.sort_by_key(|shard| shard.hash_range);
    shards
}

/// Reads until nothing more comes.
async fn drain(stream: &dyn StreamFixture, shard: &ShardId, start: StartAt, limit: usize) -> Vec<Record> {
    read_until(stream, shard, start, limit, |answer| answer.millis_behind_latest == Some(0)).await.0
}

/// Reads a closed shard until the service says that there is no more.
async fn drain_closed(stream: &dyn StreamFixture, shard: &ShardId) -> (Vec<Record>, GetRecords) {
    read_until(stream, shard, StartAt::TrimHorizon, 10_000, |answer| answer.next.is_none()).await
}

async fn read_until(
    stream: &dyn StreamFixture,
    shard: &ShardId,
    start: StartAt,
    limit: usize,
    is_enough: impl Fn(&GetRecords) -> bool,
) -> (Vec<Record>, GetRecords) {
    let mut iterator = stream.source().iterator(shard, start).await.expect("iterator");
    let mut records = Vec::new();
    for _ in 0..1_000 {
        let mut answer = stream.source().get_records(&iterator, limit).await.expect("records");
        assert!(answer.records.len() <= limit, "no more than asked for");
        records.append(&mut answer.records);
        match answer.next.clone() {
            Some(next) if !is_enough(&answer) => iterator = next,
            _ => return (records, answer),
        }
    }
    panic!("reading {shard} does not end");
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect()
}

async fn lists_open_shards_that_cover_every_key(stream: &dyn StreamFixture) {
    let shards = open_shards(stream).await;
    assert_eq!(shards.len(), 2);
    assert!(shards.iter().all(|shard| shard.is_open() && shard.parents.is_empty()));
    assert!(shard::covers_all(shards.iter().map(|shard| shard.hash_range)));
    assert_eq!(stream.source().list_shards(ShardFilter::All).await.expect("list").len(), 2);
}

async fn gives_records_in_order(stream: &dyn StreamFixture) {
    let before = stream.clock().wall();
    let (shard, mut last) = stream.put("key", "r0").await;
    for index in 1..5 {
        let (same, sequence) = stream.put("key", &format!("r{index}")).await;
        assert!(same == shard && sequence > last, "one key, one shard, growing numbers");
        last = sequence;
    }
    let records = drain(stream, &shard, StartAt::TrimHorizon, 10_000).await;
    assert_eq!(texts(&records), ["r0", "r1", "r2", "r3", "r4"]);
    assert_eq!(records[4].sequence, last);
    assert!(records.iter().all(|record| &*record.partition_key == "key"));
    let arrival = records[0].arrival.expect("an arrival time");
    let drift = arrival.as_millis() - before.as_millis();
    assert!((-2_000..60_000).contains(&drift), "arrived {drift} ms after it was put");
}

async fn starts_where_it_is_told(stream: &dyn StreamFixture) {
    let (shard, _) = stream.put("key", "r5").await;
    let records = drain(stream, &shard, StartAt::TrimHorizon, 10_000).await;
    let third = records[3].sequence.clone();
    let from = async |start| texts(&drain(stream, &shard, start, 10_000).await);
    assert_eq!(from(StartAt::Sequence(third.clone())).await, ["r3", "r4", "r5"]);
    assert_eq!(from(StartAt::AfterSequence(third)).await, ["r4", "r5"]);
    assert_eq!(from(StartAt::Latest).await, [""; 0]);
    let first = records[0].arrival.expect("an arrival time");
    assert_eq!(from(StartAt::Timestamp(first)).await.len(), 6);

    let latest = stream.source().iterator(&shard, StartAt::Latest).await.expect("iterator");
    stream.put("key", "r6").await;
    let answer = stream.source().get_records(&latest, 10).await.expect("records");
    assert_eq!(texts(&answer.records), ["r6"], "the latest position is fixed when it is asked for");
}

async fn pages_without_gaps_or_repeats(stream: &dyn StreamFixture) {
    let (shard, _) = stream.put("key", "r7").await;
    let records = drain(stream, &shard, StartAt::TrimHorizon, 3).await;
    let expected: Vec<_> = (0..8).map(|index| format!("r{index}")).collect();
    assert_eq!(texts(&records), expected);
}

async fn refuses_unknown_shards(stream: &dyn StreamFixture) {
    let unknown = ShardId::new("shardId-000000009999").expect("a valid id");
    let error = stream.source().iterator(&unknown, StartAt::Latest).await.expect_err("there is no such shard");
    assert_eq!(error.kind(), SourceErrorKind::NotFound, "{error}");
}

async fn ends_a_split_shard_and_names_its_children(stream: &dyn StreamFixture) {
    let (shard, _) = stream.put("key", "before the split").await;
    stream.split(&shard).await;
    stream.put("key", "after the split").await;
    let (records, last) = drain_closed(stream, &shard).await;
    assert_eq!(texts(&records).last().map(String::as_str), Some("before the split"));
    assert_eq!(last.next, None, "the end of a closed shard");
    assert_eq!(last.children.len(), 2);
    let listed = stream.source().list_shards(ShardFilter::All).await.expect("list");
    for child in &last.children {
        let shard_listed = listed.iter().find(|listed| listed.id == child.id).expect("children are listed");
        assert_eq!((&child.parents, child.hash_range), (&vec![shard.clone()], shard_listed.hash_range));
        assert_eq!(shard_listed.parents, child.parents);
    }
    let parent = listed.iter().find(|listed| listed.id == shard).expect("the parent stays listed");
    assert!(!parent.is_open());
}

async fn ends_merged_shards_and_names_their_child(stream: &dyn StreamFixture) {
    let shards = open_shards(stream).await;
    let (left, right) = (shards[0].id.clone(), shards[1].id.clone());
    stream.merge(&left, &right).await;
    for parent in [&left, &right] {
        let (_, last) = drain_closed(stream, parent).await;
        assert_eq!(last.next, None);
        let [child] = &last.children[..] else { panic!("one child, not {:?}", last.children) };
        let mut parents = child.parents.clone();
        parents.sort();
        let mut expected = vec![left.clone(), right.clone()];
        expected.sort();
        assert_eq!(parents, expected, "both parents are named");
    }
}

async fn filters_shards(stream: &dyn StreamFixture) {
    let all = stream.source().list_shards(ShardFilter::All).await.expect("list");
    let open = open_shards(stream).await;
    assert!(open.iter().all(crate::stream::Shard::is_open) && open.len() < all.len());
    let oldest = stream.source().list_shards(ShardFilter::AtTrimHorizon).await.expect("list");
    assert!(oldest.iter().all(|shard| shard.parents.is_empty()), "the oldest records are in the first shards");
    for shards in [&open, &oldest] {
        assert!(shard::covers_all(shards.iter().map(|shard| shard.hash_range)));
    }
    // Times of shards are whole seconds in some implementations.
    stream.clock().sleep(Duration::from_millis(1_100)).await;
    let now = ShardFilter::AtTimestamp(stream.clock().wall());
    let mut at_now = stream.source().list_shards(now).await.expect("list");
    at_now.sort_by_key(|shard| shard.hash_range);
    assert_eq!(at_now, open);
}
