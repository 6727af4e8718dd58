//! One worker's connection to the two services: how long calls take, which fail, and whether they get through at all.
//!
//! Each kind of call about each shard draws from a generator of its own, so what becomes of a call depends on the calls of
//! its kind before it, and not on what else happened in the same instant.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kinetide::clock::Moment;
use kinetide::stream::ShardId;
use kinetide::{Clock, Rng};

use crate::fault::{CallFault, Fault, Service};
use crate::history::{History, Life, What};

/// As long as the clients wait for an answer.
const CALL_TIME_MAX: Duration = Duration::from_secs(30);
/// How old a stale read may be.
pub const STALE_MAX: Duration = Duration::from_millis(1_500);
/// Of so many shards that a worker finishes, it dies with one.
const DEATHS_AT_END: f64 = 0.1;
/// Longer than any run.
const DEATH: Duration = Duration::from_secs(24 * 3600);
/// How late a late effect may be.
const LATE_MAX: Duration = Duration::from_secs(20);

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It gets through.
    Pass,
    /// It fails without effect.
    Refused,
    /// It is throttled.
    Throttled,
    /// It has its effect and its answer is lost.
    AnswerLost,
    /// It fails now, and has its effect so much later.
    Late(Duration),
    /// It gets through and sees what was there so long ago.
    Stale(Duration),
    /// Its iterator is refused.
    IteratorExpired,
    /// Its answer leaves out the shards that follow.
    EndCutShort,
}

/// What a call is.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// To whom.
    pub service: Service,
    /// Its name.
    pub operation: &'static str,
    /// Whether it changes anything.
    pub is_write: bool,
    /// The shard it is about, if any.
    pub shard: Option<&'a ShardId>,
}

/// One worker's connection; clones share it.
#[derive(Debug, Clone)]
pub struct Link(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    life: Life,
    clock: Clock,
    history: History,
    faults: Vec<CallFault>,
    /// Shared by every link of a run: from now on nothing fails.
    healed: Arc<AtomicBool>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    seed: u64,
    rngs: BTreeMap<(&'static str, &'static str, Option<ShardId>), Rng>,
    /// It dies where it stands; whoever looks buries it.
    is_dying: bool,
    paused_until: Option<Moment>,
    table_cut_until: Option<Moment>,
    stream_cut_until: Option<Moment>,
}

impl Link {
    /// A connection on which these faults befall calls, until `healed` is set.
    #[must_use]
    pub fn new(
        life: Life,
        history: History,
        clock: Clock,
        faults: &[CallFault],
        healed: Arc<AtomicBool>,
        seed: u64,
    ) -> Self {
        let state = State {
            seed,
            rngs: BTreeMap::new(),
            is_dying: false,
            paused_until: None,
            table_cut_until: None,
            stream_cut_until: None,
        };
        Self(Arc::new(Shared { life, clock, history, faults: faults.to_vec(), healed, state: Mutex::new(state) }))
    }

    /// Whose it is.
    #[must_use]
    pub fn life(&self) -> Life {
        self.0.life
    }

