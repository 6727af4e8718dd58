//! The move of a fleet from three tables into one, without effects.
//!
//! What is stored, in the coordinator table of 3.0 to 3.4, and who moves it; only the leader writes:
//!
//! ```text
//!  (none) ──supported──► Init ──baked──► Deployed ──moved──► Pending ──completed──► Complete
//!    ▲                    │                ▲  ▲                │
//!    └──── unsupported ───┘                │  └─ writers_back ─┘  with the flag
//!                                          └──── rolled_back ──┘  without
//! ```
//!
//! What a worker itself is at, [`local`], follows from what is stored and from the user's flag, `migrateAllEntitiesToLeaseTable`:
//!
//! | stored                             | flag off | flag on  |
//! |------------------------------------|----------|----------|
//! | nothing, no coordinator table      | Complete | Complete |
//! | nothing, there is one; Init        | Init     | refused  |
//! | Deployed, Pending                  | Deployed | Pending  |
//! | Complete                           | Complete | Complete |
//!
//! At Init and Deployed it writes to the separate tables, at Pending and Complete to the lease table; that is fixed when it starts.
//! It reads both until Complete.
//!
//! A worker's own write never moves it: it goes by what it reads next, so that a write that was lost, or one whose answer was, is
//! never taken for success. Complete is for good. No table is ever deleted.
//!
//! None of this may happen while the fleet comes from 2.x; [`super::layout`] sees to that.

mod transaction;

use std::time::Duration;

pub use transaction::{Block, ITEMS_PER_TRANSACTION_MAX, LegacyItem, Operation, Transaction};

use super::Now;
use super::entity::{Place, StatusWrite, TableStatus, Tracked};
use super::fleet::Fleet;
use super::refusal::Refusal;
use crate::stream::{Timestamp, WorkerId};

use TableStatus::{Complete, Deployed, Init, Pending};

/// How long every worker must have said that it can do with one table, before the second deployment may come.
pub const DEPLOYED_BAKE_TIME: Duration = Duration::from_secs(3_600);

/// How long everything is in the lease table before the way back is closed, unless the user says otherwise.
pub const COMPLETE_BAKE_TIME: Duration = Duration::from_secs(86_400);

const COMPLETE_BAKE_TIME_MIN: Duration = Duration::from_secs(3_600);
const COMPLETE_BAKE_TIME_MAX: Duration = Duration::from_secs(604_800);

/// What a worker is at, by what is stored and the user's flag.
///
/// # Errors
/// The flag is set before the fleet is ready for it.
pub fn local(stored: Option<TableStatus>, has_coordinator_table: bool, migrates: bool) -> Result<TableStatus, Refusal> {
    match (stored, migrates) {
        (Some(Complete), _) => Ok(Complete),
        (None, _) if !has_coordinator_table => Ok(Complete),
        (None | Some(Init), true) => Err(Refusal::MigratesTooEarly { stored }),
        (None | Some(Init), false) => Ok(Init),
        (Some(Deployed | Pending), false) => Ok(Deployed),
        (Some(Deployed | Pending), true) => Ok(Pending),
    }
}

/// Where a worker that started at this status writes.
#[must_use]
pub fn write_place(started_at: TableStatus) -> Place {
    match started_at {
        Init | Deployed => Place::Legacy,
        Pending | Complete => Place::LeaseTable,
    }
}

/// Where a worker looks, in this order, while it is at this status. Of an item that is in both, the first counts.
#[must_use]
pub fn read_places(at: TableStatus) -> &'static [Place] {
    match at {
        Init | Deployed | Pending => &[Place::Legacy, Place::LeaseTable],
        Complete => &[Place::LeaseTable],
    }
}

/// Where the leader lock is for a worker at this status.
#[must_use]
pub fn lock_place(at: TableStatus) -> Place {
    match at {
        Init | Deployed | Pending => Place::Legacy,
        Complete => Place::LeaseTable,
    }
}

/// The time the user gives, within the bounds of the Java KCL: an hour and a week.
#[must_use]
pub fn bounded_bake_time(time: Duration) -> Duration {
    time.clamp(COMPLETE_BAKE_TIME_MIN, COMPLETE_BAKE_TIME_MAX)
}

/// Refuses to write anything but leases to the lease table while workers own leases that may not be able to read it then.
///
/// # Errors
/// There are such workers. They are to be alive: their leases are still renewed.
pub fn guard_lease_table(owners_without_support: &[WorkerId]) -> Result<(), Refusal> {
    if owners_without_support.is_empty() {
        return Ok(());
    }
    Err(Refusal::BreaksOldWorkers { workers: owners_without_support.to_vec() })
}

/// A worker's place in the migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableState {
    /// What it is at.
    pub at: TableStatus,
    /// Where it writes; fixed when it started.
    pub writes_to: Place,
    migrates: bool,
    bake_time: Duration,
}

impl TableState {
    /// A worker that starts.
    ///
    /// # Errors
    /// The flag is set too early, or writing to the lease table would break workers that are alive.
    pub fn start(
        stored: Option<TableStatus>,
        has_coordinator_table: bool,
        migrates: bool,
        bake_time: Duration,
        owners_without_support: &[WorkerId],
    ) -> Result<Self, Refusal> {
        let at = local(stored, has_coordinator_table, migrates)?;
        if at == Pending {
            guard_lease_table(owners_without_support)?;
        }
        Ok(Self { at, writes_to: write_place(at), migrates, bake_time: bounded_bake_time(bake_time) })
    }
}

