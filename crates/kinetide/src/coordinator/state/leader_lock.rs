//! One worker's dealings with the leader lock, without effects.
//!
//! ```text
//!               saw_nothing, saw_other (released or stale)            applied
//!  Following ─────────────────────────────────────────────► Writing ───────────► Leading
//!   ▲     ▲                                                  │   ▲                │   │
//!   │     │ saw_other                       refused, unknown │   └── beat is due ─┘   │ resigned, stopped
//!   │     └─────────────────── Doubting ◄────────────────────┘                        ▼
//!   │                             └────── saw_ours ──► Leading       gave_up      Releasing
//!   │ rested                                                 ┌────────────────────┘   │
//!  Resting ◄───────────────────────── after resigned ────────┤                        │ refused, unknown
//!                                                            ▼                        ▼
//!  Gone ◄──────────────────────────── after stopped ─────────┘                    Doubting
//! ```
//!
//! A leader whose view of its lock has expired does not lead, but goes on beating: if nobody has taken the lock, it leads again.
//!
//! The lock holds no time. Whoever leads changes its version every third of its duration; whoever follows takes the lock
//! when it has itself seen one version for longer than the duration stored with it, and the write is conditional on that version.
//!
//! Why there are never two who believe they lead: the leader's belief lasts for the duration (less a margin) from the moment
//! *before* its last successful beat was sent. A follower begins to count when an answer *has arrived* that shows this
//! beat's version, which is later, and its write fails if the version has moved since. So its own belief begins after
//! the leader's has ended, if both clocks run at one rate. If a follower's clock runs faster than the leader's by a part `r`, it
//! counts to the duration `r × duration` too early: that is the margin needed, see [`LockTimes::drift_margin`].
//!
//! Why an answer that never came does no harm: a beat counts only once its version is seen or its answer has come, and then from
//! the moment it was sent. Versions are random and never used twice, so a write that arrives late either meets the version it
//! expects, and then nobody else has written since, or fails. One that creates the item may arrive after everybody
//! has forgotten it; it then looks like the lock of a dead worker, and is waited for like one.

mod leaving;
mod message;
mod sighting;

pub use message::{Form, Input, LockTimes, Output};

use super::entity::{LeaderLock, LockVersion};
use crate::clock::Moment;
use crate::rng::Rng;
use crate::stream::WorkerId;

use sighting::Sighting;

/// What this worker wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    Lead,
    Rest { until: Option<Moment> },
    Leave,
}

/// A version of ours, and the moment before it was sent.
#[derive(Debug, Clone)]
struct Beat {
    version: LockVersion,
    sent: Moment,
}

/// The last write, if it has not been answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flight {
    None,
    Beat,
    Release,
}

/// Writes whose answers were lost that are remembered. Later ones push out earlier ones, which then count as somebody else's.
const BEATS_MAX: usize = 4;

/// One worker's view of the leader lock.
#[derive(Debug, Clone)]
pub struct LockUser {
    me: WorkerId,
    times: LockTimes,
    intent: Intent,
    /// The lock is ours, by the last that was heard.
    held: Option<Beat>,
    /// Sent since, and perhaps applied.
    sent: Vec<Beat>,
    flight: Flight,
    /// The item must be read before anything else is done.
    is_doubting: bool,
    sighting: Option<Sighting>,
    terms: u64,
    /// Tries of the release under way.
    releases: u8,
}

impl LockUser {
    /// A worker that has not looked yet.
    #[must_use]
    pub fn new(me: WorkerId, times: LockTimes) -> Self {
        Self {
            me,
            times,
            intent: Intent::Lead,
            held: None,
            sent: Vec::new(),
            flight: Flight::None,
            is_doubting: false,
            sighting: None,
            terms: 0,
            releases: 0,
        }
    }

