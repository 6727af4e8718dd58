//! Putting and getting records.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};
use ferrokinesis::actions::Operation;
use serde_json::json;

use crate::client::*;

#[tokio::test]
async fn what_is_put_is_got_in_order() {
    let local = with_stream("s").await;
    let client = kinesis(&local);
    let entry = |n: usize| {
        PutRecordsRequestEntry::builder()
            .partition_key(format!("k{n}"))
            .data(Blob::new(vec![n as u8; n]))
            .build()
            .unwrap()
    };
    let put =
        client.put_records().stream_name("s").set_records(Some((0..300).map(entry).collect())).send().await.unwrap();
    assert_eq!(put.failed_record_count, Some(0));
    let got = records(&client, "s", 0).await;
    let sent: Vec<_> = put.records.iter().map(|record| record.sequence_number.clone().unwrap()).collect();
    assert_eq!(got.iter().map(|record| record.sequence_number.clone()).collect::<Vec<_>>(), sent);
    assert!(got.iter().enumerate().all(|(n, record)| record.data.as_ref() == vec![n as u8; n]
        && record.partition_key.as_deref() == Some(&*format!("k{n}"))));
    assert!(sent.windows(2).all(|pair| pair[0] < pair[1]));
}

#[tokio::test]
async fn every_kind_of_iterator_starts_where_it_should() {
    let local = with_stream("s").await;
    let client = kinesis(&local);
    for n in 0..5u8 {
        put(&client, "s", "k", &[n]).await;
    }
    let all = records(&client, "s", 0).await;
    let from = async |kind: ShardIteratorType, sequence: Option<&str>| {
        let request = client.get_shard_iterator().stream_name("s").shard_id(shard_id(0)).shard_iterator_type(kind);
        let token =
            request.set_starting_sequence_number(sequence.map(str::to_owned)).send().await.unwrap().shard_iterator;
        let got = client.get_records().shard_iterator(token.unwrap()).send().await.unwrap();
        got.records.iter().map(|record| record.data.as_ref()[0]).collect::<Vec<_>>()
    };
    let third = Some(all[2].sequence_number.as_str());
    assert_eq!(from(ShardIteratorType::TrimHorizon, None).await, [0, 1, 2, 3, 4]);
    assert_eq!(from(ShardIteratorType::Latest, None).await, [0u8; 0]);
    assert_eq!(from(ShardIteratorType::AtSequenceNumber, third).await, [2, 3, 4]);
    assert_eq!(from(ShardIteratorType::AfterSequenceNumber, third).await, [3, 4]);

    // An iterator at the tip sees what comes after it was made.
    let tip = iterator(&client, "s", 0, ShardIteratorType::Latest).await;
    put(&client, "s", "k", b"later").await;
    let got = client.get_records().shard_iterator(tip).send().await.unwrap();
    assert_eq!(got.records[0].data.as_ref(), b"later");
}

#[tokio::test]
async fn arrival_times_are_milliseconds() {
    let store = bare(1).await;
    ask(&store, Operation::PutRecord, json!({ "StreamName": "s", "PartitionKey": "k", "Data": "" })).await;
    let got = ask(&store, Operation::GetRecords, json!({ "ShardIterator": bare_iterator(&store).await })).await;
    let upstream = got["Records"][0]["ApproximateArrivalTimestamp"].as_f64().unwrap();
    assert_eq!(upstream.fract(), 0.0, "ferrokinesis keeps fractions now: the endpoint need not");

    let local = with_stream("s").await;
    let client = kinesis(&local);
    let mut times = Vec::new();
    // At most once in a thousand is a time a whole second; all of them never.
    until("a time has a fraction", async || {
        put(&client, "s", "k", b"").await;
        times =
            records(&client, "s", 0).await.iter().map(|record| record.approximate_arrival_timestamp.unwrap()).collect();
        times.iter().any(|time| time.subsec_nanos() != 0)
    })
    .await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    assert!(times.iter().all(|time| (now - time.to_millis().unwrap()).abs() < 60_000));
}

#[tokio::test]
async fn a_timestamp_finds_records_within_a_second() {
    let local = with_stream("s").await;
    let client = kinesis(&local);
    let mut all = Vec::new();
    until("records arrive in different milliseconds", async || {
        put(&client, "s", "k", b"").await;
        all = records(&client, "s", 0).await;
        all.first().unwrap().approximate_arrival_timestamp != all.last().unwrap().approximate_arrival_timestamp
    })
    .await;
    let last = all.last().unwrap();
    let request = client
        .get_shard_iterator()
        .stream_name("s")
        .shard_id(shard_id(0))
        .shard_iterator_type(ShardIteratorType::AtTimestamp);
    let token =
        request.timestamp(last.approximate_arrival_timestamp.unwrap()).send().await.unwrap().shard_iterator.unwrap();
    let got = client.get_records().shard_iterator(token).send().await.unwrap().records;
    assert_eq!(got.last().unwrap().sequence_number, last.sequence_number);
    assert!(got.len() < all.len());
}

