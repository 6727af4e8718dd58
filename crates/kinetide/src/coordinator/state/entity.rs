//! The coordinator's items: the leader lock, the client version, the state of the table migration.
//!
//! Typed and without effects; the `aws` module knows their attributes. An item that cannot be read is an
//! [`InvalidEntity`], which names the item, the attribute and the value: a worker that guessed would act against its fleet.
//!
//! Invariants: a status never changes without its previous value going into the history; the history has at most
//! [`HISTORY_MAX`] entries, newest first.

use std::fmt;
use std::time::Duration;

use crate::stream::{Timestamp, WorkerId};

/// Entries of a history at most.
pub const HISTORY_MAX: usize = 10;

/// The key of the leader lock.
pub const LEADER: &str = "Leader";

/// The table an item is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The table of its own that workers of 3.0 to 3.4 make for such items.
    Legacy,
    /// The lease table, beside the leases.
    LeaseTable,
}

/// One coordinator item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entity {
    /// Who leads.
    Leader(LeaderLock),
    /// Which algorithms the fleet runs.
    ClientVersion(Tracked<ClientVersion>),
    /// How far the move into one table has come.
    TableMigration(Tracked<TableStatus>),
}

impl Entity {
    /// The value of its key attribute.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Leader(_) => LEADER,
            Self::ClientVersion(_) => ClientVersion::KEY,
            Self::TableMigration(_) => TableStatus::KEY,
        }
    }
}

/// What one beat of the leader is known by: random text, never used twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LockVersion(String);

impl LockVersion {
    /// A version of this text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The leader lock. It holds no time: each worker judges for itself how long the version has stood still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderLock {
    /// The worker that leads.
    pub owner: WorkerId,
    /// How long the version may stand still before others may take the lock.
    pub duration: Duration,
    /// Changes with each beat.
    pub version: LockVersion,
    /// True if its owner gave it up and left the item; the workers of today delete it instead.
    pub is_released: bool,
}

/// A status as it is stored: with who set it, when, and what it was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked<S> {
    /// The status.
    pub status: S,
    /// Who set it: a worker or a tool.
    pub modified_by: String,
    /// When, on the clock of whoever set it.
    pub modified_at: Timestamp,
    /// What it was before, newest first.
    pub history: Vec<Past<S>>,
}

/// A status of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past<S> {
    /// The status.
    pub status: S,
    /// Who had set it.
    pub modified_by: String,
    /// When.
    pub modified_at: Timestamp,
}

impl<S: Status> Tracked<S> {
    /// A new item. Its history begins with the status every item is born with, as the Java KCL writes it.
    #[must_use]
    pub fn created(status: S, by: &str, at: Timestamp) -> Self {
        let born = Self { status: S::BORN, modified_by: by.to_owned(), modified_at: at, history: Vec::new() };
        born.changed(status, by, at)
    }

    /// The item with another status; the present one goes into the history.
    #[must_use]
    pub fn changed(&self, status: S, by: &str, at: Timestamp) -> Self {
        let past = Past { status: self.status, modified_by: self.modified_by.clone(), modified_at: self.modified_at };
        let history = std::iter::once(past).chain(self.history.iter().cloned()).take(HISTORY_MAX).collect();
        Self { status, modified_by: by.to_owned(), modified_at: at, history }
    }

    /// How long ago it was set; zero if that lies ahead, by a clock that goes before ours.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        let millis = now.as_millis().saturating_sub(self.modified_at.as_millis());
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

/// A status that is stored as text in an item of its own.
pub trait Status: Copy + PartialEq + fmt::Debug + 'static {
    /// The key of its item.
    const KEY: &'static str;
    /// Every value.
    const ALL: &'static [Self];
    /// What a new item's history begins with.
    const BORN: Self;

    /// As it is stored.
    fn as_str(self) -> &'static str;

    /// The status of this text, if there is one.
    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str() == text)
    }
}

/// Which algorithms a fleet runs on its way from 2.x to 3.x.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientVersion {
    /// Nothing is stored: 2.x, and nothing but leases is written.
    Init,
    /// 2.x, getting ready for 3.x.
    UpgradeFrom2x,
    /// 2.x again, after a roll-back.
    V2x,
    /// 3.x, ready to go back.
    V3xWithRollback,
    /// 3.x for good.
    V3x,
}

impl Status for ClientVersion {
    const KEY: &'static str = "Migration3.0";
    const ALL: &'static [Self] = &[Self::Init, Self::UpgradeFrom2x, Self::V2x, Self::V3xWithRollback, Self::V3x];
    const BORN: Self = Self::Init;