    /// True while this worker leads. To be asked anew before every act of a leader.
    #[must_use]
    pub fn leads(&self, now: Moment) -> bool {
        let belief = self.times.duration.saturating_sub(self.times.drift_margin);
        self.intent == Intent::Lead && self.held.as_ref().is_some_and(|held| now.since(held.sent) < belief)
    }

    /// How often this worker has become the leader; what a leader remembers is void when this has changed.
    #[must_use]
    pub fn terms(&self) -> u64 {
        self.terms
    }

    /// The worker that leads as far as this one, which does not, has seen.
    #[must_use]
    pub fn leader_seen(&self) -> Option<&WorkerId> {
        self.sighting.as_ref().map(|sighting| &sighting.owner)
    }

    /// True if the leader's version has been seen unmoved for more than half its duration. It may be dead: whoever might
    /// follow it begins to watch the leases, so as to know which have expired when it leads.
    #[must_use]
    pub fn suspects_leader(&self) -> bool {
        self.sighting.as_ref().is_some_and(Sighting::is_suspect)
    }

    /// Takes in what happened and says what to do. `now` is the moment the answer arrived, or the present one.
    pub fn step(&mut self, input: Input, now: Moment, rng: &mut Rng) -> Output {
        match input {
            Input::Tick => self.tick(now, rng),
            Input::Saw(item) => self.saw(item, now, rng),
            Input::ReadFailed => self.wait_to_retry(now),
            Input::Failed => self.failed(now),
            Input::Applied => self.applied(now),
            Input::Refused | Input::Unknown => self.doubted(),
            Input::Resign => self.resigned(now),
            Input::Stop => self.stopped(now),
        }
    }

    fn tick(&mut self, now: Moment, rng: &mut Rng) -> Output {
        match self.intent {
            Intent::Rest { until: Some(until) } if now >= until => self.intent = Intent::Lead,
            _ => {}
        }
        if self.is_doubting || self.flight != Flight::None {
            return self.doubted();
        }
        match (self.intent, &self.held) {
            (Intent::Lead, Some(held)) if now < held.sent.after(self.times.beat_interval) => {
                self.wait_to_beat(held.sent)
            }
            (Intent::Lead, Some(held)) => self.beat(held.version.clone(), now, rng),
            (Intent::Lead, None) => self.doubted(),
            (Intent::Rest { .. } | Intent::Leave, _) => self.give_up(now),
        }
    }

    fn wait_to_beat(&self, sent: Moment) -> Output {
        Output::Wait(sent.after(self.times.beat_interval))
    }

    /// Keeps the lock. Also when this worker's view of it has expired: if nobody has taken it, it leads again.
    fn beat(&mut self, previous: LockVersion, now: Moment, rng: &mut Rng) -> Output {
        match self.fresh_lock(now, rng) {
            Ok(lock) => Output::Heartbeat { previous, lock },
            Err(until) => Output::Wait(until),
        }
    }

    fn acquire(&mut self, form: Form, now: Moment, rng: &mut Rng) -> Output {
        match self.fresh_lock(now, rng) {
            Ok(lock) => Output::Acquire { form, lock },
            Err(until) => Output::Wait(until),
        }
    }

    /// A lock of a version never used before; it counts from now on, before it is sent. While earlier ones are unanswered, not
    /// before some time has passed since the last.
    fn fresh_lock(&mut self, now: Moment, rng: &mut Rng) -> Result<LeaderLock, Moment> {
        let soonest = self.sent.last().map(|beat| beat.sent.after(self.times.retry_interval));
        if let Some(soonest) = soonest.filter(|soonest| now < *soonest) {
            return Err(soonest);
        }
        let version = LockVersion::new(rng.uuid());
        if self.sent.len() == BEATS_MAX {
            self.sent.remove(0);
        }
        self.sent.push(Beat { version: version.clone(), sent: now });
        self.flight = Flight::Beat;
        Ok(LeaderLock { owner: self.me.clone(), duration: self.times.duration, version, is_released: false })
    }

