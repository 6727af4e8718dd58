//! Somebody else's lock, as one worker has seen it: since when its version stands still, on that worker's own clock.

use std::time::Duration;

use crate::clock::Moment;
use crate::coordinator::state::entity::{LeaderLock, LockVersion};
use crate::stream::WorkerId;

/// A version of somebody else's, seen at least once.
#[derive(Debug, Clone)]
pub(super) struct Sighting {
    pub(super) owner: WorkerId,
    version: LockVersion,
    duration: Duration,
    first: Moment,
    last: Moment,
}

impl Sighting {
    /// The lock as seen now; begins to count when its version has not been seen before.
    pub(super) fn of(lock: &LeaderLock, before: Option<Self>, now: Moment) -> Self {
        let before = before.filter(|sighting| sighting.version == lock.version);
        Self {
            owner: lock.owner.clone(),
            version: lock.version.clone(),
            duration: lock.duration,
            first: before.map_or(now, |sighting| sighting.first),
            last: now,
        }
    }

    /// True if the version has been seen unmoved for longer than it may stand still.
    pub(super) fn is_stale(&self) -> bool {
        self.last.since(self.first) > self.duration
    }

    /// True if the version has been seen unmoved for longer than half of that.
    pub(super) fn is_suspect(&self) -> bool {
        self.last.since(self.first) > self.duration / 2
    }

    /// The next moment at which it may become suspect or stale.
    pub(super) fn next_mark(&self, now: Moment) -> Option<Moment> {
        const JUST: Duration = Duration::from_millis(1);
        let marks = [self.duration / 2, self.duration].map(|mark| self.first.after(mark).after(JUST));
        marks.into_iter().find(|mark| *mark > now)
    }
}
