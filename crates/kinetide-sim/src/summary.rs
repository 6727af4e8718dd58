//! Many seeds: what was seen in them, and what never was.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::fault::Fault;
use crate::history::What;
use crate::run::Outcome;
use crate::scenario::Scenario;

/// Below so many seeds it may be chance that something was never seen.
pub const SEEDS_ENOUGH: u64 = 500;

/// How a lease came to another owner, or the same one again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Take,
    Retake,
    Steal,
    Expiry,
    HandOff,
}

/// Counts over many runs.
#[derive(Debug, Default)]
pub struct Summary {
    seeds: u64,
    virtual_time: Duration,
    records: u64,
    processed: u64,
    faults: BTreeMap<Fault, u64>,
    changes: BTreeMap<Change, u64>,
    scenarios: BTreeMap<Scenario, u64>,
    /// Kinds of faults that occurred, in the run that had the fewest.
    kinds_least: Option<usize>,
}

impl Summary {
    /// Counts one run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.virtual_time += outcome.virtual_time;
        *self.scenarios.entry(outcome.plan.scenario).or_default() += 1;
        let failover_millis = outcome.plan.settings.failover_time.as_millis();
        let mut moved_at: BTreeMap<_, u64> = BTreeMap::new();
        let mut faults: BTreeMap<Fault, u64> = BTreeMap::new();
        for entry in &outcome.entries {
            match &entry.what {
                What::Fault { fault, .. } => *faults.entry(*fault).or_default() += 1,
                What::Put { .. } => self.records += 1,
                What::Processed { .. } => self.processed += 1,
                What::Write { operation, key, before, after } => {
                    let still = moved_at.insert(key, entry.at).map_or(0, |at| entry.at - at);
                    let (Some(before), Some(after)) = (before, after) else { continue };
                    let is_handed = *operation == "release" && before.checkpoint_owner.is_some();
                    if *operation != "take" && !is_handed {
                        continue;
                    }
                    let change = match &before.owner {
                        _ if is_handed => Change::HandOff,
                        None => Change::Take,
                        owner if *owner == after.owner => Change::Retake,
                        _ if u128::from(still) > failover_millis => Change::Expiry,
                        _ => Change::Steal,
                    };
                    *self.changes.entry(change).or_default() += 1;
                }
                _ => {}
            }
        }
        self.kinds_least = Some(self.kinds_least.unwrap_or(usize::MAX).min(faults.len()));
        for (fault, count) in faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }

    /// What should have been seen by now and was not; empty while there are too few seeds to tell.
    #[must_use]
    pub fn unseen(&self, scenario: Option<Scenario>) -> Vec<String> {
        if self.seeds < SEEDS_ENOUGH {
            return Vec::new();
        }
        let can = |fault| scenario.is_none_or(|scenario| scenario.can(fault));
        let faults = Fault::ALL.into_iter().filter(|fault| can(*fault) && !self.faults.contains_key(fault));
        let changes = [Change::Take, Change::Steal, Change::Expiry, Change::HandOff].into_iter();
        let changes = changes.filter(|change| !self.changes.contains_key(change));
        faults.map(|fault| format!("{fault:?}")).chain(changes.map(|change| format!("{change:?}"))).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.virtual_time.as_secs_f64() / 3600.0;
        writeln!(f, "{} seeds, {hours:.1} virtual hours", self.seeds)?;
        for (scenario, count) in &self.scenarios {
            writeln!(f, "  {:<16} {count:>10} runs", scenario.name())?;
        }
        writeln!(f, "  {:<16} {:>10}", "records put", self.records)?;
        writeln!(f, "  {:<16} {:>10}", "processed", self.processed)?;
        for change in [Change::Take, Change::Retake, Change::Steal, Change::Expiry, Change::HandOff] {
            let count = self.changes.get(&change).copied().unwrap_or(0);
            writeln!(f, "  {:<16} {count:>10}", format!("{change:?}"))?;
        }
        for fault in Fault::ALL {
            let count = self.faults.get(&fault).copied().unwrap_or(0);
            writeln!(f, "  {:<16} {count:>10}", format!("{fault:?}"))?;
        }
        let least = self.kinds_least.unwrap_or(0);
        write!(f, "  every run had {least} kinds of faults or more")
    }
}
