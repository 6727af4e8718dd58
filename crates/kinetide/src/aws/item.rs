//! A lease as a DynamoDB item, and a lease update as expressions. The attribute names are the Java KCL's.
//!
//! Reading forgives: unknown attributes are ignored, missing numbers have defaults, half a hash range or one that is upside
//! down is none (the leader writes it anew), an item that is no lease is `None`.
//! Writing is strict: nothing empty is written, because DynamoDB and the Java KCL refuse it.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;

use crate::checkpoint::PendingCheckpoint;
use crate::lease::{Change, Lease, LeaseUpdate, Require};
use crate::stream::{Checkpoint, HashKeyRange, ShardId, WorkerId};

pub(super) const KEY: &str = "leaseKey";
const OWNER: &str = "leaseOwner";
const COUNTER: &str = "leaseCounter";
const OWNER_SWITCHES: &str = "ownerSwitchesSinceCheckpoint";
const CHECKPOINT: &str = "checkpoint";
const SUB_SEQUENCE: &str = "checkpointSubSequenceNumber";
const PENDING: &str = "pendingCheckpoint";
const PENDING_SUB_SEQUENCE: &str = "pendingCheckpointSubSequenceNumber";
const PENDING_STATE: &str = "pendingCheckpointState";
const PARENTS: &str = "parentShardId";
const CHILDREN: &str = "childShardIds";
const HASH_START: &str = "startingHashKey";
const HASH_END: &str = "endingHashKey";
const THROUGHPUT: &str = "throughputKBps";
const CHECKPOINT_OWNER: &str = "checkpointOwner";
const STREAM: &str = "streamName";
const SHARD: &str = "shardId";
const ENTITY_TYPE: &str = "entityType";
const ENTITY_LEASE: &str = "LEASE";

pub(super) type Item = HashMap<String, AttributeValue>;

/// An item that says it is a lease and cannot be read as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("lease item cannot be read: attribute {attribute} of key '{key}' is {problem}")]
pub(super) struct InvalidItem {
    key: String,
    attribute: &'static str,
    problem: String,
}

/// The lease in an item; `None` if the item is something else.
pub(super) fn read(item: &Item) -> Result<Option<Lease>, InvalidItem> {
    let key = item.get(KEY).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
    if item.get(ENTITY_TYPE).is_some_and(|value| value.as_s().map(String::as_str) != Ok(ENTITY_LEASE)) {
        return Ok(None);
    }
    let reader = Reader { item, key: &key };
    let Some(checkpoint) = reader.checkpoint(CHECKPOINT, SUB_SEQUENCE)? else {
        // Coordinator items of older 3.x workers carry no type, and none of a lease's attributes either.
        let is_lease = item.contains_key(COUNTER) || item.contains_key(OWNER);
        return if is_lease { Err(reader.invalid(CHECKPOINT, "missing")) } else { Ok(None) };
    };
    Ok(Some(Lease {
        key: key.parse().map_err(|error| reader.invalid(KEY, error))?,
        owner: reader.worker(OWNER)?,
        checkpoint_owner: reader.worker(CHECKPOINT_OWNER)?,
        counter: reader.count(COUNTER)?,
        owner_switches: reader.count(OWNER_SWITCHES)?,
        checkpoint,
        pending: reader.pending()?,
        parents: reader.shards(PARENTS)?,
        children: reader.shards(CHILDREN)?,
        hash_range: reader.hash_range()?,
        throughput_kbps: reader.number(THROUGHPUT)?,
    }))
}

struct Reader<'a> {
    item: &'a Item,
    key: &'a str,
}

