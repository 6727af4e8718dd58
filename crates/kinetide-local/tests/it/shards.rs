//! Resharding: the end of a shard, its children, and how shards are listed.

use aws_sdk_kinesis::types::{ScalingType, ShardFilter, ShardFilterType, ShardIteratorType};
use ferrokinesis::actions::Operation;
use serde_json::json;

use crate::client::*;

const MIDDLE: &str = "170141183460469231731687303715884105728";

/// One record in shard 0, which is then split.
async fn split(client: &aws_sdk_kinesis::Client) {
    put(client, "s", "k", b"last").await;
    client
        .split_shard()
        .stream_name("s")
        .shard_to_split(shard_id(0))
        .new_starting_hash_key(MIDDLE)
        .send()
        .await
        .unwrap();
    active(client, "s").await;
}

#[tokio::test]
async fn the_end_of_a_shard_names_its_children() {
    let store = bare(1).await;
    let from = bare_iterator(&store).await;
    ask(
        &store,
        Operation::SplitShard,
        json!({ "StreamName": "s", "ShardToSplit": shard_id(0), "NewStartingHashKey": MIDDLE }),
    )
    .await;
    bare_active(&store).await;
    let mut got = ask(&store, Operation::GetRecords, json!({ "ShardIterator": from })).await;
    // Its end is decided by whole seconds: an iterator of this second may still be followed by another.
    until("the bare shard ends", async || {
        if let Some(next) = got.get("NextShardIterator").cloned() {
            got = ask(&store, Operation::GetRecords, json!({ "ShardIterator": next })).await;
        }
        got.get("NextShardIterator").is_none()
    })
    .await;
    assert!(got.get("ChildShards").is_none(), "ferrokinesis names children now: the endpoint need not");

    let local = with_stream("s").await;
    let client = kinesis(&local);
    let from = iterator(&client, "s", 0, ShardIteratorType::TrimHorizon).await;
    split(&client).await;
    let records = client.get_records().shard_iterator(from).send().await.unwrap();
    assert_eq!(records.records.len(), 1);
    let end = client.get_records().set_shard_iterator(records.next_shard_iterator).send().await.unwrap();
    assert!(end.next_shard_iterator.is_none() && end.records.is_empty());
    let children = end.child_shards.unwrap();
    assert_eq!(children.iter().map(|child| child.shard_id.clone()).collect::<Vec<_>>(), [shard_id(1), shard_id(2)]);
    assert!(children.iter().all(|child| child.parent_shards == [shard_id(0)]));
    assert_eq!(children[1].hash_key_range.as_ref().unwrap().starting_hash_key, MIDDLE);
}

#[tokio::test]
async fn a_merged_shard_names_both_parents() {
    let local = with_stream("s:2").await;
    let client = kinesis(&local);
    client
        .merge_shards()
        .stream_name("s")
        .shard_to_merge(shard_id(0))
        .adjacent_shard_to_merge(shard_id(1))
        .send()
        .await
        .unwrap();
    active(&client, "s").await;
    for parent in [0, 1] {
        let from = iterator(&client, "s", parent, ShardIteratorType::TrimHorizon).await;
        let children = client.get_records().shard_iterator(from).send().await.unwrap().child_shards.unwrap();
        assert_eq!(
            (children[0].shard_id.clone(), children[0].parent_shards.clone()),
            (shard_id(2), vec![shard_id(0), shard_id(1)])
        );
    }
    put(&client, "s", "k", b"").await;
    assert_eq!(records(&client, "s", 2).await.len(), 1);
}

#[tokio::test]
async fn scaling_keeps_the_lineage() {
    let store = bare(2).await;
    let scale = |count: u32| json!({ "StreamName": "s", "TargetShardCount": count, "ScalingType": "UNIFORM_SCALING" });
    ask(&store, Operation::UpdateShardCount, scale(4)).await;
    bare_active(&store).await;
    let orphan = store.get_stream("s").await.unwrap().shards.pop().unwrap();
    assert!(orphan.parent_shard_id.is_none(), "ferrokinesis keeps the lineage now: the endpoint need not");

    let local = with_stream("s:2").await;
    let client = kinesis(&local);
    client
        .update_shard_count()
        .stream_name("s")
        .target_shard_count(4)
        .scaling_type(ScalingType::UniformScaling)
        .send()
        .await
        .unwrap();
    active(&client, "s").await;
    let shards = client.list_shards().stream_name("s").send().await.unwrap().shards.unwrap();
    assert_eq!(shards.len(), 6);
    assert!(shards[2..].iter().all(|shard| shard.parent_shard_id.is_some()));
    let error = client
        .update_shard_count()
        .stream_name("s")
        .target_shard_count(9)
        .scaling_type(ScalingType::UniformScaling)
        .send()
        .await;
    assert!(error.unwrap_err().into_service_error().is_invalid_argument_exception());
}

