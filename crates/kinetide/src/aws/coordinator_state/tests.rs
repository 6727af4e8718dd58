use super::lock::request;
use super::transaction::{Step, legacy_item, steps};
use super::*;
use crate::clock::Moment;
use crate::coordinator::state::leader_lock::{Form, Output};
use crate::coordinator::state::table_migration::{Operation, Transaction};

const PLACES: [Place; 2] = [Place::Legacy, Place::LeaseTable];

fn me() -> WorkerId {
    WorkerId::new("me").unwrap()
}

fn lock() -> LeaderLock {
    LeaderLock {
        owner: me(),
        duration: Duration::from_millis(120_000),
        version: LockVersion::new("uuid-1"),
        is_released: false,
    }
}

fn version() -> Tracked<ClientVersion> {
    Tracked::created(ClientVersion::UpgradeFrom2x, "me", Timestamp::from_millis(1_700_000_000_000))
}

fn status() -> Tracked<TableStatus> {
    Tracked::created(TableStatus::Deployed, "me", Timestamp::from_millis(5))
}

fn entities() -> [Entity; 4] {
    let released = Entity::Leader(LeaderLock { is_released: true, ..lock() });
    [Entity::Leader(lock()), released, Entity::ClientVersion(version()), Entity::TableMigration(status())]
}

fn sorted<V>(map: &HashMap<String, V>) -> Vec<(&str, &V)> {
    let mut pairs: Vec<_> = map.iter().map(|(name, value)| (name.as_str(), value)).collect();
    pairs.sort_unstable_by_key(|(name, _)| *name);
    pairs
}

#[test]
fn items_survive_both_tables() {
    for place in PLACES {
        for entity in entities() {
            assert_eq!(read(place, &write(place, &entity)), Ok(Some(entity)));
        }
    }
}

#[test]
fn the_lock_is_written_in_text_as_the_lock_client_does() {
    let item = write(Place::Legacy, &Entity::Leader(lock()));
    let expected = [
        ("entityType", &text("LEADER")),
        ("key", &text("Leader")),
        ("leaseDuration", &text("120000")),
        ("ownerName", &text("me")),
        ("recordVersionNumber", &text("uuid-1")),
    ];
    assert_eq!(sorted(&item), expected);
    assert!(write(Place::LeaseTable, &Entity::Leader(lock())).contains_key("leaseKey"));
}

#[test]
fn a_status_is_written_with_its_history() {
    let item = write(Place::LeaseTable, &Entity::ClientVersion(version()));
    let past = [
        ("cv".to_owned(), text("CLIENT_VERSION_INIT")),
        ("mb".to_owned(), text("me")),
        ("mts".to_owned(), number(1_700_000_000_000u64)),
    ];
    let expected = [
        ("cv", &text("CLIENT_VERSION_UPGRADE_FROM_2X")),
        ("entityType", &text("CLIENT_VERSION_MIGRATION")),
        ("h", &AttributeValue::L(vec![AttributeValue::M(HashMap::from(past))])),
        ("leaseKey", &text("Migration3.0")),
        ("mb", &text("me")),
        ("mts", &number(1_700_000_000_000u64)),
    ];
    assert_eq!(sorted(&item), expected);
    let bare = Tracked { history: vec![], ..version() };
    assert!(!write(Place::Legacy, &Entity::ClientVersion(bare)).contains_key("h"), "nothing empty");
}

#[test]
fn items_of_older_workers_are_known_by_their_keys() {
    for entity in entities() {
        let mut item = write(Place::Legacy, &entity);
        item.remove(ENTITY_TYPE);
        item.insert("data".to_owned(), number(1));
        assert_eq!(read(Place::Legacy, &item), Ok(Some(entity)), "and what is not known is ignored");
    }
}

#[test]
fn other_items_are_none() {
    let none = |pairs: &[(&str, AttributeValue)]| {
        let item = pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        read(Place::LeaseTable, &item) == Ok(None)
    };
    assert!(none(&[("leaseKey", text("shardId-000000000000"))]));
    assert!(none(&[("leaseKey", text("1:orders:2")), (ENTITY_TYPE, text("STREAM"))]));
    assert!(none(&[("leaseKey", number(7))]));
    assert!(none(&[("key", text("Leader"))]), "of the other table");
}

