//! What a step does: the worker's side of it here, the row's side in [`super::table`].
//!
//! A worker is as much of the real one as touches the table: its looks and takes (`worker::run`), a keeper for each
//! lease it holds (`lease::keeper`), the end of a shard (`consumer::run`), the upkeep (`worker::upkeep`). Everything
//! between two requests is one step, so steps of several workers fall between each other in every way that requests
//! can.

use super::config::Broken;
use super::invariants::{self, Violation};
use super::model::{Answer, Kind, Write};
use super::rows::{END, Row, START, small};
use super::stage::Stage;
use super::step::{Act, Fate, Step, next_checkpoint};
use super::table;
use super::world::{Holding, Reason, Sent, Todo, Worker, World};

/// What a writer is told: the row now, or the row that stood in the way, if there is one.
type Told = Result<Option<Row>, Option<Row>>;

/// The state after a step.
///
/// # Errors
/// [`Violation`] when the step breaks a promise.
pub(crate) fn take_step(stage: &Stage, world: &World, step: Step) -> Result<World, Violation> {
    let mut next = *world;
    match step {
        Step::Look { by, choice } => look(stage, &mut next, by, choice)?,
        Step::Upkeep { by } => {
            let looked = stage.look(world, by)?;
            next.workers[by].seen = looked.seen;
            next.workers[by].chores = looked.chores;
        }
        Step::Act { by, lease, act, fate } => perform(stage, &mut next, by, lease, act, fate)?,
        Step::Tick => next.tick(stage.config.broken == Some(Broken::NeverLapses)),
        Step::Arrive => {
            let late = next.late.take();
            if let Some(sent) = late {
                let _ = write(stage, &mut next, &sent)?;
            }
        }
        Step::Crash { by } => {
            next.left.crashes -= 1;
            next.workers[by] = Worker::default();
        }
        Step::DeleteByHand { lease } => {
            next.left.deletions -= 1;
            next.rows[lease] = None;
        }
        Step::HandOff { lease, to } => {
            next.left.hand_offs -= 1;
            let known = world.row(lease).unwrap_or_default();
            let asked = Write { by: small(to), lease: small(lease), kind: Kind::Ask, known };
            let _ = write(stage, &mut next, &Sent { write: asked, is_current: false, reason: Reason::Free })?;
        }
    }
    invariants::standing(&stage.config, &next)?;
    Ok(next)
}

fn look(stage: &Stage, world: &mut World, by: usize, choice: usize) -> Result<(), Violation> {
    let looked = stage.look(world, by)?;
    let rows = world.rows;
    let worker = &mut world.workers[by];
    worker.seen = looked.seen;
    worker.hand_offs = looked.hand_offs;
    let choice = looked.choices[choice];
    for (lease, row) in rows.iter().enumerate() {
        let has = |set: u8| set >> lease & 1 == 1;
        worker.todo[lease] = row.map(|known| Todo {
            known,
            takes: has(choice.takes),
            reason: looked.reasons[lease],
            asks: has(choice.asks),
            forgets: has(looked.forgets),
            withdraws: looked.hand_offs.asked[lease].is_some(),
        });
    }
    Ok(())
}

fn perform(stage: &Stage, world: &mut World, by: usize, lease: usize, act: Act, fate: Fate) -> Result<(), Violation> {
    let sent = request(stage, world, by, lease, act);
    begin(world, by, lease, act);
    let told = match fate {
        Fate::Late => {
            world.late = Some(sent);
            None
        }
        Fate::Answered | Fate::AnswerLost => Some(write(stage, world, &sent)?).filter(|_| fate == Fate::Answered),
    };
    if told.is_none() {
        world.left.answers_lost -= 1;
    }
    learn(stage, world, by, lease, act, told)
}

