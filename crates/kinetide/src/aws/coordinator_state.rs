//! The coordinator's items as DynamoDB items, and their conditional writes as expressions. The attribute names are the Java KCL's.
//!
//! The same items live in two tables: in the coordinator table of 3.0 to 3.4, whose key is `key`, and in the lease table, whose
//! key is `leaseKey`. From 3.5 on each says what it is (`entityType`); older ones are known by their keys.
//!
//! Reading forgives what nobody acts upon: unknown attributes, a missing signature, a broken entry of a history; and it takes
//! numbers as numbers and as text, because the lock client writes text throughout. What a worker would act upon must be right,
//! or it is an [`InvalidEntity`].
#![cfg_attr(not(test), expect(dead_code, reason = "nothing carries the coordinator's machines out yet"))]

pub(super) mod lock;
pub(super) mod transaction;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{self, Expressions, Item};
use crate::coordinator::state::entity::{
    ClientVersion, Entity, HISTORY_MAX, InvalidEntity, LEADER, LeaderLock, LockVersion, Past, Place, Status,
    StatusWrite, TableStatus, Tracked,
};
use crate::stream::{Timestamp, WorkerId};

const LEGACY_KEY: &str = "key";
const ENTITY_TYPE: &str = "entityType";
const OWNER: &str = "ownerName";
const DURATION: &str = "leaseDuration";
const VERSION: &str = "recordVersionNumber";
const IS_RELEASED: &str = "isReleased";
/// The only value of [`IS_RELEASED`].
const RELEASED: &str = "1";
const MODIFIED_BY: &str = "mb";
const MODIFIED_AT: &str = "mts";
const HISTORY: &str = "h";

/// A status, and how its item is written.
pub(super) trait StatusItem: Status {
    /// The attribute that holds it.
    const ATTRIBUTE: &'static str;
    /// What the item says it is.
    const TYPE: &'static str;
}

impl StatusItem for ClientVersion {
    const ATTRIBUTE: &'static str = "cv";
    const TYPE: &'static str = "CLIENT_VERSION_MIGRATION";
}

impl StatusItem for TableStatus {
    const ATTRIBUTE: &'static str = "tm";
    const TYPE: &'static str = "TABLE_MIGRATION";
}

const LEADER_TYPE: &str = "LEADER";

/// The key attribute of the items in this table.
pub(super) fn key_name(place: Place) -> &'static str {
    match place {
        Place::Legacy => LEGACY_KEY,
        Place::LeaseTable => item::KEY,
    }
}

/// The key of an item in this table.
pub(super) fn key(place: Place, key: &str) -> Item {
    Item::from([(key_name(place).to_owned(), text(key))])
}

fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// What an item of this key is, if its key says so.
fn type_of(key: &str) -> Option<&'static str> {
    match key {
        LEADER => Some(LEADER_TYPE),
        ClientVersion::KEY => Some(ClientVersion::TYPE),
        TableStatus::KEY => Some(TableStatus::TYPE),
        _ => None,
    }
}

/// The coordinator item in an item of this table; `None` if it is something else.
pub(super) fn read(place: Place, item: &Item) -> Result<Option<Entity>, InvalidEntity> {
    let Some(Ok(key)) = item.get(key_name(place)).map(AttributeValue::as_s) else { return Ok(None) };
    let Some(expected) = type_of(key) else { return Ok(None) };
    let reader = Reader { item, key };
    match item.get(ENTITY_TYPE) {
        Some(AttributeValue::S(found)) if found != expected => {
            Err(reader.invalid(ENTITY_TYPE, "not what its key says"))
        }
        _ if key == LEADER => reader.leader().map(|lock| Some(Entity::Leader(lock))),
        _ if key == ClientVersion::KEY => reader.tracked().map(|item| Some(Entity::ClientVersion(item))),
        _ => reader.tracked().map(|item| Some(Entity::TableMigration(item))),
    }
}