#[tokio::test]
async fn all_six_filters_work() {
    let store = bare(2).await;
    let filtered = ask(
        &store,
        Operation::ListShards,
        json!({ "StreamName": "s", "ShardFilter": { "Type": "AFTER_SHARD_ID", "ShardId": shard_id(0) } }),
    )
    .await;
    assert_eq!(filtered["Shards"].as_array().unwrap().len(), 2, "ferrokinesis filters now: the endpoint need not");

    let local = with_stream("s:2").await;
    let client = kinesis(&local);
    put(&client, "s", "k", b"").await;
    let before = records_time(&client).await;
    // Sequence numbers keep whole seconds: only in the next one are parents and children told apart by time.
    until("the next second", async || {
        put(&client, "s", "k", b"").await;
        records_time(&client).await.secs() > before.secs()
    })
    .await;
    client
        .split_shard()
        .stream_name("s")
        .shard_to_split(shard_id(0))
        .new_starting_hash_key("100")
        .send()
        .await
        .unwrap();
    active(&client, "s").await;

    let list = async |filter: ShardFilter| {
        let shards = client.list_shards().stream_name("s").shard_filter(filter).send().await.unwrap().shards.unwrap();
        shards.iter().map(|shard| shard.shard_id[8..].parse::<u32>().unwrap()).collect::<Vec<_>>()
    };
    let filter = |kind: ShardFilterType| ShardFilter::builder().r#type(kind);
    assert_eq!(list(filter(ShardFilterType::AtTrimHorizon).build().unwrap()).await, [0, 1]);
    assert_eq!(list(filter(ShardFilterType::FromTrimHorizon).build().unwrap()).await, [0, 1, 2, 3]);
    assert_eq!(list(filter(ShardFilterType::AtLatest).build().unwrap()).await, [1, 2, 3]);
    assert_eq!(list(filter(ShardFilterType::AtTimestamp).timestamp(before).build().unwrap()).await, [0, 1]);
    assert_eq!(list(filter(ShardFilterType::FromTimestamp).timestamp(before).build().unwrap()).await, [0, 1, 2, 3]);
    assert_eq!(list(filter(ShardFilterType::AfterShardId).shard_id(shard_id(1)).build().unwrap()).await, [2, 3]);
    let later = aws_sdk_kinesis::primitives::DateTime::from_secs(before.secs() + 3600);
    assert_eq!(list(filter(ShardFilterType::FromTimestamp).timestamp(later).build().unwrap()).await, [1, 2, 3]);
}

/// When the newest record of either shard arrived.
async fn records_time(client: &aws_sdk_kinesis::Client) -> aws_sdk_kinesis::primitives::DateTime {
    let mut all = records(client, "s", 0).await;
    all.extend(records(client, "s", 1).await);
    all.iter().map(|record| record.approximate_arrival_timestamp.unwrap()).max().unwrap()
}

#[tokio::test]
async fn a_listing_continues_where_its_page_ended() {
    let local = with_stream("s:5").await;
    let client = kinesis(&local);
    let mut page = client.list_shards().stream_name("s").max_results(2).send().await.unwrap();
    let mut ids = Vec::new();
    while let Some(token) = page.next_token {
        ids.extend(page.shards.unwrap());
        page = client.list_shards().next_token(token).max_results(2).send().await.unwrap();
    }
    ids.extend(page.shards.unwrap());
    assert_eq!(
        ids.iter().map(|shard| shard.shard_id.clone()).collect::<Vec<_>>(),
        (0..5).map(shard_id).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_thousand_shards_fit_and_no_more() {
    let local = with_stream("s:1000").await;
    let client = kinesis(&local);
    let shards = client.list_shards().stream_name("s").send().await.unwrap();
    assert_eq!(shards.shards().len(), 1000);
    let error = client.create_stream().stream_name("one-more").shard_count(1).send().await.unwrap_err();
    assert!(error.into_service_error().is_limit_exceeded_exception());
}

/// Writers that never stop, a shard that is split and merged under them, and a reader that follows the children.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_reordered_when_shards_change_under_load() {
    let directory = tempfile::tempdir().unwrap();
    for data_dir in [None, Some(directory.path().to_owned())] {
        let local = start(|settings| {
            settings.streams = vec!["s".parse().unwrap()];
            settings.data_dir = data_dir;
        })
        .await;
        let client = kinesis(&local);
        let writers: Vec<_> = (0..4u32).map(|writer| tokio::spawn(write_numbers(client.clone(), writer))).collect();
        client
            .split_shard()
            .stream_name("s")
            .shard_to_split(shard_id(0))
            .new_starting_hash_key(MIDDLE)
            .send()
            .await
            .unwrap();
        active(&client, "s").await;
        let merge = client.merge_shards().stream_name("s").shard_to_merge(shard_id(1));
        merge.adjacent_shard_to_merge(shard_id(2)).send().await.unwrap();
        active(&client, "s").await;
        for writer in writers {
            writer.await.unwrap();
        }
        let mut seen = vec![Vec::new(); 4];
        for shard in 0..4 {
            for record in records(&client, "s", shard).await {
                let [writer, number] = record.data.as_ref() else { panic!("{record:?}") };
                seen[usize::from(*writer)].push(*number);
            }
        }
        let all: Vec<u8> = (0..NUMBERS).collect();
        assert!(seen.iter().all(|numbers| *numbers == all), "{seen:?}");
        local.stop().await;
    }
}

const NUMBERS: u8 = 200;

/// One key a writer, so that its numbers must come out in order, parents before children.
async fn write_numbers(client: aws_sdk_kinesis::Client, writer: u32) {
    for number in 0..NUMBERS {
        put(&client, "s", &format!("writer {writer}"), &[writer as u8, number]).await;
    }
}
