//! The model: what each request must do to a row, and what a look must lead to. Written from the protocol's
//! specification (`lease-protocol.md`, sections 2 and 4.1) in its own words; the library's code is not called here.

use super::rows::{LEASES_MAX, Row};

/// What a request asks of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Create,
    Take,
    Renew,
    /// A checkpoint at this number, or at the end.
    Checkpoint(u8),
    /// The intent to checkpoint there.
    Prepare(u8),
    Release,
    ReleaseAbandoned,
    NameChildren,
    Delete,
    /// Asks the owner to hand it over to the sender.
    Ask,
    /// Takes that back.
    Withdraw,
    /// Clears what a hand-off from the sender left behind.
    Forget,
}

/// One request to one row: by whom, about what, and as the sender knew the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) by: u8,
    pub(crate) lease: u8,
    pub(crate) kind: Kind,
    /// For [`Kind::Create`], the row to be written.
    pub(crate) known: Row,
}

/// What a request did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer<R> {
    /// Nothing: its condition does not hold.
    Refused,
    /// The row is this now; `None`: it is gone.
    Applied(Option<R>),
}

/// What a request must do.
pub(crate) fn answer(row: Option<Row>, write: &Write) -> Answer<Row> {
    let after = match (write.kind, row) {
        (Kind::Delete, _) => return Answer::Applied(None),
        (Kind::Create, row) => row.is_none().then_some(write.known),
        (_, row) => row.and_then(|row| updated(row, write)),
    };
    after.map_or(Answer::Refused, |row| Answer::Applied(Some(row)))
}

fn updated(row: Row, write: &Write) -> Option<Row> {
    let known = write.known;
    let is_unmoved = row.counter == known.counter;
    let has_same_owners = row.owner == known.owner && row.checkpoint_owner == known.checkpoint_owner;
    let is_asked_unknown = known.checkpoint_owner.is_none() && row.checkpoint_owner.is_some();
    let next = Row { counter: known.counter + 1, ..row };
    Some(match write.kind {
        Kind::Renew if is_unmoved && !is_asked_unknown => next,
        Kind::Take if is_unmoved => {
            let is_switch = known.owner.is_some_and(|owner| owner != write.by);
            let is_switch = is_switch || known.checkpoint_owner == Some(write.by);
            let switches = row.switches + u8::from(is_switch);
            Row { owner: Some(write.by), checkpoint_owner: None, switches, ..next }
        }
        Kind::Checkpoint(checkpoint) if is_unmoved => {
            Row { checkpoint, pending: None, switches: 0, children: row.children || known.children, ..next }
        }
        Kind::Prepare(pending) if is_unmoved => Row {
            checkpoint: known.checkpoint,
            pending: Some(pending),
            switches: known.switches,
            children: row.children || known.children,
            ..next
        },
        Kind::Release if has_same_owners => given_back(row),
        Kind::ReleaseAbandoned if has_same_owners && is_unmoved => given_back(row),
        Kind::NameChildren => Row { children: true, ..row },
        Kind::Ask if row.owner == known.owner && row.checkpoint_owner.is_none() => {
            Row { owner: Some(write.by), checkpoint_owner: row.owner, ..row }
        }
        Kind::Withdraw if has_same_owners => Row { owner: row.checkpoint_owner, checkpoint_owner: None, ..row },
        Kind::Forget if has_same_owners && is_unmoved => Row { checkpoint_owner: None, ..row },
        _ => return None,
    })
}

/// To whoever waits for it, which is a change of owner, or to nobody.
fn given_back(row: Row) -> Row {
    let is_handed_over = row.checkpoint_owner.is_some();
    let (owner, switches) = (row.owner.filter(|_| is_handed_over), row.switches + u8::from(is_handed_over));
    Row { owner, checkpoint_owner: None, counter: row.counter + 1, switches, ..row }
}

/// What one worker has seen of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    pub(crate) counter: u8,
    /// Ticks since this counter was first seen.
    pub(crate) age: u8,
    /// It had no owner when it was first seen, which counts as older than everything.
    pub(crate) is_oldest: bool,
}

impl Seen {
    /// What is known after a look at this row.
    pub(crate) fn after(before: Option<Self>, row: &Row) -> Self {
        match before {
            Some(seen) if seen.counter == row.counter => seen,
            Some(_) => Self { counter: row.counter, age: 0, is_oldest: false },
            None => Self { counter: row.counter, age: 0, is_oldest: row.owner.is_none() },
        }
    }

    fn has_stood(self, ticks: u8) -> bool {
        self.is_oldest || self.age >= ticks
    }
}

/// Ticks after which a lease that has not moved is expired: one is a little more than half a failover time.
pub(crate) const EXPIRED: u8 = 2;
/// Ticks that are more than three failover times.
pub(crate) const VERY_OLD: u8 = 6;
/// Ticks after which nobody can still write what a row was: two failover times.
pub(crate) const SETTLED: u8 = 4;

