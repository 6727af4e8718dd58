//! What must hold: of each accepted write at the moment of its effect, of each answer a holder gets, and of each state.

use std::fmt;

use super::config::Config;
use super::model::Kind;
use super::rows::{END, Row, START, name, small};
use super::world::{Holding, Reason, Sent, World};

/// The promises, by a name for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// The library's transition does to the row what the specification says.
    Model,
    /// Whoever changes the actual owner or the checkpoint moves the counter.
    Counter,
    /// A checkpoint never goes back, not even through the deletion of its lease.
    Checkpoint,
    /// An accepted renewal or checkpoint came from the owner of that moment, and from the tenure that took the lease
    /// last; a release came from the owner. No finished lease is taken.
    Owner,
    /// No lease is taken as expired while somebody still holds it, and at most one holder's next write can succeed.
    Overlap,
    /// A holder whose answer was lost takes its row for its own if and only if nobody has taken it since.
    Recognition,
    /// A shard ends when its children have leases, and a child is worked on when its parents are done.
    Family,
    /// Only finished leases are deleted, whose children are under way and whom nobody holds.
    Deletion,
    /// What is remembered of a listing, and what is decided from it, is what the specification says.
    Look,
    /// From here everything comes to rest: each open lease is held by a living worker.
    Liveness,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) text: String,
}

impl Violation {
    pub(crate) fn new(rule: Rule, text: impl Into<String>) -> Self {
        Self { rule, text: text.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.text)
    }
}

fn require(rule: Rule, holds: bool, text: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation::new(rule, text())) }
}

fn tell(holder: Option<(usize, &Holding)>) -> String {
    holder.map_or("nobody holds it".to_owned(), |(by, holding)| {
        format!("{} holds it, with an age of {}, as {}", name(small(by)), holding.age, holding.known)
    })
}

/// Judges an accepted write, in the state before it.
///
/// # Errors
/// The first promise that it breaks.
pub(crate) fn accepted(config: &Config, world: &World, sent: &Sent, after: Option<Row>) -> Result<(), Violation> {
    let lease = usize::from(sent.write.lease);
    let Some(before) = world.row(lease) else { return created(config, world, sent, after) };
    let Some(after) = after else { return deleted(config, world, lease, &before) };
    let kind = sent.write.kind;
    let owner = before.actual_owner();
    let is_owner = owner == Some(sent.write.by);
    // Its own worker said that nothing is left of the tenure, and did not know of a write that was still under way.
    // Nobody has taken the lease since.
    let is_owner = is_owner || world.past[lease].is_forgotten && sent.is_current;
    match kind {
        Kind::Renew | Kind::Checkpoint(_) | Kind::Prepare(_) => {
            require(Rule::Owner, is_owner, || format!("{kind:?} by {}, the row was {before}", name(sent.write.by)))?;
            require(Rule::Owner, sent.is_current, || format!("{kind:?} of a tenure that is over"))?;
        }
        Kind::Release => {
            require(Rule::Owner, is_owner, || format!("given back by {}, the row was {before}", name(sent.write.by)))?
        }
        Kind::ReleaseAbandoned => {
            require(Rule::Owner, before.is_finished(), || "an open lease was given back for its owner".to_owned())?;
        }
        Kind::Take => taken(world, sent, &before)?,
        Kind::Forget => forgotten(world, lease, &before)?,
        Kind::Create | Kind::NameChildren | Kind::Delete | Kind::Ask | Kind::Withdraw => {}
    }
    if let Kind::Checkpoint(checkpoint) = kind {
        checkpointed(config, world, lease, checkpoint)?;
    }
    moved(world, sent, &before, &after)
}

fn moved(world: &World, sent: &Sent, before: &Row, after: &Row) -> Result<(), Violation> {
    let (kind, highest) = (sent.write.kind, world.past[usize::from(sent.write.lease)].highest);
    let is_changed = (before.actual_owner(), before.checkpoint) != (after.actual_owner(), after.checkpoint);
    // What is left of a hand-off may be cleared under a worker of 2.x, which would lose its lease otherwise.
    let is_moved = after.counter > before.counter || kind == Kind::Forget;
    require(Rule::Counter, is_moved || !is_changed, || format!("{kind:?} left the counter of {before}"))?;
    let is_kept = after.checkpoint >= highest;
    require(Rule::Checkpoint, is_kept, || format!("{kind:?} moved {highest} to {}", after.checkpoint))
}

fn taken(world: &World, sent: &Sent, before: &Row) -> Result<(), Violation> {
    require(Rule::Owner, !before.is_finished(), || "a finished lease was taken".to_owned())?;
    let stands_against = |holding: &Holding| match sent.reason {
        Reason::Free => holding.is_current,
        Reason::Expired => true,
        Reason::Steal => false,
    };
    let holder = world.holders(usize::from(sent.write.lease)).find(|(_, holding)| stands_against(holding));
    require(Rule::Overlap, holder.is_none(), || format!("taken as {:?} while {}", sent.reason, tell(holder)))
}