impl Reader<'_> {
    fn invalid(&self, attribute: &'static str, problem: impl std::fmt::Display) -> InvalidItem {
        InvalidItem { key: self.key.to_owned(), attribute, problem: problem.to_string() }
    }

    fn text(&self, attribute: &'static str) -> Result<Option<&str>, InvalidItem> {
        let Some(value) = self.item.get(attribute) else { return Ok(None) };
        value.as_s().map(|text| Some(text.as_str())).map_err(|_| self.invalid(attribute, "not a string"))
    }

    fn number<T: std::str::FromStr>(&self, attribute: &'static str) -> Result<Option<T>, InvalidItem> {
        let Some(value) = self.item.get(attribute) else { return Ok(None) };
        let parsed = value.as_n().ok().and_then(|number| number.parse().ok());
        parsed.map(Some).ok_or_else(|| self.invalid(attribute, "not a number of its range"))
    }

    /// A number that Java can hold too, and that can still grow.
    fn count(&self, attribute: &'static str) -> Result<u64, InvalidItem> {
        const COUNT_MAX: u64 = i64::MAX as u64 - 1;
        match self.number(attribute)? {
            Some(count) if count > COUNT_MAX => Err(self.invalid(attribute, "not a number of its range")),
            count => Ok(count.unwrap_or(0)),
        }
    }

    fn worker(&self, attribute: &'static str) -> Result<Option<WorkerId>, InvalidItem> {
        let id = self.text(attribute)?.map(WorkerId::new).transpose();
        id.map_err(|error| self.invalid(attribute, error))
    }

    fn checkpoint(
        &self,
        attribute: &'static str,
        sub_sequence: &'static str,
    ) -> Result<Option<Checkpoint>, InvalidItem> {
        let Some(text) = self.text(attribute)? else { return Ok(None) };
        let sub_sequence = self.number(sub_sequence)?.unwrap_or(0);
        Checkpoint::parse(text, sub_sequence).map(Some).map_err(|error| self.invalid(attribute, error))
    }

    fn pending(&self) -> Result<Option<PendingCheckpoint>, InvalidItem> {
        let Some(checkpoint) = self.checkpoint(PENDING, PENDING_SUB_SEQUENCE)? else { return Ok(None) };
        // Some Java versions stored a number here by mistake; it says nothing.
        let state = self.item.get(PENDING_STATE).and_then(|value| value.as_b().ok());
        Ok(Some(PendingCheckpoint { checkpoint, state: state.map(|blob| Bytes::copy_from_slice(blob.as_ref())) }))
    }

    fn shards(&self, attribute: &'static str) -> Result<Vec<ShardId>, InvalidItem> {
        let Some(value) = self.item.get(attribute) else { return Ok(Vec::new()) };
        let names = value.as_ss().map_err(|_| self.invalid(attribute, "not a set of strings"))?;
        let shards: Result<Vec<_>, _> = names.iter().map(|name| ShardId::new(name.as_str())).collect();
        let mut shards = shards.map_err(|error| self.invalid(attribute, error))?;
        shards.sort_unstable();
        Ok(shards)
    }

    fn hash_range(&self) -> Result<Option<HashKeyRange>, InvalidItem> {
        let (Some(start), Some(end)) = (self.text(HASH_START)?, self.text(HASH_END)?) else { return Ok(None) };
        let start = start.parse().map_err(|error| self.invalid(HASH_START, error))?;
        let end = end.parse().map_err(|error| self.invalid(HASH_END, error))?;
        Ok((start < end).then_some(HashKeyRange { start, end }))
    }
}

fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn names(shards: &[ShardId]) -> AttributeValue {
    AttributeValue::Ss(shards.iter().map(ToString::to_string).collect())
}

/// The whole item of a new lease.
pub(super) fn write(lease: &Lease) -> Item {
    let mut item = Item::from([
        (KEY.to_owned(), text(&lease.key)),
        (COUNTER.to_owned(), number(lease.counter)),
        (OWNER_SWITCHES.to_owned(), number(lease.owner_switches)),
        (CHECKPOINT.to_owned(), text(lease.checkpoint.as_str())),
        (SUB_SEQUENCE.to_owned(), number(lease.checkpoint.sub_sequence())),
    ]);
    let mut add = |name: &str, value| item.insert(name.to_owned(), value);
    if let Some(owner) = &lease.owner {
        add(OWNER, text(owner));
    }
    if let Some(owner) = &lease.checkpoint_owner {
        add(CHECKPOINT_OWNER, text(owner));
    }
    if !lease.parents.is_empty() {
        add(PARENTS, names(&lease.parents));
    }
    if !lease.children.is_empty() {
        add(CHILDREN, names(&lease.children));
    }
    if let Some(stream) = &lease.key.stream {
        add(STREAM, text(stream));
        add(SHARD, text(&lease.key.shard));
    }
    if let Some(range) = lease.hash_range {
        add(HASH_START, text(range.start));
        add(HASH_END, text(range.end));
    }
    item
}

