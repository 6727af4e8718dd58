//! Keeps one lease: a task that owns its counter. Renewals, checkpoints and the final release all go through it, one after
//! the other, so no two writes of this worker can race.
//!
//! It is for a lease this worker holds; finding and taking leases is [`crate::assignment`]'s and [`crate::worker`]'s job.
//!
//! ```text
//!            ┌── renew, checkpoint, prepare (counter + 1 each) ──┐
//!   start → Held ◄──────────────────────────────────────────────┘
//!            ├─ somebody else's counter or owner ─► Lost
//!            ├─ row deleted: written again as it was ─► Held
//!            ├─ another worker asks for it ─► Held; the consumer finishes, or its time is over ─► handed over: Lost
//!            ├─ not renewed for a failover time ──► Lost
//!            └─ release ──────────────────────────► Lost (by ourselves)
//! ```
//!
//! Invariants:
//! - a lease is treated as lost no later than one failover time after the last successful write *was sent*: whoever
//!   watches the counter sees that write later than it was sent, so nobody else can have taken it by then;
//! - a checkpoint is never lowered, whatever the order in which they arrive;
//! - a write whose answer was lost is repeated with the same counter. If it had been applied, the repetition is refused
//!   and shows our own row one step ahead: then it is adopted.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::key::LeaseKey;
use super::row::{Lease, LeaseUpdate};
use super::table::{Claim, LeaseTable, TableError, TableErrorKind};
use crate::checkpoint::{CheckpointError, CheckpointErrorKind, PendingCheckpoint};
use crate::clock::{Clock, Moment};
use crate::error::chain;
use crate::event::{Event, Events};
use crate::retry::Backoff;
use crate::rng::Rng;
use crate::stream::{Checkpoint, ShardId, WorkerId};

/// Commands waiting for one lease. A processor sends one at a time; clones of its checkpointer may add a few.
const COMMANDS_MAX: usize = 16;
/// Attempts of one command's write before its error goes to the caller.
const COMMAND_ATTEMPTS_MAX: u32 = 3;

/// Why a lease is no longer held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LossReason {
    /// Another worker owns it.
    Taken,
    /// It could not be renewed within a failover time.
    Expired,
    /// This worker gave it back.
    Released,
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Taken => "another worker has it",
            Self::Expired => "it could not be renewed in time",
            Self::Released => "it was given back",
        })
    }
}

enum Command {
    Checkpoint(Checkpoint, oneshot::Sender<Result<(), CheckpointError>>),
    Prepare(PendingCheckpoint, oneshot::Sender<Result<(), CheckpointError>>),
    NameChildren(Vec<ShardId>, oneshot::Sender<Result<(), TableError>>),
    /// Renew now: the table looks as if the lease had been taken.
    Verify,
    /// Renew now, and say whether the lease is still held.
    Confirm(oneshot::Sender<bool>),
    Release(oneshot::Sender<()>),
}

/// Speaks to the task that keeps a lease.
#[derive(Debug, Clone)]
pub struct LeaseHandle {
    key: LeaseKey,
    commands: mpsc::Sender<Command>,
    loss: watch::Receiver<Option<LossReason>>,
    wanted: watch::Receiver<bool>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command")
    }
}

impl LeaseHandle {
    /// The lease's key.
    #[must_use]
    pub fn key(&self) -> &LeaseKey {
        &self.key
    }

    /// Why it is no longer held; `None` while it is.
    #[must_use]
    pub fn loss(&self) -> Option<LossReason> {
        *self.loss.borrow()
    }

    /// Waits until it is no longer held.
    pub async fn lost(&self) -> LossReason {
        let mut loss = self.loss.clone();
        match loss.wait_for(Option::is_some).await {
            Ok(reason) => reason.unwrap_or(LossReason::Expired),
            // The keeper ended without a word: it was dropped with its worker.
            Err(_) => LossReason::Expired,
        }
    }

    /// True while another worker waits for it.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }

    /// Waits until another worker waits for it.
    pub async fn wanted(&self) {
        let mut wanted = self.wanted.clone();
        if wanted.wait_for(|is_wanted| *is_wanted).await.is_err() {
            // The keeper is gone, which is told as a loss.
            std::future::pending().await
        }
    }

    pub(crate) async fn checkpoint(&self, checkpoint: Checkpoint) -> Result<(), CheckpointError> {
        self.ask(|reply| Command::Checkpoint(checkpoint, reply)).await.unwrap_or_else(|()| Err(self.not_held()))
    }

    pub(crate) async fn prepare(&self, pending: PendingCheckpoint) -> Result<(), CheckpointError> {
        self.ask(|reply| Command::Prepare(pending, reply)).await.unwrap_or_else(|()| Err(self.not_held()))
    }

