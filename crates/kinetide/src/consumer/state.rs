//! The lifecycle of one shard, without effects.
//!
//! ```text
//!  WaitingOnParents ──parents_done──► Initializing ──initialized──► Processing ──end_reached──┐
//!    │ (a finished lease starts at Done)        │                      │                       │
//!    │                                          │                 stop_requested               │
//!    │ lease_lost,                              │ lease_lost,          ▼                       ▼
//!    │ stop_requested                           │ stop_requested   Notifying ──notified──► Leaving    Ending
//!    ▼                                          ▼                      │                   ▲    │      │ │
//!  Done(LeaseLost | Stopped) ◄──────────────────┘                      └───lease_lost──────┘  left   ended
//!                                                                                               ▼      ▼
//!                                                                              Done(LeaseLost | Stopped | ShardEnded)
//! ```
//!
//! Losing the lease leads from everywhere to the end, through `Leaving` if the processor was initialised: a processor that
//! was never initialised is never told that it lost a lease. `Ending` leaves like `Processing` when the lease is lost or a stop
//! is asked for. Events that a state does not expect change nothing.

/// Where a consumer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The shards it was made from are not finished yet.
    WaitingOnParents,
    /// The processor is being initialised.
    Initializing,
    /// Records are fetched and processed.
    Processing,
    /// The processor is told that a stop is near, its last chance to checkpoint.
    Notifying,
    /// The processor is told that its lease is gone.
    Leaving(Outcome),
    /// Every record was processed: the shards that follow get leases and the processor checkpoints the end.
    Ending,
    /// Over.
    Done(Outcome),
}

/// How a consumer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The lease is no longer held.
    LeaseLost,
    /// A stop was asked for; the lease is to be given back.
    Stopped,
    /// The shard is finished.
    ShardEnded,
}

impl State {
    /// Where a consumer of a fresh lease starts.
    #[must_use]
    pub fn start(is_finished: bool) -> Self {
        if is_finished { Self::Done(Outcome::ShardEnded) } else { Self::WaitingOnParents }
    }

    /// The state's name, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WaitingOnParents => "waiting on parent shards",
            Self::Initializing => "initializing",
            Self::Processing => "processing",
            Self::Notifying => "asked to shut down",
            Self::Leaving(_) => "leaving",
            Self::Ending => "at its end",
            Self::Done(_) => "done",
        }
    }

    /// The parents are finished.
    #[must_use]
    pub fn parents_done(self) -> Self {
        if self == Self::WaitingOnParents { Self::Initializing } else { self }
    }

    /// The processor accepted its start.
    #[must_use]
    pub fn initialized(self) -> Self {
        if self == Self::Initializing { Self::Processing } else { self }
    }

    /// The last record was processed.
    #[must_use]
    pub fn end_reached(self) -> Self {
        if self == Self::Processing { Self::Ending } else { self }
    }

    /// Somebody asked for an orderly stop.
    #[must_use]
    pub fn stop_requested(self) -> Self {
        match self {
            Self::WaitingOnParents | Self::Initializing => Self::Done(Outcome::Stopped),
            Self::Processing | Self::Ending => Self::Notifying,
            other => other,
        }
    }

    /// The processor was told of the stop.
    #[must_use]
    pub fn notified(self) -> Self {
        if self == Self::Notifying { Self::Leaving(Outcome::Stopped) } else { self }
    }

    /// The lease is gone.
    #[must_use]
    pub fn lease_lost(self) -> Self {
        match self {
            Self::WaitingOnParents | Self::Initializing => Self::Done(Outcome::LeaseLost),
            Self::Processing | Self::Notifying | Self::Ending => Self::Leaving(Outcome::LeaseLost),
            other => other,
        }
    }

    /// The end is checkpointed.
    #[must_use]
    pub fn ended(self) -> Self {
        if self == Self::Ending { Self::Done(Outcome::ShardEnded) } else { self }
    }

    /// The processor was told that the lease is gone.
    #[must_use]
    pub fn left(self) -> Self {
        if let Self::Leaving(outcome) = self { Self::Done(outcome) } else { self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVENTS: [fn(State) -> State; 8] = [
        State::parents_done,
        State::initialized,
        State::end_reached,
        State::stop_requested,
        State::notified,
        State::lease_lost,
        State::ended,
        State::left,
    ];

    #[test]
    fn the_three_ways_through() {
        let working = State::start(false).parents_done().initialized();
        assert_eq!(working, State::Processing);
        assert_eq!(working.end_reached().ended(), State::Done(Outcome::ShardEnded));
        assert_eq!(working.lease_lost().left(), State::Done(Outcome::LeaseLost));
        assert_eq!(working.stop_requested().notified().left(), State::Done(Outcome::Stopped));
    }

    #[test]
    fn a_finished_lease_has_nothing_to_do() {
        assert_eq!(State::start(true), State::Done(Outcome::ShardEnded));
    }

    #[test]
    fn who_was_never_initialised_is_told_nothing() {
        let waiting = State::start(false);
        assert_eq!(waiting.lease_lost(), State::Done(Outcome::LeaseLost));
        assert_eq!(waiting.parents_done().stop_requested(), State::Done(Outcome::Stopped));
    }

    proptest! {
        /// Whatever happens in whatever order: what is done stays done, a lost lease always leads out, and nothing is
        /// processed before the parents are finished and the processor is initialised.
        #[test]
        fn every_order_of_events_is_safe(events in prop::collection::vec(0usize..8, 0..40)) {
            let (mut state, mut parents_done, mut initialized) = (State::start(false), false, false);
            for event in events {
                let before = state;
                parents_done |= event == 0;
                initialized |= event == 1 && parents_done;
                state = EVENTS[event](state);
                prop_assert!(!matches!(before, State::Done(_)) || state == before);
                prop_assert!(state != State::Processing || initialized);
                prop_assert!(matches!(state.lease_lost().left(), State::Done(_)));
            }
        }
    }
}