/// What a worker has looked at.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// This worker.
    pub me: &'a WorkerId,
    /// True if it leads.
    pub leads: bool,
    /// What is stored, as just read.
    pub stored: Option<&'a Tracked<TableStatus>>,
    /// Who owns leases and who reports where; `None` before the first look.
    pub fleet: Option<&'a Fleet>,
    /// The items of the coordinator table; `None` if they were not listed. They are needed by a leader at Pending.
    pub legacy: Option<&'a [LegacyItem]>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write the status, in the coordinator table.
    Write(StatusWrite<TableStatus>),
    /// Carry these out one after the other; after one that fails, none.
    Move(Vec<Transaction>),
    /// Store the end, in both tables at once.
    Complete(Transaction),
    /// From now on the leader lock is in the lease table: give back the old one, and take part there.
    ChangeLock,
    /// Nothing can go on before somebody has mended this.
    Block(Block),
}

/// Takes in one look and says what the worker is at now, and what to do. For every worker, at each look at the leader lock.
#[must_use]
pub fn step(state: TableState, seen: &Observation<'_>, now: Now) -> (TableState, Vec<Action>) {
    if state.at == Complete {
        return (state, Vec::new());
    }
    let stored = seen.stored.map(|item| item.status);
    // What would be refused at a start was brought about since, by hand: a status set back bakes again, and a worker that has
    // begun to write to the lease table goes on.
    let at = local(stored, true, state.migrates).unwrap_or(stored.unwrap_or(state.at));
    let state = TableState { at, ..state };
    let actions = match (at, seen.leads) {
        (Complete, _) => vec![Action::ChangeLock],
        (_, false) => Vec::new(),
        (Init, true) => lead_init(seen, now),
        (Deployed, true) => lead_deployed(seen, now),
        (Pending, true) => lead_pending(&state, seen, now),
    };
    (state, actions)
}

/// The leader at Init: every worker must say that it can do with one table, and go on saying so.
fn lead_init(seen: &Observation<'_>, now: Now) -> Vec<Action> {
    let Some(fleet) = seen.fleet else { return Vec::new() };
    match (seen.stored, fleet.supports(now.wall)) {
        (None, true) => supported(Init, seen.me, now.wall),
        (None, false) => Vec::new(),
        (Some(item), false) => unsupported(item),
        (Some(item), true) if item.age(now.wall) >= DEPLOYED_BAKE_TIME => baked(item, seen.me, now.wall),
        (Some(_), true) => Vec::new(),
    }
}

/// The leader without the flag: a move that had begun is taken back.
fn lead_deployed(seen: &Observation<'_>, now: Now) -> Vec<Action> {
    match seen.stored {
        Some(item) if item.status == Pending => rolled_back(item, seen.me, now.wall),
        _ => Vec::new(),
    }
}

/// The leader with the flag.
fn lead_pending(state: &TableState, seen: &Observation<'_>, now: Now) -> Vec<Action> {
    let (Some(fleet), Some(legacy)) = (seen.fleet, seen.legacy) else { return Vec::new() };
    let left: Vec<_> = legacy.iter().filter(|item| item.is_moved()).collect();
    let is_quiet = fleet.reports_to_lease_table(now.wall);
    match seen.stored {
        // Deleted by hand. Back to where the second deployment may come, once that is true.
        None if fleet.supports(now.wall) => supported(Deployed, seen.me, now.wall),
        None => Vec::new(),
        Some(item) if item.status == Pending => {
            let is_baked = item.age(now.wall) >= state.bake_time;
            match fleet.reports_to_legacy(now.wall) || !left.is_empty() {
                true => writers_back(item, seen.me, now.wall),
                false if is_quiet && is_baked => completed(item, seen.me, now.wall),
                false => Vec::new(),
            }
        }
        Some(_) if !is_quiet => Vec::new(),
        Some(item) if left.is_empty() => moved(item, seen.me, now.wall),
        Some(_) => move_items(&left, seen.me),
    }
}

fn supported(status: TableStatus, me: &WorkerId, now: Timestamp) -> Vec<Action> {
    vec![Action::Write(StatusWrite::Create(Tracked::created(status, me.as_str(), now)))]
}

/// Somebody can no longer do with one table, after a roll-back to an older version: the hour begins anew.
fn unsupported(item: &Tracked<TableStatus>) -> Vec<Action> {
    vec![Action::Write(StatusWrite::Delete(item.clone()))]
}

fn baked(item: &Tracked<TableStatus>, me: &WorkerId, now: Timestamp) -> Vec<Action> {
    change(item, Deployed, me, now)
}

fn rolled_back(item: &Tracked<TableStatus>, me: &WorkerId, now: Timestamp) -> Vec<Action> {
    change(item, Deployed, me, now)
}

/// Somebody writes to the separate tables again: what it wrote must be moved too, and the bake time begins anew.
fn writers_back(item: &Tracked<TableStatus>, me: &WorkerId, now: Timestamp) -> Vec<Action> {
    change(item, Deployed, me, now)
}

/// The coordinator table has been seen without items to move.
fn moved(item: &Tracked<TableStatus>, me: &WorkerId, now: Timestamp) -> Vec<Action> {
    change(item, Pending, me, now)
}

fn change(item: &Tracked<TableStatus>, status: TableStatus, me: &WorkerId, now: Timestamp) -> Vec<Action> {
    vec![Action::Write(StatusWrite::Update { from: item.clone(), to: item.changed(status, me.as_str(), now) })]
}

fn move_items(items: &[&LegacyItem], me: &WorkerId) -> Vec<Action> {
    match Transaction::moves(items, me) {
        Ok(transactions) => vec![Action::Move(transactions)],
        Err(blocks) => blocks.into_iter().map(Action::Block).collect(),
    }
}

fn completed(item: &Tracked<TableStatus>, me: &WorkerId, now: Timestamp) -> Vec<Action> {
    let to = item.changed(Complete, me.as_str(), now);
    vec![Action::Complete(Transaction::end(item, to, me))]
}

#[cfg(test)]
mod tests;