/// The expressions of one update.
#[derive(Debug, Default)]
pub(super) struct Expressions {
    pub(super) condition: String,
    pub(super) update: String,
    pub(super) names: HashMap<String, String>,
    pub(super) values: Item,
}

/// Turns conditions and changes into expressions.
pub(super) fn expressions(update: &LeaseUpdate) -> Expressions {
    let mut writer = ExpressionWriter::default();
    let mut conditions: Vec<_> = update.require.iter().map(|require| writer.condition(require)).collect();
    // An update whose conditions a missing row satisfies would make one: half a lease, which breaks other workers' listings.
    let implies_row = |require: &Require| matches!(require, Require::Exists | Require::Counter(1..));
    if !update.require.iter().any(implies_row) {
        conditions.push(writer.condition(&Require::Exists));
    }
    for change in &update.changes {
        writer.change(change);
    }
    let clauses = [("SET", &writer.set), ("REMOVE", &writer.remove), ("ADD", &writer.add)];
    let clauses = clauses.into_iter().filter(|(_, parts)| !parts.is_empty());
    let update = clauses.map(|(verb, parts)| format!("{verb} {}", parts.join(", "))).collect::<Vec<_>>().join(" ");
    Expressions { condition: conditions.join(" AND "), update, names: writer.names, values: writer.values }
}

#[derive(Default)]
struct ExpressionWriter {
    set: Vec<String>,
    remove: Vec<String>,
    add: Vec<String>,
    names: HashMap<String, String>,
    values: Item,
}

impl ExpressionWriter {
    fn name(&mut self, attribute: &str) -> String {
        let name = format!("#{attribute}");
        self.names.insert(name.clone(), attribute.to_owned());
        name
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let name = format!(":v{}", self.values.len());
        self.values.insert(name.clone(), value);
        name
    }

    fn condition(&mut self, require: &Require) -> String {
        match require {
            Require::Exists => format!("attribute_exists({})", self.name(KEY)),
            // A row without a counter reads as 0.
            Require::Counter(0) => {
                let name = self.name(COUNTER);
                format!("({name} = {} OR attribute_not_exists({name}))", self.value(number(0)))
            }
            Require::Counter(counter) => format!("{} = {}", self.name(COUNTER), self.value(number(counter))),
            Require::Owner(owner) => self.owner_is(OWNER, owner.as_ref()),
            Require::CheckpointOwner(owner) => self.owner_is(CHECKPOINT_OWNER, owner.as_ref()),
        }
    }

