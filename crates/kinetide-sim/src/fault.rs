//! The kinds of faults, as data.

/// Everything that a run can do to its fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A call fails and has no effect.
    FailBefore,
    /// A call has its effect and its answer is lost.
    FailAfter,
    /// A call fails for its caller, and a write has its effect seconds later.
    LateEffect,
    /// A call or its answer takes long.
    Delay,
    /// A call fails after as long as the clients wait.
    Hang,
    /// A call is refused: too many.
    Throttle,
    /// A scan shows rows as they were a moment ago.
    StaleRead,
    /// An iterator is refused as expired.
    IteratorExpired,
    /// The last answer of a shard does not say which shards follow.
    EndCutShort,
    /// A worker does not reach the lease table.
    PartitionTable,
    /// A worker does not reach the stream.
    PartitionStream,
    /// A worker does not reach anything and its processors stand still, for longer than its leases; then all goes on.
    Pause,
    /// A worker dies without a word.
    Crash,
    /// A dead worker is started again under its id.
    RestartSameId,
    /// A dead worker is started again under another id.
    RestartNewId,
    /// A worker is stopped in an orderly way and started again.
    Shutdown,
    /// A worker is stopped at once, gives its leases back, and is started again.
    Stop,
    /// A worker's wall clock is wrong.
    ClockSkew,
    /// A worker's monotonic clock is too fast or too slow.
    ClockDrift,
    /// A worker's wall clock is set to another time while it runs.
    ClockStep,
    /// A worker is added.
    ScaleUp,
    /// A worker is stopped for good.
    ScaleDown,
    /// A shard is split.
    Split,
    /// Two shards are merged.
    Merge,
    /// A finished shard is no longer listed: its records are older than the stream keeps.
    ShardExpiry,
    /// A processor takes longer than a lease lives.
    SlowProcessor,
    /// A processor fails and gets its batch again.
    FailingProcessor,
}

impl Fault {
    /// All kinds, in the order of the summary.
    pub const ALL: [Self; 27] = [
        Self::FailBefore,
        Self::FailAfter,
        Self::LateEffect,
        Self::Delay,
        Self::Hang,
        Self::Throttle,
        Self::StaleRead,
        Self::IteratorExpired,
        Self::EndCutShort,
        Self::PartitionTable,
        Self::PartitionStream,
        Self::Pause,
        Self::Crash,
        Self::RestartSameId,
        Self::RestartNewId,
        Self::Shutdown,
        Self::Stop,
        Self::ClockSkew,
        Self::ClockDrift,
        Self::ClockStep,
        Self::ScaleUp,
        Self::ScaleDown,
        Self::Split,
        Self::Merge,
        Self::ShardExpiry,
        Self::SlowProcessor,
        Self::FailingProcessor,
    ];

    /// True if it befalls one call to a service.
    #[must_use]
    pub fn is_of_calls(self) -> bool {
        CALLS.contains(&self)
    }

    /// True if the director does it, at a time of its choice.
    #[must_use]
    pub fn is_of_director(self) -> bool {
        DIRECTED.contains(&self)
    }
}

/// What befalls single calls.
pub const CALLS: [Fault; 9] = [
    Fault::FailBefore,
    Fault::FailAfter,
    Fault::LateEffect,
    Fault::Delay,
    Fault::Hang,
    Fault::Throttle,
    Fault::StaleRead,
    Fault::IteratorExpired,
    Fault::EndCutShort,
];

/// What the director does; restarts follow from crashes.
const DIRECTED: [Fault; 11] = [
    Fault::ClockStep,
    Fault::PartitionTable,
    Fault::PartitionStream,
    Fault::Pause,
    Fault::Crash,
    Fault::Shutdown,
    Fault::Stop,
    Fault::ScaleUp,
    Fault::ScaleDown,
    Fault::Split,
    Fault::Merge,
];

/// One of the two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The lease table.
    Table,
    /// The stream.
    Stream,
}

/// A fault that befalls single calls: which kind, to which service, how often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CallFault {
    /// The kind.
    pub fault: Fault,
    /// Only calls to this service; `None`: to both.
    pub service: Option<Service>,
    /// Of so many calls, from 0 to 1.
    pub probability: f64,
}

impl CallFault {
    /// True if it can befall a call of this kind at all.
    #[must_use]
    pub fn applies(&self, service: Service, operation: &str, is_write: bool) -> bool {
        let is_possible = match self.fault {
            Fault::LateEffect => is_write,
            Fault::StaleRead => operation == "list",
            Fault::IteratorExpired | Fault::EndCutShort => operation == "get_records",
            _ => true,
        };
        is_possible && self.service.is_none_or(|only| only == service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once() {
        let mut all = Fault::ALL.to_vec();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), Fault::ALL.len());
        assert!(CALLS.iter().all(|fault| Fault::ALL.contains(fault) && !fault.is_of_director()));
    }

    #[test]
    fn a_fault_befalls_only_calls_it_can() {
        let stale = CallFault { fault: Fault::StaleRead, service: None, probability: 1.0 };
        assert!(stale.applies(Service::Table, "list", false));
        assert!(!stale.applies(Service::Table, "get", false));
        let late = CallFault { fault: Fault::LateEffect, service: Some(Service::Table), probability: 1.0 };
        assert!(late.applies(Service::Table, "update", true) && !late.applies(Service::Stream, "list", false));
    }
}
