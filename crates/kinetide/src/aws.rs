//! Adapters to AWS: the only place that names the AWS SDK and the attributes of DynamoDB items.

mod coordinator_state;
mod dynamodb;
mod error;
mod item;
mod kinesis;
mod load;
#[cfg_attr(not(test), expect(dead_code, reason = "the table of worker metrics, which calls it, is not there yet"))]
mod worker_metrics;

pub use dynamodb::DynamoDbLeaseTable;
pub use kinesis::{KinesisStream, PutEntry, PutOutcome};
pub use load::{Aws, AwsSettings, CredentialsSource};