struct Reader<'a> {
    item: &'a Item,
    key: &'a str,
}

impl Reader<'_> {
    fn invalid(&self, attribute: &'static str, problem: &'static str) -> InvalidEntity {
        const SHOWN_MAX: usize = 200;
        let value = match self.item.get(attribute) {
            None => "none".to_owned(),
            Some(AttributeValue::S(text) | AttributeValue::N(text)) => text.chars().take(SHOWN_MAX).collect(),
            Some(other) => format!("{other:?}").chars().take(SHOWN_MAX).collect(),
        };
        InvalidEntity { item: self.key.to_owned(), attribute, problem, value }
    }

    /// The text of an attribute that must be there.
    fn text(&self, attribute: &'static str) -> Result<&str, InvalidEntity> {
        match self.item.get(attribute) {
            Some(AttributeValue::S(text)) if !text.is_empty() => Ok(text),
            Some(_) => Err(self.invalid(attribute, "not a text")),
            None => Err(self.invalid(attribute, "missing")),
        }
    }

    /// A number that must be there, written as a number or as text.
    fn number<T: std::str::FromStr>(&self, attribute: &'static str) -> Result<T, InvalidEntity> {
        match self.item.get(attribute) {
            Some(AttributeValue::N(digits) | AttributeValue::S(digits)) => {
                digits.parse().map_err(|_| self.invalid(attribute, "not a number of its range"))
            }
            Some(_) => Err(self.invalid(attribute, "not a number")),
            None => Err(self.invalid(attribute, "missing")),
        }
    }

    fn leader(&self) -> Result<LeaderLock, InvalidEntity> {
        let owner = WorkerId::new(self.text(OWNER)?).map_err(|_| self.invalid(OWNER, "not a worker id"))?;
        let is_released = match self.item.get(IS_RELEASED) {
            None => false,
            Some(AttributeValue::S(value)) if value == RELEASED => true,
            Some(_) => return Err(self.invalid(IS_RELEASED, "unknown")),
        };
        Ok(LeaderLock {
            owner,
            duration: Duration::from_millis(self.number(DURATION)?),
            version: LockVersion::new(self.text(VERSION)?),
            is_released,
        })
    }

    fn tracked<S: StatusItem>(&self) -> Result<Tracked<S>, InvalidEntity> {
        let status = S::parse(self.text(S::ATTRIBUTE)?).ok_or_else(|| self.invalid(S::ATTRIBUTE, "unknown"))?;
        Ok(Tracked {
            status,
            modified_by: self.text(MODIFIED_BY).unwrap_or_default().to_owned(),
            modified_at: Timestamp::from_millis(self.number(MODIFIED_AT)?),
            history: self.history(),
        })
    }

    /// For people only, so what cannot be read is left out.
    fn history<S: StatusItem>(&self) -> Vec<Past<S>> {
        let entries = self.item.get(HISTORY).and_then(|value| value.as_l().ok());
        let maps = entries.into_iter().flatten().filter_map(|entry| entry.as_m().ok());
        let past = maps.filter_map(|item| Reader { item, key: self.key }.tracked::<S>().ok());
        let past =
            past.map(|Tracked { status, modified_by, modified_at, .. }| Past { status, modified_by, modified_at });
        past.take(HISTORY_MAX).collect()
    }
}

/// The whole item, for this table.
pub(super) fn write(place: Place, entity: &Entity) -> Item {
    match entity {
        Entity::Leader(lock) => lock::write(place, lock),
        Entity::ClientVersion(tracked) => write_tracked(place, tracked),
        Entity::TableMigration(tracked) => write_tracked(place, tracked),
    }
}

fn write_tracked<S: StatusItem>(place: Place, tracked: &Tracked<S>) -> Item {
    let mut item = key(place, S::KEY);
    item.insert(ENTITY_TYPE.to_owned(), text(S::TYPE));
    item.extend(attributes(tracked).into_iter().map(|(name, value)| (name.to_owned(), value)));
    item
}

