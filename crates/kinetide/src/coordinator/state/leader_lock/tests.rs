use std::time::Duration;

use proptest::prelude::*;

use super::leaving::RELEASES_MAX;
use super::*;
use crate::rng::Rng;

const TIMES: LockTimes = LockTimes {
    duration: Duration::from_millis(10_000),
    beat_interval: Duration::from_millis(3_333),
    poll_interval: Duration::from_millis(3_333),
    retry_interval: Duration::from_millis(500),
    drift_margin: Duration::ZERO,
};

/// How long a call may take before it counts as unanswered.
const TIMEOUT: u64 = 1_000;

fn at(millis: u64) -> Moment {
    Moment::at(Duration::from_millis(millis))
}

fn user(name: &str) -> LockUser {
    LockUser::new(WorkerId::new(name).unwrap(), TIMES)
}

fn lock_of(owner: &str, version: &str, millis: u64) -> LeaderLock {
    LeaderLock {
        owner: WorkerId::new(owner).unwrap(),
        duration: Duration::from_millis(millis),
        version: LockVersion::new(version),
        is_released: false,
    }
}

/// A worker that has led since the moment 100; its version.
fn leader(rng: &mut Rng) -> (LockUser, LeaderLock) {
    let mut user = user("me");
    assert_eq!(user.step(Input::Tick, at(0), rng), Output::Read);
    let Output::Acquire { form: Form::Absent, lock } = user.step(Input::Saw(None), at(100), rng) else { panic!() };
    assert!(!user.leads(at(150)), "not before the answer");
    assert_eq!(user.step(Input::Applied, at(200), rng), Output::Wait(at(3_433)));
    (user, lock)
}

#[test]
fn a_free_lock_is_taken_and_kept() {
    let rng = &mut Rng::seeded(1);
    let (mut user, first) = leader(rng);
    assert_eq!((user.terms(), first.duration), (1, TIMES.duration));
    let Output::Heartbeat { previous, lock } = user.step(Input::Tick, at(3_433), rng) else { panic!() };
    assert_eq!(previous, first.version);
    assert_ne!(lock.version, first.version);
    assert_eq!(user.step(Input::Applied, at(3_500), rng), Output::Wait(at(6_766)));
    assert!(user.leads(at(13_432)), "since the moment the beat was sent");
    assert!(!user.leads(at(13_433)));
    assert_eq!(user.terms(), 1);
}

#[test]
fn only_a_version_that_was_seen_for_too_long_is_taken() {
    let rng = &mut Rng::seeded(1);
    let mut user = user("me");
    let foreign = lock_of("java", "v1", 120_000);
    let see = |user: &mut LockUser, lock: &LeaderLock, now, rng: &mut Rng| {
        user.step(Input::Saw(Some(lock.clone())), at(now), rng)
    };
    assert_eq!(see(&mut user, &foreign, 0, rng), Output::Wait(at(3_333)));
    assert_eq!(user.leader_seen().map(WorkerId::as_str), Some("java"));
    assert!(!user.suspects_leader());
    assert_eq!(see(&mut user, &foreign, 59_000, rng), Output::Wait(at(60_001)), "a look at the mark");
    assert_eq!(see(&mut user, &foreign, 60_001, rng), Output::Wait(at(63_334)));
    assert!(user.suspects_leader());
    let moved = LeaderLock { version: LockVersion::new("v2"), ..foreign.clone() };
    see(&mut user, &moved, 119_000, rng);
    assert!(!user.suspects_leader());
    assert_eq!(see(&mut user, &moved, 239_000, rng), Output::Wait(at(239_001)), "longer, not as long");
    let Output::Acquire { form, lock } = see(&mut user, &moved, 239_001, rng) else { panic!() };
    assert_eq!(form, Form::Stale { observed: moved.version });
    assert_eq!((lock.owner.as_str(), lock.duration), ("me", TIMES.duration));
    assert_eq!(user.step(Input::Refused, at(239_100), rng), Output::Read, "somebody else was first");
    assert!(!user.leads(at(239_101)));
}

#[test]
fn a_released_lock_is_taken_at_once_and_one_of_a_former_life_is_not() {
    let rng = &mut Rng::seeded(1);
    let released = LeaderLock { is_released: true, ..lock_of("java", "v1", 120_000) };
    let output = user("me").step(Input::Saw(Some(released)), at(0), rng);
    assert!(matches!(output, Output::Acquire { form: Form::Released, .. }), "{output:?}");
    let mut again = user("me");
    let output = again.step(Input::Saw(Some(lock_of("me", "v1", 10_000))), at(0), rng);
    assert_eq!(output, Output::Wait(at(3_333)));
    assert!(!again.leads(at(1)));
}

