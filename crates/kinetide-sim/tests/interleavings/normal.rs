//! The normal form of a state, in which what can make no difference is made equal. It is what keeps the spaces finite.
//!
//! Counters are only ever compared for equality and added to. So what counts is how far a memory is behind its row: not
//! at all, by one, or by more; a row's own counter is always [`TOP`]. Ages count up to the last limit that anybody
//! compares them with, owner switches, which nobody reads, up to two. That nothing is lost is shown in
//! [`super::transitions`].

use super::config::Config;
use super::model::{EXPIRED, Kind, OVERDUE, SETTLED, Seen, VERY_OLD, Write};
use super::rows::{Row, START};
use super::world::{Reason, Sent, Todo, Worker, World};

/// The counter of every row in the normal form.
const TOP: u8 = 4;
/// Any row that is not the one that stands now.
const STALE: Row = Row {
    owner: None,
    checkpoint_owner: None,
    counter: TOP - 1,
    switches: 0,
    checkpoint: START,
    pending: None,
    children: false,
};

impl World {
    /// Brings a state into its normal form.
    pub(crate) fn normalise(&mut self, config: &Config) {
        for lease in 0..config.leases() {
            let late = self.late.as_mut().filter(|sent| usize::from(sent.write.lease) == lease);
            let late_row = late.filter(|sent| sent.write.kind == Kind::Create).map(|sent| sent.write.known.counter);
            let held = self.holders(lease).map(|(_, holding)| holding.known.counter).max();
            match self.rows[lease].map(|row| row.counter).or(held).or(late_row) {
                Some(top) => self.normalise_lease(config, lease, top),
                // Nobody can bring it back: whatever is sent to it is refused.
                None => self.forget(lease),
            }
        }
    }

    fn forget(&mut self, lease: usize) {
        self.workers.iter_mut().for_each(|worker| worker.forget(lease));
        if let Some(late) = self.late.as_mut().filter(|sent| usize::from(sent.write.lease) == lease) {
            make_void(late);
        }
    }

    fn normalise_lease(&mut self, config: &Config, lease: usize, top: u8) {
        // A counter above its row's exists only where something is broken.
        let shift =
            |counter: u8| if counter > top { TOP + (counter - top).min(2) } else { TOP - (top - counter).min(2) };
        let small = |row: &mut Row| {
            row.counter = shift(row.counter);
            row.switches = row.switches.min(2);
        };
        // A broken worker's stale requests may be accepted.
        let keep_stale = config.broken.is_some();
        let row = &mut self.rows[lease];
        row.iter_mut().for_each(small);
        let is_finished = row.is_some_and(|row| row.is_finished());
        for worker in &mut self.workers[..config.workers] {
            worker.held[lease].iter_mut().for_each(|holding| {
                small(&mut holding.known);
                holding.age = holding.age.min(EXPIRED);
            });
            normalise_todo(&mut worker.todo[lease], keep_stale, small);
            worker.hand_offs.asked[lease].iter_mut().for_each(|(age, _)| *age = (*age).min(OVERDUE[1]));
            worker.chores[lease].release.iter_mut().for_each(|known| known_or_stale(known, keep_stale, small));
            worker.seen[lease].iter_mut().for_each(|seen| {
                seen.counter = shift(seen.counter);
                seen.normalise(config, is_finished);
            });
        }
        if let Some(sent) = self.late.as_mut().filter(|sent| usize::from(sent.write.lease) == lease) {
            normalise_late(sent, keep_stale, small);
        }
    }
}

/// Of a copy that the row has moved away from, only that is left: whatever it would write is refused.
fn known_or_stale(known: &mut Row, keep_stale: bool, small: impl Fn(&mut Row)) {
    small(known);
    if known.counter != TOP && !keep_stale {
        *known = STALE;
    }
}

/// Some requests look at the owners alone.
fn owners_of(known: &Row) -> Row {
    Row { owner: known.owner, checkpoint_owner: known.checkpoint_owner, ..STALE }
}

fn normalise_todo(todo: &mut Option<Todo>, keep_stale: bool, small: impl Fn(&mut Row)) {
    let Some(due) = todo else { return };
    small(&mut due.known);
    let owners = owners_of(&due.known);
    known_or_stale(&mut due.known, keep_stale, |_| {});
    if (due.asks || due.withdraws) && due.known == STALE {
        due.known = owners;
    }
    if !due.takes || due.known.counter != TOP && !keep_stale {
        due.reason = Reason::Free;
    }
    if !(due.takes || due.asks || due.forgets || due.withdraws) {
        *todo = None;
    }
}

fn normalise_late(sent: &mut Sent, keep_stale: bool, small: impl Fn(&mut Row)) {
    match sent.write.kind {
        // A child's first row is what it is.
        Kind::Create if sent.write.known == Row::default() => {}
        Kind::Create | Kind::Release | Kind::NameChildren | Kind::Delete => small(&mut sent.write.known),
        Kind::Ask | Kind::Withdraw => sent.write.known = owners_of(&sent.write.known),
        Kind::Take | Kind::Renew | Kind::Checkpoint(_) | Kind::Prepare(_) | Kind::ReleaseAbandoned | Kind::Forget => {
            known_or_stale(&mut sent.write.known, keep_stale, small);
            if sent.write.known.counter != TOP && !keep_stale {
                make_void(sent);
            }
        }
    }
}

/// Of a request that is refused whenever it arrives, only that is left.
fn make_void(sent: &mut Sent) {
    let write = Write { by: 0, kind: Kind::Renew, known: STALE, ..sent.write };
    *sent = Sent { write, is_current: false, reason: Reason::Free };
}

impl Seen {
    fn normalise(&mut self, config: &Config, is_finished: bool) {
        if self.counter != TOP {
            *self = Self { counter: TOP - 1, age: 0, is_oldest: false };
        } else if is_finished {
            // Never taken: it matters only when it may be deleted.
            self.age = self.age.min(if config.has_cleanup { SETTLED } else { 0 });
            self.is_oldest = false;
        } else {
            let of_interest = if config.has_priority { VERY_OLD } else { EXPIRED };
            self.age = if self.is_oldest && !config.has_priority { 0 } else { self.age.min(of_interest) };
        }
    }
}

impl Worker {
    fn forget(&mut self, lease: usize) {
        self.seen[lease] = None;
        self.hand_offs.asked[lease] = None;
        normalise_todo(&mut self.todo[lease], false, |known| *known = STALE);
        self.chores[lease].release.iter_mut().for_each(|known| *known = STALE);
    }
}