fn forgotten(world: &World, lease: usize, before: &Row) -> Result<(), Violation> {
    let is_left = |by: usize| Some(small(by)) == before.checkpoint_owner;
    let holder = world.holders(lease).find(|(by, holding)| is_left(*by) && holding.is_current);
    require(Rule::Owner, holder.is_none(), || format!("a hand-off was forgotten while {}", tell(holder)))
}

fn checkpointed(config: &Config, world: &World, lease: usize, checkpoint: u8) -> Result<(), Violation> {
    let is_done = |parent: usize| world.row(parent).is_none_or(|row| row.is_finished());
    let unfinished = config.parents(lease).find(|parent| !is_done(*parent));
    require(Rule::Family, unfinished.is_none(), || format!("a checkpoint before the end of parent {unfinished:?}"))?;
    let has_lease = |child: usize| world.row(child).is_some() || world.past[child].is_deleted;
    let missing = config.children[lease].iter().find(|child| checkpoint == END && !has_lease(**child));
    require(Rule::Family, missing.is_none(), || format!("ended, and child {missing:?} has no lease"))
}

fn created(config: &Config, world: &World, sent: &Sent, after: Option<Row>) -> Result<(), Violation> {
    let lease = usize::from(sent.write.lease);
    let Some(after) = after else { return Ok(()) };
    let past = world.past[lease];
    require(Rule::Checkpoint, !past.is_deleted, || "a lease came back that was finished and deleted".to_owned())?;
    require(Rule::Checkpoint, after.checkpoint >= past.highest, || {
        format!("a row with checkpoint {} was written again with {}", past.highest, after.checkpoint)
    })?;
    let is_known = after != Row::default() || config.parents(lease).next().is_some();
    require(Rule::Checkpoint, is_known, || "a lease without a parent was made anew".to_owned())
}

fn deleted(config: &Config, world: &World, lease: usize, before: &Row) -> Result<(), Violation> {
    require(Rule::Deletion, before.is_finished(), || format!("an open lease was deleted: {before}"))?;
    // A child at the start has not shown yet that it is read; one that is gone was finished.
    let goes_on = |child: usize| match world.row(child) {
        Some(row) => row.checkpoint > START,
        None => world.past[child].is_deleted,
    };
    let idle = config.children[lease].iter().find(|child| !goes_on(**child));
    require(Rule::Deletion, idle.is_none(), || format!("deleted before child {idle:?} was under way"))?;
    let holder = world.holders(lease).next();
    require(Rule::Deletion, holder.is_none(), || format!("deleted while {}", tell(holder)))
}

/// Judges what a holder made of a refused write: this row stands in its way.
///
/// # Errors
/// When it takes a foreign row for its own, or its own for a foreign one.
pub(crate) fn recognised(holding: &Holding, row: &Row, is_taken_for_own: bool) -> Result<(), Violation> {
    let text = match (holding.is_current, is_taken_for_own) {
        (true, false) => "its own write was taken for another's",
        (false, true) => "another tenure's row was taken for its own",
        _ => return Ok(()),
    };
    Err(Violation::new(Rule::Recognition, format!("{text}: known was {}, met {row}", holding.known)))
}

/// Judges a state.
///
/// # Errors
/// The first promise that it breaks.
pub(crate) fn standing(config: &Config, world: &World) -> Result<(), Violation> {
    (0..config.leases()).try_for_each(|lease| holders_agree(world, lease))
}

fn holders_agree(world: &World, lease: usize) -> Result<(), Violation> {
    let Some(row) = world.row(lease) else { return Ok(()) };
    let mut winners = 0;
    for (by, holding) in world.holders(lease) {
        let is_unmoved = holding.known.counter == row.counter;
        winners += usize::from(is_unmoved);
        require(Rule::Overlap, !is_unmoved || holding.is_current, || {
            format!("{} lost the lease and its next write would be accepted", name(small(by)))
        })?;
        if holding.is_current {
            let is_own = row.actual_owner() == Some(small(by));
            require(Rule::Owner, is_own, || {
                format!("{} holds what the table gives to another: {row}", name(small(by)))
            })?;
            let is_one_ahead = holding.is_unanswered && row.counter == holding.known.counter + 1;
            require(Rule::Recognition, is_unmoved || is_one_ahead, || {
                format!("{} knows {} and the row is {row}", name(small(by)), holding.known)
            })?;
        }
    }
    require(Rule::Overlap, winners < 2, || format!("{winners} holders would win their next write"))
}