    fn owner_is(&mut self, attribute: &str, owner: Option<&WorkerId>) -> String {
        match owner {
            Some(owner) => format!("{} = {}", self.name(attribute), self.value(text(owner))),
            None => format!("attribute_not_exists({})", self.name(attribute)),
        }
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Counter(counter) => self.put(COUNTER, number(counter)),
            Change::AddCounter => self.add_one(COUNTER),
            Change::Owner(Some(owner)) => self.put(OWNER, text(owner)),
            Change::Owner(None) => self.clear(OWNER),
            Change::SetCheckpointOwner(owner) => self.put(CHECKPOINT_OWNER, text(owner)),
            Change::ClearCheckpointOwner => self.clear(CHECKPOINT_OWNER),
            Change::OwnerSwitches(switches) => self.put(OWNER_SWITCHES, number(switches)),
            Change::AddOwnerSwitch => self.add_one(OWNER_SWITCHES),
            Change::Checkpoint(checkpoint) => {
                self.put(CHECKPOINT, text(checkpoint.as_str()));
                self.put(SUB_SEQUENCE, number(checkpoint.sub_sequence()));
            }
            Change::Pending(pending) => self.pending(pending.as_ref()),
            Change::Children(children) if children.is_empty() => self.clear(CHILDREN),
            Change::Children(children) => self.put(CHILDREN, names(children)),
            Change::HashRange(range) => {
                self.put(HASH_START, text(range.start));
                self.put(HASH_END, text(range.end));
            }
            Change::ThroughputKbps(throughput) => self.put(THROUGHPUT, number(throughput)),
            Change::Identity(key) => {
                if let Some(stream) = &key.stream {
                    self.put(STREAM, text(stream));
                    self.put(SHARD, text(&key.shard));
                }
            }
        }
    }

    fn pending(&mut self, pending: Option<&PendingCheckpoint>) {
        let Some(pending) = pending else {
            [PENDING, PENDING_SUB_SEQUENCE, PENDING_STATE].into_iter().for_each(|attribute| self.clear(attribute));
            return;
        };
        self.put(PENDING, text(pending.checkpoint.as_str()));
        self.put(PENDING_SUB_SEQUENCE, number(pending.checkpoint.sub_sequence()));
        match &pending.state {
            Some(state) => self.put(PENDING_STATE, AttributeValue::B(Blob::new(state.to_vec()))),
            None => self.clear(PENDING_STATE),
        }
    }

    fn put(&mut self, attribute: &str, value: AttributeValue) {
        let part = format!("{} = {}", self.name(attribute), self.value(value));
        self.set.push(part);
    }

    fn clear(&mut self, attribute: &str) {
        let name = self.name(attribute);
        self.remove.push(name);
    }

    fn add_one(&mut self, attribute: &str) {
        let part = format!("{} {}", self.name(attribute), self.value(number(1)));
        self.add.push(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{HashKey, RecordPosition};

    fn full() -> Lease {
        Lease {
            owner: Some(WorkerId::new("w").unwrap()),
            counter: 7,
            owner_switches: 2,
            parents: vec![ShardId::new("shardId-000000000001").unwrap()],
            children: vec![ShardId::new("shardId-000000000004").unwrap()],
            hash_range: Some(HashKeyRange { start: HashKey(5), end: HashKey(u128::MAX) }),
            ..Lease::new(
                ShardId::new("shardId-000000000003").unwrap(),
                Checkpoint::At(RecordPosition { sequence: 495.into(), sub_sequence: 3 }),
            )
        }
    }

    #[test]
    fn a_lease_survives_its_item() {
        assert_eq!(read(&write(&full())), Ok(Some(full())));
        let bare = Lease::new(ShardId::new("s").unwrap(), Checkpoint::Latest);
        assert_eq!(read(&write(&bare)), Ok(Some(bare)));
    }

    #[test]
    fn nothing_empty_is_written() {
        let bare = Lease::new(ShardId::new("s").unwrap(), Checkpoint::Latest);
        let item = write(&bare);
        assert!(!item.contains_key(PARENTS) && !item.contains_key(OWNER) && !item.contains_key(ENTITY_TYPE));
    }

    #[test]
    fn foreign_items_are_skipped_and_broken_leases_named() {
        let mut item = write(&full());
        item.insert(ENTITY_TYPE.into(), text("WORKER_METRIC_STATS"));
        assert_eq!(read(&item), Ok(None));
        assert_eq!(
            read(&Item::from([(KEY.to_owned(), text("Leader")), ("ownerName".to_owned(), text("x"))])),
            Ok(None)
        );
        item.insert(ENTITY_TYPE.into(), text(ENTITY_LEASE));
        item.insert(COUNTER.into(), text("seven"));
        let error = read(&item).unwrap_err().to_string();
        assert_eq!(
            error,
            "lease item cannot be read: attribute leaseCounter of key 'shardId-000000000003' is not a number of its range"
        );
    }

    #[test]
    fn what_is_missing_or_absurd_is_mended_or_named() {
        let fault = |change: fn(&mut Item)| {
            let mut item = write(&full());
            change(&mut item);
            read(&item).map(|lease| lease.map(|lease| (lease.counter, lease.hash_range))).map_err(|error| error.problem)
        };
        let whole = full().hash_range;
        assert_eq!(fault(|item| drop(item.remove(COUNTER))), Ok(Some((0, whole))));
        assert_eq!(fault(|item| drop(item.remove(HASH_END))), Ok(Some((7, None))));
        assert_eq!(fault(|item| drop(item.insert(HASH_END.into(), text(4)))), Ok(Some((7, None))), "upside down");
        assert_eq!(fault(|item| drop(item.remove(CHECKPOINT))), Err("missing".to_owned()));
        let absurd = fault(|item| drop(item.insert(COUNTER.into(), number(u64::MAX))));
        assert_eq!(absurd, Err("not a number of its range".to_owned()));
        let absurd = fault(|item| drop(item.insert(HASH_END.into(), text("1e9"))));
        assert!(absurd.is_err(), "{absurd:?}");
    }

    #[test]
    fn the_size_of_an_item_is_known_without_it() {
        let many = Lease { key: "1:orders:7:shardId-000000000003".parse().unwrap(), ..full() };
        for lease in [full(), many, Lease::new(ShardId::new("s").unwrap(), Checkpoint::Latest)] {
            let bytes = |value: &AttributeValue| match value {
                AttributeValue::S(text) => text.len(),
                AttributeValue::N(number) => number.len().div_ceil(2) + 1,
                AttributeValue::Ss(names) => names.iter().map(String::len).sum(),
                other => panic!("{other:?}"),
            };
            let item: usize = write(&lease).iter().map(|(name, value)| name.len() + bytes(value)).sum();
            assert_eq!(crate::lease::usage::item_bytes(&lease), item);
        }
    }

    #[test]
    fn leases_of_many_streams_name_stream_and_shard_beside_the_key() {
        let lease = Lease { key: "1:orders:7:shardId-000000000003".parse().unwrap(), ..full() };
        let item = write(&lease);
        assert_eq!((item[STREAM].clone(), item[SHARD].clone()), (text("1:orders:7"), text("shardId-000000000003")));
        assert_eq!(read(&item), Ok(Some(lease.clone())));
        let update = expressions(&lease.checkpoint(Checkpoint::ShardEnd)).update;
        assert!(update.contains("#streamName = ") && update.contains("#shardId = "), "{update}");
        assert!(!expressions(&full().checkpoint(Checkpoint::ShardEnd)).update.contains("#streamName"));
    }

    #[test]
    fn a_row_without_a_counter_can_be_taken() {
        let lease = Lease { counter: 0, ..full() };
        let expressions = expressions(&lease.take(&WorkerId::new("w").unwrap()));
        let expected = "(#leaseCounter = :v0 OR attribute_not_exists(#leaseCounter)) AND attribute_exists(#leaseKey)";
        assert_eq!(expressions.condition, expected);
    }

    #[test]
    fn a_pending_state_of_the_wrong_type_is_ignored() {
        let mut item = write(&full());
        item.insert(PENDING.into(), text("500"));
        item.insert(PENDING_STATE.into(), number(0));
        let pending = read(&item).unwrap().unwrap().pending.unwrap();
        assert_eq!((pending.checkpoint.as_str(), pending.state), ("500", None));
    }

    #[test]
    fn expressions_say_what_the_update_says() {
        let take = full().take(&WorkerId::new("other").unwrap());
        let Expressions { condition, update, values, .. } = expressions(&take);
        assert_eq!(condition, "#leaseCounter = :v0");
        assert_eq!(
            update,
            "SET #leaseCounter = :v1, #leaseOwner = :v2 REMOVE #checkpointOwner ADD #ownerSwitchesSinceCheckpoint :v3"
        );
        assert_eq!((values[":v0"].clone(), values[":v1"].clone()), (number(7), number(8)));
    }
}
