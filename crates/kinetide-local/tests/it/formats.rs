//! The CBOR that Java clients of Kinesis speak: timestamps are tag 1 over an integer of milliseconds, both ways.

use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::ShardIteratorType;
use ciborium::Value as Cbor;
use kinetide_local::Local;

use crate::client::*;

fn text(text: &str) -> Cbor {
    Cbor::Text(text.to_owned())
}

fn map(entries: Vec<(&str, Cbor)>) -> Cbor {
    Cbor::Map(entries.into_iter().map(|(name, value)| (text(name), value)).collect())
}

fn member<'a>(map: &'a Cbor, name: &str) -> &'a Cbor {
    &map.as_map()
        .unwrap()
        .iter()
        .find(|(key, _)| key.as_text() == Some(name))
        .unwrap_or_else(|| panic!("no {name} in {map:?}"))
        .1
}

async fn ask(local: &Local, operation: &str, request: Cbor) -> Answer {
    let mut body = Vec::new();
    ciborium::into_writer(&request, &mut body).unwrap();
    let target = format!("Kinesis_20131202.{operation}");
    let headers = [("x-amz-target", target.as_str()), ("content-type", "application/x-amz-cbor-1.1")];
    post(local, "/", &headers, body).await.unwrap()
}

/// The SDK reads JSON's seconds as a float, which lies a little beside the millisecond it stands for.
fn nearest_ms(time: DateTime) -> i64 {
    ((time.as_nanos() + 500_000) / 1_000_000) as i64
}

fn ms(time: i64) -> Cbor {
    Cbor::Tag(1, Box::new(Cbor::from(time)))
}

#[tokio::test]
async fn records_travel_as_bytes_with_times_in_milliseconds() {
    let local = with_stream("s").await;
    let entry = |key: &str, data: &[u8]| map(vec![("PartitionKey", text(key)), ("Data", Cbor::Bytes(data.to_vec()))]);
    let put =
        map(vec![("StreamName", text("s")), ("Records", Cbor::Array(vec![entry("a", b"\x00\xff"), entry("b", b"")]))]);
    let answer = ask(&local, "PutRecords", put).await;
    assert_eq!(answer.headers["content-type"], "application/x-amz-cbor-1.1");
    assert_eq!(member(&answer.cbor(), "FailedRecordCount"), &Cbor::from(0));

    let sdk = kinesis(&local);
    let seen = records(&sdk, "s", 0).await;
    assert_eq!(seen[0].data.as_ref(), b"\x00\xff");
    let token = iterator(&sdk, "s", 0, ShardIteratorType::TrimHorizon).await;
    let got = ask(&local, "GetRecords", map(vec![("ShardIterator", text(&token))])).await.cbor();
    let first = &member(&got, "Records").as_array().unwrap()[0];
    assert_eq!(member(first, "Data"), &Cbor::Bytes(b"\x00\xff".to_vec()));
    let arrived = seen[0].approximate_arrival_timestamp.map(nearest_ms).unwrap();
    assert_eq!(member(first, "ApproximateArrivalTimestamp"), &ms(arrived));
    assert_eq!(member(&got, "MillisBehindLatest"), &Cbor::from(0));
}

#[tokio::test]
async fn times_in_requests_are_milliseconds_too() {
    let local = with_stream("s").await;
    let sdk = kinesis(&local);
    put(&sdk, "s", "k", b"").await;
    let arrived = records(&sdk, "s", 0).await[0].approximate_arrival_timestamp.map(nearest_ms).unwrap();
    let from = async |time: Cbor| {
        let request = map(vec![
            ("StreamName", text("s")),
            ("ShardId", text(&shard_id(0))),
            ("ShardIteratorType", text("AT_TIMESTAMP")),
            ("Timestamp", time),
        ]);
        let token = member(&ask(&local, "GetShardIterator", request).await.cbor(), "ShardIterator")
            .as_text()
            .unwrap()
            .to_owned();
        sdk.get_records().shard_iterator(token).send().await.unwrap().records.len()
    };
    assert_eq!(from(ms(arrived)).await, 1);
    assert_eq!(from(Cbor::Tag(1, Box::new(Cbor::Float(arrived as f64 / 1000.0)))).await, 1);
    until("the clock has moved on", async || from(ms(arrived + 1)).await == 0).await;
}

#[tokio::test]
async fn descriptions_and_errors_are_cbor_as_well() {
    let local = with_stream("s").await;
    let answer = ask(&local, "DescribeStreamSummary", map(vec![("StreamName", text("s"))])).await.cbor();
    let created = member(member(&answer, "StreamDescriptionSummary"), "StreamCreationTimestamp");
    let Cbor::Tag(1, time) = created else { panic!("{created:?}") };
    assert!(i128::from(time.as_integer().unwrap()) > 1_000_000_000_000);

    let answer = ask(&local, "DescribeStreamSummary", map(vec![("StreamName", text("absent"))])).await;
    assert_eq!(
        (answer.status.as_u16(), answer.headers["x-amzn-errortype"].to_str().unwrap()),
        (400, "ResourceNotFoundException")
    );
    assert_eq!(member(&answer.cbor(), "__type"), &text("ResourceNotFoundException"));
    assert!(member(&answer.cbor(), "message").as_text().unwrap().contains("absent"));
}