#[test]
fn what_would_be_acted_upon_must_be_right() {
    let fault = |entity: &Entity, attribute: &str, value: Option<AttributeValue>| {
        let mut item = write(Place::Legacy, entity);
        match value {
            Some(value) => item.insert(attribute.to_owned(), value),
            None => item.remove(attribute),
        };
        read(Place::Legacy, &item).unwrap_err().to_string()
    };
    let [leader, _, version, table] = entities();
    let told = |problem: &str, item: &str, attribute: &str, value: &str| {
        format!("coordinator item cannot be read: {problem}, item={item}, attribute={attribute}, value={value}")
    };
    let unknown = fault(&version, "cv", Some(text("CLIENT_VERSION_4X")));
    assert_eq!(unknown, told("unknown", "Migration3.0", "cv", "CLIENT_VERSION_4X"));
    assert_eq!(fault(&version, "cv", None), told("missing", "Migration3.0", "cv", "none"));
    let unknown = fault(&table, "tm", Some(text("TABLE_MIGRATION_STATUS_UNKNOWN")));
    assert_eq!(unknown, told("unknown", "TableMigration3.5", "tm", "TABLE_MIGRATION_STATUS_UNKNOWN"));
    assert_eq!(fault(&table, "mts", None), told("missing", "TableMigration3.5", "mts", "none"), "nothing to bake from");
    let soon = fault(&leader, "leaseDuration", Some(text("soon")));
    assert_eq!(soon, told("not a number of its range", "Leader", "leaseDuration", "soon"));
    let negative = fault(&leader, "leaseDuration", Some(number(-1)));
    assert_eq!(negative, told("not a number of its range", "Leader", "leaseDuration", "-1"));
    assert_eq!(
        fault(&leader, "ownerName", Some(text("Leader"))),
        told("not a worker id", "Leader", "ownerName", "Leader")
    );
    assert_eq!(fault(&leader, "isReleased", Some(text("0"))), told("unknown", "Leader", "isReleased", "0"));
    assert!(fault(&leader, "recordVersionNumber", Some(AttributeValue::Bool(true))).contains("not a text"));
    let typed = fault(&leader, ENTITY_TYPE, Some(text("LEASE")));
    assert_eq!(typed, told("not what its key says", "Leader", "entityType", "LEASE"));
    assert!(fault(&version, "cv", Some(text("x".repeat(9_999)))).len() < 400, "told at a bearable length");
}

#[test]
fn what_nobody_acts_upon_is_forgiven() {
    let mut item = write(
        Place::Legacy,
        &Entity::ClientVersion(version().changed(ClientVersion::V2x, "tool", Timestamp::from_millis(9))),
    );
    item.remove("mb");
    item.insert("mts".to_owned(), text("9"));
    let Some(AttributeValue::L(history)) = item.get_mut("h") else { panic!() };
    history[0] = text("broken");
    let Ok(Some(Entity::ClientVersion(read))) = read(Place::Legacy, &item) else { panic!() };
    assert_eq!((read.status, read.modified_by.as_str(), read.modified_at.as_millis()), (ClientVersion::V2x, "", 9));
    assert_eq!(read.history, version().history);
    let mut item = write(Place::Legacy, &Entity::Leader(lock()));
    item.insert("leaseDuration".to_owned(), number(120_000));
    assert_eq!(super::read(Place::Legacy, &item), Ok(Some(Entity::Leader(lock()))));
}

#[test]
fn creation_asks_for_no_item_of_its_key() {
    for (place, name) in [(Place::Legacy, "key"), (Place::LeaseTable, "leaseKey")] {
        let Put { item, condition } = create(place, &Entity::TableMigration(status()));
        assert_eq!(item, write(place, &Entity::TableMigration(status())));
        assert_eq!(condition.condition, "attribute_not_exists(#pk)");
        assert_eq!(sorted(&condition.names), [("#pk", &name.to_owned())]);
        assert!(condition.values.is_empty() && condition.update.is_empty());
    }
}

