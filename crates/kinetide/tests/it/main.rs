//! Tests of the library through its public interface, on the memory implementations of both seams.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod hand_off;
mod positions;
mod streams;
mod upkeep;
mod worker;
mod world;
