//! What is explored: how many workers and leases, what may happen to them, how deep; and what may be broken on purpose.

use std::time::Duration;

use kinetide::Settings;

use super::rows::LEASES_MAX;
use super::step::Step;

/// How often the rare things may still happen on one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Budget {
    /// Writes whose answer is lost, whether they have their effect now, later or never.
    pub(crate) answers_lost: u8,
    /// Workers that forget everything. One that never comes back is one that takes no more steps.
    pub(crate) crashes: u8,
    /// Rows deleted by hand.
    pub(crate) deletions: u8,
    /// Hand-offs offered by a leader of a 3.x fleet.
    pub(crate) hand_offs: u8,
    /// Leases given back although they are not done, as a worker that stops does.
    pub(crate) releases: u8,
}

/// One exploration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    pub(crate) workers: usize,
    /// The children of each lease. Those of a child are created at the end of its parent, the others are there at
    /// first.
    pub(crate) children: &'static [&'static [usize]],
    /// Checkpoints go up to this number, then only to the end.
    pub(crate) checkpoint_max: u8,
    pub(crate) has_prepares: bool,
    pub(crate) has_cleanup: bool,
    pub(crate) has_priority: bool,
    /// Leases of living workers are asked for, not taken.
    pub(crate) is_graceful: bool,
    /// A hand may delete any row at any time, not only one whose holder will notice.
    pub(crate) is_any_row_deleted: bool,
    pub(crate) budget: Budget,
    /// What has happened before the first state.
    pub(crate) prelude: &'static [Step],
    /// Steps from the first state; every path up to here is walked.
    pub(crate) depth: usize,
    /// So many states must be found, or the exploration has shrunk without anybody noticing.
    pub(crate) states_min: usize,
    pub(crate) transitions_min: usize,
    /// From each so-manieth state, in the order of discovery, the fair run is tried: 1 is all of them, 0 none.
    pub(crate) fair_every: usize,
    pub(crate) broken: Option<Broken>,
}

/// Ways to break a worker, or the table it talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Renews whatever the counter is.
    RenewsUnconditionally,
    /// Checkpoints whatever the counter is.
    CheckpointsUnconditionally,
    /// Takes whatever the counter is.
    TakesUnconditionally,
    /// Takes and leaves the counter as it is.
    TakesWithoutCounter,
    /// Takes a lease it has asked for in vain, even if it was finished meanwhile.
    TakesFinished,
    /// Gives back whoever owns it.
    ReleasesUnconditionally,
    /// Takes any row that bears its name for its own, whatever the counter, and whoever still processes it.
    AdoptsByName,
    /// Never takes a row for its own: a lost answer is a lost lease.
    NeverAdopts,
    /// Takes a request to hand a lease over for its loss.
    IgnoresRequests,
    /// Does not look at its clock: a lease it could not renew in time is still its own.
    NeverLapses,
    /// Deletes finished leases that an earlier holder may not have met.
    DeletesUnsettled,
    /// Checkpoints the end before its children have leases.
    EndsBeforeChildren,
    /// Processes a child while its parent is not done.
    ReadsChildrenFirst,
    /// Writes again what it knew when its row is gone, but counts anew.
    RestoresFromStart,
    /// Takes only what nobody owns: the leases of the dead stay theirs.
    NeverTakesExpired,
    /// A prepared checkpoint takes the checkpoint back to the start.
    LowersOnPrepare,
    /// Takes and leaves the old owner of a hand-off in the row.
    LeavesCheckpointOwner,
    /// The table does not count a change of owner.
    ForgetsSwitches,
}

impl Broken {
    /// It has no consequences but a wrong attribute, so only the model can find it.
    pub(crate) fn is_for_the_model(self) -> bool {
        matches!(self, Self::ForgetsSwitches)
    }
}

/// The time that passes in one tick: a little more than half a failover time, so that a lease outlives one tick without
/// a renewal and not two.
pub(crate) const TICK: Duration = Duration::from_millis(5_001);

impl Config {
    pub(crate) fn leases(&self) -> usize {
        self.children.len()
    }

    /// The leases that lead to this one.
    pub(crate) fn parents(&self, lease: usize) -> impl Iterator<Item = usize> {
        let children = self.children;
        (0..children.len()).filter(move |parent| children[*parent].contains(&lease))
    }

    /// Its shard is closed: its end can be reached.
    pub(crate) fn is_closed(&self, lease: usize) -> bool {
        !self.children[lease].is_empty()
    }

    pub(crate) fn has_family(&self, lease: usize) -> bool {
        self.is_closed(lease) || self.parents(lease).next().is_some()
    }

    pub(crate) fn settings(&self) -> Settings {
        let settings = Settings {
            priority_lease_assignment: self.has_priority,
            graceful_hand_off: self.is_graceful,
            hand_off_time: Duration::from_secs(5),
            ..Settings::default()
        };
        assert!(TICK < settings.failover_time && TICK * 2 > settings.failover_time, "the model's ticks rest on this");
        assert!(self.children.len() <= LEASES_MAX, "no room for so many leases");
        settings
    }
}