    /// `None`: the lease is lost.
    pub(crate) async fn name_children(&self, children: Vec<ShardId>) -> Option<Result<(), TableError>> {
        self.ask(|reply| Command::NameChildren(children, reply)).await.ok()
    }

    /// Has the lease renewed now, which shows whether it is still held.
    pub(crate) fn verify(&self) {
        // A full queue means that a write is coming anyway, a closed one that the lease is gone.
        let _ = self.commands.try_send(Command::Verify);
    }

    /// True if the table itself says so now that the lease is held. For what must not be done by a worker that slept and does not
    /// know that it was replaced.
    pub(crate) async fn confirm(&self) -> bool {
        self.ask(Command::Confirm).await.unwrap_or(false)
    }

    /// Gives the lease back, best effort; returns when that was tried.
    pub(crate) async fn release(&self) {
        // Either way the lease is no longer ours.
        let _ = self.ask(Command::Release).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, ()> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| ())?;
        answer.await.map_err(|_| ())
    }

    fn not_held(&self) -> CheckpointError {
        let message = format!("the lease is held by another worker or was given back, shard={}", self.key);
        CheckpointError::new(CheckpointErrorKind::LeaseLost, message)
    }
}

/// What the keepers of one worker share.
#[derive(Clone)]
pub struct KeeperContext {
    /// Where the leases are.
    pub table: Arc<dyn LeaseTable>,
    /// Who holds them.
    pub worker: WorkerId,
    /// The worker's clock.
    pub clock: Clock,
    /// Where events go.
    pub events: Events,
    /// How long a lease lives without a renewal.
    pub failover_time: Duration,
    /// How often it is renewed.
    pub renew_interval: Duration,
    /// How long a hand-off waits for the processor.
    pub hand_off_time: Duration,
    /// Bounds the renewals under way at once.
    pub renewals: Arc<Semaphore>,
}

/// The task that keeps one lease.
pub struct Keeper {
    context: KeeperContext,
    lease: Lease,
    renewed_at: Moment,
    /// A write was sent whose answer has not come: our row may be one step ahead of what is known here.
    is_unanswered: bool,
    rng: Rng,
    commands: mpsc::Receiver<Command>,
    loss: watch::Sender<Option<LossReason>>,
    wanted: watch::Sender<bool>,
    /// When the lease is handed over, whether its processor has finished or not.
    hand_over_at: Option<Moment>,
}

/// How a series of attempts to write ended.
enum Written {
    Yes,
    Lost(LossReason),
    Failed(TableError),
}

impl Keeper {
    /// A keeper for a lease that was taken by a write sent at `taken_at`.
    #[must_use]
    pub fn new(context: KeeperContext, lease: Lease, taken_at: Moment, rng: Rng) -> (Self, LeaseHandle) {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let (loss, watcher) = watch::channel(None);
        let (wanted, wanted_watcher) = watch::channel(false);
        let handle = LeaseHandle { key: lease.key.clone(), commands: sender, loss: watcher, wanted: wanted_watcher };
        let (is_unanswered, hand_over_at) = (false, None);
        let keeper =
            Self { context, lease, renewed_at: taken_at, is_unanswered, rng, commands, loss, wanted, hand_over_at };
        (keeper, handle)
    }

    /// Keeps the lease until it is lost or given back.
    pub async fn run(mut self) {
        let reason = loop {
            let next_renewal = self.renewed_at.after(self.context.renew_interval);
            let hand_over_at = self.hand_over_at;
            let is_over = async || match hand_over_at {
                Some(at) => self.context.clock.sleep_until(at).await,
                None => std::future::pending().await,
            };
            // Commands first: a checkpoint is a renewal, and a release makes one needless.
            let step = tokio::select! {
                biased;
                command = self.commands.recv() => self.obey(command).await,
                () = is_over() => self.give_back().await,
                () = self.context.clock.sleep_until(next_renewal) => self.renew().await,
            };
            if let Some(reason) = step {
                break reason;
            }
        };
        self.context.events.emit(Event::LeaseEnded { shard: self.lease.key.clone(), reason });
        self.loss.send_replace(Some(reason));
    }