#[test]
fn an_answer_that_never_came_is_looked_up() {
    let rng = &mut Rng::seeded(1);
    let (mut user, first) = leader(rng);
    let Output::Heartbeat { lock, .. } = user.step(Input::Tick, at(3_433), rng) else { panic!() };
    assert_eq!(user.step(Input::Unknown, at(4_433), rng), Output::Read);
    assert_eq!(user.step(Input::ReadFailed, at(5_433), rng), Output::Wait(at(5_933)));
    assert_eq!(user.step(Input::Tick, at(5_933), rng), Output::Read, "in doubt nothing is written");
    let mut applied = user.clone();
    assert_eq!(applied.step(Input::Saw(Some(lock)), at(6_000), rng), Output::Wait(at(6_766)));
    assert!(applied.leads(at(13_432)) && !applied.leads(at(13_433)), "it counts from when it was sent");
    assert_eq!(user.step(Input::Saw(Some(first.clone())), at(6_000), rng), Output::Wait(at(3_433)));
    assert!(user.leads(at(10_099)) && !user.leads(at(10_100)), "it does not count");
    let Output::Heartbeat { previous, .. } = user.step(Input::Tick, at(6_000), rng) else { panic!() };
    assert_eq!(previous, first.version);
}

#[test]
fn who_overslept_leads_again_only_with_a_new_beat() {
    let rng = &mut Rng::seeded(1);
    let (mut user, first) = leader(rng);
    assert!(!user.leads(at(50_000)));
    let Output::Heartbeat { previous, .. } = user.step(Input::Tick, at(50_000), rng) else { panic!() };
    assert_eq!(previous, first.version);
    let mut late = user.clone();
    late.step(Input::Applied, at(60_000), rng);
    assert!(!late.leads(at(60_000)), "the answer came too late to count");
    user.step(Input::Applied, at(50_100), rng);
    assert_eq!((user.leads(at(50_100)), user.terms()), (true, 2), "what it remembers is void");
}

#[test]
fn the_lock_of_another_ends_every_claim() {
    let rng = &mut Rng::seeded(1);
    let (mut user, _) = leader(rng);
    user.step(Input::Tick, at(3_433), rng);
    assert_eq!(user.step(Input::Refused, at(3_500), rng), Output::Read);
    assert!(user.leads(at(3_500)), "its last beat still counts for the others too");
    assert_eq!(user.step(Input::Saw(Some(lock_of("b", "v", 10_000))), at(3_600), rng), Output::Wait(at(6_933)));
    assert!(!user.leads(at(3_600)));
}

#[test]
fn who_stops_releases_and_never_takes_the_lock_again() {
    let rng = &mut Rng::seeded(1);
    let (mut user, lock) = leader(rng);
    assert_eq!(user.step(Input::Stop, at(300), rng), Output::Release { version: lock.version.clone() });
    assert!(!user.leads(at(300)), "before the others can know");
    assert_eq!(user.step(Input::Unknown, at(1_300), rng), Output::Read);
    let again = user.step(Input::Saw(Some(lock.clone())), at(1_400), rng);
    assert_eq!(again, Output::Release { version: lock.version.clone() });
    user.step(Input::Refused, at(1_500), rng);
    assert_eq!(user.step(Input::Saw(None), at(1_600), rng), Output::Done);
    for input in [Input::Tick, Input::Saw(None), Input::Resign, Input::Stop] {
        assert_eq!(user.step(input, at(100_000), rng), Output::Done);
    }
}

#[test]
fn a_release_behind_an_unanswered_beat_finds_its_version() {
    let rng = &mut Rng::seeded(1);
    let (mut user, first) = leader(rng);
    let Output::Heartbeat { lock, .. } = user.step(Input::Tick, at(3_433), rng) else { panic!() };
    assert_eq!(user.step(Input::Stop, at(3_500), rng), Output::Read);
    let mut late = user.clone();
    let release = user.step(Input::Saw(Some(lock.clone())), at(3_600), rng);
    assert_eq!(release, Output::Release { version: lock.version.clone() });
    // The beat arrives between the look and the release.
    assert_eq!(late.step(Input::Saw(Some(first.clone())), at(3_600), rng), Output::Release { version: first.version });
    late.step(Input::Refused, at(3_700), rng);
    let release = late.step(Input::Saw(Some(lock.clone())), at(3_800), rng);
    assert_eq!(release, Output::Release { version: lock.version });
    assert_eq!(late.step(Input::Applied, at(3_900), rng), Output::Done);
}

