//! One state: the table, what every worker remembers, a request under way, and what only the judges know.

use super::config::{Budget, Config};
use super::model::{EXPIRED, HandOffs, Seen, Write};
use super::rows::{LEASES_MAX, Row, WORKERS_MAX};

/// A lease as the worker that holds it knows it: the state of a keeper, and of the consumer beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) known: Row,
    /// Ticks since the last write that is known to have succeeded was sent.
    pub(crate) age: u8,
    /// A write was sent whose answer has not come.
    pub(crate) is_unanswered: bool,
    /// It is being given back: nothing else is written any more.
    pub(crate) is_leaving: bool,
    /// The row was found missing and is to be written again.
    pub(crate) is_missing: bool,
    /// At the end of the shard: children that have leases.
    pub(crate) created: u8,
    /// They are named in the parent's lease.
    pub(crate) is_named: bool,
    /// Judges only: nobody has taken the lease since.
    pub(crate) is_current: bool,
}

/// Why a lease is taken, and with that, who may still believe to hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It has no owner or names this worker already: whoever held it before has given it up, or lost it without having
    /// met that yet.
    Free,
    /// It has not moved for a failover time: nobody at all holds it.
    Expired,
    /// It belongs to a living worker that has too many.
    Steal,
}

/// What a look decided to do about a lease, as it was listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Todo {
    pub(crate) known: Row,
    pub(crate) takes: bool,
    /// Judges only: why it may be taken.
    pub(crate) reason: Reason,
    /// Asks its owner for it.
    pub(crate) asks: bool,
    /// Clears the hand-off from this worker that is left in it.
    pub(crate) forgets: bool,
    /// It is asked for, and need not come if this worker stops.
    pub(crate) withdraws: bool,
}

/// What the upkeep decided to do with a finished lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Chore {
    pub(crate) release: Option<Row>,
    pub(crate) delete: bool,
}

/// All that one worker remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Worker {
    pub(crate) seen: [Option<Seen>; LEASES_MAX],
    pub(crate) todo: [Option<Todo>; LEASES_MAX],
    pub(crate) hand_offs: HandOffs,
    pub(crate) held: [Option<Holding>; LEASES_MAX],
    pub(crate) chores: [Chore; LEASES_MAX],
}

/// A request, with what the judges know of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) write: Write,
    /// Nobody has taken the lease since it was sent.
    pub(crate) is_current: bool,
    /// For takes.
    pub(crate) reason: Reason,
}

/// What only the judges know of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Past {
    /// The highest checkpoint there was.
    pub(crate) highest: u8,
    /// It was finished and deleted.
    pub(crate) is_deleted: bool,
    /// A hand-off from its last holder was cleared, and nobody has taken it since.
    pub(crate) is_forgotten: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) rows: [Option<Row>; LEASES_MAX],
    pub(crate) workers: [Worker; WORKERS_MAX],
    /// A request that its sender has given up waiting for and that may still arrive.
    pub(crate) late: Option<Sent>,
    pub(crate) left: Budget,
    pub(crate) past: [Past; LEASES_MAX],
}

impl World {
    pub(crate) fn first(config: &Config) -> Self {
        let mut rows = [None; LEASES_MAX];
        for (lease, row) in rows.iter_mut().enumerate().take(config.leases()) {
            *row = config.parents(lease).next().is_none().then(Row::default);
        }
        Self {
            rows,
            workers: [Worker::default(); WORKERS_MAX],
            late: None,
            left: config.budget,
            past: [Past::default(); LEASES_MAX],
        }
    }

    pub(crate) fn row(&self, lease: usize) -> Option<Row> {
        self.rows[lease]
    }

    pub(crate) fn holders(&self, lease: usize) -> impl Iterator<Item = (usize, &Holding)> {
        self.workers.iter().enumerate().filter_map(move |(by, worker)| Some((by, worker.held[lease].as_ref()?)))
    }

    /// Time passes for everybody.
    pub(crate) fn tick(&mut self, never_lapses: bool) {
        for worker in &mut self.workers {
            for seen in worker.seen.iter_mut().flatten() {
                seen.age = seen.age.saturating_add(1);
            }
            for (age, _) in worker.hand_offs.asked.iter_mut().flatten() {
                *age = age.saturating_add(1);
            }
            for held in &mut worker.held {
                if let Some(holding) = held {
                    holding.age = holding.age.saturating_add(1);
                    if holding.age >= EXPIRED && !never_lapses {
                        *held = None;
                    }
                }
            }
        }
    }
}