#[test]
fn an_update_asks_for_what_was_read() {
    let to = version().changed(ClientVersion::V3xWithRollback, "leader", Timestamp::from_millis(7));
    let write = StatusWrite::Update { from: version(), to: to.clone() };
    let Request::Update { key, expressions } = status_write(Place::LeaseTable, &write) else { panic!() };
    assert_eq!(key, Item::from([("leaseKey".to_owned(), text("Migration3.0"))]));
    assert_eq!(expressions.condition, "#pk = :pk AND #cv = :status AND #mts = :since");
    assert_eq!(expressions.update, "SET #cv = :cv, #mb = :mb, #mts = :mts, #h = :h");
    let names: Vec<_> = expressions.names.keys().map(String::as_str).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    assert_eq!(expressions.names["#pk"], "leaseKey");
    let value = |name: &str| expressions.values[name].clone();
    assert_eq!(value(":pk"), text("Migration3.0"));
    assert_eq!((value(":status"), value(":since")), (text(version().status.as_str()), number(1_700_000_000_000u64)));
    assert_eq!((value(":cv"), value(":mts")), (text("CLIENT_VERSION_3X_WITH_ROLLBACK"), number(7)));
    assert_eq!(value(":h").as_l().unwrap().len(), 2);
    // No name or value is left over: DynamoDB refuses them.
    for name in expressions.names.keys().chain(expressions.values.keys()) {
        let text = format!("{} {}", expressions.condition, expressions.update);
        assert!(text.split([' ', ',']).any(|word| word == name), "{name} in {text}");
    }
}

#[test]
fn a_deletion_asks_for_what_was_read() {
    let request = status_write(Place::Legacy, &StatusWrite::Delete(status()));
    let Request::Delete { key, condition } = request else { panic!("{request:?}") };
    assert_eq!(key, Item::from([("key".to_owned(), text("TableMigration3.5"))]));
    assert_eq!(condition.condition, "#pk = :pk AND #tm = :status AND #mts = :since");
    assert_eq!(condition.values[":status"], text("TABLE_MIGRATION_STATUS_DEPLOYED"));
}

#[test]
fn the_lock_is_taken_in_three_forms() {
    let condition = |form| {
        let output = Output::Acquire { form, lock: lock() };
        let Some(Request::Put(Put { item, condition })) = request(Place::Legacy, &me(), &output) else { panic!() };
        assert_eq!(item, write(Place::Legacy, &Entity::Leader(lock())));
        (condition.condition, condition.values)
    };
    let value = |name: &str, value: &str| Item::from([(name.to_owned(), text(value))]);
    assert_eq!(condition(Form::Absent), ("attribute_not_exists(#pk)".to_owned(), Item::new()));
    assert_eq!(
        condition(Form::Released),
        ("attribute_exists(#pk) AND #isReleased = :isReleased".to_owned(), value(":isReleased", "1"))
    );
    let observed = LockVersion::new("uuid-0");
    assert_eq!(
        condition(Form::Stale { observed }),
        (
            "attribute_exists(#pk) AND #recordVersionNumber = :recordVersionNumber".to_owned(),
            value(":recordVersionNumber", "uuid-0")
        )
    );
}

#[test]
fn a_beat_and_a_release_ask_for_our_version() {
    const OURS: &str =
        "attribute_exists(#pk) AND #recordVersionNumber = :recordVersionNumber AND #ownerName = :ownerName";
    let output = Output::Heartbeat { previous: LockVersion::new("uuid-0"), lock: lock() };
    let Some(Request::Update { key, expressions }) = request(Place::LeaseTable, &me(), &output) else { panic!() };
    assert_eq!(key, Item::from([("leaseKey".to_owned(), text("Leader"))]));
    assert_eq!(expressions.condition, OURS);
    assert_eq!(expressions.update, "SET #leaseDuration = :leaseDuration, #recordVersionNumber = :next");
    let values = [
        (":leaseDuration", &text("120000")),
        (":next", &text("uuid-1")),
        (":ownerName", &text("me")),
        (":recordVersionNumber", &text("uuid-0")),
    ];
    assert_eq!(sorted(&expressions.values), values);
    let output = Output::Release { version: LockVersion::new("uuid-1") };
    let Some(Request::Delete { condition, .. }) = request(Place::Legacy, &me(), &output) else { panic!() };
    assert_eq!((condition.condition.as_str(), condition.names.len(), condition.values.len()), (OURS, 3, 2));
    for output in [Output::Read, Output::Wait(Moment::at(Duration::ZERO)), Output::Done] {
        assert!(request(Place::Legacy, &me(), &output).is_none());
    }
}

