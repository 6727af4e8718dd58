//! Kinesis and DynamoDB on one loopback port, in process: for development and tests without an account.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use kinetide_local::{Local, Settings};
//!
//! let mut settings = Settings::default();
//! settings.port = 0;
//! settings.streams = vec!["orders:4".parse()?];
//! let local = Local::start(settings).await?;
//! println!("AWS_ENDPOINT_URL={}", local.endpoint_url());
//! # local.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! Any AWS client that is given that URL, any region and any credentials finds:
//!
//! | Service | By | What |
//! |---|---|---|
//! | Kinesis | `ferrokinesis`, records by ourselves | all operations, JSON and the CBOR of the Java clients, fan-out |
//! | DynamoDB | `dynoxide` | tables, indexes, transactions, expressions and their legacy forms |
//! | CloudWatch | ourselves | PutMetricData in three protocols; see [`Local::metrics`] and `GET /_kinetide/metrics` |
//! | STS | ourselves | GetCallerIdentity and AssumeRole |
//!
//! Signatures are not checked. [`faults`] disturbs requests on purpose.
//!
//! # What a data directory keeps
//! With [`Settings::data_dir`], what was acknowledged survives a killed process. A power cut may take the records of
//! the last second and the last changes of tables; it never leaves a directory that does not open. Metrics, fault rules
//! and the progress of `aws_timing` are not kept. Records stay in memory as well, for as long as their stream retains
//! them.
//!
//! # Reading the source
//! `server` (socket) → `endpoint` (routing, faults) → `kinesis`, `dynamodb`, `cloudwatch`, `sts`; `wire` knows the
//! protocols.

mod calendar;
mod clock;
mod cloudwatch;
mod dynamodb;
mod endpoint;
pub mod faults;
mod form;
mod kinesis;
mod server;
mod settings;
mod storage;
mod sts;
mod wire;

pub use cloudwatch::{MetricDatum, Statistics};
pub use faults::Faults;
pub use server::Local;
pub use settings::{LocalError, PORT_DEFAULT, Settings, StreamSpec, StreamSpecError};
