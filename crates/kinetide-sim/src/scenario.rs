//! What kinds of runs there are: which faults each must and may have.

use crate::fault::Fault;

/// A kind of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Scenario {
    /// A fleet that nobody stops, with the small troubles of every day.
    Steady,
    /// Workers die and come back.
    Crashes,
    /// Shards split and merge.
    Reshard,
    /// The lease table fails in every way.
    FlakyTable,
    /// Workers lose one of the two services.
    Partition,
    /// Workers stand still for longer than their leases live.
    PauseResume,
    /// Workers are replaced one after the other, and the fleet grows and shrinks.
    Rolling,
    /// Everything at once.
    Chaos,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Steady,
        Self::Crashes,
        Self::Reshard,
        Self::FlakyTable,
        Self::Partition,
        Self::PauseResume,
        Self::Rolling,
        Self::Chaos,
    ];

    /// Faults that every run of it has.
    #[must_use]
    pub fn must(self) -> &'static [Fault] {
        use Fault::{
            Crash, Delay, FailAfter, FailBefore, Merge, PartitionStream, PartitionTable, Pause, Shutdown,
            SlowProcessor, Split, Stop, Throttle,
        };
        match self {
            Self::Steady => &[Delay, Throttle, FailBefore],
            Self::Crashes => &[Crash, Delay, SlowProcessor],
            Self::Reshard => &[Split, Merge, Delay],
            Self::FlakyTable => &[FailBefore, FailAfter, Throttle],
            Self::Partition => &[PartitionTable, PartitionStream, Delay],
            Self::PauseResume => &[Pause, Delay, SlowProcessor],
            Self::Rolling => &[Shutdown, Stop, Delay],
            Self::Chaos => &[Crash, Split, FailAfter],
        }
    }

    /// Faults that a run of it may have besides.
    #[must_use]
    pub fn may(self) -> &'static [Fault] {
        use Fault::{
            ClockDrift, ClockSkew, ClockStep, Delay, EndCutShort, FailAfter, FailBefore, FailingProcessor, Hang,
            IteratorExpired, LateEffect, Merge, ScaleDown, ScaleUp, ShardExpiry, SlowProcessor, Split, StaleRead,
            Throttle,
        };
        match self {
            Self::Steady => {
                &[StaleRead, SlowProcessor, FailingProcessor, ClockSkew, ClockDrift, ClockStep, IteratorExpired]
            }
            Self::Crashes => &[FailAfter, LateEffect, StaleRead, FailingProcessor, Split, ClockSkew, ClockStep],
            Self::Reshard => {
                &[ShardExpiry, EndCutShort, FailAfter, FailBefore, StaleRead, SlowProcessor, ScaleUp, Throttle]
            }
            Self::FlakyTable => &[LateEffect, Hang, StaleRead, Delay, FailingProcessor, Split],
            Self::Partition => &[Hang, FailAfter, StaleRead, IteratorExpired, ClockSkew, ClockDrift, Split],
            Self::PauseResume => &[LateEffect, StaleRead, FailAfter, Hang, ClockDrift, Split, Merge],
            Self::Rolling => &[ScaleUp, ScaleDown, StaleRead, FailAfter, FailingProcessor, SlowProcessor, Split],
            Self::Chaos => &Fault::ALL,
        }
    }

    /// True if a run of it can have this fault.
    #[must_use]
    pub fn can(self, fault: Fault) -> bool {
        let is_restart = matches!(fault, Fault::RestartSameId | Fault::RestartNewId);
        let cause = if is_restart { Fault::Crash } else { fault };
        self.must().contains(&cause) || self.may().contains(&cause)
    }

    /// How many times more often calls fail than in an ordinary run.
    #[must_use]
    pub fn severity(self) -> f64 {
        if self == Self::FlakyTable { 4.0 } else { 1.0 }
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Crashes => "crashes",
            Self::Reshard => "reshard",
            Self::FlakyTable => "flaky-table",
            Self::Partition => "partition",
            Self::PauseResume => "pause-resume",
            Self::Rolling => "rolling",
            Self::Chaos => "chaos",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_three_faults_and_every_fault_a_scenario() {
        assert!(Scenario::ALL.iter().all(|scenario| scenario.must().len() >= 3));
        for fault in Fault::ALL {
            assert!(Scenario::ALL.iter().any(|scenario| scenario.can(fault)), "{fault:?}");
        }
    }
}
