//! The conformance suites of the two seams, as public functions: anybody who implements one can run them.
//!
//! Each check is a function over the trait and panics with what went wrong; [`lease_table`] and [`stream_source`] run all
//! checks of their seam. The suites run over the memory implementations and over AWS clients.

pub mod lease_table;
pub mod stream_source;
