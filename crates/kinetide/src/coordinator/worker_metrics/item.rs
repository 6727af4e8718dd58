//! One worker's item: how busy it was lately, and how busy it may get.

use std::collections::BTreeMap;

use crate::stream::WorkerId;

/// The short name of a metric, as it is stored: `C` (CPU), `M` (memory), `NI` and `NO` (network in and out), `T` (throughput).
pub type MetricName = String;

/// A value that could not be captured.
pub const NOT_CAPTURED: f64 = -1.0;

/// What one worker wrote last.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerMetrics {
    /// Who.
    pub worker: WorkerId,
    /// When, in seconds since 1970 on the worker's wall clock (`lut`); `None`: the item says nothing, and is not valid.
    pub updated_at: Option<u64>,
    /// The last averages of each metric in percent, oldest first, ten at most (`sts`); `None` if the attribute is missing.
    pub stats: Option<BTreeMap<MetricName, Vec<f64>>>,
    /// How far each metric may go, in percent; the first number counts (`opr`); `None` if the attribute is missing.
    pub ranges: Option<BTreeMap<MetricName, Vec<f64>>>,
    /// The newest table layout the worker gets on with, and when it said so, in seconds since 1970 (`sup`, `slu`).
    pub support: Option<Support>,
}

/// What a worker says about table layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Support {
    /// 1: everything in one table.
    pub code: u64,
    /// When it said so, in seconds since 1970.
    pub at: u64,
}