/// What is sent is not to be sent any more.
fn begin(world: &mut World, by: usize, lease: usize, act: Act) {
    let worker = &mut world.workers[by];
    let (todo, chore) = (&mut worker.todo[lease], &mut worker.chores[lease]);
    match (act, todo, &mut worker.held[lease]) {
        (Act::Take, Some(todo), _) => todo.takes = false,
        (Act::Ask, Some(todo), _) => todo.asks = false,
        (Act::Forget, Some(todo), _) => todo.forgets = false,
        (Act::Withdraw, Some(todo), _) => {
            todo.withdraws = false;
            world.left.releases -= 1;
        }
        (Act::ReleaseAbandoned, ..) => chore.release = None,
        (Act::Delete, ..) => chore.delete = false,
        (Act::Release, _, Some(holding)) => {
            let is_asked_for = holding.known.owner != holding.known.actual_owner();
            if !holding.is_leaving && !holding.known.is_finished() && !is_asked_for {
                world.left.releases -= 1;
            }
            holding.is_leaving = true;
        }
        _ => {}
    }
}

/// What the worker sends, made from what it remembers.
fn request(stage: &Stage, world: &World, by: usize, lease: usize, act: Act) -> Sent {
    let (worker, config) = (&world.workers[by], &stage.config);
    let holding = worker.held[lease];
    let known = holding.map_or_else(Row::default, |holding| holding.known);
    let next = holding.and_then(|holding| next_checkpoint(config, &holding)).unwrap_or(START);
    let listed = worker.todo[lease].map_or_else(Row::default, |todo| todo.known);
    let (target, kind, known) = match act {
        Act::Take => (lease, Kind::Take, listed),
        Act::Ask => (lease, Kind::Ask, listed),
        Act::Withdraw => (lease, Kind::Withdraw, listed),
        Act::Forget => (lease, Kind::Forget, listed),
        Act::Renew => (lease, Kind::Renew, known),
        Act::Checkpoint => (lease, Kind::Checkpoint(next), known),
        Act::Prepare => (lease, Kind::Prepare(next), known),
        Act::End => (lease, Kind::Checkpoint(END), known),
        Act::Release => (lease, Kind::Release, known),
        Act::CreateChild => {
            let created = holding.map_or(0, |holding| usize::from(holding.created));
            (config.children[lease][created], Kind::Create, Row::default())
        }
        Act::NameChildren => (lease, Kind::NameChildren, known),
        Act::Restore if config.broken == Some(Broken::RestoresFromStart) => {
            (lease, Kind::Create, Row { checkpoint: START, ..known })
        }
        Act::Restore => (lease, Kind::Create, known),
        Act::ReleaseAbandoned => (lease, Kind::ReleaseAbandoned, worker.chores[lease].release.unwrap_or_default()),
        Act::Delete => (lease, Kind::Delete, known),
    };
    Sent {
        write: Write { by: small(by), lease: small(target), kind, known },
        is_current: holding.is_some_and(|holding| holding.is_current),
        reason: worker.todo[lease].filter(|_| act == Act::Take).map_or(Reason::Free, |todo| todo.reason),
    }
}

/// A request has its effect, and the judges watch.
fn write(stage: &Stage, world: &mut World, sent: &Sent) -> Result<Told, Violation> {
    let lease = usize::from(sent.write.lease);
    let row = world.row(lease);
    let Answer::Applied(after) = table::apply(&stage.names, stage.config.broken, row, &sent.write)? else {
        return Ok(Err(row));
    };
    invariants::accepted(&stage.config, world, sent, after)?;
    world.rows[lease] = after;
    match (after, row) {
        (Some(after), _) => world.past[lease].highest = world.past[lease].highest.max(after.checkpoint),
        (None, Some(_)) => world.past[lease].is_deleted = true,
        (None, None) => {}
    }
    match sent.write.kind {
        Kind::Take | Kind::Release | Kind::ReleaseAbandoned | Kind::Delete => end_tenures(world, lease),
        Kind::Forget => world.past[lease].is_forgotten = true,
        _ => {}
    }
    Ok(Ok(after))
}

