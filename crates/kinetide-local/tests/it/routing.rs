//! One port: who gets a request, and what those get who come to the wrong place.

use std::io::Write as _;

use kinetide_local::{Local, LocalError, Settings};
use serde_json::json;

use crate::client::*;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test]
async fn the_sdk_finds_both_services_behind_one_url() {
    let local = with_stream("s:3").await;
    assert_eq!(kinesis(&local).list_streams().send().await.unwrap().stream_names, ["s"]);
    assert!(dynamodb(&local).list_tables().send().await.unwrap().table_names.is_none_or(|names| names.is_empty()));
    let answer = call(&local, "Kinesis_20131202.DescribeStreamSummary", json!({ "StreamName": "s" })).await;
    assert_eq!(answer.json()["StreamDescriptionSummary"]["OpenShardCount"], 3);
    assert!(!answer.headers["x-amzn-requestid"].is_empty());
}

#[tokio::test]
async fn http2_without_upgrade_works() {
    let local = with_stream("s").await;
    let headers = [("x-amz-target", "Kinesis_20131202.ListStreams"), ("content-type", "application/x-amz-json-1.1")];
    let answer = post_h2c(&local, "/", &headers, "{}").await.unwrap();
    assert_eq!(answer.json()["StreamNames"], json!(["s"]));
}

#[tokio::test]
async fn streams_may_be_named_by_their_arn() {
    let local = with_stream("s").await;
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let requests = [
        ("ListShards", json!({ "StreamARN": arn })),
        ("DescribeStream", json!({ "StreamARN": arn })),
        ("DescribeStreamSummary", json!({ "StreamARN": arn })),
        ("PutRecord", json!({ "StreamARN": arn, "PartitionKey": "k", "Data": "" })),
        ("GetShardIterator", json!({ "StreamARN": arn, "ShardId": shard_id(0), "ShardIteratorType": "LATEST" })),
        ("IncreaseStreamRetentionPeriod", json!({ "StreamARN": arn, "RetentionPeriodHours": 48 })),
        ("ListStreamConsumers", json!({ "StreamARN": arn })),
    ];
    for (operation, request) in requests {
        let answer = call(&local, &format!("Kinesis_20131202.{operation}"), request).await;
        assert_eq!(answer.status, 200, "{operation}: {}", answer.text());
    }
}

#[tokio::test]
async fn other_services_get_an_error_they_can_read() {
    let local = start(|_| {}).await;
    let answer = call(&local, "AmazonSQS.ListQueues", json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.json()["__type"].as_str().unwrap()), (400, "UnknownOperationException"));
    assert!(answer.json()["message"].as_str().unwrap().contains("AmazonSQS"));

    let answer = post(&local, "/", &[FORM], "Action=ListTopics&Version=2010-03-31").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.headers["content-type"].to_str().unwrap()), (400, "text/xml"));
    assert!(answer.text().contains("<Code>UnknownOperationException</Code>"), "{}", answer.text());

    let scope = "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    let answer = post(&local, "/bucket/key", &[("authorization", scope)], "").await.unwrap();
    assert!(answer.text().starts_with("<Error>") && answer.text().contains("\"s3\""), "{}", answer.text());

    let answer = call(&local, "Kinesis_20131202.NoSuchThing", json!({})).await;
    assert_eq!(answer.json()["__type"], "UnknownOperationException");
    let answer = post(&local, "/", &[("x-amz-target", "Kinesis_20131202.ListStreams")], "not json").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.json()["__type"].as_str().unwrap()), (400, "SerializationException"));
}

#[tokio::test]
async fn security_tokens_are_handed_out() {
    let local = start(|settings| settings.account_id = "123456789012".to_owned()).await;
    let answer = post(&local, "/", &[FORM], "Action=GetCallerIdentity&Version=2011-06-15").await.unwrap();
    assert!(answer.text().contains("<Account>123456789012</Account>"), "{}", answer.text());
    let body = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Freader&RoleSessionName=me";
    let answer = post(&local, "/", &[FORM], body).await.unwrap();
    assert!(answer.text().contains("<Arn>arn:aws:sts::1:assumed-role/reader/me</Arn>"), "{}", answer.text());
    let answer = post(&local, "/", &[FORM], "Action=DecodeAuthorizationMessage&Version=2011-06-15").await.unwrap();
    assert!(answer.text().contains("<Code>InvalidAction</Code>"), "{}", answer.text());
}