#[test]
fn a_release_is_not_tried_for_ever() {
    let rng = &mut Rng::seeded(1);
    let (mut user, lock) = leader(rng);
    let mut output = user.step(Input::Stop, at(300), rng);
    for _ in 0..RELEASES_MAX {
        assert_eq!(output, Output::Release { version: lock.version.clone() });
        user.step(Input::Unknown, at(1_300), rng);
        output = user.step(Input::Saw(Some(lock.clone())), at(1_400), rng);
    }
    assert_eq!(output, Output::Done);
}

#[test]
fn who_resigns_lets_others_try_first() {
    let rng = &mut Rng::seeded(1);
    let (mut user, lock) = leader(rng);
    assert_eq!(user.step(Input::Resign, at(300), rng), Output::Release { version: lock.version });
    assert_eq!(user.step(Input::Applied, at(400), rng), Output::Wait(at(7_066)));
    assert_eq!(user.step(Input::Tick, at(5_000), rng), Output::Wait(at(7_066)));
    assert_eq!(user.step(Input::Tick, at(7_066), rng), Output::Read);
    assert!(matches!(user.step(Input::Saw(None), at(7_100), rng), Output::Acquire { form: Form::Absent, .. }));
}

#[test]
fn nothing_is_tried_without_a_pause() {
    let rng = &mut Rng::seeded(1);
    let mut failing = user("me");
    failing.step(Input::Saw(None), at(0), rng);
    assert_eq!(failing.step(Input::Failed, at(1), rng), Output::Wait(at(501)));
    assert_eq!(failing.step(Input::Tick, at(501), rng), Output::Read);
    failing.step(Input::Saw(None), at(502), rng);
    assert_eq!(failing.step(Input::Unknown, at(503), rng), Output::Read);
    assert_eq!(failing.step(Input::Saw(None), at(504), rng), Output::Wait(at(1_002)));
}

#[test]
fn a_short_failover_makes_a_short_lock() {
    let times = LockTimes::of_failover(Duration::from_secs(9));
    assert_eq!((times.duration, times.beat_interval), (Duration::from_secs(9), Duration::from_secs(3)));
    let mut user = LockUser::new(WorkerId::new("me").unwrap(), times);
    let rng = &mut Rng::seeded(1);
    user.step(Input::Saw(None), at(0), rng);
    user.step(Input::Applied, at(10), rng);
    assert!(user.leads(at(8_819)) && !user.leads(at(8_820)), "the margin for clocks that differ by 2 %");
}

/// A call on its way.
#[derive(Debug, Clone)]
enum Event {
    Wake,
    Apply(Output),
    Answer(Input),
}

/// A worker in the model: its clock, and when it is awake.
struct Actor {
    user: LockUser,
    offset: u64,
    rate: f64,
    paused_until: u64,
    is_dead: bool,
    /// Answers to calls before this one are dropped.
    call: u64,
}

impl Actor {
    fn clock(&self, now: u64) -> Moment {
        Moment::at(Duration::from_micros(((now + self.offset) as f64 * 1_000.0 * self.rate) as u64))
    }

    fn leads(&self, now: u64) -> bool {
        !self.is_dead && self.user.leads(self.clock(now))
    }

    /// When its clock will show this moment.
    fn real(&self, until: Moment) -> u64 {
        let micros = until.since(Moment::at(Duration::ZERO)).as_micros() as f64;
        ((micros / self.rate / 1_000.0).ceil() as u64).saturating_sub(self.offset)
    }
}

/// How badly calls and workers behave, in parts of a hundred.
#[derive(Debug, Clone, Copy)]
struct Faults {
    lost: usize,
    late: usize,
    pause: usize,
    leave: usize,
}

const NO_FAULTS: Faults = Faults { lost: 0, late: 0, pause: 0, leave: 0 };

/// Two or three workers and one item.
struct World {
    rng: Rng,
    now: u64,
    item: Option<LeaderLock>,
    actors: Vec<Actor>,
    /// Time, order, worker, its call, and what comes.
    events: Vec<(u64, u64, usize, u64, Event)>,
    order: u64,
    faults: Faults,
}

