//! The atomic steps: what may happen next in a state.

use std::fmt;

use super::config::{Broken, Config};
use super::invariants::Violation;
use super::rows::{END, START, name, small};
use super::stage::Stage;
use super::world::{Holding, World};

/// What a worker does to one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Take,
    Renew,
    Checkpoint,
    Prepare,
    /// Checkpoints the shard's end.
    End,
    Release,
    /// Adds the lease of the next child that has none from this worker. Whether it has just made sure that it still holds
    /// the parent's is left out, which allows more and not less.
    CreateChild,
    NameChildren,
    /// Writes the row again that somebody deleted.
    Restore,
    /// Asks for a lease of a living worker.
    Ask,
    /// Takes that back.
    Withdraw,
    /// Clears what a hand-off from this worker left behind.
    Forget,
    /// Gives back what its owner left behind.
    ReleaseAbandoned,
    Delete,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// It has its effect, and the answer is lost.
    AnswerLost,
    /// No answer, and the effect comes later, or never.
    Late,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Lists the table and decides what to take; the plan's n-th draw.
    Look {
        by: usize,
        choice: usize,
    },
    /// Lists the table and decides which finished leases to give back or delete.
    Upkeep {
        by: usize,
    },
    Act {
        by: usize,
        lease: usize,
        act: Act,
        fate: Fate,
    },
    /// A little more than half a failover time passes.
    Tick,
    /// The late request has its effect.
    Arrive,
    /// Forgets everything, and starts again under its name whenever it takes its next step.
    Crash {
        by: usize,
    },
    DeleteByHand {
        lease: usize,
    },
    /// The leader of a 3.x fleet offers it to another worker.
    HandOff {
        lease: usize,
        to: usize,
    },
}

/// Everything that may happen next.
///
/// # Errors
/// [`Violation`] when a look leads to what it must not.
pub(crate) fn next(stage: &Stage, world: &World) -> Result<Vec<Step>, Violation> {
    let config = &stage.config;
    let mut steps = Vec::with_capacity(32);
    for by in 0..config.workers {
        let choices = stage.look(world, by)?.choices.len();
        steps.extend((0..choices).map(|choice| Step::Look { by, choice }));
        if config.has_cleanup {
            steps.push(Step::Upkeep { by });
        }
        for lease in 0..config.leases() {
            for (act, may_fail) in acts(config, world, by, lease) {
                push(&mut steps, world, Step::Act { by, lease, act, fate: Fate::Answered }, may_fail);
            }
        }
        if world.left.crashes > 0 {
            steps.push(Step::Crash { by });
        }
    }
    steps.push(Step::Tick);
    if world.late.is_some() {
        steps.push(Step::Arrive);
    }
    let vanishing = (0..config.leases()).filter(|lease| may_vanish(config, world, *lease));
    steps.extend(vanishing.map(|lease| Step::DeleteByHand { lease }));
    if world.left.hand_offs > 0 {
        hand_offs(config, world, &mut steps);
    }
    Ok(steps)
}

fn push(steps: &mut Vec<Step>, world: &World, step: Step, may_fail: bool) {
    steps.push(step);
    if let Step::Act { by, lease, act, .. } = step
        && may_fail
        && world.left.answers_lost > 0
    {
        steps.push(Step::Act { by, lease, act, fate: Fate::AnswerLost });
        if world.late.is_none() {
            steps.push(Step::Act { by, lease, act, fate: Fate::Late });
        }
    }
}

/// What a worker may do with a lease, and whether losing the answer makes a difference.
fn acts(config: &Config, world: &World, by: usize, lease: usize) -> Vec<(Act, bool)> {
    let worker = &world.workers[by];
    let mut acts = Vec::new();
    if let Some(todo) = worker.todo[lease] {
        // Nobody waits for the answers but those of takes and requests: what was not done is found by the next look.
        let may_stop = world.left.releases > 0;
        let todos = [
            (todo.takes && worker.held[lease].is_none(), Act::Take, true),
            (todo.asks, Act::Ask, true),
            (todo.forgets, Act::Forget, true),
            (todo.withdraws && may_stop, Act::Withdraw, false),
        ];
        acts.extend(todos.iter().filter(|(is_due, ..)| *is_due).map(|(_, act, may_fail)| (*act, *may_fail)));
    }
    if let Some(holding) = &worker.held[lease] {
        holder_acts(config, world, lease, holding, &mut acts);
    }
    if worker.chores[lease].release.is_some() {
        acts.push((Act::ReleaseAbandoned, false));
    }
    if worker.chores[lease].delete {
        acts.push((Act::Delete, false));
    }
    acts
}