    /// What happens.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.0.history
    }

    /// Adds a fault to the history.
    pub fn tell(&self, fault: Fault, detail: &'static str, millis: u64) {
        self.0.history.add_fault(self.0.life, fault, detail, millis);
    }

    /// The clock of the services.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// True once nothing fails any more.
    #[must_use]
    pub fn is_healed(&self) -> bool {
        self.0.healed.load(Ordering::Relaxed)
    }

    /// Holds up everything for so long.
    pub fn pause(&self, duration: Duration) {
        self.lock().paused_until = Some(self.0.clock.monotonic().after(duration));
    }

    /// Draws whether the worker dies now, having finished this shard: from here on nothing of it gets through.
    pub fn may_die(&self, shard: &ShardId) {
        let end = Call { service: Service::Table, operation: "the end", is_write: true, shard: Some(shard) };
        let mut state = self.lock();
        if !self.is_healed() && state.rng(end, "death").unit() < DEATHS_AT_END {
            state.is_dying = true;
            state.paused_until = Some(self.0.clock.monotonic().after(DEATH));
        }
    }

    /// True if the worker is to be buried.
    #[must_use]
    pub fn is_dying(&self) -> bool {
        self.lock().is_dying
    }

    /// Cuts the connection to one service for so long.
    pub fn cut(&self, service: Service, duration: Duration) {
        let until = Some(self.0.clock.monotonic().after(duration));
        let mut state = self.lock();
        match service {
            Service::Table => state.table_cut_until = until,
            Service::Stream => state.stream_cut_until = until,
        }
    }

    /// Stands still while the worker is paused.
    pub async fn stand_still(&self) {
        loop {
            let now = self.0.clock.monotonic();
            let until = self.lock().paused_until.filter(|until| *until > now);
            match until {
                Some(until) => self.0.clock.sleep_until(until).await,
                None => return,
            }
        }
    }

    /// Carries a call to its service: takes its time, and says what becomes of it.
    pub async fn carry(&self, call: Call<'_>) -> Verdict {
        self.stand_still().await;
        self.wait(self.latency(call)).await;
        if let Some(wait) = self.cut_for(call) {
            self.wait(wait).await;
            return Verdict::Refused;
        }
        let Some(fault) = self.strike(call) else { return Verdict::Pass };
        let (verdict, wait) = self.judge(fault, call);
        // Whether an answer is one that can be cut short is not known yet.
        if verdict != Verdict::EndCutShort {
            let millis = match verdict {
                Verdict::Late(by) | Verdict::Stale(by) => by,
                _ => wait,
            };
            let millis = u64::try_from(millis.as_millis()).unwrap_or(u64::MAX);
            let what = What::Fault { fault, detail: call.operation, millis, shard: call.shard.cloned() };
            self.0.history.add(self.0.life, what);
        }
        self.wait(wait).await;
        verdict
    }

    /// Carries the answer back; false: it is lost.
    pub async fn answer(&self, call: Call<'_>) -> bool {
        self.wait(self.latency(call)).await;
        self.wait(self.hold_up(call)).await;
        self.stand_still().await;
        self.cut_for(call).is_none()
    }

    /// The fault that befalls this call, if one does.
    fn strike(&self, call: Call<'_>) -> Option<Fault> {
        if self.is_healed() {
            return None;
        }
        let possible = self.0.faults.iter().filter(|fault| fault.applies(call.service, call.operation, call.is_write));
        let mut state = self.lock();
        let rng = state.rng(call, "call");
        possible.into_iter().find(|fault| rng.unit() < fault.probability).map(|fault| fault.fault)
    }

    /// How long an answer takes that is delayed.
    fn hold_up(&self, call: Call<'_>) -> Duration {
        let is_delay =
            |fault: &&CallFault| fault.fault == Fault::Delay && fault.service.is_none_or(|only| only == call.service);
        let Some(delay) = self.0.faults.iter().find(is_delay).filter(|_| !self.is_healed()) else {
            return Duration::ZERO;
        };
        // Answers draw from a generator of their own, so that the calls' draws stay as they are.
        let mut state = self.lock();
        let rng = state.rng(call, "answer");
        if rng.unit() >= delay.probability {
            return Duration::ZERO;
        }
        let wait = rng.duration_to(Duration::from_secs(3));
        drop(state);
        self.tell(Fault::Delay, "an answer", u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        wait
    }

    /// What a fault means for a call, and how long that takes.
    fn judge(&self, fault: Fault, call: Call<'_>) -> (Verdict, Duration) {
        let mut state = self.lock();
        let rng = state.rng(call, "call");
        let short = rng.duration_to(Duration::from_millis(500));
        match fault {
            Fault::Throttle => (Verdict::Throttled, Duration::ZERO),
            // Mostly short; now and then longer than a lease lives.
            Fault::Delay if rng.below(20) == 0 => (Verdict::Pass, rng.duration_to(CALL_TIME_MAX)),
            Fault::Delay => (Verdict::Pass, rng.duration_to(Duration::from_secs(3))),
            Fault::Hang => (Verdict::Refused, CALL_TIME_MAX),
            Fault::StaleRead => (Verdict::Stale(rng.duration_to(STALE_MAX)), Duration::ZERO),
            Fault::LateEffect => (Verdict::Late(rng.duration_to(LATE_MAX)), short),
            Fault::FailAfter if call.is_write => (Verdict::AnswerLost, short),
            Fault::IteratorExpired => (Verdict::IteratorExpired, Duration::ZERO),
            Fault::EndCutShort => (Verdict::EndCutShort, Duration::ZERO),
            _ => (Verdict::Refused, short),
        }
    }

    fn latency(&self, call: Call<'_>) -> Duration {
        let mut state = self.lock();
        let rng = state.rng(call, "call");
        match rng.below(10) {
            0..=5 => Duration::ZERO,
            _ => Duration::from_millis(1 + rng.below(12) as u64),
        }
    }

    /// While the connection is cut: how long a call takes to fail.
    fn cut_for(&self, call: Call<'_>) -> Option<Duration> {
        let mut state = self.lock();
        let until = match call.service {
            Service::Table => state.table_cut_until,
            Service::Stream => state.stream_cut_until,
        };
        let left = until?.since(self.0.clock.monotonic());
        if left == Duration::ZERO {
            return None;
        }
        let rng = state.rng(call, "call");
        let is_quick = rng.below(2) == 0;
        Some(if is_quick { rng.duration_to(Duration::from_millis(200)) } else { CALL_TIME_MAX })
    }

    async fn wait(&self, duration: Duration) {
        if duration > Duration::ZERO {
            self.0.clock.sleep(duration).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The generator of calls like this one, or of their answers.
    fn rng(&mut self, call: Call<'_>, part: &'static str) -> &mut Rng {
        // What calls draw does not depend on what else is drawn.
        let seed = if part == "call" { self.seed } else { hash(self.seed, part.bytes()) };
        self.rngs.entry((part, call.operation, call.shard.cloned())).or_insert_with(|| {
            let shard = call.shard.map_or("", ShardId::as_str);
            Rng::seeded(hash(seed, call.operation.bytes().chain(shard.bytes())))
        })
    }
}

/// A seed for a part of a run that has a name.
#[must_use]
pub fn hash(seed: u64, name: impl Iterator<Item = u8>) -> u64 {
    name.fold(seed, |hash, byte| hash.rotate_left(5).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(byte))
}
