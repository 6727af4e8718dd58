//! The conformance suites over the AWS implementations, on the embedded endpoint.

use std::time::Duration;

use async_trait::async_trait;
use kinetide::Clock;
use kinetide::aws::{DynamoDbLeaseTable, KinesisStream, PutEntry, PutOutcome};
use kinetide::conformance::stream_source::StreamFixture;
use kinetide::conformance::{lease_table, stream_source};
use kinetide::stream::{SequenceNumber, ShardFilter, ShardId, SourceErrorKind, StreamSource};

use crate::support::{aws, endpoint, stream};

struct Fixture {
    stream: KinesisStream,
    clock: Clock,
}

impl Fixture {
    async fn wait_for_child_of(&self, parent: &ShardId) {
        for _ in 0..200 {
            let shards = self.stream.list_shards(ShardFilter::AtLatest).await.unwrap();
            if shards.iter().any(|shard| shard.parents.contains(parent)) {
                return;
            }
            self.clock.sleep(Duration::from_millis(20)).await;
        }
        panic!("{parent} has no children after four seconds");
    }
}

#[async_trait]
impl StreamFixture for Fixture {
    fn source(&self) -> &dyn StreamSource {
        &self.stream
    }

    async fn put(&self, partition_key: &str, data: &str) -> (ShardId, SequenceNumber) {
        let entry = PutEntry { partition_key: partition_key.into(), data: data.to_owned().into() };
        // Not ready while the stream is being split or merged.
        loop {
            match self.stream.put_records(std::slice::from_ref(&entry)).await {
                Ok(mut outcomes) => match outcomes.remove(0) {
                    PutOutcome::Stored { shard, sequence } => return (shard, sequence),
                    failed => panic!("{failed:?}"),
                },
                Err(error) if error.kind() == SourceErrorKind::NotReady => {
                    self.clock.sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn split(&self, shard: &ShardId) {
        let shards = self.stream.list_shards(ShardFilter::AtLatest).await.unwrap();
        let listed = shards.into_iter().find(|listed| listed.id == *shard).unwrap();
        self.stream.split_shard(&listed).await.unwrap();
        self.wait_for_child_of(shard).await;
    }

    async fn merge(&self, left: &ShardId, right: &ShardId) {
        while let Err(error) = self.stream.merge_shards(left, right).await {
            assert_eq!(error.kind(), SourceErrorKind::NotReady, "{error}");
            self.clock.sleep(Duration::from_millis(20)).await;
        }
        self.wait_for_child_of(left).await;
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}

#[tokio::test]
async fn dynamodb_lease_table() {
    let local = endpoint(&[]).await;
    lease_table::run(&DynamoDbLeaseTable::new(&aws(&local).await, &"leases".parse().unwrap())).await;
}

#[tokio::test]
async fn kinesis_stream() {
    let local = endpoint(&[("orders", 2)]).await;
    let fixture = Fixture { stream: stream(&local, "orders").await, clock: Clock::system() };
    stream_source::run(&fixture).await;
}
