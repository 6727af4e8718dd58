//! What the workers of a 3.x fleet agree on besides leases: who leads, which algorithms run, and which table keeps what.
//!
//! Everything here is decided without effects: a machine takes what was read and the time, and says what to do. Whoever
//! carries it out tells the machine what became of it, or reads again.
//!
//! Reading order: [`entity`] (the items), [`fleet`] (the facts), [`layout`] (how a worker starts), [`client_version`] (from
//! 2.x to 3.x and back), [`table_migration`] (from three tables to one), [`leader_lock`] (who leads).

pub mod client_version;
pub mod entity;
pub mod fleet;
pub mod layout;
pub mod leader_lock;
pub mod refusal;
pub mod table_migration;

use crate::clock::Moment;
use crate::stream::Timestamp;

/// Both clocks of a worker at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For durations this worker measures itself.
    pub monotonic: Moment,
    /// For comparing with times that other workers have written.
    pub wall: Timestamp,
}
