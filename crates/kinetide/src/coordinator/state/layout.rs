//! How a worker starts: which tables it uses and which algorithm it runs, from what it finds.
//!
//! ```text
//!  nothing but leases found, and the default configuration ──► leases only, as 2.x
//!  a coordinator table of 3.0 to 3.4, migration not complete ──► separate tables
//!  everything else                                          ──► one table
//! ```
//!
//! The first line is not Java's rule. A table in use that shows no sign of 3.x belongs to workers that would fall over any other
//! item in it, so a worker of the default configuration must not write one before it is told otherwise: by a configuration,
//! or by what somebody else has written. A Java worker of 3.x would begin to write at once.
//!
//! An empty table is a new application. For others to see that, the client version must be stored before the first lease is.

use std::collections::BTreeSet;
use std::fmt;

use super::client_version::{self, ClientVersionConfig};
use super::entity::{ClientVersion, Entity, Place, TableStatus};
use super::refusal::Refusal;
use super::table_migration;
use crate::stream::WorkerId;

/// What the lease table is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseTableFound {
    /// There is none.
    Missing,
    /// It has no leases.
    Empty,
    /// It has leases.
    InUse,
}

/// What a worker has found before it starts, and what the user says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The lease table.
    pub lease_table: LeaseTableFound,
    /// True if the lease table has the index by owner, in whatever state.
    pub has_index: bool,
    /// True if there is a coordinator table.
    pub has_coordinator_table: bool,
    /// True if there is a worker metrics table.
    pub has_metrics_table: bool,
    /// Where leader locks were found.
    pub leader: BTreeSet<Place>,
    /// The client versions found, by table.
    pub versions: Vec<(Place, ClientVersion)>,
    /// The states of the table migration found, by table.
    pub tables: Vec<(Place, TableStatus)>,
    /// Owners whose leases are renewed and who do not say that they can do with one table.
    pub owners_without_support: Vec<WorkerId>,
    /// What the user says about the fleet (`clientVersionConfig`).
    pub config: ClientVersionConfig,
    /// What the user says about the tables (`migrateAllEntitiesToLeaseTable`).
    pub migrates: bool,
}

/// Which tables a worker uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The lease table, and nothing but leases in it.
    LeasesOnly,
    /// The lease table, and those of 3.0 to 3.4 for the coordinator's items and the worker metrics; at
    /// [`TableStatus::Pending`] they are only read.
    Separate,
    /// The lease table, for everything.
    Single,
}

/// Which algorithm a worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// 2.x.
    As2x,
    /// 2.x or 3.x, and the other when the stored version changes.
    Dual,
    /// 3.x.
    As3x,
}

impl Mode {
    /// The mode of this state.
    #[must_use]
    pub fn of(version: ClientVersion) -> Self {
        match version {
            ClientVersion::Init => Self::As2x,
            ClientVersion::UpgradeFrom2x | ClientVersion::V2x | ClientVersion::V3xWithRollback => Self::Dual,
            ClientVersion::V3x => Self::As3x,
        }
    }
}

/// Something the user should know about a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A new application.
    NewApplication,
    /// As 2.x, though the configuration says 3.x.
    KeptAs2x,
    /// Owners who do not say that they can read other items beside leases.
    SilentOwners(Vec<WorkerId>),
    /// A coordinator table that is no longer used has come back.
    StrayCoordinatorTable,
    /// This worker cannot report.
    NoMetricsTable,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewApplication => f.write_str(
                "new application: everything is kept in the lease table as by 3.5; workers older than 3.5 cannot join",
            ),
            Self::KeptAs2x => f.write_str(
                "the lease table is in use and shows no sign of 3.x: running as 2.x and writing nothing but leases; once \
                 every worker is 3.5 or newer, CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X begins the way to 3.x",
            ),
            Self::SilentOwners(workers) => {
                let names: Vec<_> = workers.iter().map(WorkerId::as_str).collect();
                write!(
                    f,
                    "items other than leases are written to the lease table; if one of these workers is older than 3.5 it \
                     fails now, and must have been deployed with \
                     CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X_PHASE1 first: {}",
                    names.join(", ")
                )
            }
            Self::StrayCoordinatorTable => f.write_str(
                "the migration into the lease table is complete, and yet there is a coordinator table without its state: a \
                 worker older than 3.5 has made it; it is not used here; stop that worker and delete the table",
            ),
            Self::NoMetricsTable => f.write_str(
                "there is no worker metrics table: this worker does not report, and the fleet does not become ready for \
                 3.x until a worker of 3.0 to 3.4 has made it",
            ),
        }
    }
}

/// How a worker starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Its tables.
    pub layout: Layout,
    /// Its algorithm.
    pub mode: Mode,
    /// Its state on the way from 2.x to 3.x.
    pub version: ClientVersion,
    /// Its state on the way into one table.
    pub table: TableStatus,
    /// What the user should know.
    pub notes: Vec<Note>,
}

