//! The transactions of the table migration, as data: the moves of items, and the end.
//!
//! Each requires that the leader lock is still this worker's, so that a leader of the past moves nothing.

use crate::coordinator::state::entity::{LEADER, Place, Status, TableStatus, Tracked};
use crate::stream::WorkerId;

/// Items moved in one transaction; each is put and deleted, and DynamoDB takes 100 operations.
pub const ITEMS_PER_TRANSACTION_MAX: usize = 25;

/// A coordinator item in the legacy table, as far as its move is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyItem {
    /// Its key.
    pub key: String,
    /// True if it says what it is, or its key does: without that, readers of the lease table take it for a broken lease.
    pub is_typed: bool,
    /// True if the lease table has an item of this key too.
    pub is_in_lease_table: bool,
}

/// What stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Block {
    /// An item would be taken for a broken lease.
    #[error("item '{key}' of the coordinator table does not say what it is: delete it, or give it an entityType")]
    Untyped {
        /// Its key.
        key: String,
    },
    /// Nobody can tell which of two items counts.
    #[error("item '{key}' is both in the coordinator table and in the lease table: delete the wrong one")]
    ExistsTwice {
        /// Its key.
        key: String,
    },
}

/// Operations of which either all are applied or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The operations.
    pub operations: Vec<Operation>,
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Nothing is written; the leader lock in this table must be this worker's.
    RequireLeader {
        /// The table.
        place: Place,
        /// The worker.
        worker: WorkerId,
    },
    /// Puts the item of this key, as it is in the coordinator table, into the lease table, which must not have it.
    CopyToLeaseTable {
        /// Its key.
        key: String,
    },
    /// Removes the item of this key from the coordinator table.
    DeleteLegacy {
        /// Its key.
        key: String,
    },
    /// Puts this status into the lease table, which must not have one.
    CreateStatus(Tracked<TableStatus>),
    /// Changes the status in the coordinator table, which must be as it was read.
    ChangeStatus {
        /// As it was read.
        from: Tracked<TableStatus>,
        /// As it shall be.
        to: Tracked<TableStatus>,
    },
}

impl LegacyItem {
    /// True for items that are moved: all but the lock, which is taken anew, and the status itself.
    pub(super) fn is_moved(&self) -> bool {
        self.key != LEADER && self.key != TableStatus::KEY
    }

    fn block(&self) -> Option<Block> {
        let key = || self.key.clone();
        match self {
            Self { is_typed: false, .. } => Some(Block::Untyped { key: key() }),
            Self { is_in_lease_table: true, .. } => Some(Block::ExistsTwice { key: key() }),
            Self { .. } => None,
        }
    }
}

impl Transaction {
    /// Stores the end in both tables.
    pub(super) fn end(from: &Tracked<TableStatus>, to: Tracked<TableStatus>, me: &WorkerId) -> Self {
        let create = Operation::CreateStatus(to.clone());
        let change = Operation::ChangeStatus { from: from.clone(), to };
        Self { operations: vec![require_leader(me), create, change] }
    }

    /// Moves all of these items, or says what stands in the way: so that it is mended before the fleet is half way.
    pub(super) fn moves(items: &[&LegacyItem], me: &WorkerId) -> Result<Vec<Self>, Vec<Block>> {
        let blocks: Vec<_> = items.iter().filter_map(|item| item.block()).collect();
        if !blocks.is_empty() {
            return Err(blocks);
        }
        Ok(items.chunks(ITEMS_PER_TRANSACTION_MAX).map(|items| Self::batch(items, me)).collect())
    }

    fn batch(items: &[&LegacyItem], me: &WorkerId) -> Self {
        let moves = items.iter().flat_map(|item| {
            let key = item.key.clone();
            [Operation::CopyToLeaseTable { key: key.clone() }, Operation::DeleteLegacy { key }]
        });
        Self { operations: std::iter::once(require_leader(me)).chain(moves).collect() }
    }
}

fn require_leader(me: &WorkerId) -> Operation {
    Operation::RequireLeader { place: Place::Legacy, worker: me.clone() }
}
