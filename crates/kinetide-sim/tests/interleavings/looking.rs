//! What a worker decides when it has listed the table: the library's plans, fed with what the worker remembers, and
//! held against the model. The same view leads to the same decisions, so each view is decided once.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use kinetide::assignment::observe::Observations;
use kinetide::assignment::take::{self, Plan, Snapshot};
use kinetide::coordinator::{cleanup, leader};
use kinetide::lease::{Lease, LeaseKey};
use kinetide::{Rng, Settings};

use super::config::{Broken, Config, TICK};
use super::invariants::{Rule, Violation};
use super::key::view_key;
use super::model::{self, Seen, Takes, ones};
use super::recall::{self, NOW};
use super::rows::{LEASES_MAX, Names, Row, small};
use super::world::{Chore, Reason, World};

/// What a look may lead to.
#[derive(Debug, Clone)]
pub(crate) struct Looked {
    pub(crate) seen: [Option<Seen>; LEASES_MAX],
    pub(crate) hand_offs: model::HandOffs,
    /// The plan draws one.
    pub(crate) choices: Vec<Choice>,
    /// Leases in which a hand-off from this worker is left.
    pub(crate) forgets: u8,
    /// Why each lease is taken, if it is.
    pub(crate) reasons: [Reason; LEASES_MAX],
    /// What an upkeep would do.
    pub(crate) chores: [Chore; LEASES_MAX],
}

/// Sets of leases, a bit for each: to be taken, and to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Choice {
    pub(crate) takes: u8,
    pub(crate) asks: u8,
}

pub(crate) struct Planner {
    settings: Settings,
    seeds: Vec<u64>,
    decided: RefCell<HashMap<Vec<u8>, Rc<Looked>>>,
}

impl Planner {
    pub(crate) fn new(config: &Config) -> Self {
        Self { settings: config.settings(), seeds: covering(config.leases()), decided: RefCell::default() }
    }

    /// A look by this worker, in this state.
    ///
    /// # Errors
    /// [`Violation`] when it remembers or plans what it must not.
    pub(crate) fn look(
        &self,
        config: &Config,
        names: &Names,
        world: &World,
        by: usize,
    ) -> Result<Rc<Looked>, Violation> {
        let key = view_key(world, config, by);
        if let Some(looked) = self.decided.borrow().get(&key) {
            return Ok(looked.clone());
        }
        let looked = Rc::new(self.decide(config, names, world, by)?);
        self.decided.borrow_mut().insert(key, looked.clone());
        Ok(looked)
    }

    fn decide(&self, config: &Config, names: &Names, world: &World, by: usize) -> Result<Looked, Violation> {
        let rows = &world.rows;
        let listed = rows.iter().enumerate().filter_map(|(lease, row)| Some(names.lease(lease, &(*row)?)));
        let leases: Vec<Lease> = listed.collect();
        let (observations, seen) = observe(names, rows, &leases, &world.workers[by].seen)?;
        let (hand_offs, overdue, may_ask) = self.hand_offs(names, world, &leases, by)?;
        let snapshot = Snapshot { leases: &leases, observations: &observations, me: &names.workers[by], now: NOW };
        let planned: BTreeSet<(bool, u8)> = self.seeds.iter().map(|seed| self.plan(names, snapshot, *seed)).collect();
        let (me, held) = (small(by), held(world, by));
        judge(&model::takes(rows, &seen, me, config.has_priority), &planned)?;

        // What ended meanwhile is not taken any more.
        let finished = set(rows, Row::is_finished);
        let overdue = if config.broken == Some(Broken::TakesFinished) { overdue } else { overdue & !finished };
        // Left from before a crash, handed over, or won by a take whose answer was lost.
        let own = set(rows, |row| row.owner == Some(me) && row.checkpoint_owner.is_none()) & !finished;
        let unowned = own | set(rows, |row| row.owner.is_none());
        let choose = |(is_owned, planned): &(bool, u8)| {
            let asks = if *is_owned && config.is_graceful { planned & may_ask } else { 0 };
            let is_timid = config.broken == Some(Broken::NeverTakesExpired);
            let planned = if is_timid { planned & unowned } else { *planned };
            Choice { takes: (planned & !asks | own | overdue) & !held, asks }
        };
        let choices: BTreeSet<Choice> = planned.iter().map(choose).collect();
        let are_owned = planned.iter().any(|(is_owned, _)| *is_owned);
        let reasons = std::array::from_fn(|lease| match unowned >> lease & 1 {
            1 => Reason::Free,
            _ if are_owned || overdue >> lease & 1 == 1 => Reason::Steal,
            _ => Reason::Expired,
        });
        let forgets = set(rows, |row| row.checkpoint_owner == Some(me)) & !held;
        let chores = self.chores(config, names, rows, &leases, &observations, by);
        Ok(Looked { seen, hand_offs, choices: choices.into_iter().collect(), forgets, reasons, chores })
    }

