//! What the machine of the leader lock takes in and gives out, and its times.

use std::time::Duration;

use crate::clock::Moment;
use crate::coordinator::state::entity::{LeaderLock, LockVersion};

/// How often things are done about the lock, and when it counts as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockTimes {
    /// Stored with the lock: others may take it when its version has stood still for this long.
    pub duration: Duration,
    /// Between two beats of the leader.
    pub beat_interval: Duration,
    /// Between two looks of a follower.
    pub poll_interval: Duration,
    /// Before a read or a write that failed is tried again.
    pub retry_interval: Duration,
    /// By how much earlier than the duration the leader stops to believe that it leads. It covers clocks of which one runs
    /// faster by `drift_margin / duration` than another.
    pub drift_margin: Duration,
}

impl LockTimes {
    /// A lock that lasts as long as a lease, so that a dead leader is replaced about when its leases are taken; Java workers
    /// read the duration from the item and take over as soon. The clocks of two workers may differ by 2 %.
    #[must_use]
    pub fn of_failover(failover: Duration) -> Self {
        let third = failover / 3;
        Self {
            duration: failover,
            beat_interval: third,
            poll_interval: third,
            retry_interval: failover / 16,
            drift_margin: failover / 50,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The moment that was waited for has come.
    Tick,
    /// A consistent read has been answered: the item, or none.
    Saw(Option<LeaderLock>),
    /// A read failed.
    ReadFailed,
    /// The last write was applied.
    Applied,
    /// The last write's condition did not hold.
    Refused,
    /// The last write may have been applied, now or later.
    Unknown,
    /// The last write was certainly not applied, for a reason that may pass.
    Failed,
    /// This worker cannot lead well and lets others try.
    Resign,
    /// This worker goes: it gives the lock back and never takes it again.
    Stop,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Read the item, consistently; then [`Input::Saw`] or [`Input::ReadFailed`].
    Read,
    /// Put this lock if the item is as the form says; then an answer.
    Acquire {
        /// What the item must be like.
        form: Form,
        /// The whole item to be.
        lock: LeaderLock,
    },
    /// Change version and duration if the item is ours and of this version; then an answer.
    Heartbeat {
        /// The version it must have.
        previous: LockVersion,
        /// What it shall be.
        lock: LeaderLock,
    },
    /// Delete the item if it is ours and of this version; then an answer.
    Release {
        /// The version it must have.
        version: LockVersion,
    },
    /// Nothing until then; then [`Input::Tick`].
    Wait(Moment),
    /// Nothing, for ever.
    Done,
}

/// What the item must be like for the lock to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// There is none.
    Absent,
    /// It is there and released.
    Released,
    /// It is there and its version is still this one, which has stood still for too long.
    Stale {
        /// The version.
        observed: LockVersion,
    },
}