    async fn obey(&mut self, command: Option<Command>) -> Option<LossReason> {
        match command {
            None => self.give_back().await,
            Some(Command::Verify) => self.renew().await,
            Some(Command::Confirm(reply)) => {
                let reason = self.renew().await;
                // Whoever asked may have given up waiting.
                let _ = reply.send(reason.is_none());
                reason
            }
            Some(Command::Release(reply)) => {
                let reason = self.give_back().await;
                // Nobody may be waiting any more.
                let _ = reply.send(());
                reason
            }
            // Clones of a checkpointer may overtake one another; what a higher checkpoint covers is stored.
            Some(Command::Checkpoint(checkpoint, reply)) if checkpoint <= self.lease.checkpoint => {
                let _ = reply.send(Ok(()));
                None
            }
            Some(Command::Checkpoint(checkpoint, reply)) => {
                let wanted = checkpoint.clone();
                let done = move |row: &Lease| row.checkpoint >= wanted;
                let written =
                    self.write(COMMAND_ATTEMPTS_MAX, move |row| row.checkpoint(checkpoint.clone()), done).await;
                self.answer(written, reply)
            }
            Some(Command::Prepare(pending, reply)) => {
                let wanted = Some(pending.clone());
                let done = move |row: &Lease| row.pending == wanted;
                let written = self.write(COMMAND_ATTEMPTS_MAX, move |row| row.prepare(pending.clone()), done).await;
                self.answer(written, reply)
            }
            Some(Command::NameChildren(children, reply)) => {
                let result = self.name_children(children).await;
                let _ = reply.send(result);
                None
            }
        }
    }

    fn answer(&self, written: Written, reply: oneshot::Sender<Result<(), CheckpointError>>) -> Option<LossReason> {
        let (result, loss) = match written {
            Written::Yes => (Ok(()), None),
            Written::Failed(error) => (Err(checkpoint_error(error, self.is_unanswered)), None),
            Written::Lost(reason) => {
                let message = format!("the lease is lost: {reason}, shard={}", self.lease.key);
                (Err(CheckpointError::new(CheckpointErrorKind::LeaseLost, message)), Some(reason))
            }
        };
        if loss.is_some() {
            // Before the caller learns it, so that it never sees a lost lease as held.
            self.loss.send_replace(loss);
        }
        // The caller may have given up waiting; the write stands.
        let _ = reply.send(result);
        loss
    }

    async fn renew(&mut self) -> Option<LossReason> {
        let renewals = self.context.renewals.clone();
        let Ok(_permit) = self.context.clock.timeout(self.time_left(), renewals.acquire()).await else {
            return Some(LossReason::Expired);
        };
        match self.write(u32::MAX, Lease::renew, |_| true).await {
            Written::Yes => None,
            Written::Lost(reason) => Some(reason),
            // Unbounded attempts end only by loss; an error that retrying cannot mend leaves the lease to run out.
            Written::Failed(_) => {
                self.context.clock.sleep(self.time_left().min(self.context.renew_interval)).await;
                (self.time_left() == Duration::ZERO).then_some(LossReason::Expired)
            }
        }
    }

    /// Writes until it is settled, a lasting error, `attempts` errors, or the end of the lease.
    ///
    /// `done` tells from the row alone whether an earlier attempt, whose answer was lost, had its effect.
    async fn write(
        &mut self,
        attempts: u32,
        update: impl Fn(&Lease) -> LeaseUpdate,
        done: impl Fn(&Lease) -> bool,
    ) -> Written {
        let mut backoff = Backoff::new(Duration::from_millis(50), self.context.renew_interval / 4);
        let mut failures = 0;
        loop {
            let sent_at = self.context.clock.monotonic();
            let update = update(&self.lease);
            let error = match self.in_time(self.context.table.update(&update)).await {
                None => return Written::Lost(LossReason::Expired),
                Some(Ok(Claim::Won(row))) => {
                    self.adopt(row, sent_at);
                    return Written::Yes;
                }
                Some(Ok(Claim::Lost(Some(row)))) if self.is_ours(&row) => {
                    let is_done = done(&row);
                    self.adopt(row, self.renewed_at);
                    if is_done {
                        return Written::Yes;
                    }
                    continue;
                }
                // Only who comes next has changed: the same write again, knowing that.
                Some(Ok(Claim::Lost(Some(row)))) if self.is_same_tenure(&row) => {
                    self.note_owners(row);
                    continue;
                }
                Some(Ok(Claim::Lost(Some(_)))) => return Written::Lost(LossReason::Taken),
                Some(Ok(Claim::Lost(None))) => match self.restore().await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                Some(Err(error)) => error,
            };
            self.is_unanswered |= !error.has_no_side_effects();
            failures += 1;
            let is_last = !error.is_retryable() || failures >= attempts;
            let wait = backoff.next(&mut self.rng);
            self.context.events.emit(Event::CallFailed { what: "lease write", error: chain(&error), retry_in: wait });
            if is_last {
                return Written::Failed(error);
            }
            self.context.clock.sleep(wait.min(self.time_left())).await;
        }
    }

