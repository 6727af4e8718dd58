//! The active workers while a plan is made: what each will carry, how much room it has, and who comes next.
//!
//! Whoever is given something is put back in line with what that adds; the line is ordered by load and, among equals,
//! by number of leases and id, so that a plan depends on nothing but what it is made from.

use std::collections::{BTreeMap, BTreeSet};

use super::leases::{Leases, OpenLease, Phase};
use super::meters::{self, Load, Meter};
use super::workers::Workers;
use super::{AssignSettings, Memory, Strategy};
use crate::clock::Moment;
use crate::stream::WorkerId;

/// A worker that takes part.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) id: &'a WorkerId,
    pub(super) meters: Vec<Meter<'a>>,
    /// The weight of the leases it will have.
    pub(super) planned: f64,
    /// How many it will have.
    pub(super) count: usize,
    /// Those it can be asked to hand over.
    pub(super) movable: Vec<OpenLease<'a>>,
    /// What limits count: what it has, and what it was promised.
    bound_count: usize,
    bound_kbps: f64,
}

/// A place in the line: load, number of leases, index.
#[derive(Debug, Clone, Copy)]
struct Place(f64, usize, usize);

/// The workers that take part, by id, and the line of those that can be given more.
#[derive(Debug)]
pub(super) struct Fleet<'a> {
    pub(super) members: Vec<Member<'a>>,
    line: BTreeSet<Place>,
    settings: &'a AssignSettings,
}

impl<'a> Fleet<'a> {
    pub(super) fn new(
        workers: &'a Workers,
        leases: &Leases<'a>,
        memory: &Memory,
        now: Moment,
        settings: &'a AssignSettings,
    ) -> Self {
        let members: Vec<Member<'a>> = workers.active.iter().map(|worker| Member::new(&worker.id)).collect();
        let mut fleet = Self { members, line: BTreeSet::new(), settings };
        fleet.hand_in(leases);
        let mut shifts = memory.moves.shifts(leases, now);
        let load = |member: &Member<'_>| Load {
            planned: member.planned,
            shifts: shifts.remove(member.id).unwrap_or_default(),
        };
        let loads: Vec<Load> = fleet.members.iter().map(load).collect();
        let share = leases.share(workers.active.len());
        for (member, meters) in fleet.members.iter_mut().zip(meters::read(&workers.active, &loads, share, settings)) {
            member.meters = meters;
        }
        (0..fleet.members.len()).for_each(|index| fleet.line_up(index));
        fleet
    }

    /// Counts for each worker what it has and what it will have.
    fn hand_in(&mut self, leases: &Leases<'a>) {
        let indices: BTreeMap<_, _> =
            self.members.iter().enumerate().map(|(index, member)| (member.id, index)).collect();
        for open in &leases.open {
            let holder = open.holder().and_then(|worker| indices.get(worker)).copied();
            let next = open.next_holder().and_then(|worker| indices.get(worker)).copied();
            for index in [holder, next.filter(|next| Some(*next) != holder)].into_iter().flatten() {
                self.members[index].bind(open);
            }
            if let Some(next) = next {
                self.members[next].planned += open.weight;
                self.members[next].count += 1;
            }
            if let Some(holder) = holder.filter(|_| open.phase == Phase::Held) {
                self.members[holder].movable.push(*open);
            }
        }
    }

    /// Who a lease that waits goes to: whoever has the most room, best without exceeding the limit of throughput. A
    /// worker that has let its lease lie, or does not hand it over, does not get it again; unless nobody else may have
    /// it, and assigning it anew frees it from a hand-off.
    pub(super) fn taker_of(&self, open: &OpenLease<'_>) -> Option<usize> {
        let last = open.lease.actual_owner();
        let others = || self.in_line().filter(|taker| Some(self.members[*taker].id) != last);
        let best = others().find(|taker| self.has_room(*taker, open)).or_else(|| others().next());
        best.or_else(|| self.in_line().next().filter(|_| open.lease.checkpoint_owner.is_some()))
    }

    /// Those in line, the least loaded first.
    pub(super) fn in_line(&self) -> impl Iterator<Item = usize> {
        self.line.iter().map(|place| place.2)
    }

    /// True if a lease keeps this worker within its limits.
    pub(super) fn has_room(&self, index: usize, open: &OpenLease<'_>) -> bool {
        self.members[index].bound_kbps + open.kbps <= self.settings.throughput_per_worker_kbps_max
    }

    /// True for one of these workers.
    pub(super) fn has(&self, worker: &WorkerId) -> bool {
        self.members.binary_search_by_key(&worker, |member| member.id).is_ok()
    }

    /// Gives a lease that nobody has.
    pub(super) fn give(&mut self, to: usize, open: &OpenLease<'a>) {
        self.change(to, |member| {
            member.bind(open);
            member.shift(open.weight);
            member.count += 1;
        });
    }

    /// Moves a lease; the limits count it for both until it has moved.
    pub(super) fn pass_on(&mut self, from: usize, to: usize, open: &OpenLease<'a>) {
        self.change(from, |member| {
            member.shift(-open.weight);
            member.count = member.count.saturating_sub(1);
        });
        self.give(to, open);
    }

    fn change(&mut self, index: usize, change: impl FnOnce(&mut Member<'a>)) {
        let place = self.place(index);
        self.line.remove(&place);
        change(&mut self.members[index]);
        self.line_up(index);
    }

    fn line_up(&mut self, index: usize) {
        let (member, settings) = (&self.members[index], self.settings);
        let most = usize::try_from(settings.leases_per_worker_max.get()).unwrap_or(usize::MAX);
        if member.bound_count < most && member.bound_kbps <= settings.throughput_per_worker_kbps_max {
            let place = self.place(index);
            self.line.insert(place);
        }
    }

    fn place(&self, index: usize) -> Place {
        let member = &self.members[index];
        let level = match self.settings.strategy {
            Strategy::WorkerUtilizationAware => member.level_with(0.0),
            Strategy::LeaseCountBased => 0.0,
        };
        Place(level, member.count, index)
    }
}

impl<'a> Member<'a> {
    fn new(id: &'a WorkerId) -> Self {
        Self { id, meters: Vec::new(), planned: 0.0, count: 0, movable: Vec::new(), bound_count: 0, bound_kbps: 0.0 }
    }

    fn bind(&mut self, open: &OpenLease<'_>) {
        self.bound_count += 1;
        self.bound_kbps += open.kbps;
    }

    fn shift(&mut self, weight: f64) {
        self.planned += weight;
        for meter in &mut self.meters {
            meter.value += meter.cost * weight;
        }
    }

    /// How loaded it is with so much more: 1 is where it should be. The metric that is worst counts.
    ///
    /// The order is that of Java's head-room, average ÷ value − 1, except that a worker at 0 is the least loaded of
    /// all.
    pub(super) fn level_with(&self, weight: f64) -> f64 {
        self.meters.iter().map(|meter| meter.level_with(weight)).fold(0.0, f64::max)
    }

    /// Its meter of this name.
    pub(super) fn meter(&self, name: &str) -> Option<&Meter<'a>> {
        self.meters.iter().find(|meter| meter.name == name)
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1)).then(self.2.cmp(&other.2))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Place {}