#[test]
fn a_move_takes_everything_along() {
    let mut old = write(Place::Legacy, &Entity::ClientVersion(version()));
    old.remove(ENTITY_TYPE);
    old.insert("later".to_owned(), number(1));
    let found = legacy_item(&old, false).unwrap();
    assert_eq!((found.key.as_str(), found.is_typed), ("Migration3.0", true));
    let key_of = |name: &str| name.to_owned();
    let transaction = Transaction {
        operations: vec![
            Operation::RequireLeader { place: Place::Legacy, worker: me() },
            Operation::CopyToLeaseTable { key: key_of("Migration3.0") },
            Operation::DeleteLegacy { key: key_of("Migration3.0") },
        ],
    };
    let content = HashMap::from([(key_of("Migration3.0"), old)]);
    assert!(steps(&transaction, &HashMap::new()).is_none(), "an item that was not listed");
    let steps = steps(&transaction, &content).unwrap();
    let [
        Step::Check { condition, key, place: Place::Legacy },
        Step::Put { put, place: to },
        Step::Delete { place: from, key: deleted },
    ] = &steps[..]
    else {
        panic!("{steps:?}")
    };
    assert_eq!(
        (condition.condition.as_str(), &condition.values[":ownerName"]),
        ("#ownerName = :ownerName", &text("me"))
    );
    assert_eq!((condition.names.len(), key), (1, &Item::from([(key_of("key"), text("Leader"))])));
    assert_eq!((*to, put.condition.condition.as_str()), (Place::LeaseTable, "attribute_not_exists(#pk)"));
    assert_eq!((put.item.get("later"), put.item.get("key")), (Some(&number(1)), None));
    assert_eq!(read(Place::LeaseTable, &put.item), Ok(Some(Entity::ClientVersion(version()))));
    assert_eq!(put.item[ENTITY_TYPE], text("CLIENT_VERSION_MIGRATION"));
    assert_eq!((*from, deleted), (Place::Legacy, &Item::from([(key_of("key"), text("Migration3.0"))])));
}

#[test]
fn the_end_is_put_into_both_tables() {
    let to = status().changed(TableStatus::Complete, "me", Timestamp::from_millis(9));
    let transaction = Transaction {
        operations: vec![
            Operation::CreateStatus(to.clone()),
            Operation::ChangeStatus { from: status(), to: to.clone() },
        ],
    };
    let steps = steps(&transaction, &HashMap::new()).unwrap();
    let [Step::Put { place: Place::LeaseTable, put: new }, Step::Put { place: Place::Legacy, put: changed }] =
        &steps[..]
    else {
        panic!("{steps:?}")
    };
    assert_eq!(new.condition.condition, "attribute_not_exists(#pk)");
    assert_eq!(changed.condition.condition, "#pk = :pk AND #tm = :status AND #mts = :since");
    for (place, put) in [(Place::LeaseTable, new), (Place::Legacy, changed)] {
        assert_eq!(read(place, &put.item), Ok(Some(Entity::TableMigration(to.clone()))));
    }
}

#[test]
fn items_that_do_not_say_what_they_are_cannot_move() {
    let mut item = key(Place::Legacy, "stream-1");
    assert!(!legacy_item(&item, true).unwrap().is_typed);
    item.insert(ENTITY_TYPE.to_owned(), text("STREAM"));
    assert!(legacy_item(&item, true).unwrap().is_typed);
    assert_eq!(legacy_item(&key(Place::LeaseTable, "stream-1"), false), None);
}
