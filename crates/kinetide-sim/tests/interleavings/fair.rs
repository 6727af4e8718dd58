//! Liveness: from a state, some workers go on and nothing goes wrong any more. Then every open lease must come to be
//! held by one of them, and every finished one must go.
//!
//! Who goes on is tried in turn: all workers, and each of them alone, while the others never take another step. A round
//! is a turn for each that goes on, and then some time. What is known to come to rest is not tried again.

use std::collections::HashSet;

use super::invariants::{Rule, Violation};
use super::key::key;
use super::rows::{START, name, small};
use super::stage::Stage;
use super::step::{Act, Fate, Step, is_readable, next_checkpoint};
use super::worker::take_step;
use super::world::World;

/// A dead worker's lease is taken after two ticks, a finished lease is settled after four, a request overdue after
/// three, and the leases of a family go one generation at a time: with some of these in a row, this is ample.
const ROUNDS_MAX: usize = 30;

#[derive(Debug, Default)]
pub(crate) struct Fair {
    /// States that come to rest, with who goes on.
    restful: HashSet<(Vec<u8>, Option<usize>)>,
    /// States that were tried.
    pub(crate) runs: usize,
}

/// A run that broke a promise, and what was done up to there.
#[derive(Debug)]
pub(crate) struct Unfair {
    pub(crate) steps: Vec<Step>,
    pub(crate) violation: Violation,
}

impl Fair {
    /// Tries everybody, and everybody alone.
    ///
    /// # Errors
    /// [`Unfair`] when it does not come to rest, or breaks another promise on the way.
    pub(crate) fn settles(&mut self, stage: &Stage, world: &World) -> Result<(), Box<Unfair>> {
        self.runs += 1;
        let alone = (0..stage.config.workers).map(Some);
        [None].into_iter().chain(alone).try_for_each(|alone| {
            // A request that never arrives is one of those that may.
            let world = World { late: None, ..*world };
            let mut run = Run { stage, world, alone, steps: Vec::new() };
            self.follow(&mut run).map_err(|violation| Box::new(Unfair { steps: run.steps, violation }))
        })
    }

    fn follow(&mut self, run: &mut Run<'_>) -> Result<(), Violation> {
        let mut way = Vec::new();
        for _ in 0..ROUNDS_MAX {
            run.world.normalise(&run.stage.config);
            let state = (key(&run.world, &run.stage.config), run.alone);
            if self.restful.contains(&state) || run.is_at_rest() {
                self.restful.extend(way);
                return Ok(());
            }
            way.push(state);
            run.round()?;
        }
        let who = run.alone.map_or("all workers".to_owned(), |by| format!("{} alone", name(small(by))));
        let left: Vec<String> = run.world.rows.iter().flatten().map(ToString::to_string).collect();
        Err(Violation::new(Rule::Liveness, format!("{who} went on for {ROUNDS_MAX} rounds and left {left:?}")))
    }
}

struct Run<'a> {
    stage: &'a Stage,
    world: World,
    /// The one worker that goes on; `None`: all do.
    alone: Option<usize>,
    steps: Vec<Step>,
}

impl Run<'_> {
    fn goes_on(&self, by: usize) -> bool {
        self.alone.is_none_or(|alone| alone == by)
    }

    /// Each open lease is held by a worker that goes on, and what is finished is gone.
    fn is_at_rest(&self) -> bool {
        (0..self.stage.config.leases()).all(|lease| match self.world.row(lease) {
            // Not there yet, finished and gone, or deleted by hand while nobody held it.
            None => true,
            Some(row) if row.is_finished() => !self.stage.config.has_cleanup,
            Some(_) => self.world.holders(lease).any(|(by, holding)| self.goes_on(by) && holding.is_current),
        })
    }

    fn round(&mut self) -> Result<(), Violation> {
        for by in 0..self.stage.config.workers {
            if self.goes_on(by) {
                self.turn(by)?;
            }
        }
        self.go(Step::Tick)
    }

    /// What a worker does in half a failover time, if nothing keeps it from it.
    fn turn(&mut self, by: usize) -> Result<(), Violation> {
        self.each(by, |run, lease| {
            let holding = run.world.workers[by].held[lease]?;
            let act = if holding.is_leaving { Act::Release } else { Act::Renew };
            Some(if holding.is_missing { Act::Restore } else { act })
        })?;
        self.takes(by)?;
        self.go(Step::Look { by, choice: 0 })?;
        self.each(by, |run, lease| run.world.workers[by].todo[lease].filter(|todo| todo.forgets).map(|_| Act::Forget))?;
        self.takes(by)?;
        self.each(by, |run, lease| run.world.workers[by].todo[lease].filter(|todo| todo.asks).map(|_| Act::Ask))?;
        // Two children, their names, the end, and giving back.
        for _ in 0..5 {
            self.each(by, |run, lease| run.progress(by, lease))?;
        }
        if self.stage.config.has_cleanup {
            self.chores(by)?;
            self.go(Step::Upkeep { by })?;
            self.chores(by)?;
        }
        Ok(())
    }

    fn takes(&mut self, by: usize) -> Result<(), Violation> {
        self.each(by, |run, lease| {
            let worker = &run.world.workers[by];
            let is_due = worker.todo[lease].is_some_and(|todo| todo.takes) && worker.held[lease].is_none();
            is_due.then_some(Act::Take)
        })
    }

    fn chores(&mut self, by: usize) -> Result<(), Violation> {
        let release = Act::ReleaseAbandoned;
        self.each(by, |run, lease| run.world.workers[by].chores[lease].release.map(|_| release))?;
        self.each(by, |run, lease| run.world.workers[by].chores[lease].delete.then_some(Act::Delete))
    }

    /// The next step towards the end of a closed shard, or a first checkpoint of an open one.
    fn progress(&self, by: usize, lease: usize) -> Option<Act> {
        let (config, holding) = (&self.stage.config, self.world.workers[by].held[lease]?);
        let known = holding.known;
        if holding.is_missing || known.is_finished() || holding.is_leaving || known.checkpoint_owner.is_some() {
            return (!holding.is_missing).then_some(Act::Release);
        }
        if !is_readable(config, &self.world, lease) {
            return None;
        }
        if !config.is_closed(lease) {
            let is_new = known.checkpoint == START;
            return next_checkpoint(config, &holding).filter(|_| is_new).map(|_| Act::Checkpoint);
        }
        let has_all = usize::from(holding.created) == config.children[lease].len();
        Some(match (has_all, holding.is_named) {
            (false, _) => Act::CreateChild,
            (true, false) => Act::NameChildren,
            (true, true) => Act::End,
        })
    }

    /// One act on each lease for which there is one.
    fn each(&mut self, by: usize, act: impl Fn(&Self, usize) -> Option<Act>) -> Result<(), Violation> {
        for lease in 0..self.stage.config.leases() {
            if let Some(act) = act(self, lease) {
                self.go(Step::Act { by, lease, act, fate: Fate::Answered })?;
            }
        }
        Ok(())
    }

    fn go(&mut self, step: Step) -> Result<(), Violation> {
        self.steps.push(step);
        self.world = take_step(self.stage, &self.world, step)?;
        Ok(())
    }
}
