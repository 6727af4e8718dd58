//! How a worker gives the leader lock back: for a while, or for good.
//!
//! It ceases to lead before it says so to anybody, so that nobody it hands over to can lead beside it.

use super::{Flight, Intent, LockUser, Output};
use crate::clock::Moment;

/// Tries to release the lock; after that it is left to go stale.
pub(super) const RELEASES_MAX: u8 = 3;

impl LockUser {
    /// From this moment on this worker does not lead; the others learn of it by the release.
    pub(super) fn resigned(&mut self, now: Moment) -> Output {
        if self.intent == Intent::Lead {
            self.intent = Intent::Rest { until: None };
        }
        self.give_up(now)
    }

    pub(super) fn stopped(&mut self, now: Moment) -> Output {
        self.intent = Intent::Leave;
        self.give_up(now)
    }

    /// Releases the lock; if a write is under way, the item must tell first which version it has.
    pub(super) fn give_up(&mut self, now: Moment) -> Output {
        match (&self.held, self.sent.is_empty()) {
            (None, true) => self.gave_up(now),
            (Some(_), true) => self.release(now),
            (_, false) => self.doubted(),
        }
    }

    pub(super) fn release(&mut self, now: Moment) -> Output {
        match &self.held {
            Some(held) if self.releases < RELEASES_MAX => {
                self.flight = Flight::Release;
                self.releases += 1;
                Output::Release { version: held.version.clone() }
            }
            _ => self.gave_up(now),
        }
    }

    /// Nothing is ours any more, or is left to go stale. Whoever resigned leaves the others time for two looks.
    pub(super) fn gave_up(&mut self, now: Moment) -> Output {
        (self.held, self.releases) = (None, 0);
        self.sent.clear();
        match self.intent {
            Intent::Leave => Output::Done,
            Intent::Lead => self.doubted(),
            Intent::Rest { until } => {
                let until = until.unwrap_or_else(|| now.after(self.times.poll_interval * 2));
                self.intent = Intent::Rest { until: Some(until) };
                Output::Wait(until)
            }
        }
    }
}
