//! What the migration tool does to a fleet: back to 2.x, and on the way to 3.x again.
//!
//! The tool only changes what is stored; the workers follow. It goes by what it has just read, and its write is conditional
//! on that.

use std::time::Duration;

use super::change;
use crate::coordinator::state::entity::{ClientVersion, StatusWrite, Tracked};
use crate::coordinator::state::refusal::Refusal;
use crate::stream::Timestamp;

use ClientVersion::{Init, UpgradeFrom2x, V2x, V3x, V3xWithRollback};

/// What the Java KCL's tool signs a roll-back with.
pub const ROLLED_BACK_BY: &str = "KclMigrationTool-rollback";

/// What the Java KCL's tool signs a roll-forward with.
pub const ROLLED_FORWARD_BY: &str = "KclMigrationTool-rollforward";

/// How long after a roll-back the index of the lease table is deleted: until every worker has looked.
pub const INDEX_DELETION_DELAY: Duration = Duration::from_secs(120);

/// What the tool does to go back to 2.x: a write, unless the fleet has gone back already, and [`INDEX_DELETION_DELAY`] later the
/// deletion of the index.
///
/// # Errors
/// There is no way back from where the fleet is.
pub fn roll_back(
    stored: &Tracked<ClientVersion>,
    now: Timestamp,
) -> Result<Option<StatusWrite<ClientVersion>>, Refusal> {
    match stored.status {
        V2x => Ok(None),
        UpgradeFrom2x | V3xWithRollback => Ok(Some(change(stored, V2x, ROLLED_BACK_BY, now))),
        version @ (Init | V3x) => Err(Refusal::CannotRollBack { version }),
    }
}

/// What the tool does to try 3.x again after a roll-back.
///
/// # Errors
/// The fleet has not been rolled back.
pub fn roll_forward(stored: &Tracked<ClientVersion>, now: Timestamp) -> Result<StatusWrite<ClientVersion>, Refusal> {
    match stored.status {
        V2x => Ok(change(stored, UpgradeFrom2x, ROLLED_FORWARD_BY, now)),
        version => Err(Refusal::CannotRollForward { version }),
    }
}
