//! The limits of the real service, which are off unless asked for.

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};

use crate::client::*;

async fn limited() -> kinetide_local::Local {
    start(|settings| {
        settings.enforce_limits = true;
        settings.streams = vec!["s".parse().unwrap()];
    })
    .await
}

/// How many of 12 reads in quick succession are let through.
async fn reads(local: &kinetide_local::Local) -> usize {
    let client = kinesis(local);
    let token = iterator(&client, "s", 0, ShardIteratorType::TrimHorizon).await;
    let mut passed = 0;
    for _ in 0..12 {
        match client.get_records().shard_iterator(&token).send().await {
            Ok(_) => passed += 1,
            Err(error) => assert!(error.into_service_error().is_provisioned_throughput_exceeded_exception()),
        }
    }
    passed
}

#[tokio::test]
async fn reads_are_limited_when_asked_for() {
    // A slow machine may refill a few while it asks; twelve in a row would need more than a second.
    let passed = reads(&limited().await).await;
    assert!((5..12).contains(&passed), "{passed}");
    assert_eq!(reads(&with_stream("s").await).await, 12, "no limits by default");
}

#[tokio::test]
async fn writes_are_limited_record_by_record() {
    let local = limited().await;
    let client = kinesis(&local);
    let entries = || {
        (0..500).map(|_| {
            PutRecordsRequestEntry::builder().partition_key("k").data(Blob::new(vec![0; 4000])).build().unwrap()
        })
    };
    let put = client.put_records().stream_name("s").set_records(Some(entries().collect())).send().await.unwrap();
    let failed = put.failed_record_count.unwrap() as usize;
    // A mebibyte holds 262 such records.
    assert!((200..=240).contains(&failed), "{failed}");
    let refused = put
        .records
        .iter()
        .filter(|record| record.error_code.as_deref() == Some("ProvisionedThroughputExceededException"));
    assert_eq!(refused.count(), failed);
    assert_eq!(records(&client, "s", 0).await.len(), 500 - failed);
}
