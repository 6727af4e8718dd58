//! The endpoint judged from outside: by the AWS SDK, and by bare HTTP where the SDK would hide something.
//!
//! Each gap of the embedded servers that the endpoint closes has a test here, which first shows the gap on the bare
//! server.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands; clippy knows only #[test] functions as tests"
)]
#![allow(clippy::disallowed_methods, reason = "the endpoint lives in real time, and so do those who watch it")]

mod client;
mod dynamodb;
mod faults;
mod formats;
mod limits;
mod persistence;
mod records;
mod routing;
mod shards;
mod subscribe;