/// Decides how to start.
///
/// # Errors
/// What was found and what the user says do not go together, or would break workers that are alive.
pub fn decide(facts: &Facts) -> Result<Start, Refusal> {
    let table = facts.table_status()?;
    let stored = facts.stored_version(table);
    if facts.is_plain_2x() && facts.config == ClientVersionConfig::V3x {
        return Ok(start(ClientVersion::Init, table, vec![Note::KeptAs2x]));
    }
    let version = client_version::initial(facts.config, stored)?;
    if facts.migrates && table != TableStatus::Complete && version != ClientVersion::V3x {
        return Err(Refusal::MigratesTwice { version });
    }
    let mut notes = facts.new_items(version, table, stored)?;
    notes.extend(facts.metrics_table(version, table)?);
    notes.extend(facts.is_stray().then_some(Note::StrayCoordinatorTable));
    Ok(start(version, table, notes))
}

fn start(version: ClientVersion, table: TableStatus, notes: Vec<Note>) -> Start {
    let layout = match (version, table) {
        (ClientVersion::Init, _) => Layout::LeasesOnly,
        (_, TableStatus::Complete) => Layout::Single,
        (_, TableStatus::Init | TableStatus::Deployed | TableStatus::Pending) => Layout::Separate,
    };
    Start { layout, mode: Mode::of(version), version, table, notes }
}

impl Facts {
    /// Takes note of a coordinator item found in this table.
    pub fn note(&mut self, place: Place, entity: &Entity) {
        match entity {
            Entity::Leader(_) => drop(self.leader.insert(place)),
            Entity::ClientVersion(item) => self.versions.push((place, item.status)),
            Entity::TableMigration(item) => self.tables.push((place, item.status)),
        }
    }

    /// Complete is for good: found in the lease table, it counts even if a coordinator table has come back.
    fn table_status(&self) -> Result<TableStatus, Refusal> {
        if self.tables.contains(&(Place::LeaseTable, TableStatus::Complete)) {
            return Ok(TableStatus::Complete);
        }
        let stored = self.tables.iter().find(|(place, _)| *place == Place::Legacy).map(|(_, status)| *status);
        table_migration::local(stored, self.has_coordinator_table, self.migrates)
    }

    /// The client version that counts, if it is in both tables.
    fn stored_version(&self, table: TableStatus) -> Option<ClientVersion> {
        let mut places = table_migration::read_places(table).iter();
        places.find_map(|place| self.versions.iter().find(|(found, _)| found == place).map(|(_, version)| *version))
    }

    /// A table in use without any sign of 3.x.
    fn is_plain_2x(&self) -> bool {
        let has_items = !(self.leader.is_empty() && self.versions.is_empty() && self.tables.is_empty());
        let has_tables = self.has_coordinator_table || self.has_metrics_table;
        self.lease_table == LeaseTableFound::InUse && !(self.has_index || has_items || has_tables)
    }

    /// A coordinator table without a state, beside the complete one in the lease table.
    fn is_stray(&self) -> bool {
        let is_complete = self.tables.contains(&(Place::LeaseTable, TableStatus::Complete));
        is_complete && self.has_coordinator_table && !self.tables.iter().any(|(place, _)| *place == Place::Legacy)
    }

    /// Whether this worker may bring items into the lease table, if it is the first to do so.
    ///
    /// On the way from 2.x the configuration says that every worker is ready; nothing else can, because workers of the first
    /// deployment do not report. So there they are only named.
    fn new_items(
        &self,
        version: ClientVersion,
        table: TableStatus,
        stored: Option<ClientVersion>,
    ) -> Result<Vec<Note>, Refusal> {
        let is_told = self.config == ClientVersionConfig::CompatibleWith2x && stored.is_none();
        match (version, table) {
            (ClientVersion::Init, _) | (_, TableStatus::Init | TableStatus::Deployed) => Ok(Vec::new()),
            (_, TableStatus::Complete) if self.has_items_in_lease_table() => Ok(Vec::new()),
            (ClientVersion::V3x, TableStatus::Complete) if self.lease_table != LeaseTableFound::InUse => {
                Ok(vec![Note::NewApplication])
            }
            (_, TableStatus::Complete) if is_told && self.owners_without_support.is_empty() => Ok(Vec::new()),
            (_, TableStatus::Complete) if is_told => Ok(vec![Note::SilentOwners(self.owners_without_support.clone())]),
            (_, TableStatus::Pending | TableStatus::Complete) => {
                table_migration::guard_lease_table(&self.owners_without_support).map(|()| Vec::new())
            }
        }
    }

    fn has_items_in_lease_table(&self) -> bool {
        let versions = self.versions.iter().map(|(place, _)| place);
        let mut places = self.leader.iter().chain(versions).chain(self.tables.iter().map(|(place, _)| place));
        places.any(|place| *place == Place::LeaseTable)
    }

    /// Whether this worker can report: 3.5 never makes the metrics table, and who does not report is given no lease by a leader.
    fn metrics_table(&self, version: ClientVersion, table: TableStatus) -> Result<Option<Note>, Refusal> {
        let is_missing = table_migration::write_place(table) == Place::Legacy && !self.has_metrics_table;
        let duties = client_version::duties(version);
        match (is_missing && duties.reports, duties.assignment) {
            (false, _) => Ok(None),
            (true, client_version::AssignmentKind::Taker) => Ok(Some(Note::NoMetricsTable)),
            (true, client_version::AssignmentKind::Leader) => Err(Refusal::NoMetricsTable),
        }
    }
}

#[cfg(test)]
mod tests;
