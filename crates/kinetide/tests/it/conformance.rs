//! The conformance suites over the memory implementations.

use async_trait::async_trait;
use kinetide::conformance::stream_source::StreamFixture;
use kinetide::conformance::{lease_table, stream_source};
use kinetide::lease::MemoryLeaseTable;
use kinetide::stream::{MemoryStream, SequenceNumber, ShardId, StreamName, StreamSource};
use kinetide::{Clock, Timestamp};

struct Fixture {
    stream: MemoryStream,
    clock: Clock,
}

#[async_trait]
impl StreamFixture for Fixture {
    fn source(&self) -> &dyn StreamSource {
        &self.stream
    }

    async fn put(&self, partition_key: &str, data: &str) -> (ShardId, SequenceNumber) {
        self.stream.put(partition_key, data.to_owned()).expect("some shard holds the key")
    }

    async fn split(&self, shard: &ShardId) {
        self.stream.split(shard).expect("an open shard");
    }

    async fn merge(&self, left: &ShardId, right: &ShardId) {
        self.stream.merge(left, right).expect("open neighbours");
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}

#[tokio::test]
async fn memory_lease_table() {
    lease_table::run(&MemoryLeaseTable::new("leases")).await;
}

#[tokio::test(start_paused = true)]
async fn memory_stream() {
    let clock = Clock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    let stream = MemoryStream::new(StreamName::new("orders").unwrap(), 2, clock.clone());
    stream_source::run(&Fixture { stream, clock }).await;
}
