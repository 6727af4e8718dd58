//! The transactions of the table migration: what they put, delete and require, operation by operation.

use std::collections::HashMap;

use super::super::item::{Expressions, Item};
use super::{ENTITY_TYPE, OWNER, Put, absent, create, key, key_name, names, text, type_of, unchanged, write_tracked};
use crate::coordinator::state::entity::{Entity, LEADER, Place};
use crate::coordinator::state::table_migration::{LegacyItem, Operation, Transaction};

/// One operation of a transaction, in the table of this place.
#[derive(Debug)]
pub(crate) enum Step {
    /// ConditionCheck of this key.
    Check { place: Place, key: Item, condition: Expressions },
    /// Put.
    Put { place: Place, put: Put },
    /// Delete of this key, whatever it holds.
    Delete { place: Place, key: Item },
}

/// An item of the coordinator table, as far as its move is concerned; `None` if it has no key.
pub(crate) fn legacy_item(item: &Item, is_in_lease_table: bool) -> Option<LegacyItem> {
    let key = item.get(key_name(Place::Legacy))?.as_s().ok()?.clone();
    let is_typed = type_of(&key).is_some() || item.get(ENTITY_TYPE).is_some_and(|value| value.as_s().is_ok());
    Some(LegacyItem { key, is_typed, is_in_lease_table })
}

/// The steps of a transaction; `content` has the items of the coordinator table as they were listed, by their keys.
/// `None` if an item to be copied is not among them.
pub(crate) fn steps(transaction: &Transaction, content: &HashMap<String, Item>) -> Option<Vec<Step>> {
    transaction.operations.iter().map(|operation| step(operation, content)).collect()
}

fn step(operation: &Operation, content: &HashMap<String, Item>) -> Option<Step> {
    Some(match operation {
        Operation::RequireLeader { place, worker } => {
            Step::Check { place: *place, key: key(*place, LEADER), condition: leads(*place, worker.as_str()) }
        }
        Operation::CopyToLeaseTable { key } => {
            let put = Put { item: for_lease_table(content.get(key)?)?, condition: absent(Place::LeaseTable) };
            Step::Put { place: Place::LeaseTable, put }
        }
        Operation::DeleteLegacy { key: name } => Step::Delete { place: Place::Legacy, key: key(Place::Legacy, name) },
        Operation::CreateStatus(status) => {
            let put = create(Place::LeaseTable, &Entity::TableMigration(status.clone()));
            Step::Put { place: Place::LeaseTable, put }
        }
        Operation::ChangeStatus { from, to } => {
            let put = Put { item: write_tracked(Place::Legacy, to), condition: unchanged(Place::Legacy, from) };
            Step::Put { place: Place::Legacy, put }
        }
    })
}

/// The leader lock in this table is this worker's.
fn leads(place: Place, worker: &str) -> Expressions {
    let mut names = names(place, [OWNER]);
    names.remove("#pk");
    Expressions {
        condition: format!("#{OWNER} = :{OWNER}"),
        update: String::new(),
        names,
        values: Item::from([(format!(":{OWNER}"), text(worker))]),
    }
}

/// The item with the other table's key. All else stays, also what is not known here; one of a known key says what it is.
fn for_lease_table(item: &Item) -> Option<Item> {
    let mut item = item.clone();
    let key = item.remove(key_name(Place::Legacy))?;
    if let Some(known) = key.as_s().ok().and_then(|key| type_of(key)) {
        item.insert(ENTITY_TYPE.to_owned(), text(known));
    }
    item.insert(key_name(Place::LeaseTable).to_owned(), key);
    Some(item)
}
