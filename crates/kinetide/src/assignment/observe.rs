//! What this worker has seen of the leases: when each counter last moved, on this worker's own monotonic clock.
//!
//! Expiry is decided from this alone. No time is ever stored in the table or compared between machines.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Moment;
use crate::lease::{Lease, LeaseKey};

/// When each lease's counter last moved, as far as this worker has seen.
#[derive(Debug, Clone, Default)]
pub struct Observations {
    seen: HashMap<LeaseKey, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    counter: u64,
    /// When this counter was first seen.
    since: Moment,
    /// `None`: unowned when first seen, which counts as the oldest of all.
    moved_at: Option<Moment>,
}

impl Observations {
    /// Takes note of a fresh listing; forgets leases that are no longer in it.
    pub fn update(&mut self, leases: &[Lease], now: Moment) {
        let next = leases.iter().map(|lease| (lease.key.clone(), self.look(lease, now))).collect();
        self.seen = next;
    }

    fn look(&self, lease: &Lease, now: Moment) -> Seen {
        match self.seen.get(&lease.key) {
            Some(seen) if seen.counter == lease.counter => *seen,
            Some(_) => Seen { counter: lease.counter, since: now, moved_at: Some(now) },
            None => Seen { counter: lease.counter, since: now, moved_at: lease.owner.as_ref().map(|_| now) },
        }
    }

    /// The next moment at which a suspect among these leases will have stood still for this long: one whose counter did not
    /// move between the last two looks. `None` if there is no such moment to come.
    #[must_use]
    pub fn next_expiry<'a>(
        &self,
        leases: impl IntoIterator<Item = &'a Lease>,
        now: Moment,
        duration: Duration,
    ) -> Option<Moment> {
        let moved = leases.into_iter().filter_map(|lease| self.seen.get(&lease.key)?.moved_at);
        let suspects = moved.filter(|moved_at| *moved_at < now);
        suspects.map(|moved_at| moved_at.after(duration)).filter(|expiry| *expiry >= now).min()
    }

    /// When this worker first saw the counter that stands now.
    #[must_use]
    pub fn seen_since(&self, key: &LeaseKey) -> Option<Moment> {
        self.seen.get(key).map(|seen| seen.since)
    }

    /// How long this worker itself has watched the counter stand still; zero if it has not seen the lease.
    #[must_use]
    pub fn watched_still_for(&self, key: &LeaseKey, now: Moment) -> Duration {
        self.seen.get(key).map_or(Duration::ZERO, |seen| now.since(seen.since))
    }

    /// How long the counter has stood still; `None`: since before it was first seen, unowned.
    #[must_use]
    pub fn still_for(&self, key: &LeaseKey, now: Moment) -> Option<Duration> {
        self.seen.get(key).and_then(|seen| seen.moved_at).map(|moved_at| now.since(moved_at))
    }

    /// True if the counter has stood still for longer than this.
    #[must_use]
    pub fn is_still_for(&self, key: &LeaseKey, now: Moment, duration: Duration) -> bool {
        self.still_for(key, now).is_none_or(|still| still > duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Checkpoint, ShardId, WorkerId};

    fn lease(counter: u64, owner: Option<&str>) -> Lease {
        Lease {
            counter,
            owner: owner.map(|name| WorkerId::new(name).unwrap()),
            ..Lease::new(ShardId::new("s").unwrap(), Checkpoint::TrimHorizon)
        }
    }

    fn at(seconds: u64) -> Moment {
        Moment::at(Duration::from_secs(seconds))
    }

    #[test]
    fn an_owned_lease_is_young_when_first_seen_and_ages_while_its_counter_stands() {
        let mut observations = Observations::default();
        let held = lease(5, Some("a"));
        let (key, ten) = (held.key.clone(), Duration::from_secs(10));
        observations.update(std::slice::from_ref(&held), at(100));
        assert!(!observations.is_still_for(&key, at(110), ten));
        observations.update(std::slice::from_ref(&held), at(111));
        assert!(observations.is_still_for(&key, at(111), ten));
        let expiry = observations.next_expiry([&held], at(105), ten);
        assert_eq!(expiry, Some(at(110)));
        assert_eq!(observations.next_expiry([&held], at(100), ten), None, "it moved just now");
        assert_eq!(observations.next_expiry([&held], at(111), ten), None);
        observations.update(&[lease(6, Some("a"))], at(112));
        assert_eq!(observations.still_for(&key, at(113)), Some(Duration::from_secs(1)));
        // A counter that went back moved too: somebody edited the row.
        observations.update(&[lease(2, Some("a"))], at(114));
        assert_eq!(observations.still_for(&key, at(114)), Some(Duration::ZERO));
    }

    #[test]
    fn an_unowned_lease_is_the_oldest_of_all() {
        let mut observations = Observations::default();
        let free = lease(0, None);
        observations.update(std::slice::from_ref(&free), at(1));
        assert_eq!(observations.still_for(&free.key, at(1)), None);
        assert_eq!(observations.watched_still_for(&free.key, at(3)), Duration::from_secs(2));
        assert!(observations.is_still_for(&free.key, at(1), Duration::from_secs(3600)));
    }

    #[test]
    fn a_vanished_lease_is_forgotten() {
        let mut observations = Observations::default();
        let held = lease(5, Some("a"));
        observations.update(std::slice::from_ref(&held), at(1));
        observations.update(&[], at(2));
        observations.update(std::slice::from_ref(&held), at(100));
        assert_eq!(observations.still_for(&held.key, at(100)), Some(Duration::ZERO));
    }
}