fn holder_acts(config: &Config, world: &World, lease: usize, holding: &Holding, acts: &mut Vec<(Act, bool)>) {
    if holding.is_missing {
        acts.push((Act::Restore, true));
        return;
    }
    let is_asked_for = holding.known.owner != holding.known.actual_owner();
    if holding.is_leaving || holding.known.is_finished() || is_asked_for || world.left.releases > 0 {
        acts.push((Act::Release, true));
    }
    if holding.is_leaving {
        return;
    }
    acts.push((Act::Renew, true));
    if holding.known.is_finished() {
        return;
    }
    let may_read = is_readable(config, world, lease) || config.broken == Some(Broken::ReadsChildrenFirst);
    let (next, is_closed) = (next_checkpoint(config, holding), config.is_closed(lease));
    if let Some(next) = next.filter(|_| may_read) {
        acts.push((Act::Checkpoint, true));
        if config.has_prepares && holding.known.pending != Some(next) {
            acts.push((Act::Prepare, true));
        }
    }
    if is_closed && may_read {
        let has_all = usize::from(holding.created) == config.children[lease].len();
        let is_hasty = config.broken == Some(Broken::EndsBeforeChildren);
        match (has_all, holding.is_named) {
            (false, _) => acts.push((Act::CreateChild, true)),
            (true, false) => acts.push((Act::NameChildren, true)),
            (true, true) => {}
        }
        if holding.is_named || is_hasty {
            acts.push((Act::End, true));
        }
    }
}

/// Its parents are done. They stay so: whether a consumer looked now or earlier makes no difference.
pub(crate) fn is_readable(config: &Config, world: &World, lease: usize) -> bool {
    config.parents(lease).all(|parent| world.row(parent).is_none_or(|row| row.is_finished()))
}

/// The next number to checkpoint, up to the last record.
pub(crate) fn next_checkpoint(config: &Config, holding: &Holding) -> Option<u8> {
    let next = if holding.known.checkpoint == END { END } else { holding.known.checkpoint + 1 };
    (next > START && next <= config.checkpoint_max).then_some(next)
}

/// A row deleted by hand is written again by its holder. Nothing protects from a hand that deletes while an earlier
/// holder has not met the row, or before the holder knows the row as it is; the test of that limit is in
/// [`super::broken`].
fn may_vanish(config: &Config, world: &World, lease: usize) -> bool {
    let Some(row) = world.row(lease).filter(|_| world.left.deletions > 0) else { return false };
    let mut holders = world.holders(lease);
    let is_known = holders.next().is_some_and(|(_, holding)| holding.is_current && holding.known == row);
    let is_alone = holders.next().is_none();
    config.is_any_row_deleted || is_known && is_alone && !config.has_family(lease)
}

fn hand_offs(config: &Config, world: &World, steps: &mut Vec<Step>) {
    for lease in 0..config.leases() {
        let Some(row) = world.row(lease) else { continue };
        let is_open = !row.is_finished() && row.checkpoint_owner.is_none();
        let Some(owner) = row.owner.filter(|_| is_open) else { continue };
        let others = (0..config.workers).filter(|to| *to != usize::from(owner));
        steps.extend(others.map(|to| Step::HandOff { lease, to }));
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |by: usize| name(small(by));
        match *self {
            Self::Look { by, choice } => write!(f, "{} looks (draw {choice})", name(by)),
            Self::Upkeep { by } => write!(f, "{} looks at finished leases", name(by)),
            Self::Act { by, lease, act, fate } => {
                let fate = match fate {
                    Fate::Answered => "",
                    Fate::AnswerLost => ", answer lost",
                    Fate::Late => ", sent and not there yet",
                };
                write!(f, "{} {act:?} {lease}{fate}", name(by))
            }
            Self::Tick => f.write_str("half a failover time passes"),
            Self::Arrive => f.write_str("the late request arrives"),
            Self::Crash { by } => write!(f, "{} crashes", name(by)),
            Self::DeleteByHand { lease } => write!(f, "row {lease} is deleted by hand"),
            Self::HandOff { lease, to } => write!(f, "lease {lease} is to be handed off to {}", name(to)),
        }
    }
}
