//! The way of a fleet from 2.x to 3.x, and back, without effects.
//!
//! ```text
//!                 switched_over                    promoted
//!  UpgradeFrom2x ───────────────► V3xWithRollback ──────────► V3x
//!    ▲     │                             │
//!    │     │ rolled_back                 │ rolled_back
//!    │     └───────────► V2x ◄───────────┘
//!    │ rolled_forward     │
//!    └────────────────────┘
//!
//!  Init ── told ──► where it would start now
//! ```
//!
//! What is stored rules: a worker moves when it reads that the stored version has moved, the leader too, and never because of
//! a write of its own. So all workers move within one look of each other, and a write that was lost changes nobody. Where a
//! fleet begins is decided by [`initial`], from the configuration and what is stored.
//!
//! Moves that the diagram does not have are told and ignored. There are two exceptions, in which a Java worker stays behind
//! until it is started anew and takes leases against the leader of its fleet:
//! - `missed_looks`: several moves were made between two looks, and the history of the item shows that each was one of the
//!   diagram: this worker goes where they led;
//! - `told`: something is stored after all while a worker is in `Init`: it goes where it would start now.
//!
//! Who decides that the fleet is ready, in `UpgradeFrom2x`: the leader, once every owner of leases has reported for ten
//! minutes without a break. The ten minutes begin anew when it loses the lead.

mod duties;
mod tool;

use std::time::Duration;

pub use duties::{AssignmentKind, ClientVersionConfig, Duties, Index, LeaderKind, duties};
pub use tool::{INDEX_DELETION_DELAY, ROLLED_BACK_BY, ROLLED_FORWARD_BY, roll_back, roll_forward};

use super::Now;
use super::entity::{ClientVersion, StatusWrite, Tracked};
use super::fleet::Fleet;
use super::refusal::Refusal;
use crate::clock::Moment;
use crate::stream::{Timestamp, WorkerId};

use ClientVersion::{Init, UpgradeFrom2x, V2x, V3x, V3xWithRollback};

/// Between two looks of the leader at whether the fleet is ready, and of every worker at the stored version.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// The first look at the stored version comes later by up to this, so that a fleet does not look at once.
pub const LOOK_JITTER_MAX: Duration = Duration::from_secs(30);

/// How long the fleet must be ready without a break.
pub const READY_TIME: Duration = Duration::from_secs(600);

/// The state in which a worker starts.
///
/// # Errors
/// A version is stored that only lives in memory.
pub fn initial(config: ClientVersionConfig, stored: Option<ClientVersion>) -> Result<ClientVersion, Refusal> {
    match (stored, config) {
        (None, ClientVersionConfig::CompatibleWith2xPhase1) => Ok(Init),
        (None, ClientVersionConfig::CompatibleWith2x) => Ok(UpgradeFrom2x),
        (None, ClientVersionConfig::V3x) => Ok(V3x),
        (Some(V3xWithRollback), ClientVersionConfig::V3x) => Ok(V3x),
        (Some(version @ Init), _) => Err(Refusal::NotAStoredVersion { version }),
        (Some(version), _) => Ok(version),
    }
}

/// The write with which a state is entered whose version is not the stored one. If it is lost, or its answer is, all begins anew:
/// read, [`initial`], enter.
#[must_use]
pub fn entry(
    version: ClientVersion,
    stored: Option<&Tracked<ClientVersion>>,
    me: &WorkerId,
    now: Timestamp,
) -> Option<StatusWrite<ClientVersion>> {
    match stored {
        _ if version == Init => None,
        None => Some(StatusWrite::Create(Tracked::created(version, me.as_str(), now))),
        Some(item) if item.status == version => None,
        Some(item) => Some(change(item, version, me.as_str(), now)),
    }
}

fn change(
    item: &Tracked<ClientVersion>,
    version: ClientVersion,
    by: &str,
    now: Timestamp,
) -> StatusWrite<ClientVersion> {
    StatusWrite::Update { from: item.clone(), to: item.changed(version, by, now) }
}

/// A worker's place on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionState {
    /// Where it is.
    pub version: ClientVersion,
    /// What the user says.
    pub config: ClientVersionConfig,
    /// Since when this worker, leading, has found the fleet ready.
    ready_since: Option<Moment>,
}

/// What a worker has looked at. What it has not looked at this time is `None`.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// This worker.
    pub me: &'a WorkerId,
    /// True if it leads.
    pub leads: bool,
    /// The stored version, if there is one.
    pub stored: Option<&'a Tracked<ClientVersion>>,
    /// True if the index of the lease table can be used.
    pub index_is_active: bool,
    /// Who owns leases and who reports.
    pub fleet: Option<&'a Fleet>,
}

/// What to do. In this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write the stored version. Nothing depends on whether it is applied.
    Write(StatusWrite<ClientVersion>),
    /// Make the index of the lease table unless it is there; do not wait for it.
    CreateIndex,
    /// Begin or end to write this worker's metrics.
    Report(bool),
    /// Let the leader assign leases, or each worker take.
    Assign(AssignmentKind),
    /// Choose the leader in this way; give back the leader lock if it is no longer used.
    Lead(LeaderKind),
    /// Enter this state as at a start: begin with [`entry`] and take up its [`duties()`].
    Start(ClientVersion),
    /// A version is stored to which there is no way from here; this worker goes on as it is.
    Ignore {
        /// What is stored.
        stored: ClientVersion,
    },
}

