//! Why a worker does not start, or a tool does not do as it was told: one sentence each, that says what to do.

use super::entity::{ClientVersion, Status, TableStatus};
use crate::stream::WorkerId;

/// A reason to refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The second deployment of the table migration before the first.
    #[error(
        "migrateAllEntitiesToLeaseTable is set, but the migration has only come to {}: run every worker as 3.5 or newer \
         without it until TableMigration3.5 is TABLE_MIGRATION_STATUS_DEPLOYED", stored_as(*stored)
    )]
    MigratesTooEarly {
        /// What is stored.
        stored: Option<TableStatus>,
    },
    /// Both migrations at once.
    #[error(
        "migrateAllEntitiesToLeaseTable is set, but the migration from 2.x has only come to {}: finish it with \
         CLIENT_VERSION_CONFIG_3X first", version.as_str()
    )]
    MigratesTwice {
        /// How far that one has come.
        version: ClientVersion,
    },
    /// Other items beside the leases would break workers that are alive.
    #[error(
        "items other than leases would be written to the lease table, and workers before 3.5 cannot read it then, but these \
         owners of leases do not say that they are newer: {}; stop or upgrade them first",
        list(workers)
    )]
    BreaksOldWorkers {
        /// The owners.
        workers: Vec<WorkerId>,
    },
    /// The tables that 3.0 to 3.4 made are not complete.
    #[error(
        "the coordinator table exists and the worker metrics table does not, so this worker could not report and would \
         never be given a lease: start one worker of 3.0 to 3.4, which makes the table, or delete the coordinator table"
    )]
    NoMetricsTable,
    /// A client version that only lives in memory is stored.
    #[error("Migration3.0 holds {}, which no worker writes: mend or delete the item", version.as_str())]
    NotAStoredVersion {
        /// What is stored.
        version: ClientVersion,
    },
    /// The tool cannot go back from here.
    #[error("cannot roll back from {}: only from 2.x on the way up, or from 3.x before it is final", version.as_str())]
    CannotRollBack {
        /// What is stored.
        version: ClientVersion,
    },
    /// The tool cannot go forward from here.
    #[error("cannot roll forward from {}: only after a roll-back", version.as_str())]
    CannotRollForward {
        /// What is stored.
        version: ClientVersion,
    },
}

fn stored_as(stored: Option<TableStatus>) -> &'static str {
    stored.map_or("no status at all", Status::as_str)
}

fn list(workers: &[WorkerId]) -> String {
    const LISTED_MAX: usize = 10;
    let names: Vec<_> = workers.iter().take(LISTED_MAX).map(WorkerId::as_str).collect();
    let more = if workers.len() > LISTED_MAX { ", …" } else { "" };
    names.join(", ") + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_one_sentence_that_says_what_to_do() {
        let refusal = Refusal::MigratesTooEarly { stored: None };
        assert_eq!(
            refusal.to_string(),
            "migrateAllEntitiesToLeaseTable is set, but the migration has only come to no status at all: run every worker as \
             3.5 or newer without it until TableMigration3.5 is TABLE_MIGRATION_STATUS_DEPLOYED"
        );
        let workers = (0..12).map(|index| WorkerId::new(format!("w{index}")).unwrap()).collect();
        let refusal = Refusal::BreaksOldWorkers { workers }.to_string();
        assert!(refusal.contains(": w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, …; stop"), "{refusal}");
    }
}
