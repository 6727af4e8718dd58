//! What a lease table costs: its calls, by operation, and the capacity they consumed.
//!
//! Capacity is counted as DynamoDB bills it: a write unit per started KiB, a read unit per started 4 KiB, and half of that
//! for a read that may be stale. A table in DynamoDB is told by the service; one in memory computes it from the rows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::row::Lease;

/// Read units that cost as much as one write unit, on demand.
const READS_PER_WRITE: f64 = 5.0;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    /// The operation of DynamoDB, such as `UpdateItem`.
    pub operation: &'static str,
    /// What it was for, such as `renew`; empty if the operation says it.
    pub purpose: &'static str,
}

impl Call {
    /// An operation that has one purpose only.
    #[must_use]
    pub const fn of(operation: &'static str) -> Self {
        Self { operation, purpose: "" }
    }

    /// An update for this purpose.
    #[must_use]
    pub const fn update(purpose: &'static str) -> Self {
        Self { operation: "UpdateItem", purpose }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.purpose {
            "" => f.write_str(self.operation),
            purpose => write!(f, "{} ({purpose})", self.operation),
        }
    }
}

/// Calls of one kind, answered ones and those refused by a condition.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CallUsage {
    /// How many.
    pub calls: u64,
    /// Read units they consumed.
    pub read_units: f64,
    /// Write units they consumed.
    pub write_units: f64,
}

/// What a table has cost since it was made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableUsage {
    /// Each kind of call that was made.
    pub calls: BTreeMap<Call, CallUsage>,
}

impl TableUsage {
    /// All of it as one number: write units, and five read units for one of them, which is the ratio of their prices.
    #[must_use]
    pub fn write_equivalents(&self) -> f64 {
        self.calls.values().map(|usage| usage.write_units + usage.read_units / READS_PER_WRITE).sum()
    }

    /// What was added since an earlier reading of the same table.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut difference = self.clone();
        for (call, before) in &earlier.calls {
            let usage = difference.calls.entry(*call).or_default();
            usage.calls = usage.calls.saturating_sub(before.calls);
            usage.read_units -= before.read_units;
            usage.write_units -= before.write_units;
        }
        difference
    }
}

/// Counts; clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<TableUsage>>);

impl Meter {
    /// What was counted so far.
    #[must_use]
    pub fn usage(&self) -> TableUsage {
        self.lock().clone()
    }

    /// Counts a call that read.
    pub fn read(&self, call: Call, units: f64) {
        let mut usage = self.lock();
        let usage = usage.calls.entry(call).or_default();
        usage.calls += 1;
        usage.read_units += units;
    }

    /// Counts a call that wrote, or tried to.
    pub fn write(&self, call: Call, units: f64) {
        let mut usage = self.lock();
        let usage = usage.calls.entry(call).or_default();
        usage.calls += 1;
        usage.write_units += units;
    }

    fn lock(&self) -> MutexGuard<'_, TableUsage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Units to write an item of so many bytes.
#[must_use]
pub fn write_units(bytes: usize) -> f64 {
    bytes.div_ceil(1024).max(1) as f64
}

/// Units to read so many bytes, if a stale answer will do.
#[must_use]
pub fn stale_read_units(bytes: usize) -> f64 {
    bytes.div_ceil(4096).max(1) as f64 / 2.0
}

/// The size of a lease's item: the names of its attributes and their values.
#[must_use]
pub fn item_bytes(lease: &Lease) -> usize {
    // The key, the counter, the owner switches, the checkpoint and its sub-sequence number are always there.
    const NAMES: usize = 8 + 12 + 28 + 10 + 27;
    let owners = [(10, &lease.owner), (15, &lease.checkpoint_owner)];
    let owners = owners.into_iter().filter_map(|(name, owner)| Some(name + owner.as_ref()?.as_str().len()));
    let families = [(13, &lease.parents), (13, &lease.children)];
    let families = families.into_iter().filter(|(_, shards)| !shards.is_empty());
    let families = families.map(|(name, shards)| name + shards.iter().map(|shard| shard.as_str().len()).sum::<usize>());
    let range = lease.hash_range.map_or(0, |range| 15 + digits(range.start.0) + 13 + digits(range.end.0));
    let numbers = [lease.counter, lease.owner_switches, lease.checkpoint.sub_sequence()];
    let numbers: usize = numbers.into_iter().map(|number| number_bytes(number.into())).sum();
    // In an application of many streams the stream and the shard stand beside the key too.
    let identity = lease.key.stream.as_ref().map_or(0, |_| 10 + 7 + lease.key.to_string().len() - 1);
    let pending = lease.pending.as_ref().map_or(0, |pending| 17 + 35 + pending.checkpoint.as_str().len() + 2);
    let values = lease.key.to_string().len() + lease.checkpoint.as_str().len() + numbers;
    NAMES + values + owners.sum::<usize>() + families.sum::<usize>() + range + identity + pending
}

fn digits(number: u128) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Two digits a byte, and one more.
fn number_bytes(number: u128) -> usize {
    digits(number).div_ceil(2) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_started_ones() {
        assert_eq!((write_units(0), write_units(1024), write_units(1025)), (1.0, 1.0, 2.0));
        assert_eq!((stale_read_units(10), stale_read_units(4096), stale_read_units(4097)), (0.5, 0.5, 1.0));
    }

    #[test]
    fn five_reads_cost_a_write() {
        let meter = Meter::default();
        meter.read(Call::of("Scan"), 10.0);
        let before = meter.usage();
        meter.read(Call::of("Scan"), 5.0);
        meter.write(Call::update("renew"), 2.0);
        assert_eq!(meter.usage().write_equivalents(), 5.0);
        let since = meter.usage().since(&before);
        assert_eq!((since.write_equivalents(), since.calls[&Call::of("Scan")].calls), (3.0, 1));
        assert_eq!(Call::update("renew").to_string(), "UpdateItem (renew)");
    }
}