    /// Waits for one call; `None` when the lease's time is up. A call that takes half a renewal interval is given up for
    /// another: on a dead connection the next one may succeed while there is time.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T, TableError>>) -> Option<Result<T, TableError>> {
        let left = self.time_left();
        // A zero time-out would still poll the call once, and a late write must not go out at all.
        if left == Duration::ZERO {
            return None;
        }
        let limit = left.min(self.context.renew_interval / 2);
        match self.context.clock.timeout(limit, call).await {
            Ok(result) => Some(result),
            Err(_) if self.time_left() == Duration::ZERO => None,
            Err(elapsed) => {
                let name = self.context.table.name();
                let message = format!("no answer within {} ms", limit.as_millis());
                Some(Err(TableError::new(TableErrorKind::Ambiguous, "UpdateItem", name, message).with_source(elapsed)))
            }
        }
    }

    /// A row that somebody deleted under its owner is written again as the owner knows it: without it the shard would have
    /// no lease, and its checkpoint would be forgotten. If another row is there by now, the next attempt meets it.
    async fn restore(&mut self) -> Result<(), TableError> {
        match self.in_time(self.context.table.create(&self.lease)).await {
            Some(Ok(Claim::Won(row))) => {
                let (shard, checkpoint) = (row.key, row.checkpoint);
                self.context.events.emit(Event::LeaseRestored { shard, checkpoint });
                Ok(())
            }
            // Out of time is found out by the next attempt.
            Some(Ok(Claim::Lost(_))) | None => Ok(()),
            Some(Err(error)) => Err(error),
        }
    }

    /// Our own row one step ahead is an earlier attempt of ours that was applied; anything else is a loss.
    fn is_ours(&self, row: &Lease) -> bool {
        let is_one_ahead = row.counter == self.lease.counter + 1;
        self.is_unanswered && is_one_ahead && row.actual_owner() == Some(&self.context.worker)
    }

    /// True if another worker has asked for the lease, or withdrawn that, since the row was last seen.
    fn is_same_tenure(&self, row: &Lease) -> bool {
        let is_changed = (&row.owner, &row.checkpoint_owner) != (&self.lease.owner, &self.lease.checkpoint_owner);
        row.counter == self.lease.counter && row.actual_owner() == Some(&self.context.worker) && is_changed
    }

    fn adopt(&mut self, row: Lease, renewed_at: Moment) {
        self.renewed_at = renewed_at;
        self.is_unanswered = false;
        self.note_owners(row);
    }

    fn note_owners(&mut self, row: Lease) {
        self.lease = row;
        let is_wanted = self.lease.next_owner().is_some();
        if is_wanted && self.hand_over_at.is_none() {
            self.hand_over_at = Some(self.context.clock.monotonic().after(self.context.hand_off_time));
            let (shard, next) = (self.lease.key.clone(), self.lease.next_owner().cloned());
            self.context.events.emit(Event::HandOffRequested { shard, next });
        } else if !is_wanted {
            self.hand_over_at = None;
        }
        self.wanted.send_if_modified(|wanted| std::mem::replace(wanted, is_wanted) != is_wanted);
    }

    async fn name_children(&mut self, children: Vec<ShardId>) -> Result<(), TableError> {
        let update = self.lease.name_children(children.clone());
        // The row's counter does not move, and the next checkpoint repeats the children.
        self.lease.children = children;
        match self.in_time(self.context.table.update(&update)).await {
            // A row that is gone, or a lease out of time, is the next renewal's finding.
            Some(result) => result.map(drop),
            None => Ok(()),
        }
    }

    async fn give_back(&mut self) -> Option<LossReason> {
        let limit = self.context.renew_interval;
        let released = self.context.clock.clone().timeout(limit, self.release()).await;
        // What could not be given back runs out by itself.
        Some(released.unwrap_or(LossReason::Expired))
    }

    /// To whoever asked for it, or to nobody.
    async fn release(&mut self) -> LossReason {
        for _ in 0..COMMAND_ATTEMPTS_MAX {
            match self.context.table.update(&self.lease.release()).await {
                Ok(Claim::Won(_)) => return LossReason::Released,
                Ok(Claim::Lost(Some(row))) if self.is_ours(&row) || self.is_same_tenure(&row) => self.lease = row,
                Ok(Claim::Lost(_)) => return LossReason::Taken,
                Err(_) => return LossReason::Expired,
            }
        }
        LossReason::Expired
    }

    fn time_left(&self) -> Duration {
        self.renewed_at.after(self.context.failover_time).since(self.context.clock.monotonic())
    }
}

/// An earlier attempt without an answer may have been applied, whatever the last one came to.
fn checkpoint_error(error: TableError, is_unanswered: bool) -> CheckpointError {
    let kind = match error.kind() {
        _ if is_unanswered => CheckpointErrorKind::Dependency,
        TableErrorKind::Throttled => CheckpointErrorKind::Throttled,
        TableErrorKind::Missing | TableErrorKind::NotALeaseTable => CheckpointErrorKind::InvalidState,
        _ => CheckpointErrorKind::Dependency,
    };
    CheckpointError::new(kind, "the lease table failed").with_source(error)
}

#[cfg(test)]
mod tests;
