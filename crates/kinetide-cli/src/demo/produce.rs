//! The demo's producer: numbered records over many keys, in order per key.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use kinetide::Clock;
use kinetide::aws::{KinesisStream, PutEntry, PutOutcome};

use super::report::Progress;

const KEYS: u32 = 1_000;
const ENTRIES_MAX: u32 = 500;
const ATTEMPTS_MAX: u32 = 100;

/// Puts these numbers in order, each under the key of its remainder.
///
/// A call holds every key at most once, and what is refused is put again before the next call, so each key keeps its order.
pub(super) async fn produce(
    stream: &KinesisStream,
    numbers: Range<u32>,
    progress: &Progress,
    clock: &Clock,
) -> anyhow::Result<()> {
    for first in numbers.clone().step_by(ENTRIES_MAX as usize) {
        let call = first..numbers.end.min(first + ENTRIES_MAX);
        let end = call.end;
        let entry = |number: u32| PutEntry {
            partition_key: format!("key-{}", number % KEYS),
            data: Bytes::from(number.to_string()),
        };
        put_all(stream, call.map(entry).collect(), clock).await?;
        progress.produced(end);
    }
    Ok(())
}

async fn put_all(stream: &KinesisStream, mut entries: Vec<PutEntry>, clock: &Clock) -> anyhow::Result<()> {
    for _ in 0..ATTEMPTS_MAX {
        let outcomes = stream.put_records(&entries).await.context("cannot produce")?;
        let mut outcomes = outcomes.iter();
        entries.retain(|_| matches!(outcomes.next(), Some(PutOutcome::Failed { .. })));
        if entries.is_empty() {
            return Ok(());
        }
        clock.sleep(Duration::from_millis(50)).await;
    }
    bail!("{} records were refused {ATTEMPTS_MAX} times", entries.len())
}
