//! Tells of shards that stand still: each step of a shard has a deadline, and a missed one is said once, as is its end.
//!
//! It only tells. What can be ended by force is bounded where it happens: calls to services by their time-outs, a checkpoint by
//! the life of its lease, a lease by its counter.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Moment;
use crate::event::Event;
use crate::lease::LeaseKey;
use crate::settings::Settings;

/// A step of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// No worker renews its lease, and none takes it.
    Lease,
    /// Its parents are not finished. That may take as long as it takes; what holds up the parent is told of the parent.
    Parents,
    /// The next answer of the stream is waited for.
    Reading,
    /// The processor is in this call.
    Call(&'static str),
    /// The leases of the shards that follow are being written.
    Children,
}

impl Stage {
    fn limit(self, settings: &Settings) -> Option<Duration> {
        let limit = settings.stall_time;
        match self {
            Self::Parents => None,
            Self::Lease => Some(limit.max(settings.failover_time * 3)),
            Self::Reading => Some(limit + settings.idle_time_between_reads.unwrap_or_default()),
            Self::Call(_) | Self::Children => Some(limit),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease => f.write_str("no worker takes its lease"),
            Self::Parents => f.write_str("its parents are not finished"),
            Self::Reading => f.write_str("no answer comes from the stream"),
            Self::Call(call) => write!(f, "its processor has not returned from {call}"),
            Self::Children => f.write_str("the leases of the shards that follow cannot be written"),
        }
    }
}

/// Where one consumer stands, and since when; clones share it.
#[derive(Debug, Clone)]
pub struct Progress(Arc<Mutex<(Stage, Moment)>>);

impl Progress {
    /// In this stage from now on.
    #[must_use]
    pub fn new(stage: Stage, now: Moment) -> Self {
        Self(Arc::new(Mutex::new((stage, now))))
    }

    /// A stage begins, or begins anew.
    pub fn enter(&self, stage: Stage, now: Moment) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (stage, now);
    }

    /// The stage, and when it began.
    #[must_use]
    pub fn now(&self) -> (Stage, Moment) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Remembers which shards were told as stalled.
#[derive(Debug, Default)]
pub struct Watch {
    told: BTreeMap<LeaseKey, (Stage, Moment)>,
}

impl Watch {
    /// What is new, given where every shard stands. A shard that is no longer named here is forgotten.
    pub fn look<'a>(
        &mut self,
        shards: impl IntoIterator<Item = (&'a LeaseKey, (Stage, Moment))>,
        now: Moment,
        settings: &Settings,
    ) -> Vec<Event> {
        let (mut events, mut told) = (Vec::new(), BTreeMap::new());
        for (shard, (stage, since)) in shards {
            let is_over = stage.limit(settings).is_some_and(|limit| now.since(since) > limit);
            match self.told.remove(shard) {
                Some(before) if before == (stage, since) => drop(told.insert(shard.clone(), before)),
                Some((stage, since)) => {
                    let after = now.since(since);
                    events.push(Event::ShardMoved { shard: shard.clone(), stage, after });
                }
                None if is_over => {
                    let lasting = now.since(since);
                    events.push(Event::ShardStalled { shard: shard.clone(), stage, lasting });
                    told.insert(shard.clone(), (stage, since));
                }
                None => {}
            }
        }
        self.told = told;
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(watch: &mut Watch, stage: Stage, since: u64, now: u64) -> Option<String> {
        let at = |seconds| Moment::at(Duration::from_secs(seconds));
        let shard: LeaseKey = "s".parse().unwrap();
        let events = watch.look([(&shard, (stage, at(since)))], at(now), &Settings::default());
        assert!(events.len() < 2);
        events.first().map(ToString::to_string)
    }

    #[test]
    fn a_stall_is_told_once_and_so_is_its_end() {
        let (mut watch, call) = (Watch::default(), Stage::Call("processRecords"));
        assert_eq!(told(&mut watch, call, 10, 70), None);
        let stalled = "s stands still for 61 s: its processor has not returned from processRecords";
        assert_eq!(told(&mut watch, call, 10, 71).as_deref(), Some(stalled));
        assert_eq!(told(&mut watch, call, 10, 500), None);
        let moved = "s moves again after 500 s";
        assert_eq!(told(&mut watch, Stage::Reading, 510, 510).as_deref(), Some(moved));
        assert_eq!(told(&mut watch, Stage::Reading, 510, 511), None);
    }

    #[test]
    fn parents_may_take_their_time() {
        assert_eq!(told(&mut Watch::default(), Stage::Parents, 0, 1_000_000), None);
    }

    #[test]
    fn a_lease_is_given_three_failover_times() {
        let settings = Settings { failover_time: Duration::from_secs(30), ..Settings::default() };
        assert_eq!(Stage::Lease.limit(&settings), Some(Duration::from_secs(90)));
    }
}