#[tokio::test]
async fn a_call_returns_at_most_ten_mebibytes() {
    let store = bare(1).await;
    let data = "A".repeat(1 << 20);
    for _ in 0..15 {
        ask(&store, Operation::PutRecord, json!({ "StreamName": "s", "PartitionKey": "k", "Data": data })).await;
    }
    let got = ask(&store, Operation::GetRecords, json!({ "ShardIterator": bare_iterator(&store).await })).await;
    assert_eq!(got["Records"].as_array().unwrap().len(), 15, "ferrokinesis bounds a call now: the endpoint need not");

    let local = with_stream("s").await;
    let client = kinesis(&local);
    for n in 0..25u8 {
        put(&client, "s", "k", &vec![n; 1000 * 1000]).await;
    }
    let mut token = Some(iterator(&client, "s", 0, ShardIteratorType::TrimHorizon).await);
    let mut pages = Vec::new();
    while pages.iter().sum::<usize>() < 25 {
        let got = client.get_records().set_shard_iterator(token).send().await.unwrap();
        let bytes: usize = got.records.iter().map(|record| record.data.as_ref().len()).sum();
        assert!(bytes <= 10 << 20, "{bytes}");
        // Behind until the last page, at the tip after it.
        assert_eq!(got.millis_behind_latest.unwrap() == 0, pages.iter().sum::<usize>() + got.records.len() == 25);
        pages.push(got.records.len());
        token = got.next_shard_iterator;
    }
    assert_eq!(pages, [10, 10, 5]);
}

#[tokio::test]
async fn iterators_expire_after_five_minutes_and_nonsense_is_refused() {
    let local = with_stream("s").await;
    let client = kinesis(&local);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let sequence = client.list_shards().stream_name("s").send().await.unwrap().shards()[0]
        .sequence_number_range()
        .unwrap()
        .starting_sequence_number()
        .to_owned();
    let made = |age: Duration| {
        let time = (now - age).as_millis() as u64;
        ferrokinesis::shard_iterator::create_shard_iterator("s", &shard_id(0), &sequence, time)
    };
    assert!(client.get_records().shard_iterator(made(Duration::from_secs(290))).send().await.is_ok());
    let error = client
        .get_records()
        .shard_iterator(made(Duration::from_secs(301)))
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(error.is_expired_iterator_exception(), "{error:?}");
    let error = client.get_records().shard_iterator("nonsense").send().await.unwrap_err().into_service_error();
    assert!(error.is_invalid_argument_exception(), "{error:?}");
}

#[tokio::test]
async fn requests_out_of_bounds_are_refused_by_name() {
    let local = with_stream("s").await;
    let client = kinesis(&local);
    let put = |key: &str, bytes: usize| {
        client.put_record().stream_name("s").partition_key(key).data(Blob::new(vec![0; bytes])).send()
    };
    assert!(put("k", 1 << 20).await.is_ok());
    for (key, bytes) in [("", 1), ("k", (1 << 20) + 1), (&"k".repeat(257), 1)] {
        let error = put(key, bytes).await.unwrap_err();
        assert!(format!("{error:?}").contains("ValidationException"), "{error:?}");
    }
    let error =
        client.put_record().stream_name("absent").partition_key("k").data(Blob::new("")).send().await.unwrap_err();
    assert!(error.into_service_error().is_resource_not_found_exception());
    let bad_hash =
        client.put_record().stream_name("s").partition_key("k").explicit_hash_key("x").data(Blob::new("")).send().await;
    assert!(bad_hash.unwrap_err().into_service_error().is_invalid_argument_exception());
    let future = DateTime::from_secs(4_000_000_000);
    let request = client
        .get_shard_iterator()
        .stream_name("s")
        .shard_id(shard_id(0))
        .shard_iterator_type(ShardIteratorType::AtTimestamp);
    assert!(request.timestamp(future).send().await.unwrap_err().into_service_error().is_invalid_argument_exception());
}

#[tokio::test]
async fn a_deleted_stream_takes_its_records_with_it() {
    let local = with_stream("s").await;
    let client = kinesis(&local);
    put(&client, "s", "k", b"old").await;
    client.delete_stream().stream_name("s").send().await.unwrap();
    until("it is gone", async || client.describe_stream_summary().stream_name("s").send().await.is_err()).await;
    client.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    active(&client, "s").await;
    assert!(records(&client, "s", 0).await.is_empty());
    put(&client, "s", "k", b"new").await;
    assert_eq!(records(&client, "s", 0).await.len(), 1);
}
