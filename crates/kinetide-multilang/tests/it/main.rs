//! Real child processes, written in nothing but POSIX shell.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod child;
mod daemon;
mod support;