impl VersionState {
    /// A worker that starts in this state.
    #[must_use]
    pub fn new(version: ClientVersion, config: ClientVersionConfig) -> Self {
        Self { version, config, ready_since: None }
    }

    /// True once no further move is possible.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.version == V3x
    }

    fn follow(self, stored: &Tracked<ClientVersion>) -> (Self, Vec<Action>) {
        match (self.version, stored.status) {
            (here, there) if here == there => (self, Vec::new()),
            (V3x, _) => (self, Vec::new()),
            (Init, _) => self.told(stored.status),
            (V2x, UpgradeFrom2x) => self.rolled_forward(),
            (UpgradeFrom2x | V3xWithRollback, V2x) => self.rolled_back(),
            (UpgradeFrom2x, V3xWithRollback) => self.switched_over(),
            (V3xWithRollback, V3x) => self.promoted(),
            (here, there) if is_way(here, stored) => self.missed_looks(there),
            (_, stored) => (self, vec![Action::Ignore { stored }]),
        }
    }

    /// Something is stored: this worker starts again, with what is there now.
    fn told(self, stored: ClientVersion) -> (Self, Vec<Action>) {
        match initial(self.config, Some(stored)) {
            Ok(version) => (Self::new(version, self.config), vec![Action::Start(version)]),
            Err(_) => (self, vec![Action::Ignore { stored }]),
        }
    }

    fn rolled_forward(self) -> (Self, Vec<Action>) {
        self.moved(UpgradeFrom2x)
    }

    fn rolled_back(self) -> (Self, Vec<Action>) {
        self.moved(V2x)
    }

    fn switched_over(self) -> (Self, Vec<Action>) {
        self.moved(V3xWithRollback)
    }

    fn promoted(self) -> (Self, Vec<Action>) {
        self.moved(V3x)
    }

    fn missed_looks(self, stored: ClientVersion) -> (Self, Vec<Action>) {
        self.moved(stored)
    }

    /// What changes between two states. The index is made on the way up only; a roll-back leaves it to the tool.
    fn moved(self, version: ClientVersion) -> (Self, Vec<Action>) {
        let (from, to) = (duties(self.version), duties(version));
        let mut actions = Vec::new();
        if to.index == Index::Created || (from.index == Index::Left && to.index != Index::Left) {
            actions.push(Action::CreateIndex);
        }
        if to.reports != from.reports {
            actions.push(Action::Report(to.reports));
        }
        if to.assignment != from.assignment {
            actions.push(Action::Assign(to.assignment));
        }
        if to.leader != from.leader {
            actions.push(Action::Lead(to.leader));
        }
        (Self::new(version, self.config), actions)
    }

    /// The leader's look at the fleet: begins to count, counts on, begins anew.
    fn watch_readiness(self, seen: &Observation<'_>, now: Now) -> (Self, Vec<Action>) {
        if !seen.leads {
            return (self.not_ready(), Vec::new());
        }
        match seen.fleet {
            None => (self, Vec::new()),
            Some(fleet) if seen.index_is_active && fleet.is_ready_for_3x(now.wall) => self.ready(seen, now),
            Some(_) => (self.not_ready(), Vec::new()),
        }
    }

    fn not_ready(self) -> Self {
        Self { ready_since: None, ..self }
    }

    fn ready(self, seen: &Observation<'_>, now: Now) -> (Self, Vec<Action>) {
        let since = self.ready_since.unwrap_or(now.monotonic);
        let is_steady = now.monotonic.since(since) >= READY_TIME;
        let stored = seen.stored.filter(|item| is_steady && item.status == UpgradeFrom2x);
        let write = stored.map(|item| Action::Write(change(item, V3xWithRollback, seen.me.as_str(), now.wall)));
        (Self { ready_since: Some(since), ..self }, write.into_iter().collect())
    }
}

/// True for the moves of the diagram.
fn is_legal(from: ClientVersion, to: ClientVersion) -> bool {
    matches!(
        (from, to),
        (V2x, UpgradeFrom2x)
            | (UpgradeFrom2x | V3xWithRollback, V2x)
            | (UpgradeFrom2x, V3xWithRollback)
            | (V3xWithRollback, V3x)
    )
}

/// True if the item's history leads from here to what it holds, by moves of the diagram only.
fn is_way(here: ClientVersion, stored: &Tracked<ClientVersion>) -> bool {
    let mut newer = stored.status;
    for past in &stored.history {
        if !is_legal(past.status, newer) {
            return false;
        }
        if past.status == here {
            return true;
        }
        newer = past.status;
    }
    false
}

/// Takes in one look and says where the worker is now, and what to do.
#[must_use]
pub fn step(state: VersionState, seen: &Observation<'_>, now: Now) -> (VersionState, Vec<Action>) {
    let (state, mut actions) = seen.stored.map_or((state, Vec::new()), |item| state.follow(item));
    if !duties(state.version).watches_readiness || !actions.is_empty() {
        return (state, actions);
    }
    let (state, more) = state.watch_readiness(seen, now);
    actions.extend(more);
    (state, actions)
}

#[cfg(test)]
mod tests;
