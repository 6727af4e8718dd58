//! The Kinesis Client Library, native in Rust: workers that share a stream's shards through leases in DynamoDB, in the
//! same tables and by the same rules as the Java KCL.
//!
//! A worker needs a stream, the name of the application it belongs to, and a [`RecordProcessor`]:
//!
//! ```no_run
//! use kinetide::{Batch, Checkpointer, ProcessorResult, RecordProcessor, Worker};
//!
//! struct Printer;
//!
//! impl RecordProcessor for Printer {
//!     async fn process_records(&mut self, batch: &Batch, checkpointer: &Checkpointer) -> ProcessorResult {
//!         batch.records.iter().for_each(|record| println!("{}", String::from_utf8_lossy(&record.data)));
//!         Ok(checkpointer.checkpoint().await?)
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), kinetide::WorkerError> {
//!     Worker::builder().application("printer").stream("orders").processor(|_: &_| Printer).build().await?.run().await
//! }
//! ```
//!
//! Start as many as you like, on as many machines: they share the shards. When one stops, in whatever way, the others go
//! on from the last checkpoint. Records are delivered at least once, in order per partition key while a shard has one owner.
//!
//! # Reading order
//! - [`processor`]: what you implement, and the order in which it is called; [`checkpoint`]: what you call.
//! - [`worker`]: building, running and stopping; [`Settings`]: what can be changed, with its price.
//! - [`stream`] and [`lease`]: the words of the field, and the two seams: [`stream::StreamSource`], [`lease::LeaseTable`].
//! - [`event`]: what can be observed; [`error`]: what can go wrong.
//!
//! Modules that are not documented here are how it works, open to the crates beside this one, and no promise.
//!
//! # No account needed
//! The `kinetide-local` crate serves Kinesis and DynamoDB on a loopback port; `kinetide local` does so from a shell.

#[doc(hidden)]
pub mod aggregation;
#[doc(hidden)]
pub mod assignment;
pub mod aws;
pub mod checkpoint;
pub mod clock;
pub mod conformance;
#[doc(hidden)]
pub mod consumer;
#[doc(hidden)]
pub mod coordinator;
pub mod error;
pub mod event;
pub mod lease;
pub mod processor;
#[doc(hidden)]
pub mod retrieval;
#[doc(hidden)]
pub mod retry;
pub mod rng;
pub mod settings;
pub mod stream;
pub mod worker;

pub use checkpoint::{CheckpointError, CheckpointErrorKind, Checkpointer, PendingCheckpoint, PreparedCheckpoint};
pub use clock::{Clock, Moment};
pub use error::WorkerError;
pub use event::Event;
pub use processor::{
    Batch, Initialize, ProcessorError, ProcessorFactory, ProcessorResult, RecordProcessor, ShardContext,
};
pub use rng::Rng;
pub use settings::Settings;
pub use stream::{InitialPosition, RecordPosition, Timestamp, UserRecord};
pub use worker::{Worker, WorkerBuilder, WorkerHandle};
