//! Balancing by utilisation: workers well above the fleet's average hand leases to those below it.
//!
//! Who gives, and how much, is Java's rule: per metric, everybody beyond the threshold or out of range gives 60 % of
//! what it has above the average, and only the metric with the most to move is acted on. The rest differs, for the
//! leader decides alone:
//! - figures are read as they will be once the moves of the last minutes show (`moves`), and what a lease adds is what
//!   it costs the worker that gets it (`meters`): nothing is moved twice, and a slow worker is given less at once;
//! - two averages must agree that a worker is off: a spike moves nothing;
//! - the largest leases that leave a worker above the average go first, where Java draws at random: fewer hand-offs;
//! - a receiver may rise above the average if that makes the fleet more even. Java stops there, and where leases are
//!   large it moves nothing at all;
//! - if nobody is hot and somebody is cold, everybody above the average gives; in Java one worker gives one lease.
//!
//! Measured in the model of `tests/rounds.rs` (10 workers with 20 leases each unless it says otherwise; one run every
//! 20 seconds, balancing in every third; half an hour). The run from which everybody is within 10 % of the average,
//! median and latest, and the hand-offs in all on average; "fewest" is a lower bound.
//!
//! | Fleet | Ours: run, moves | Java's: run, moves | Fewest |
//! |---|---|---|---|
//! | one half as fast, equal leases | 7 (7), 9 | 7 (7), 9 | 9 |
//! | one half as fast, random leases | 7 (7), 6.5 | 7 (13), 16.6 | 6.5 |
//! | one half as fast, leases of 60 … 3 KB/s | 22 (22), 4 | 10 (two of ten never), 15.9 | 3 |
//! | five half as fast | 4 (7), 25 | 7 (7), 30 | 23 |
//! | one joins ten | 7 (7), 17 | 28 (37), 17 | 17 |
//! | one joins twenty | 10 (10), 18.7 | 52 (52), 18 | 18 |
//! | one that is half as fast joins ten | 1 (1), 10 | 25 (25), 9.7 | 9 |
//! | ten join ten | 10 (10), 100 | 28 (28), 107.3 | 90 |
//! | ten join ten, hand-offs take half a minute | 10 (13), 100 | 22 (22), 139.7 | 90 |
//! | the leases of one carry 30 % more | 9 (10), 3 | never, 0 | 3 |
//! | the leases of one carry twice as much | 14 (15), 8 | 53 (54), 8.3 | 8 |
//! | cold start, workers idle at 1 to 4 % | 1 (1), 0 | 13 (16), 38.3 | 0 |
//! | balanced, samples wrong by up to 20 % | 1 (1), 0 | 1 (49), 29.2 | 0 |
//! | no load, samples wrong by up to 30 % | 1 (1), 0 | 1 (1), 47 | 0 |
//!
//! Those at 22 stand at 10.2 % from run 7 on: so near the threshold it takes all samples to be sure.

use super::AssignSettings;
use super::fleet::{Fleet, Member};
use super::leases::OpenLease;
use super::meters::{Meter, NOISE_POINTS};
use crate::rng::Rng;

/// A move must bring the two workers closer by so much of its own size, or it is left: the next figures might undo it.
const GAIN_MIN: f64 = 0.25;

/// A lease to hand over, and the index of the worker that gets it.
pub(super) type Transfer<'a> = (OpenLease<'a>, usize);

/// A worker that gives, and the weight it has above the average.
#[derive(Debug)]
struct Donor {
    index: usize,
    excess: f64,
}

/// What is to be moved on account of one metric.
#[derive(Debug)]
struct Relief<'a> {
    metric: &'a str,
    donors: Vec<Donor>,
    total: f64,
    /// Whether what is measured follows the weights of leases, as far as can be told.
    is_explained: bool,
}

/// The leases to hand over in this run.
pub(super) fn balance<'a>(
    fleet: &mut Fleet<'a>,
    is_measured: bool,
    settings: &AssignSettings,
    rng: &mut Rng,
) -> Vec<Transfer<'a>> {
    let Some(relief) = greatest_relief(fleet, is_measured, settings) else { return Vec::new() };
    let mut remaining = relief.total * settings.dampening();
    let mut transfers = Vec::new();
    for donor in &relief.donors {
        if remaining <= 0.0 {
            break;
        }
        let given = relieve(fleet, &relief, donor, settings, rng);
        remaining -= given.iter().map(|(open, _)| open.weight).sum::<f64>();
        transfers.extend(given);
    }
    transfers
}

/// The metric with the most to move, if there is one.
fn greatest_relief<'a>(fleet: &Fleet<'a>, is_measured: bool, settings: &AssignSettings) -> Option<Relief<'a>> {
    let mut names: Vec<&'a str> =
        fleet.members.iter().flat_map(|member| &member.meters).map(|meter| meter.name).collect();
    names.sort_unstable();
    names.dedup();
    let reliefs = names.into_iter().filter_map(|name| relief(fleet, name, is_measured, settings));
    reliefs.reduce(|most, relief| if relief.total > most.total { relief } else { most })
}

