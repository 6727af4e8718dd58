//! SubscribeToShard and the registration of consumers.

use aws_sdk_kinesis::types::{
    ConsumerStatus, ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};
use ferrokinesis::actions::Operation;
use futures::StreamExt as _;
use serde_json::json;

use crate::client::*;

type Subscription = aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;

async fn consumer(client: &aws_sdk_kinesis::Client) -> String {
    let stream =
        client.describe_stream_summary().stream_name("s").send().await.unwrap().stream_description_summary.unwrap();
    let registered =
        client.register_stream_consumer().stream_arn(stream.stream_arn).consumer_name("c").send().await.unwrap();
    let arn = registered.consumer.unwrap().consumer_arn;
    until("the consumer is ACTIVE", async || status(client, &arn).await == ConsumerStatus::Active).await;
    arn
}

async fn status(client: &aws_sdk_kinesis::Client, arn: &str) -> ConsumerStatus {
    client
        .describe_stream_consumer()
        .consumer_arn(arn)
        .send()
        .await
        .unwrap()
        .consumer_description
        .unwrap()
        .consumer_status
}

async fn subscribe(client: &aws_sdk_kinesis::Client, arn: &str) -> Subscription {
    let from = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon).build().unwrap();
    client.subscribe_to_shard().consumer_arn(arn).shard_id(shard_id(0)).starting_position(from).send().await.unwrap()
}

async fn next(subscription: &mut Subscription) -> Option<SubscribeToShardEvent> {
    match subscription.event_stream.recv().await.unwrap() {
        Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)) => Some(event),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

#[tokio::test]
async fn events_bring_records_their_distance_and_the_children() {
    let local = with_stream("s").await;
    let client = kinesis(&local);
    let arn = consumer(&client).await;
    for n in 0..3u8 {
        put(&client, "s", "k", &vec![n; 1 << 20]).await;
    }
    let mut subscription = subscribe(&client, &arn).await;
    // Three records of a mebibyte do not fit one event, so the first one is behind.
    let first = next(&mut subscription).await.unwrap();
    assert!(first.millis_behind_latest > 0, "always 0 upstream: see the next test");
    let mut records = first.records;
    while records.len() < 3 {
        records.extend(next(&mut subscription).await.unwrap().records);
    }
    put(&client, "s", "k", b"while subscribed").await;
    let event = next(&mut subscription).await.unwrap();
    assert_eq!((event.records[0].data.as_ref(), event.millis_behind_latest), (&b"while subscribed"[..], 0));

    client
        .split_shard()
        .stream_name("s")
        .shard_to_split(shard_id(0))
        .new_starting_hash_key("100")
        .send()
        .await
        .unwrap();
    let mut last = next(&mut subscription).await.unwrap();
    while last.child_shards.as_ref().is_none_or(Vec::is_empty) {
        last = next(&mut subscription).await.unwrap();
    }
    assert_eq!(last.child_shards.unwrap().len(), 2);
    assert!(next(&mut subscription).await.is_none());
}

#[tokio::test]
async fn upstream_is_never_behind() {
    let store = bare(1).await;
    for _ in 0..3 {
        ask(&store, Operation::PutRecord, json!({ "StreamName": "s", "PartitionKey": "k", "Data": "" })).await;
    }
    let arn = store.get_stream("s").await.unwrap().stream_arn;
    let registered =
        ask(&store, Operation::RegisterStreamConsumer, json!({ "StreamARN": arn, "ConsumerName": "c" })).await;
    let arn = registered["Consumer"]["ConsumerARN"].clone();
    let request = json!({ "ConsumerARN": arn, "ShardId": shard_id(0), "StartingPosition": { "Type": "TRIM_HORIZON" } });
    // One record an event leaves the first event two records behind.
    let mut store = store;
    store.options.subscribe_to_shard_event_record_limit = 1;
    let execute = |request| {
        ferrokinesis::actions::subscribe_to_shard::execute_streaming(&store, request, "application/x-amz-json-1.1")
    };
    until("the bare consumer is ACTIVE", async || execute(request.clone()).await.is_ok()).await;
    let mut events = execute(request).await.unwrap().into_data_stream();
    let mut event = String::new();
    while !event.contains("MillisBehindLatest") {
        event = String::from_utf8_lossy(&events.next().await.unwrap().unwrap()).into_owned();
    }
    assert!(event.contains("\"MillisBehindLatest\":0"), "ferrokinesis tells the distance now: the endpoint need not");
}

#[tokio::test]
async fn a_second_subscription_must_wait() {
    let local = with_stream("s").await;
    let client = kinesis(&local);
    let arn = consumer(&client).await;
    let first = subscribe(&client, &arn).await;
    let from = StartingPosition::builder().r#type(ShardIteratorType::Latest).build().unwrap();
    let request = client.subscribe_to_shard().consumer_arn(&arn).shard_id(shard_id(0)).starting_position(from);
    let error = request.clone().send().await.unwrap_err().into_service_error();
    assert!(error.is_resource_in_use_exception(), "{error:?}");
    // Once the first one's connection is gone, its place is free at once.
    drop(first);
    until("the place is free", async || request.clone().send().await.is_ok()).await;
}

#[tokio::test]
async fn with_aws_timing_registration_takes_its_time() {
    let local = start(|settings| {
        settings.aws_timing = true;
        settings.streams = vec!["s".parse().unwrap()];
    })
    .await;
    let client = kinesis(&local);
    let begun = std::time::SystemTime::now();
    consumer(&client).await;
    assert!(begun.elapsed().unwrap().as_millis() >= 4900);
}
