//! What a worker remembers of earlier looks, as the library keeps it: made anew from the small form of a state, by
//! telling it again.

use std::collections::BTreeSet;
use std::time::Duration;

use kinetide::assignment::hand_off::HandOffs;
use kinetide::assignment::observe::Observations;
use kinetide::lease::{Lease, LeaseKey};
use kinetide::stream::Checkpoint;
use kinetide::{Moment, Settings};

use super::config::TICK;
use super::model::{self, Seen};
use super::rows::{LEASES_MAX, Names, Row};

/// When every look happens, on the clock of whoever looks.
pub(crate) const NOW: Moment = Moment::at(NOW_ELAPSED);
const NOW_ELAPSED: Duration = Duration::from_secs(1_000_000);

/// When each counter last moved; told again, the oldest first.
pub(crate) fn observations(names: &Names, seen: &[Option<Seen>; LEASES_MAX]) -> Observations {
    let mut observations = Observations::default();
    let ages: BTreeSet<u8> = seen.iter().flatten().map(|seen| seen.age).collect();
    for age in ages.into_iter().rev() {
        let known = seen.iter().enumerate().filter_map(|(lease, seen)| Some((lease, (*seen)?)));
        let listed: Vec<Lease> = known
            .filter(|(_, seen)| seen.age >= age)
            .map(|(lease, seen)| {
                let owner = (!seen.is_oldest).then_some(0);
                names.lease(lease, &Row { counter: seen.counter, owner, ..Row::default() })
            })
            .collect();
        observations.update(&listed, ago(age));
    }
    observations
}

/// The hand-offs that were asked for. What was asked for is known as it is; who handed over and who did not is
/// learnt from a table that is never listed again.
pub(crate) fn hand_offs(names: &Names, before: &model::HandOffs, by: usize, settings: &Settings) -> HandOffs {
    let mut hand_offs = HandOffs::default();
    let lease = |key: String, owner: usize, checkpoint_owner: Option<usize>| Lease {
        owner: Some(names.workers[owner].clone()),
        checkpoint_owner: checkpoint_owner.map(|owner| names.workers[owner].clone()),
        ..Lease::new(key.parse::<LeaseKey>().expect("a name"), Checkpoint::Latest)
    };
    let workers = |set: u8| (0..names.workers.len()).filter(move |worker| set >> worker & 1 == 1);
    let (silent, obliging) = (|worker: usize| format!("silent-{worker}"), |worker: usize| format!("obliging-{worker}"));
    let asked = workers(before.silent).map(|worker| (silent(worker), worker));
    for (key, worker) in asked.chain(workers(before.obliging).map(|worker| (obliging(worker), worker))) {
        hand_offs.ask(&lease(key, worker, None), Moment::at(Duration::ZERO));
    }
    let others = workers(before.silent | before.obliging).map(|worker| lease(format!("other-{worker}"), worker, None));
    let others: Vec<Lease> = others.collect();
    let pending = workers(before.silent).map(|worker| lease(silent(worker), by, Some(worker)));
    let handed = workers(before.obliging).map(|worker| lease(obliging(worker), by, None));
    let listed: Vec<Lease> = pending.chain(handed).chain(others.clone()).collect();
    for leases in [&listed, &others] {
        hand_offs.update(leases, &names.workers[by], Moment::at(Duration::from_secs(1_000)), settings);
    }
    for (index, asked) in before.asked.iter().enumerate() {
        let Some((age, from)) = asked else { continue };
        let known = Row { owner: Some(*from), ..Row::default() };
        hand_offs.ask(&names.lease(index, &known), ago(*age));
    }
    hand_offs
}

/// So many ticks before the look.
fn ago(ticks: u8) -> Moment {
    Moment::at(NOW_ELAPSED - TICK * u32::from(ticks))
}
