//! What the user says about a fleet on its way to 3.x, and what a worker does in each state of that way.

use crate::coordinator::state::entity::ClientVersion;

/// What the user says about the fleet (`clientVersionConfig`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientVersionConfig {
    /// Run as 2.x, and get on with other items in the lease table.
    CompatibleWith2xPhase1,
    /// Run as 2.x until every worker is ready, then as 3.x.
    CompatibleWith2x,
    /// Run as 3.x.
    #[default]
    V3x,
}

impl ClientVersionConfig {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::CompatibleWith2xPhase1, Self::CompatibleWith2x, Self::V3x];

    /// Its name in the Java KCL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CompatibleWith2xPhase1 => "CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X_PHASE1",
            Self::CompatibleWith2x => "CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X",
            Self::V3x => "CLIENT_VERSION_CONFIG_3X",
        }
    }
}

/// How the leader is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaderKind {
    /// By the owners in the lease table, as 2.x does.
    Deterministic,
    /// By the leader lock.
    Lock,
}

/// How leases find their owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssignmentKind {
    /// Each worker takes.
    Taker,
    /// The leader assigns.
    Leader,
}

/// What is done about the index of the lease table by owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    /// Nothing.
    Left,
    /// It is made, and used once it is there.
    Created,
    /// It is made if it is missing, which it should not be.
    Assumed,
    /// It is made and waited for.
    Awaited,
}

/// What a worker does in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duties {
    /// How the leader is chosen.
    pub leader: LeaderKind,
    /// How leases find their owners.
    pub assignment: AssignmentKind,
    /// What is done about the index when the state is entered.
    pub index: Index,
    /// True if the worker's metrics are written.
    pub reports: bool,
    /// True if the leader looks whether the fleet is ready.
    pub watches_readiness: bool,
    /// True if the stored version is looked at.
    pub watches_version: bool,
}

/// What a worker does in this state.
#[must_use]
pub fn duties(version: ClientVersion) -> Duties {
    let as_2x = Duties {
        leader: LeaderKind::Deterministic,
        assignment: AssignmentKind::Taker,
        index: Index::Left,
        reports: false,
        watches_readiness: false,
        watches_version: false,
    };
    let as_3x = Duties { leader: LeaderKind::Lock, assignment: AssignmentKind::Leader, reports: true, ..as_2x };
    match version {
        ClientVersion::Init => as_2x,
        ClientVersion::UpgradeFrom2x => {
            Duties { index: Index::Created, reports: true, watches_readiness: true, watches_version: true, ..as_2x }
        }
        ClientVersion::V2x => Duties { watches_version: true, ..as_2x },
        ClientVersion::V3xWithRollback => Duties { index: Index::Assumed, watches_version: true, ..as_3x },
        ClientVersion::V3x => Duties { index: Index::Awaited, ..as_3x },
    }
}