    fn as_str(self) -> &'static str {
        match self {
            Self::Init => "CLIENT_VERSION_INIT",
            Self::UpgradeFrom2x => "CLIENT_VERSION_UPGRADE_FROM_2X",
            Self::V2x => "CLIENT_VERSION_2X",
            Self::V3xWithRollback => "CLIENT_VERSION_3X_WITH_ROLLBACK",
            Self::V3x => "CLIENT_VERSION_3X",
        }
    }
}

/// How far the move of everything into the lease table has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableStatus {
    /// Every worker says that it can do with one table, or is waited for.
    Init,
    /// Every worker has said so for an hour: the second deployment may come.
    Deployed,
    /// Everything is written to the lease table; there is still a way back.
    Pending,
    /// There is only the lease table.
    Complete,
}

impl Status for TableStatus {
    const KEY: &'static str = "TableMigration3.5";
    const ALL: &'static [Self] = &[Self::Init, Self::Deployed, Self::Pending, Self::Complete];
    const BORN: Self = Self::Init;

    fn as_str(self) -> &'static str {
        match self {
            Self::Init => "TABLE_MIGRATION_STATUS_INIT",
            Self::Deployed => "TABLE_MIGRATION_STATUS_DEPLOYED",
            Self::Pending => "TABLE_MIGRATION_STATUS_PENDING",
            Self::Complete => "TABLE_MIGRATION_STATUS_COMPLETE",
        }
    }
}

/// One conditional write to a status item. Losing it means that somebody else was first: read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusWrite<S> {
    /// Adds the item unless there is one.
    Create(Tracked<S>),
    /// Changes it if it is still as it was read.
    Update {
        /// As it was read.
        from: Tracked<S>,
        /// As it shall be.
        to: Tracked<S>,
    },
    /// Removes it if it is still as it was read.
    Delete(Tracked<S>),
}

/// A coordinator item that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("coordinator item cannot be read: {problem}, item={item}, attribute={attribute}, value={value}")]
pub struct InvalidEntity {
    /// The key of the item.
    pub item: String,
    /// The attribute at fault.
    pub attribute: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
    /// What it holds.
    pub value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_survive_their_text_and_others_are_unknown() {
        for version in ClientVersion::ALL {
            assert_eq!(ClientVersion::parse(version.as_str()), Some(*version));
        }
        for status in TableStatus::ALL {
            assert_eq!(TableStatus::parse(status.as_str()), Some(*status));
        }
        assert_eq!(ClientVersion::parse("CLIENT_VERSION_4X"), None);
        assert_eq!(TableStatus::parse("TABLE_MIGRATION_STATUS_UNKNOWN"), None, "it is never stored");
        assert_eq!(TableStatus::parse("table_migration_status_init"), None);
    }

    #[test]
    fn keys_are_those_no_worker_may_have() {
        for key in [LEADER, ClientVersion::KEY, TableStatus::KEY] {
            assert!(WorkerId::new(key).is_err(), "{key}");
        }
    }

    #[test]
    fn the_history_is_newest_first_and_bounded() {
        let at = |millis| Timestamp::from_millis(millis);
        let created = Tracked::created(ClientVersion::UpgradeFrom2x, "w", at(5));
        assert_eq!(
            created.history,
            [Past { status: ClientVersion::Init, modified_by: "w".into(), modified_at: at(5) }]
        );
        let changed = created.changed(ClientVersion::V3xWithRollback, "leader", at(9));
        assert_eq!(
            (changed.status, changed.modified_by.as_str(), changed.modified_at),
            (ClientVersion::V3xWithRollback, "leader", at(9))
        );
        assert_eq!(changed.history[0].status, ClientVersion::UpgradeFrom2x);
        assert_eq!(changed.history[1], created.history[0]);
        let worn = (0..30).fold(created, |item, step| item.changed(ClientVersion::V2x, &step.to_string(), at(step)));
        assert_eq!((worn.history.len(), worn.history[0].modified_by.as_str()), (HISTORY_MAX, "28"));
    }

    #[test]
    fn what_was_set_in_the_future_has_no_age() {
        let item = Tracked::created(TableStatus::Init, "w", Timestamp::from_millis(1_000));
        assert_eq!(item.age(Timestamp::from_millis(1_250)), Duration::from_millis(250));
        assert_eq!(item.age(Timestamp::from_millis(0)), Duration::ZERO);
        assert_eq!(item.age(Timestamp::from_millis(i64::MIN)), Duration::ZERO);
    }

    #[test]
    fn faults_name_item_attribute_and_value() {
        let error = InvalidEntity {
            item: "Leader".into(),
            attribute: "leaseDuration",
            problem: "not a number of milliseconds",
            value: "soon".into(),
        };
        assert_eq!(
            error.to_string(),
            "coordinator item cannot be read: not a number of milliseconds, item=Leader, attribute=leaseDuration, value=soon"
        );
    }
}
