//! The binary as people use it, and the library over real sockets: everything against an endpoint embedded in the test.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod commands;
mod conformance;
mod crash;
mod support;
