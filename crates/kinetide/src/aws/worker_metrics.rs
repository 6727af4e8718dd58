//! What a worker tells about itself as a DynamoDB item, and its write and deletion as expressions. The attribute names
//! are the Java KCL's.
//!
//! Reading forgives: what is missing is `None`, unknown attributes are ignored, an item that is something else is
//! `None`; only an attribute of another type is an error. Numbers are read however they are printed: Java writes `-1.0`
//! and `1.0E-6`. We write a number as its shortest plain decimal (`12.5`, `-1`, `0.000001`), and ranges without
//! decimals, because Java reads them as integers.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{Expressions, Item, KEY};
use crate::coordinator::worker_metrics::item::{MetricName, Support, WorkerMetrics};
use crate::stream::WorkerId;

const LEGACY_KEY: &str = "wid";
const ENTITY_TYPE: &str = "entityType";
const ENTITY_WORKER_METRICS: &str = "WORKER_METRIC_STATS";
const UPDATED_AT: &str = "lut";
const STATS: &str = "sts";
const RANGES: &str = "opr";
const SUPPORT_CODE: &str = "sup";
const SUPPORT_AT: &str = "slu";

/// Which table the item is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// The table that workers up to 3.4 made for metrics alone.
    Legacy,
    /// The lease table.
    Single,
}

impl Layout {
    /// The attribute that is the table's key, and in it, the worker's id.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Legacy => LEGACY_KEY,
            Self::Single => KEY,
        }
    }
}

/// An item of worker metrics that cannot be read as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("worker metrics cannot be read: attribute {attribute} of key '{key}' is {problem}")]
pub(super) struct InvalidMetrics {
    key: String,
    attribute: &'static str,
    problem: String,
}

/// The metrics in an item; `None` if the item is something else. In the table of their own, old workers write no type.
pub(super) fn read(item: &Item, layout: Layout) -> Result<Option<WorkerMetrics>, InvalidMetrics> {
    let entity = item.get(ENTITY_TYPE).map(|value| value.as_s().map(String::as_str));
    if entity != Some(Ok(ENTITY_WORKER_METRICS)) && !(entity.is_none() && layout == Layout::Legacy) {
        return Ok(None);
    }
    let key = item.get(layout.key()).and_then(|value| value.as_s().ok()).map_or("", String::as_str);
    let reader = Reader { item, key };
    let support = reader.whole(SUPPORT_CODE)?.zip(reader.whole(SUPPORT_AT)?);
    Ok(Some(WorkerMetrics {
        worker: WorkerId::new(key).map_err(|error| reader.invalid(layout.key(), error))?,
        updated_at: reader.whole(UPDATED_AT)?,
        stats: reader.lists(STATS)?,
        ranges: reader.lists(RANGES)?,
        support: support.map(|(code, at)| Support { code, at }),
    }))
}

struct Reader<'a> {
    item: &'a Item,
    key: &'a str,
}

impl Reader<'_> {
    fn invalid(&self, attribute: &'static str, problem: impl std::fmt::Display) -> InvalidMetrics {
        InvalidMetrics { key: self.key.to_owned(), attribute, problem: problem.to_string() }
    }

    fn whole(&self, attribute: &'static str) -> Result<Option<u64>, InvalidMetrics> {
        let Some(value) = self.item.get(attribute) else { return Ok(None) };
        let parsed = value.as_n().ok().and_then(|number| number.parse().ok());
        parsed.map(Some).ok_or_else(|| self.invalid(attribute, "not a number of its range"))
    }

    fn lists(&self, attribute: &'static str) -> Result<Option<BTreeMap<MetricName, Vec<f64>>>, InvalidMetrics> {
        let Some(value) = self.item.get(attribute) else { return Ok(None) };
        let lists = value.as_m().ok().and_then(|map| map.iter().map(list).collect());
        lists.map(Some).ok_or_else(|| self.invalid(attribute, "not a map of lists of numbers"))
    }
}

fn list((metric, values): (&String, &AttributeValue)) -> Option<(MetricName, Vec<f64>)> {
    let value = |value: &AttributeValue| value.as_n().ok()?.parse().ok().filter(|number: &f64| number.is_finite());
    let values: Option<Vec<f64>> = values.as_l().ok()?.iter().map(value).collect();
    Some((metric.clone(), values?))
}

