//! The format in which producers pack many user records into one Kinesis record.

pub mod decode;
pub mod format;
