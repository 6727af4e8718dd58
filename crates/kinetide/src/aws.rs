//! Adapters to AWS: the only place that names the AWS SDK and the attributes of DynamoDB items.

mod dynamodb;
mod error;
mod item;
mod kinesis;
mod load;

pub use dynamodb::DynamoDbLeaseTable;
pub use kinesis::{KinesisStream, PutEntry, PutOutcome};
pub use load::{Aws, AwsSettings, CredentialsSource};