/// The whole item.
pub(super) fn write(metrics: &WorkerMetrics, layout: Layout) -> Item {
    let key = (layout.key(), text(metrics.worker.as_str()));
    attributes(metrics).into_iter().chain([key]).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// An update that sets what is there and leaves the rest, under no condition: nobody else writes this worker's item.
pub(super) fn update(metrics: &WorkerMetrics) -> Expressions {
    let mut expressions = Expressions::default();
    let parts = attributes(metrics).into_iter().map(|(name, value)| {
        let part = format!("#{name} = :{name}");
        expressions.names.insert(format!("#{name}"), name.to_owned());
        expressions.values.insert(format!(":{name}"), value);
        part
    });
    let parts: Vec<_> = parts.collect();
    Expressions { update: format!("SET {}", parts.join(", ")), ..expressions }
}

/// The condition under which an item is deleted: its worker has not come back since it was read.
pub(super) fn delete(layout: Layout, updated_at: u64) -> Expressions {
    let key = layout.key();
    Expressions {
        condition: format!("#{UPDATED_AT} = :{UPDATED_AT} AND attribute_exists(#{key})"),
        names: HashMap::from([UPDATED_AT, key].map(|name| (format!("#{name}"), name.to_owned()))),
        values: Item::from([(format!(":{UPDATED_AT}"), number(updated_at))]),
        ..Expressions::default()
    }
}

/// Everything but the key, if it is there.
fn attributes(metrics: &WorkerMetrics) -> Vec<(&'static str, AttributeValue)> {
    let range = |value: f64| number(value.trunc());
    let attributes = [
        (ENTITY_TYPE, Some(text(ENTITY_WORKER_METRICS))),
        (UPDATED_AT, metrics.updated_at.map(number)),
        (STATS, metrics.stats.as_ref().map(|stats| map(stats, number))),
        (RANGES, metrics.ranges.as_ref().map(|ranges| map(ranges, range))),
        (SUPPORT_CODE, metrics.support.map(|support| number(support.code))),
        (SUPPORT_AT, metrics.support.map(|support| number(support.at))),
    ];
    attributes.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn map(lists: &BTreeMap<MetricName, Vec<f64>>, write: impl Fn(f64) -> AttributeValue) -> AttributeValue {
    let list = |values: &Vec<f64>| AttributeValue::L(values.iter().map(|value| write(*value)).collect());
    AttributeValue::M(lists.iter().map(|(metric, values)| (metric.clone(), list(values))).collect())
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LAYOUTS: [Layout; 2] = [Layout::Legacy, Layout::Single];

    fn lists(values: &[f64]) -> Option<BTreeMap<MetricName, Vec<f64>>> {
        Some(BTreeMap::from([("C".to_owned(), values.to_vec())]))
    }

    fn full() -> WorkerMetrics {
        WorkerMetrics {
            worker: WorkerId::new("w").unwrap(),
            updated_at: Some(1_763_719_000),
            stats: lists(&[-1.0, 0.0, 12.5, 0.000_001, 33.333_333]),
            ranges: lists(&[100.0]),
            support: Some(Support { code: 1, at: 1_763_719_000 }),
        }
    }

    fn bare() -> WorkerMetrics {
        WorkerMetrics { updated_at: None, stats: None, ranges: None, support: None, ..full() }
    }

    fn numbers(texts: &[&str]) -> AttributeValue {
        let list = AttributeValue::L(texts.iter().map(number).collect());
        AttributeValue::M(HashMap::from([("C".to_owned(), list)]))
    }

    #[test]
    fn metrics_survive_their_item_in_both_layouts() {
        let default = WorkerMetrics { stats: Some(BTreeMap::new()), ranges: Some(BTreeMap::new()), ..full() };
        for metrics in [full(), bare(), default] {
            for layout in LAYOUTS {
                let item = write(&metrics, layout);
                assert_eq!(read(&item, layout), Ok(Some(metrics.clone())), "{item:?}");
            }
        }
    }

    #[test]
    fn an_item_has_javas_names_and_types() {
        let item = write(&full(), Layout::Legacy);
        let expected = Item::from([
            ("wid".to_owned(), text("w")),
            ("entityType".to_owned(), text("WORKER_METRIC_STATS")),
            ("lut".to_owned(), number(1_763_719_000)),
            ("sts".to_owned(), numbers(&["-1", "0", "12.5", "0.000001", "33.333333"])),
            ("opr".to_owned(), numbers(&["100"])),
            ("sup".to_owned(), number(1)),
            ("slu".to_owned(), number(1_763_719_000)),
        ]);
        assert_eq!(item, expected);
        let single = write(&full(), Layout::Single);
        assert_eq!((single.get("leaseKey"), single.get("wid")), (Some(&text("w")), None));
    }

    #[test]
    fn numbers_are_read_as_java_and_as_dynamodb_print_them() {
        let read_back = |texts: &[&str]| {
            let mut item = write(&full(), Layout::Single);
            item.insert(STATS.to_owned(), numbers(texts));
            read(&item, Layout::Single).map(|metrics| metrics.unwrap().stats).map_err(|error| error.to_string())
        };
        assert_eq!(read_back(&["-1.0", "12.5", "1.0E-6", "100"]), Ok(lists(&[-1.0, 12.5, 0.000_001, 100.0])));
        for absurd in ["NaN", "inf", "", "1,5"] {
            let expected = "worker metrics cannot be read: attribute sts of key 'w' is not a map of lists of numbers";
            assert_eq!(read_back(&[absurd]), Err(expected.to_owned()));
        }
    }

    #[test]
    fn what_is_missing_is_none_and_what_is_absurd_is_named() {
        let fault = |name: &str, value: Option<AttributeValue>| {
            let mut item = write(&full(), Layout::Single);
            match value {
                Some(value) => item.insert(name.to_owned(), value),
                None => item.remove(name),
            };
            read(&item, Layout::Single).map(Option::unwrap).map_err(|error| (error.attribute, error.problem))
        };
        assert_eq!(fault("lut", None), Ok(WorkerMetrics { updated_at: None, ..full() }));
        assert_eq!(fault("sts", None), Ok(WorkerMetrics { stats: None, ..full() }));
        assert_eq!(fault("opr", None), Ok(WorkerMetrics { ranges: None, ..full() }));
        assert_eq!(fault("sup", None), Ok(WorkerMetrics { support: None, ..full() }));
        assert_eq!(fault("slu", None), Ok(WorkerMetrics { support: None, ..full() }), "half of it says nothing");
        assert_eq!(fault("properties", Some(AttributeValue::M(HashMap::new()))), Ok(full()));
        assert_eq!(fault("lut", Some(text("now"))), Err(("lut", "not a number of its range".to_owned())));
        assert_eq!(fault("lut", Some(number(-1))), Err(("lut", "not a number of its range".to_owned())));
        let lists = "not a map of lists of numbers".to_owned();
        assert_eq!(fault("sts", Some(number(1))), Err(("sts", lists.clone())));
        let flat = AttributeValue::M(HashMap::from([("C".to_owned(), number(1))]));
        assert_eq!(fault("opr", Some(flat)), Err(("opr", lists)));
        let leader = fault("leaseKey", Some(text("Leader"))).unwrap_err();
        assert_eq!(leader.0, "leaseKey");
        assert_eq!(fault("leaseKey", None).unwrap_err().0, "leaseKey");
    }

    #[test]
    fn items_of_other_kinds_are_skipped() {
        for (entity, in_legacy, in_single) in
            [(None, true, false), (Some("LEASE"), false, false), (Some("WORKER_METRIC_STATS"), true, true)]
        {
            for (layout, is_read) in [(Layout::Legacy, in_legacy), (Layout::Single, in_single)] {
                let mut item = write(&full(), layout);
                item.remove(ENTITY_TYPE);
                item.extend(entity.map(|entity| (ENTITY_TYPE.to_owned(), text(entity))));
                assert_eq!(read(&item, layout).unwrap().is_some(), is_read, "{entity:?} in {layout:?}");
            }
        }
        let mut item = write(&full(), Layout::Legacy);
        item.insert(ENTITY_TYPE.to_owned(), number(1));
        assert_eq!(read(&item, Layout::Legacy), Ok(None));
    }

    #[test]
    fn an_update_sets_what_is_there() {
        let whole = update(&full());
        let expected = "SET #entityType = :entityType, #lut = :lut, #sts = :sts, #opr = :opr, #sup = :sup, #slu = :slu";
        assert_eq!((whole.update.as_str(), whole.condition.as_str()), (expected, ""));
        assert_eq!((whole.names.len(), whole.names["#lut"].as_str()), (6, "lut"));
        assert_eq!((whole.values.len(), &whole.values[":opr"]), (6, &numbers(&["100"])));
        assert_eq!(update(&bare()).update, "SET #entityType = :entityType");
    }

    #[test]
    fn a_deletion_requires_what_was_seen() {
        for (layout, key) in [(Layout::Legacy, "wid"), (Layout::Single, "leaseKey")] {
            let deletion = delete(layout, 1_763_719_000);
            assert_eq!(deletion.condition, format!("#lut = :lut AND attribute_exists(#{key})"));
            let names = HashMap::from([("#lut".into(), "lut".into()), (format!("#{key}"), key.into())]);
            assert_eq!((deletion.names, deletion.update), (names, String::new()));
            assert_eq!(deletion.values, Item::from([(":lut".to_owned(), number(1_763_719_000))]));
        }
    }

    proptest! {
        #[test]
        fn any_metrics_survive_their_item(
            stats in prop::collection::btree_map("[A-Z]{1,2}", prop::collection::vec(-1.0..100.0, 0..11), 0..4),
            updated_at in prop::option::of(any::<u64>()),
            support in prop::option::of((any::<u64>(), any::<u64>())),
        ) {
            let support = support.map(|(code, at)| Support { code, at });
            let metrics = WorkerMetrics { updated_at, stats: Some(stats), support, ..full() };
            for layout in LAYOUTS {
                prop_assert_eq!(read(&write(&metrics, layout), layout), Ok(Some(metrics.clone())));
            }
        }
    }
}