    /// What is known of hand-offs after this look, the leases that were waited for too long, and those whose owners may
    /// be asked.
    fn hand_offs(
        &self,
        names: &Names,
        world: &World,
        leases: &[Lease],
        by: usize,
    ) -> Result<(model::HandOffs, u8, u8), Violation> {
        let before = &world.workers[by].hand_offs;
        let (known, overdue) = before.after(&world.rows, small(by));
        let mut real = recall::hand_offs(names, before, by, &self.settings);
        let late = real.update(leases, &names.workers[by], NOW, &self.settings);
        let late = late.iter().fold(0, |set, lease| set | 1u8 << index(names, &lease.key));
        let silent = (0..names.workers.len()).filter(|worker| !real.may_ask(&names.workers[*worker]));
        let silent = silent.fold(0, |set, worker| set | 1u8 << worker);
        let is_waiting = known.asked.iter().any(Option::is_some);
        if (late, silent, real.is_waiting()) != (overdue, known.silent, is_waiting) {
            let text = format!("hand-offs are {real:?} with {late} overdue, the model says {known:?} with {overdue}");
            return Err(Violation::new(Rule::Look, text));
        }
        let may_ask = set(&world.rows, |row| row.owner.is_some_and(|owner| known.silent >> owner & 1 == 0));
        Ok((known, overdue, may_ask))
    }

    fn plan(&self, names: &Names, snapshot: Snapshot<'_>, seed: u64) -> (bool, u8) {
        let planned = take::plan(snapshot, &self.settings, &mut Rng::seeded(seed));
        let set = planned.leases().iter().fold(0, |set, lease| set | 1 << index(names, &lease.key));
        (matches!(planned, Plan::Owned(_)), set)
    }

    /// As the worker's upkeep goes about it: everybody gives back what its owner left behind, the leader deletes.
    fn chores(
        &self,
        config: &Config,
        names: &Names,
        rows: &[Option<Row>; LEASES_MAX],
        leases: &[Lease],
        observations: &Observations,
        by: usize,
    ) -> [Chore; LEASES_MAX] {
        let mut chores = [Chore::default(); LEASES_MAX];
        let is_hasty = config.broken == Some(Broken::DeletesUnsettled);
        let settled_after = if is_hasty { Duration::ZERO } else { self.settings.failover_time * 2 };
        let is_settled = |key: &LeaseKey| observations.watched_still_for(key, NOW) >= settled_after;
        for lease in
            leases.iter().filter(|lease| lease.is_finished() && lease.owner.is_some() && is_settled(&lease.key))
        {
            let lease = index(names, &lease.key);
            chores[lease].release = rows[lease];
        }
        if leader::is_leader(leases, &names.workers[by]) {
            let finished = cleanup::plan(leases);
            finished.iter().filter(|key| is_settled(key)).for_each(|key| chores[index(names, key)].delete = true);
        }
        chores
    }
}

fn index(names: &Names, key: &LeaseKey) -> usize {
    names.keys.iter().position(|known| known == key).expect("a lease of this exploration")
}

fn set(rows: &[Option<Row>; LEASES_MAX], holds: impl Fn(&Row) -> bool) -> u8 {
    rows.iter().enumerate().fold(0, |set, (lease, row)| set | u8::from(row.as_ref().is_some_and(&holds)) << lease)
}

fn held(world: &World, by: usize) -> u8 {
    world.workers[by].held.iter().enumerate().fold(0, |set, (lease, held)| set | u8::from(held.is_some()) << lease)
}

/// What has been seen of the leases, this listing included: as the library keeps it, and as the model does.
fn observe(
    names: &Names,
    rows: &[Option<Row>; LEASES_MAX],
    leases: &[Lease],
    before: &[Option<Seen>; LEASES_MAX],
) -> Result<(Observations, [Option<Seen>; LEASES_MAX]), Violation> {
    let mut observations = recall::observations(names, before);
    observations.update(leases, NOW);
    let seen = std::array::from_fn(|lease| rows[lease].map(|row| Seen::after(before[lease], &row)));
    for (lease, seen) in seen.iter().enumerate() {
        let Some(seen) = seen else { continue };
        let (key, age) = (&names.keys[lease], TICK * u32::from(seen.age));
        let still = (!seen.is_oldest).then_some(age);
        if observations.still_for(key, NOW) != still || observations.watched_still_for(key, NOW) != age {
            let text = format!("lease {lease} was seen as {observations:?}, the model says {seen:?}");
            return Err(Violation::new(Rule::Look, text));
        }
    }
    Ok((observations, seen))
}

/// The plan's draws, all of them, are the model's: sets of the right size from the right leases, and every such set.
fn judge(takes: &Takes, planned: &BTreeSet<(bool, u8)>) -> Result<(), Violation> {
    let is_possible = |among: u8| {
        let count = takes.count.min(ones(among));
        let is_one =
            |(is_owned, set): &(bool, u8)| *is_owned == takes.is_steal && set & !among == 0 && ones(*set) == count;
        planned.iter().all(is_one)
            && planned.len() == (0..=among).filter(|set| set & !among == 0 && ones(*set) == count).count()
    };
    if takes.among.iter().any(|among| is_possible(*among)) {
        return Ok(());
    }
    Err(Violation::new(Rule::Look, format!("planned {planned:?}, the model says {takes:?}")))
}

/// Seeds whose shuffles put up to so many leases into every order, so that every draw of a plan occurs.
fn covering(leases: usize) -> Vec<u64> {
    let mut orders = BTreeSet::new();
    let mut seeds = Vec::new();
    for seed in 0..1_000 {
        let known = orders.len();
        for count in 1..=leases {
            let mut order: Vec<usize> = (0..count).collect();
            Rng::seeded(seed).shuffle(&mut order);
            orders.insert(order);
        }
        if orders.len() > known {
            seeds.push(seed);
        }
    }
    seeds
}
