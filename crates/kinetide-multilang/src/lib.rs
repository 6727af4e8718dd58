//! The MultiLangDaemon without a JVM: runs record processors written in any language, with the properties file, the
//! line protocol and the exit statuses of the Java daemon.
//!
//! ```no_run
//! use kinetide_multilang::{RunOptions, Signals, run};
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<std::process::ExitCode> {
//!     let options = RunOptions { properties_file: "app.properties".into(), ..RunOptions::default() };
//!     Ok(run(options, Signals::of_process()?).await.into())
//! }
//! ```
//!
//! # Reading order
//! - [`properties`]: the file, as a value; its keys are rows of [`kinetide::settings::table`].
//! - [`message`]: the lines, in both directions; [`lines`]: what a line is.
//! - [`session`]: the protocol with one child, a machine without effects.
//! - [`child`]: the process behind it, its pipes and its end.
//! - [`bridge`]: the child as a [`kinetide::RecordProcessor`]; one per shard.
//! - [`run()`] and [`signals`]: the daemon, and how it ends.

pub mod bridge;
pub mod child;
pub mod lines;
pub mod message;
pub mod properties;
pub mod session;
pub mod signals;

mod run;

pub use run::{RunOptions, Supervision, run};
pub use signals::{Signal, Signals};