/// What changes with a status. Nothing empty is written.
fn attributes<S: StatusItem>(tracked: &Tracked<S>) -> Vec<(&'static str, AttributeValue)> {
    let mut attributes = signed(tracked.status, &tracked.modified_by, tracked.modified_at).to_vec();
    let history = tracked.history.iter().take(HISTORY_MAX).map(|past| {
        let entry = signed(past.status, &past.modified_by, past.modified_at);
        AttributeValue::M(entry.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    });
    let history: Vec<_> = history.collect();
    if !history.is_empty() {
        attributes.push((HISTORY, AttributeValue::L(history)));
    }
    attributes
}

fn signed<S: StatusItem>(status: S, by: &str, at: Timestamp) -> [(&'static str, AttributeValue); 3] {
    [(S::ATTRIBUTE, text(status.as_str())), (MODIFIED_BY, text(by)), (MODIFIED_AT, number(at.as_millis()))]
}

/// A whole item, and the condition under which it is put.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) item: Item,
    pub(super) condition: Expressions,
}

/// A conditional write to one item.
#[derive(Debug)]
pub(super) enum Request {
    /// PutItem.
    Put(Put),
    /// UpdateItem of this key.
    Update { key: Item, expressions: Expressions },
    /// DeleteItem of this key.
    Delete { key: Item, condition: Expressions },
}

/// Puts an item unless there is one of its key.
pub(super) fn create(place: Place, entity: &Entity) -> Put {
    Put { item: write(place, entity), condition: absent(place) }
}

fn absent(place: Place) -> Expressions {
    Expressions { condition: "attribute_not_exists(#pk)".to_owned(), names: names(place, []), ..Expressions::default() }
}

/// The names of the key and of these attributes: `#` and the attribute's own name, but `#pk` for the key.
fn names<const N: usize>(place: Place, attributes: [&str; N]) -> HashMap<String, String> {
    let attributes = attributes.into_iter().map(|attribute| (format!("#{attribute}"), attribute.to_owned()));
    attributes.chain([("#pk".to_owned(), key_name(place).to_owned())]).collect()
}

/// The request of a write to a status item.
pub(super) fn status_write<S: StatusItem>(place: Place, write: &StatusWrite<S>) -> Request {
    let key = || key(place, S::KEY);
    match write {
        StatusWrite::Create(item) => Request::Put(Put { item: write_tracked(place, item), condition: absent(place) }),
        StatusWrite::Update { from, to } => Request::Update { key: key(), expressions: update(place, from, to) },
        StatusWrite::Delete(from) => Request::Delete { key: key(), condition: unchanged(place, from) },
    }
}

/// The item is there, of this status and of the time it was read with. Java compares the status only; with the time, an item that
/// was removed and made anew in between is told from the one that was read.
fn unchanged<S: StatusItem>(place: Place, from: &Tracked<S>) -> Expressions {
    Expressions {
        condition: format!("#pk = :pk AND #{} = :status AND #{MODIFIED_AT} = :since", S::ATTRIBUTE),
        update: String::new(),
        names: names(place, [S::ATTRIBUTE, MODIFIED_AT]),
        values: Item::from([
            (":pk".to_owned(), text(S::KEY)),
            (":status".to_owned(), text(from.status.as_str())),
            (":since".to_owned(), number(from.modified_at.as_millis())),
        ]),
    }
}

fn update<S: StatusItem>(place: Place, from: &Tracked<S>, to: &Tracked<S>) -> Expressions {
    let mut expressions = unchanged(place, from);
    let mut parts = Vec::new();
    for (name, value) in attributes(to) {
        parts.push(format!("#{name} = :{name}"));
        expressions.names.insert(format!("#{name}"), name.to_owned());
        expressions.values.insert(format!(":{name}"), value);
    }
    expressions.update = format!("SET {}", parts.join(", "));
    expressions
}

#[cfg(test)]
mod tests;
