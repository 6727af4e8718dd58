//! Fault injection, as a client meets it.

use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::error::SdkError;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::ShardIteratorType;
use kinetide_local::faults::{Action, Answer, AwsError, Rule, Service, Times};

use crate::client::*;

/// What a put came to, with one rule in force, and whether its record is there.
async fn put_under(action: Action) -> (Result<(), String>, bool) {
    let local = with_stream("s").await;
    let client = kinesis(&local);
    local.faults().add(Rule::on("PutRecord", action).once());
    let put = client.put_record().stream_name("s").partition_key("k").data(Blob::new("x")).send().await;
    let outcome = put.map(|_| ()).map_err(|error| match &error {
        SdkError::ServiceError(service) => service.err().meta().code().unwrap_or_default().to_owned(),
        SdkError::DispatchFailure(_) => "no answer".to_owned(),
        other => format!("{other:?}"),
    });
    assert_eq!(local.faults().count("PutRecord"), 1);
    let stored = !records(&client, "s", 0).await.is_empty();
    (outcome, stored)
}

#[tokio::test]
async fn before_means_that_nothing_happened_and_after_that_it_did() {
    let code = "ProvisionedThroughputExceededException";
    assert_eq!(put_under(Action::FailBefore(AwsError::throttled())).await, (Err(code.to_owned()), false));
    assert_eq!(put_under(Action::FailAfter(AwsError::throttled())).await, (Err(code.to_owned()), true));
    assert_eq!(put_under(Action::DropBefore).await, (Err("no answer".to_owned()), false));
    assert_eq!(put_under(Action::DropAfter).await, (Err("no answer".to_owned()), true));
}

#[tokio::test]
async fn an_answer_of_ones_own_is_what_the_client_gets() {
    let local = with_stream("s").await;
    let client = kinesis(&local);
    let body = br#"{"Records":[],"MillisBehindLatest":42,"NextShardIterator":"made up"}"#.to_vec();
    let answer = Answer { status: 200, content_type: "application/x-amz-json-1.1".to_owned(), body };
    let id = local.faults().add(Rule::on("GetRecords", Action::Answer(answer)));
    let token = iterator(&client, "s", 0, ShardIteratorType::TrimHorizon).await;
    let got = client.get_records().shard_iterator(&token).send().await.unwrap();
    assert_eq!((got.millis_behind_latest, got.next_shard_iterator.as_deref()), (Some(42), Some("made up")));
    local.faults().remove(id);
    assert_eq!(client.get_records().shard_iterator(&token).send().await.unwrap().millis_behind_latest, Some(0));
}

#[tokio::test]
async fn delays_delay_and_matchers_match() {
    let local = with_stream("s").await;
    let client = dynamodb(&local);
    let delay = Duration::from_millis(120);
    let rule = Rule::on_service(Service::DynamoDb, Action::Delay(delay)).body_contains("\"other\"").times(Times::N(1));
    let id = local.faults().add(rule);
    let timed = async |table: &str| {
        let begun = SystemTime::now();
        let _ = client.describe_table().table_name(table).send().await;
        begun.elapsed().unwrap()
    };
    timed("table").await;
    assert_eq!(local.faults().hits(id), 0);
    assert!(timed("other").await >= delay);
    timed("other").await;
    assert_eq!((local.faults().hits(id), local.faults().count("DescribeTable")), (1, 3));
}
