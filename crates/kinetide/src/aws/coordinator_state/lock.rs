//! The leader lock's item and its writes, as the DynamoDB lock client of the Java KCL makes them: every attribute is text.

use super::super::item::{Expressions, Item};
use super::{
    DURATION, ENTITY_TYPE, IS_RELEASED, LEADER_TYPE, OWNER, Put, RELEASED, Request, VERSION, absent, key, names, text,
};
use crate::coordinator::state::entity::{LEADER, LeaderLock, LockVersion, Place};
use crate::coordinator::state::leader_lock::{Form, Output};
use crate::stream::WorkerId;

/// The whole item.
pub(super) fn write(place: Place, lock: &LeaderLock) -> Item {
    let mut item = key(place, LEADER);
    let mut add = |name: &str, value| item.insert(name.to_owned(), value);
    add(ENTITY_TYPE, text(LEADER_TYPE));
    add(OWNER, text(&lock.owner));
    add(DURATION, text(lock.duration.as_millis()));
    add(VERSION, text(lock.version.as_str()));
    if lock.is_released {
        add(IS_RELEASED, text(RELEASED));
    }
    item
}

/// The request of what the lock's machine wants; `None` if it wants no write.
pub(crate) fn request(place: Place, me: &WorkerId, output: &Output) -> Option<Request> {
    match output {
        Output::Acquire { form, lock } => Some(Request::Put(acquire(place, form, lock))),
        Output::Heartbeat { previous, lock } => {
            Some(Request::Update { key: key(place, LEADER), expressions: heartbeat(place, previous, lock) })
        }
        Output::Release { version } => {
            Some(Request::Delete { key: key(place, LEADER), condition: ours(place, me, version) })
        }
        Output::Read | Output::Wait(_) | Output::Done => None,
    }
}

/// Puts the lock if the item is of this form.
fn acquire(place: Place, form: &Form, lock: &LeaderLock) -> Put {
    let condition = match form {
        Form::Absent => absent(place),
        Form::Released => exists_and(place, IS_RELEASED, RELEASED),
        Form::Stale { observed } => exists_and(place, VERSION, observed.as_str()),
    };
    Put { item: write(place, lock), condition }
}

/// The item is there, and this attribute has this value.
fn exists_and(place: Place, attribute: &str, value: &str) -> Expressions {
    Expressions {
        condition: format!("attribute_exists(#pk) AND #{attribute} = :{attribute}"),
        update: String::new(),
        names: names(place, [attribute]),
        values: Item::from([(format!(":{attribute}"), text(value))]),
    }
}

/// The item is there, is this worker's, and of this version.
fn ours(place: Place, me: &WorkerId, version: &LockVersion) -> Expressions {
    let mut expressions = exists_and(place, VERSION, version.as_str());
    expressions.condition += &format!(" AND #{OWNER} = :{OWNER}");
    expressions.names.insert(format!("#{OWNER}"), OWNER.to_owned());
    expressions.values.insert(format!(":{OWNER}"), text(me));
    expressions
}

fn heartbeat(place: Place, previous: &LockVersion, lock: &LeaderLock) -> Expressions {
    let mut expressions = ours(place, &lock.owner, previous);
    expressions.update = format!("SET #{DURATION} = :{DURATION}, #{VERSION} = :next");
    expressions.names.insert(format!("#{DURATION}"), DURATION.to_owned());
    expressions.values.insert(format!(":{DURATION}"), text(lock.duration.as_millis()));
    expressions.values.insert(":next".to_owned(), text(lock.version.as_str()));
    expressions
}