/// What a look at the table must lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Takes {
    /// The sets to choose from, a bit for each lease. Several, if several workers are the busiest.
    pub(crate) among: Vec<u8>,
    /// How many are taken.
    pub(crate) count: usize,
    /// They belong to a living worker.
    pub(crate) is_steal: bool,
}

/// Hand-offs that a worker has asked for, as it remembers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HandOffs {
    /// Ticks since the lease was asked for, and from whom.
    pub(crate) asked: [Option<(u8, u8)>; LEASES_MAX],
    /// Workers that have handed over, a bit for each.
    pub(crate) obliging: u8,
    /// Workers that have not answered.
    pub(crate) silent: u8,
}

/// Ticks after which a worker is not waited for any longer: one that has never handed over, and one that has.
pub(crate) const OVERDUE: [u8; 2] = [2, 3];

impl HandOffs {
    /// What is known after a look at these rows, and the leases that were waited for too long.
    pub(crate) fn after(mut self, rows: &[Option<Row>; LEASES_MAX], me: u8) -> (Self, u8) {
        let mut overdue = 0;
        for (lease, row) in rows.iter().enumerate() {
            let before = self.asked[lease].take();
            let Some(row) = row.filter(|row| row.owner == Some(me)) else { continue };
            match (row.checkpoint_owner.filter(|from| *from != me), before) {
                (None, Some((_, from))) => self.obliging |= 1 << from,
                (None, None) => {}
                (Some(from), before) => {
                    let age = before.map_or(0, |(age, _)| age);
                    if age >= OVERDUE[usize::from(self.obliging >> from & 1)] {
                        self.silent |= 1 << from;
                        overdue |= 1 << lease;
                    }
                    self.asked[lease] = Some((age, from));
                }
            }
        }
        let owners = rows.iter().flatten().filter_map(Row::actual_owner).fold(0, |owners, owner| owners | 1 << owner);
        self.obliging &= owners;
        self.silent &= owners;
        (self, overdue)
    }
}

/// The taker of section 4.1 with at most one lease stolen at a time. Two things differ on purpose: finished leases
/// count for nobody, and a lease is very old when this worker has watched it for so long, not at its first sight. One
/// that is being handed over counts for whoever waits for it.
pub(crate) fn takes(
    rows: &[Option<Row>; LEASES_MAX],
    seen: &[Option<Seen>; LEASES_MAX],
    me: u8,
    has_priority: bool,
) -> Takes {
    let (mut available, mut very_old, mut living) = (0u8, 0u8, [0u8; 4]);
    let mut lives = [false; 4];
    lives[usize::from(me)] = true;
    for (lease, row) in rows.iter().enumerate() {
        let (Some(row), Some(seen)) = (row, seen[lease]) else { continue };
        let is_unowned = row.owner.is_none() && row.checkpoint_owner.is_none();
        match row.owner {
            _ if row.is_finished() => {}
            Some(owner) if !is_unowned && !seen.has_stood(EXPIRED) => {
                living[usize::from(owner)] |= 1 << lease;
                lives[usize::from(owner)] = true;
            }
            _ => {
                available |= 1 << lease;
                very_old |= u8::from(seen.age >= VERY_OLD) << lease;
            }
        }
    }
    if has_priority && very_old > 0 {
        return Takes { among: vec![very_old], count: ones(very_old), is_steal: false };
    }
    let workers = lives.iter().filter(|lives| **lives).count();
    let leases = ones(available) + living.map(ones).iter().sum::<usize>();
    let target = if workers >= leases { 1 } else { leases.div_ceil(workers) };
    let need = target.saturating_sub(ones(living[usize::from(me)]));
    if available > 0 {
        return Takes { among: vec![available], count: need.min(ones(available)), is_steal: false };
    }
    steal(rows, &living, need, target)
}

fn steal(rows: &[Option<Row>; LEASES_MAX], living: &[u8; 4], need: usize, target: usize) -> Takes {
    let most = living.iter().map(|leases| ones(*leases)).max().unwrap_or(0);
    let is_wanted = need > 0 && (most > target || need > 1 && most >= target);
    // A hand-off under way is left alone.
    let is_pending = |lease: usize| rows[lease].is_some_and(|row| row.checkpoint_owner.is_some());
    let pending = (0..LEASES_MAX).filter(|lease| is_pending(*lease)).fold(0, |all, lease| all | 1u8 << lease);
    let busiest = living.iter().filter(|leases| ones(**leases) == most);
    Takes { among: busiest.map(|leases| leases & !pending).collect(), count: usize::from(is_wanted), is_steal: true }
}

pub(crate) fn ones(set: u8) -> usize {
    set.count_ones() as usize
}
