mod java;
mod model;
mod properties;
mod rounds;
mod rules;

use std::collections::BTreeMap;

use crate::coordinator::worker_metrics::item::WorkerMetrics;
use crate::lease::Lease;
use crate::stream::{Checkpoint, ShardId, WorkerId};

/// The wall clock of the tests, in seconds since 1970.
const WALL: u64 = 1_800_000_000;

fn worker(index: usize) -> WorkerId {
    WorkerId::new(format!("worker-{index:03}")).unwrap()
}

fn lease(index: usize, owner: Option<usize>, kbps: Option<f64>) -> Lease {
    let key = ShardId::new(format!("shardId-{index:012}")).unwrap();
    Lease { owner: owner.map(worker), throughput_kbps: kbps, ..Lease::new(key, Checkpoint::TrimHorizon) }
}

/// An item with these averages of CPU and a range of 100; without averages, one of a worker that has no metrics.
fn metrics(index: usize, updated_at: u64, samples: &[f64]) -> WorkerMetrics {
    let map = |values: &[f64]| match samples {
        [] => BTreeMap::new(),
        _ => BTreeMap::from([("C".to_owned(), values.to_vec())]),
    };
    WorkerMetrics {
        worker: worker(index),
        updated_at: Some(updated_at),
        stats: Some(map(samples)),
        ranges: Some(map(&[100.0])),
        support: None,
    }
}