    fn saw(&mut self, item: Option<LeaderLock>, now: Moment, rng: &mut Rng) -> Output {
        self.is_doubting = false;
        self.flight = Flight::None;
        match item {
            None => self.saw_nothing(now, rng),
            Some(lock) => match self.ours(&lock) {
                Some(beat) => self.saw_ours(beat, now),
                None => self.saw_other(lock, now, rng),
            },
        }
    }

    /// The beat whose version this is. A lock of our name and another version is of a former life, or of a write long forgotten:
    /// nobody counts for it, so it is somebody else's.
    fn ours(&self, lock: &LeaderLock) -> Option<Beat> {
        let beats = self.held.iter().chain(&self.sent);
        let mut ours = beats.filter(|beat| !lock.is_released && lock.owner == self.me && beat.version == lock.version);
        ours.next().cloned()
    }

    fn saw_nothing(&mut self, now: Moment, rng: &mut Rng) -> Output {
        self.held = None;
        self.sighting = None;
        match self.intent {
            Intent::Lead => self.acquire(Form::Absent, now, rng),
            Intent::Rest { .. } | Intent::Leave => self.gave_up(now),
        }
    }

    /// A write of ours was applied after all.
    fn saw_ours(&mut self, beat: Beat, now: Moment) -> Output {
        self.sent.retain(|other| other.version != beat.version);
        self.holds(beat, now)
    }

    fn saw_other(&mut self, lock: LeaderLock, now: Moment, rng: &mut Rng) -> Output {
        self.held = None;
        let sighting = Sighting::of(&lock, self.sighting.take(), now);
        let is_stale = sighting.is_stale();
        self.sighting = Some(sighting);
        match self.intent {
            Intent::Lead if lock.is_released => self.acquire(Form::Released, now, rng),
            Intent::Lead if is_stale => self.acquire(Form::Stale { observed: lock.version }, now, rng),
            Intent::Lead => self.wait_for_leader(now),
            Intent::Rest { .. } | Intent::Leave => self.gave_up(now),
        }
    }

    /// Looks at every interval, and at the first moments at which the leader is suspect and its lock stale.
    fn wait_for_leader(&self, now: Moment) -> Output {
        let poll = now.after(self.times.poll_interval);
        let mark = self.sighting.as_ref().and_then(|sighting| sighting.next_mark(now));
        Output::Wait(mark.map_or(poll, |mark| mark.min(poll)))
    }

    fn wait_to_retry(&self, now: Moment) -> Output {
        Output::Wait(now.after(self.times.retry_interval))
    }

    /// What was not sent cannot arrive; the item is read before the next try all the same.
    fn failed(&mut self, now: Moment) -> Output {
        if self.flight == Flight::Beat {
            self.sent.pop();
        }
        self.doubted();
        self.wait_to_retry(now)
    }

    /// What a write has come to is not known: the item tells.
    fn doubted(&mut self) -> Output {
        self.flight = Flight::None;
        self.is_doubting = true;
        Output::Read
    }

    fn applied(&mut self, now: Moment) -> Output {
        match std::mem::replace(&mut self.flight, Flight::None) {
            Flight::Beat => match self.sent.pop() {
                Some(beat) => {
                    self.sent.clear();
                    self.holds(beat, now)
                }
                None => self.doubted(),
            },
            Flight::Release => self.gave_up(now),
            Flight::None => self.doubted(),
        }
    }

    /// The lock is ours, since the moment before this beat was sent.
    fn holds(&mut self, beat: Beat, now: Moment) -> Output {
        let led = self.leads(now);
        let sent = beat.sent;
        self.held = Some(beat);
        self.sighting = None;
        self.terms += u64::from(!led && self.leads(now));
        match self.intent {
            Intent::Lead => self.wait_to_beat(sent),
            Intent::Rest { .. } | Intent::Leave => self.release(now),
        }
    }
}

#[cfg(test)]
mod tests;