impl World {
    fn new(seed: u64, rates: &[f64], times: LockTimes, faults: Faults) -> Self {
        let mut rng = Rng::seeded(seed);
        let actors = rates.iter().enumerate().map(|(index, rate)| Actor {
            user: LockUser::new(WorkerId::new(format!("w{index}")).unwrap(), times),
            offset: rng.below(100_000) as u64,
            rate: *rate,
            paused_until: 0,
            is_dead: false,
            call: 0,
        });
        let actors: Vec<_> = actors.collect();
        let mut world = Self { rng, now: 0, item: None, actors, events: Vec::new(), order: 0, faults };
        for actor in 0..world.actors.len() {
            let start = world.rng.below(5_000) as u64;
            world.send(start, actor, Event::Wake);
        }
        world
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.rng.below(100) < percent
    }

    fn send(&mut self, time: u64, actor: usize, event: Event) {
        self.order += 1;
        self.events.push((time, self.order, actor, self.actors[actor].call, event));
    }

    /// The next thing happens; no two may lead then.
    fn advance(&mut self) {
        let next = (0..self.events.len()).min_by_key(|index| (self.events[*index].0, self.events[*index].1));
        let Some(next) = next else { return };
        let (time, order, actor, call, event) = self.events.swap_remove(next);
        let paused_until = self.actors[actor].paused_until;
        if !matches!(event, Event::Apply(_)) && paused_until > time {
            self.events.push((paused_until, order, actor, call, event));
            return;
        }
        self.now = self.now.max(time);
        match event {
            Event::Apply(write) => self.apply(actor, call, write),
            Event::Wake | Event::Answer(_) if self.actors[actor].is_dead || self.actors[actor].call != call => {}
            Event::Wake => self.act(actor, Input::Tick),
            Event::Answer(input) => self.act(actor, input),
        }
        let leaders: Vec<_> =
            self.actors.iter().filter(|actor| actor.leads(self.now)).map(|actor| &actor.user).collect();
        assert!(leaders.len() <= 1, "at {}: {leaders:#?}", self.now);
    }

    fn act(&mut self, actor: usize, input: Input) {
        let input = match self.rng.below(100) {
            draw if draw * 4 < self.faults.leave => Input::Stop,
            draw if draw < self.faults.leave => Input::Resign,
            _ => input,
        };
        let now = self.actors[actor].clock(self.now);
        let output = self.actors[actor].user.step(input, now, &mut self.rng);
        self.actors[actor].call += 1;
        if self.chance(self.faults.pause) {
            self.actors[actor].paused_until = self.now + self.rng.below(30_000) as u64;
        }
        match output {
            Output::Done => {}
            Output::Wait(until) => {
                let time = self.actors[actor].real(until).max(self.now);
                self.send(time, actor, Event::Wake);
            }
            call => self.call(actor, call),
        }
    }

    /// Sends a call: it may be lost before or after it is applied, or be applied long after nobody waits for it.
    fn call(&mut self, actor: usize, call: Output) {
        let unanswered = if call == Output::Read { Input::ReadFailed } else { Input::Unknown };
        // Whoever is paused before sending sends late.
        let sent = self.now.max(self.actors[actor].paused_until);
        let time = sent + 1 + self.rng.below(100) as u64;
        if self.chance(self.faults.lost) {
            let is_lost_before = self.rng.below(2) == 0;
            let late = if self.chance(self.faults.late) { self.rng.below(40_000) as u64 } else { 0 };
            if !is_lost_before {
                self.send(time + late, actor, Event::Apply(call));
            }
            // The answer of what is applied in time is dropped by the caller that has given up.
            self.send((sent + 1).min(time), actor, Event::Answer(unanswered));
        } else {
            self.send(sent + TIMEOUT, actor, Event::Answer(unanswered));
            self.send(time, actor, Event::Apply(call));
        }
    }

    fn apply(&mut self, actor: usize, call: u64, write: Output) {
        let answer = match write {
            Output::Read => Input::Saw(self.item.clone()),
            write => self.write(&self.actors[actor].user.me.clone(), write),
        };
        let time = self.now + self.rng.below(100) as u64;
        self.order += 1;
        self.events.push((time, self.order, actor, call, Event::Answer(answer)));
    }

    /// What DynamoDB does with the conditions of these writes.
    fn write(&mut self, me: &WorkerId, write: Output) -> Input {
        let is_ours = |item: &Option<LeaderLock>, version: &LockVersion| {
            item.as_ref().is_some_and(|item| item.owner == *me && item.version == *version)
        };
        let (holds, next) = match write {
            Output::Acquire { form: Form::Absent, lock } => (self.item.is_none(), Some(lock)),
            Output::Acquire { form: Form::Released, lock } => {
                (self.item.as_ref().is_some_and(|item| item.is_released), Some(lock))
            }
            Output::Acquire { form: Form::Stale { observed }, lock } => {
                (self.item.as_ref().is_some_and(|item| item.version == observed), Some(lock))
            }
            Output::Heartbeat { previous, lock } => (is_ours(&self.item, &previous), Some(lock)),
            Output::Release { version } => (is_ours(&self.item, &version), None),
            Output::Read | Output::Wait(_) | Output::Done => unreachable!(),
        };
        if holds {
            self.item = next;
            Input::Applied
        } else {
            Input::Refused
        }
    }

