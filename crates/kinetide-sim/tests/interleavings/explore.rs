//! Walks every path of a configuration up to its depth, shortest first, each state once.
//!
//! A state is everything that what follows can depend on, so a state that was reached before need not be walked from
//! again: all interleavings are covered. Breadth first, the first violation found is one of the shortest.

use std::collections::HashSet;
use std::fmt;

use super::config::Config;
use super::fair::Fair;
use super::invariants::Violation;
use super::key::key;
use super::stage::Stage;
use super::step::{self, Step};
use super::worker::take_step;
use super::world::World;

/// A run that does not come to rest goes on for long.
const LINES_MAX: usize = 80;

/// What an exploration came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    /// Steps from the first state to the last one found.
    pub(crate) depth: usize,
    /// There is nothing beyond that depth: the space is finite and this is all of it.
    pub(crate) is_complete: bool,
    /// States from which the fair run was tried.
    pub(crate) fair_runs: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, transitions, depth, fair_runs, .. } = self;
        let whole = if self.is_complete { "the whole space" } else { "every path" };
        write!(f, "{states} states, {transitions} transitions, {whole} to depth {depth}, fair from {fair_runs}")
    }
}

/// The way to a violation: one of the shortest, unless only the fair run after it found it.
#[derive(Debug)]
pub(crate) struct Trail {
    pub(crate) violation: Violation,
    /// Steps after the prelude, without those of a fair run.
    pub(crate) length: usize,
    /// The same steps break the same promise outside the normal form.
    pub(crate) is_retold: bool,
    /// What happened, a line for each step.
    lines: Vec<String>,
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        write!(f, "{}", self.violation)
    }
}

/// How a state was reached.
struct Reached {
    parent: usize,
    step: Step,
}

struct Explorer {
    stage: Stage,
    fair: Fair,
    known: HashSet<Box<[u8]>>,
    reached: Vec<Reached>,
    transitions: usize,
}

/// Walks it.
///
/// # Errors
/// The way to the first violation.
pub(crate) fn explore(config: Config) -> Result<Report, Box<Trail>> {
    let mut explorer = Explorer {
        stage: Stage::new(config),
        fair: Fair::default(),
        known: HashSet::with_capacity(config.states_min * 9 / 8),
        reached: Vec::new(),
        transitions: 0,
    };
    let first = explorer.stage.first().map_err(|violation| explorer.trail(0, &[], violation))?;
    explorer.note(&first, Reached { parent: 0, step: Step::Tick });
    let mut level = vec![(0, first)];
    let mut depth = 0;
    while depth < config.depth && !level.is_empty() {
        let mut deeper = Vec::new();
        for (index, world) in &level {
            explorer.expand(*index, world, &mut deeper)?;
        }
        level = deeper;
        depth += usize::from(!level.is_empty());
    }
    for (index, world) in &level {
        explorer.try_fair(*index, world)?;
    }
    Ok(Report {
        states: explorer.reached.len(),
        transitions: explorer.transitions,
        depth,
        is_complete: level.is_empty(),
        fair_runs: explorer.fair.runs,
    })
}

impl Explorer {
    /// Gives a new state its number; `None`: it is known.
    fn note(&mut self, world: &World, reached: Reached) -> Option<usize> {
        let key = key(world, &self.stage.config);
        if self.known.contains(key.as_slice()) {
            return None;
        }
        self.known.insert(key.into_boxed_slice());
        self.reached.push(reached);
        Some(self.reached.len() - 1)
    }

    fn expand(&mut self, index: usize, world: &World, deeper: &mut Vec<(usize, World)>) -> Result<(), Box<Trail>> {
        self.try_fair(index, world)?;
        let steps = step::next(&self.stage, world).map_err(|violation| self.trail(index, &[], violation))?;
        for step in steps {
            self.transitions += 1;
            let next = take_step(&self.stage, world, step);
            let mut next = next.map_err(|violation| self.trail(index, &[step], violation))?;
            next.normalise(&self.stage.config);
            if let Some(found) = self.note(&next, Reached { parent: index, step }) {
                deeper.push((found, next));
            }
        }
        Ok(())
    }

    /// Liveness, from every so-manieth state in the order of discovery.
    fn try_fair(&mut self, index: usize, world: &World) -> Result<(), Box<Trail>> {
        let every = self.stage.config.fair_every;
        if every == 0 || !index.is_multiple_of(every) {
            return Ok(());
        }
        let result = self.fair.settles(&self.stage, world);
        result.map_err(|unfair| {
            let mut trail = self.trail(index, &unfair.steps, unfair.violation);
            trail.length -= unfair.steps.len();
            trail
        })
    }

    /// The way to a state, and the steps after it.
    fn trail(&self, mut index: usize, then: &[Step], violation: Violation) -> Box<Trail> {
        let mut steps: Vec<Step> = then.iter().rev().copied().collect();
        while index > 0 {
            steps.push(self.reached[index].step);
            index = self.reached[index].parent;
        }
        let length = steps.len();
        steps.extend(self.stage.config.prelude.iter().rev());
        steps.reverse();
        let (lines, retold) = tell(&self.stage, &steps);
        Box::new(Trail { is_retold: retold.is_some(), violation: retold.unwrap_or(violation), length, lines })
    }
}

/// The same way once more, with counters as they are: a line for each step, and what it breaks.
fn tell(stage: &Stage, steps: &[Step]) -> (Vec<String>, Option<Violation>) {
    let mut world = World::first(&stage.config);
    let mut lines = vec![format!("{}: {}", stage.config.name, rows(stage, &world))];
    for (number, step) in (1..).zip(steps) {
        let next = take_step(stage, &world, *step);
        if number <= LINES_MAX {
            let text =
                next.as_ref().map_or_else(|broken| format!("breaks {:?}", broken.rule), |next| rows(stage, next));
            lines.push(format!("{number:>3}. {:<44} {text}", step.to_string()));
        }
        match next {
            Ok(next) => world = next,
            Err(violation) => return (lines, Some(violation)),
        }
    }
    if steps.len() > LINES_MAX {
        lines.push(format!("     and {} steps more", steps.len() - LINES_MAX));
    }
    (lines, None)
}

fn rows(stage: &Stage, world: &World) -> String {
    let leases = 0..stage.config.leases();
    let told =
        leases.map(|lease| world.row(lease).map_or_else(|| format!("{lease}: none"), |row| format!("{lease}: {row}")));
    told.collect::<Vec<_>>().join("   ")
}