#[tokio::test]
async fn metrics_arrive_in_every_protocol() {
    let local = start(|_| {}).await;
    let datum =
        json!({ "Namespace": "app", "MetricData": [{ "MetricName": "m", "Value": 1.5, "Timestamp": 1_700_000_000 }] });
    let answer = call(&local, "GraniteServiceVersion20100801.PutMetricData", datum).await;
    assert_eq!(answer.status, 200, "{}", answer.text());

    let form = "Action=PutMetricData&Version=2010-08-01&Namespace=app&MetricData.member.1.MetricName=m\
                &MetricData.member.1.Value=1.5&MetricData.member.1.Timestamp=2023-11-14T22:13:20Z";
    let answer = post(&local, "/", &[FORM], form).await.unwrap();
    assert!(answer.text().starts_with("<PutMetricDataResponse"), "{}", answer.text());

    let answer = post(&local, "/", &[FORM, ("content-encoding", "gzip")], zipped(form.as_bytes())).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());

    let headers =
        [("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor"), ("content-encoding", "gzip")];
    let path = "/service/GraniteServiceVersion20100801/operation/PutMetricData";
    let answer = post(&local, path, &headers, zipped(&rpc_metric())).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.headers["smithy-protocol"].to_str().unwrap()), (200, "rpc-v2-cbor"));

    let metrics = local.metrics();
    assert_eq!(metrics.len(), 4);
    assert!(metrics.iter().all(|metric| *metric == metrics[0]), "{metrics:?}");
    assert_eq!((metrics[0].value, metrics[0].timestamp_ms), (Some(1.5), Some(1_700_000_000_000)));
}

fn zipped(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn rpc_metric() -> Vec<u8> {
    use ciborium::Value as V;
    let text = |text: &str| V::Text(text.to_owned());
    let datum = V::Map(vec![
        (text("MetricName"), text("m")),
        (text("Value"), V::Float(1.5)),
        (text("Timestamp"), V::Tag(1, Box::new(V::Float(1_700_000_000.0)))),
    ]);
    let request = V::Map(vec![(text("Namespace"), text("app")), (text("MetricData"), V::Array(vec![datum]))]);
    let mut bytes = Vec::new();
    ciborium::into_writer(&request, &mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let local = start(|_| {}).await;
    let headers = [("x-amz-target", "Kinesis_20131202.PutRecords"), ("content-encoding", "gzip")];
    let answer = post(&local, "/", &headers, zipped(&vec![b' '; 21 << 20])).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.json()["__type"].as_str().unwrap()), (413, "RequestEntityTooLarge"));
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let local = start(|_| {}).await;
    let mut settings = Settings::default();
    settings.port = local.port();
    let error = Local::start(settings).await.unwrap_err();
    assert!(matches!(error, LocalError::PortInUse { .. }));
    assert!(error.to_string().contains(&format!("127.0.0.1:{}", local.port())), "{error}");
}

#[tokio::test]
async fn stopping_frees_the_port_and_so_does_dropping() {
    let first = start(|_| {}).await;
    let port = first.port();
    first.stop().await;
    drop(start(|settings| settings.port = port).await);
    until("the port is free", async || {
        let mut settings = Settings::default();
        settings.port = port;
        Local::start(settings).await.is_ok()
    })
    .await;
}

#[test]
fn stream_specs_read_as_written() {
    let spec = |text: &str| text.parse::<kinetide_local::StreamSpec>();
    assert_eq!(spec("orders:4").map(|spec| (spec.name, spec.shards)), Ok(("orders".to_owned(), 4)));
    assert_eq!(spec("orders").map(|spec| spec.shards), Ok(1));
    for text in ["", ":4", "a:0", "a:x", "a:", "a b", "a:1:2"] {
        assert!(spec(text).unwrap_err().to_string().contains(&format!("{text:?}")), "{text}");
    }
}