    fn leader(&self) -> Option<usize> {
        (0..self.actors.len()).find(|actor| self.actors[*actor].leads(self.now))
    }

    fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> u64 {
        for _ in 0..5_000 {
            if done(self) {
                break;
            }
            self.advance();
        }
        assert!(done(self), "nothing more happens at {}", self.now);
        self.now
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is lost, late or paused: never two who believe they lead.
    #[test]
    fn never_two_leaders(
        seed: u64, actors in 2usize..4, lost in 0usize..60, late in 0usize..100, pause in 0usize..20, leave in 0usize..8,
    ) {
        let faults = Faults { lost, late, pause, leave };
        let mut world = World::new(seed, &vec![1.0; actors], TIMES, faults);
        for _ in 0..400 {
            world.advance();
        }
    }

    /// The same with clocks of different rates, as far as the margin goes.
    #[test]
    fn the_margin_covers_the_drift(seed: u64, lost in 0usize..40, pause in 0usize..20) {
        let times = LockTimes { drift_margin: TIMES.duration / 10, ..TIMES };
        let faults = Faults { lost, late: 20, pause, leave: 4 };
        let mut world = World::new(seed, &[1.0, 1.1, 1.05], times, faults);
        for _ in 0..400 {
            world.advance();
        }
    }

    /// When the leader dies, another leads within the stored duration, one look and the calls these take.
    #[test]
    fn a_dead_leader_is_replaced(seed: u64, beats in 0u64..40_000) {
        let mut world = World::new(seed, &[1.0; 3], TIMES, NO_FAULTS);
        let led = world.run_until(|world| world.leader().is_some());
        world.run_until(|world| world.now >= led + beats);
        let leader = world.leader().unwrap();
        world.actors[leader].is_dead = true;
        let died = world.now;
        let replaced = world.run_until(|world| world.leader().is_some());
        let bound = (TIMES.duration + TIMES.poll_interval).as_millis() as u64 + 600;
        prop_assert!(replaced - died <= bound, "{} ms", replaced - died);
    }

    /// When the leader releases, another leads after one look.
    #[test]
    fn a_release_hands_over_at_once(seed: u64, beats in 0u64..40_000) {
        let mut world = World::new(seed, &[1.0; 3], TIMES, NO_FAULTS);
        let led = world.run_until(|world| world.leader().is_some());
        world.run_until(|world| world.now >= led + beats);
        let leader = world.leader().unwrap();
        world.act(leader, Input::Stop);
        let stopped = world.now;
        let replaced = world.run_until(|world| world.leader().is_some());
        let bound = TIMES.poll_interval.as_millis() as u64 + 900;
        prop_assert!(replaced - stopped <= bound, "{} ms", replaced - stopped);
        prop_assert_ne!(world.leader(), Some(leader));
    }

    /// However bad it was: once calls are answered again and somebody is there, somebody leads.
    #[test]
    fn after_every_storm_somebody_leads(seed: u64, lost in 0usize..60, pause in 0usize..20) {
        let mut world = World::new(seed, &[1.0; 2], TIMES, Faults { lost, late: 50, pause, leave: 0 });
        for _ in 0..300 {
            world.advance();
        }
        world.faults = NO_FAULTS;
        let calm = world.now;
        let led = world.run_until(|world| world.leader().is_some());
        // A pause or a late call of the storm may still lie ahead, and a lock it made must go stale.
        prop_assert!(led - calm <= 30_000 + 40_000 + 14_000, "{} ms", led - calm);
    }
}

/// Without the margin clocks of different rates do overlap: this is what it is for.
#[test]
fn without_a_margin_a_fast_follower_is_early() {
    let rng = &mut Rng::seeded(1);
    let (leading, lock) = leader(rng);
    let mut follower = user("b");
    // Its clock runs 5 % fast: 10,001 ms on it are 9,525 ms on the leader's.
    follower.step(Input::Saw(Some(lock.clone())), at(0), rng);
    let output = follower.step(Input::Saw(Some(lock)), at(10_001), rng);
    assert!(matches!(output, Output::Acquire { form: Form::Stale { .. }, .. }));
    assert!(leading.leads(at(100 + 9_525)));
}