/// Whoever held the lease up to now, or still has a write under way from then, holds it no longer.
fn end_tenures(world: &mut World, lease: usize) {
    world.past[lease].is_forgotten = false;
    for worker in &mut world.workers {
        if let Some(holding) = &mut worker.held[lease] {
            holding.is_current = false;
        }
    }
    if let Some(late) = world.late.as_mut().filter(|late| usize::from(late.write.lease) == lease) {
        late.is_current = false;
    }
}

/// The worker goes on from the answer; `None`: there is none.
fn learn(
    stage: &Stage,
    world: &mut World,
    by: usize,
    lease: usize,
    act: Act,
    told: Option<Told>,
) -> Result<(), Violation> {
    let worker = &mut world.workers[by];
    if let (Act::Ask, Some(Ok(Some(row)))) = (act, told) {
        worker.hand_offs.asked[lease] = row.checkpoint_owner.map(|from| (0, from));
    }
    let held = &mut worker.held[lease];
    if let (Act::Take, Some(Ok(Some(known)))) = (act, told) {
        *held = Some(Holding {
            known,
            age: 0,
            is_unanswered: false,
            is_leaving: false,
            is_missing: false,
            created: 0,
            is_named: false,
            is_current: true,
        });
    }
    let Some(holding) = held else { return Ok(()) };
    match (act, told) {
        (Act::Take | Act::Ask | Act::Withdraw | Act::Forget | Act::ReleaseAbandoned | Act::Delete, _)
        | (Act::CreateChild, None) => {}
        (Act::Release, None | Some(Ok(_) | Err(None))) => *held = None,
        (Act::CreateChild, Some(_)) => holding.created += 1,
        (Act::NameChildren, told) => {
            // Known before it is answered, so that the next checkpoint repeats it.
            holding.known.children = true;
            holding.is_named = told.is_some();
        }
        (Act::Restore, told) => {
            holding.is_missing = false;
            holding.is_unanswered |= told.is_none();
        }
        (_, None) => holding.is_unanswered = true,
        (_, Some(Ok(Some(row)))) => adopt(holding, row, 0),
        (_, Some(Ok(None) | Err(None))) => holding.is_missing = true,
        (act, Some(Err(Some(row)))) => return refused(stage, world, by, lease, act, row),
    }
    Ok(())
}

/// This row stands in the way of a holder's write.
fn refused(stage: &Stage, world: &mut World, by: usize, lease: usize, act: Act, row: Row) -> Result<(), Violation> {
    let held = &mut world.workers[by].held[lease];
    let Some(holding) = held else { return Ok(()) };
    let is_earlier = is_ours(stage.config.broken, holding, &row, by);
    let is_own = is_earlier || is_same_tenure(stage.config.broken, holding, &row, by);
    invariants::recognised(holding, &row, is_own)?;
    match (is_own, is_earlier && act != Act::Release) {
        (true, true) => adopt(holding, row, holding.age),
        (true, false) => holding.known = row,
        (false, _) => *held = None,
    }
    Ok(())
}

fn adopt(holding: &mut Holding, row: Row, age: u8) {
    holding.known = row;
    holding.age = age;
    holding.is_unanswered = false;
}

/// The keeper's rule for a refused write: our own row one step ahead is an earlier attempt that was applied.
fn is_ours(broken: Option<Broken>, holding: &Holding, row: &Row, by: usize) -> bool {
    let me = Some(small(by));
    match broken {
        Some(Broken::AdoptsByName) => row.owner == me || row.checkpoint_owner == me,
        Some(Broken::NeverAdopts) => false,
        _ => holding.is_unanswered && row.counter == holding.known.counter + 1 && row.actual_owner() == me,
    }
}

/// The keeper's other rule: only who comes next has changed.
fn is_same_tenure(broken: Option<Broken>, holding: &Holding, row: &Row, by: usize) -> bool {
    let is_changed = (row.owner, row.checkpoint_owner) != (holding.known.owner, holding.known.checkpoint_owner);
    let is_same = row.counter == holding.known.counter && row.actual_owner() == Some(small(by)) && is_changed;
    is_same && broken != Some(Broken::IgnoresRequests)
}