/// Who gives on account of a metric, and how much in all; `None` if everybody is near enough to the average.
///
/// Where nobody is hot and somebody is cold, Java lets the worker that is loaded most give one lease, so that one that
/// joins a large fleet is filled lease by lease. Here everybody above the average gives, until the cold ones have what
/// they lack.
fn relief<'a>(fleet: &Fleet<'a>, metric: &'a str, is_measured: bool, settings: &AssignSettings) -> Option<Relief<'a>> {
    let members = || {
        let members = fleet.members.iter().enumerate();
        members.filter_map(|(index, member)| Some((index, member, member.meter(metric)?)))
    };
    let limit = |meter: &Meter<'_>| (settings.threshold() * meter.average).max(NOISE_POINTS);
    let is_hot = |meter: &Meter<'_>| meter.value > meter.range || meter.distance() > limit(meter);
    let any_hot = members().any(|(_, _, meter)| is_hot(meter));
    let cold = members().filter(|(_, _, meter)| -meter.distance() > limit(meter));
    let lacking: f64 = cold.map(|(_, _, meter)| (meter.goal() - meter.value).max(0.0) / meter.cost).sum();

    let gives = |meter: &Meter<'_>| if any_hot { is_hot(meter) } else { meter.value > meter.goal() };
    let donor = |(index, member, meter): (usize, &Member<'a>, &Meter<'a>)| Donor {
        index,
        excess: member.planned * (meter.value - meter.goal()) / meter.value,
    };
    let donors = members().filter(|(_, _, meter)| gives(meter)).map(donor);
    let mut donors: Vec<Donor> = donors.filter(|donor| donor.excess > 0.0).collect();
    donors.sort_by(|a, b| b.excess.total_cmp(&a.excess));
    let excess: f64 = donors.iter().map(|donor| donor.excess).sum();
    let total = if any_hot { excess } else { excess.min(lacking) };
    let is_explained = is_measured || members().all(|(_, _, meter)| meter.is_exact);
    (total > 0.0).then_some(Relief { metric, donors, total, is_explained })
}

/// What one worker gives.
///
/// Its largest leases first, as long as it stays above the average: so the fewest have to move. Where none is small
/// enough, the smallest one.
fn relieve<'a>(
    fleet: &mut Fleet<'a>,
    relief: &Relief<'a>,
    donor: &Donor,
    settings: &AssignSettings,
    rng: &mut Rng,
) -> Vec<Transfer<'a>> {
    let mut leases = fleet.members[donor.index].movable.clone();
    rng.shuffle(&mut leases);
    leases.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    let amount = donor.excess * settings.dampening();
    let most = if settings.throughput_overshoot { donor.excess } else { amount };
    let (mut given, mut transfers) = (0.0, Vec::new());
    for open in &leases {
        if given >= amount || !relief.is_explained && !transfers.is_empty() {
            break;
        }
        if given + open.weight <= most
            && let Some(to) = receiver(fleet, relief, donor.index, open)
        {
            fleet.pass_on(donor.index, to, open);
            given += open.weight;
            transfers.push((*open, to));
        }
    }
    let smallest = leases.last().filter(|_| transfers.is_empty() && settings.throughput_overshoot);
    if let Some(open) = smallest
        && let Some(to) = receiver(fleet, relief, donor.index, open)
    {
        fleet.pass_on(donor.index, to, open);
        transfers.push((*open, to));
    }
    transfers
}

/// The least loaded worker that may have a lease, if that makes the fleet more even; nobody who gives.
///
/// Java stops as soon as a receiver would rise above the average. Where leases are large, nothing would ever move.
fn receiver(fleet: &Fleet<'_>, relief: &Relief<'_>, donor: usize, open: &OpenLease<'_>) -> Option<usize> {
    let giver = fleet.members[donor].meter(relief.metric)?;
    let (high, lower) = (giver.level_with(0.0) - 1.0, giver.level_with(-open.weight) - 1.0);
    let is_better = |index: &usize| {
        let member = &fleet.members[*index];
        let (low, higher) = (member.level_with(0.0) - 1.0, member.level_with(open.weight) - 1.0);
        let gain = high * high + low * low - lower * lower - higher * higher;
        let step = (high - lower).powi(2) + (higher - low).powi(2);
        gain >= GAIN_MIN * step
            && member.meters.iter().all(|meter| meter.value + meter.cost * open.weight <= meter.range)
    };
    let below = fleet.in_line().take_while(|index| fleet.members[*index].level_with(0.0) < 1.0);
    let gives = |index: usize| relief.donors.iter().any(|donor| donor.index == index);
    below.filter(|index| fleet.has_room(*index, open) && !gives(*index)).find(is_better)
}
