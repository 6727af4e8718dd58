//! PutMetricData in its three protocols, kept in memory to be looked at.
//!
//! Not a metrics service: there is no GetMetricStatistics. What arrived is read back with
//! [`Local::metrics`](crate::Local::metrics) or `GET /_kinetide/metrics`. Invariants: the three protocols decode to the
//! same [`MetricDatum`]; at most [`DATA_MAX`] data are kept, the oldest go first.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::faults::AwsError;
use crate::wire::{self, Protocol, timestamp_ms};
use crate::{calendar, form};

/// A fleet of a hundred workers reporting every ten seconds fills this in about an hour.
const DATA_MAX: usize = 200_000;
const NAMESPACE: &str = "http://monitoring.amazonaws.com/doc/2010-08-01/";

/// One datum that PutMetricData received.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetricDatum {
    /// Namespace of the request.
    pub namespace: String,
    /// Name of the metric.
    pub name: String,
    /// Name and value, in the order sent.
    pub dimensions: Vec<(String, String)>,
    /// Milliseconds since the Unix epoch, if the client said when.
    pub timestamp_ms: Option<u64>,
    /// Unit as sent, for example `Milliseconds`.
    pub unit: Option<String>,
    /// The single value, if that form was used.
    pub value: Option<f64>,
    /// The summary, if that form was used.
    pub statistics: Option<Statistics>,
    /// The values of the histogram form.
    pub values: Vec<f64>,
    /// How often each of `values` occurred; empty means once each.
    pub counts: Vec<f64>,
}

/// Many observations in one datum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Statistics {
    /// How many.
    pub sample_count: f64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub minimum: f64,
    /// The greatest.
    pub maximum: f64,
}

/// What has been received.
#[derive(Debug, Default)]
pub(crate) struct CloudWatch {
    data: Mutex<VecDeque<MetricDatum>>,
}

impl CloudWatch {
    pub(crate) fn all(&self) -> Vec<MetricDatum> {
        self.lock().iter().cloned().collect()
    }

    pub(crate) fn handle(&self, operation: &str, protocol: Protocol, body: &[u8]) -> Response {
        if operation != "PutMetricData" {
            let message = format!("CloudWatch {operation:?} is not emulated: only PutMetricData is");
            return wire::error(protocol, &AwsError::new(400, "InvalidAction", message));
        }
        match request(protocol, body).and_then(|request| data(&request)) {
            Ok(data) => {
                self.keep(data);
                wire::answer(protocol, accepted(protocol))
            }
            Err(error) => wire::error(protocol, &error),
        }
    }

    fn keep(&self, data: Vec<MetricDatum>) {
        let mut kept = self.lock();
        kept.extend(data);
        let surplus = kept.len().saturating_sub(DATA_MAX);
        kept.drain(..surplus);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<MetricDatum>> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accepted(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Query | Protocol::RestXml => format!(
            "<PutMetricDataResponse xmlns=\"{NAMESPACE}\"><ResponseMetadata><RequestId>0</RequestId></ResponseMetadata>\
             </PutMetricDataResponse>"
        )
        .into_bytes(),
        _ => wire::encode(protocol, json!({})),
    }
}

fn request(protocol: Protocol, body: &[u8]) -> Result<Json, AwsError> {
    if protocol == Protocol::Query { Ok(tree(&String::from_utf8_lossy(body))) } else { wire::decode(protocol, body) }
}

/// The query protocol's flat names as the structure they stand for: `MetricData.member.1.Value` is a field of a list's
/// item.
///
/// Lists become objects keyed by position, wide enough to sort as text; `items` reads either form.
fn tree(form: &str) -> Json {
    let mut root = Map::new();
    for (name, value) in form::pairs(form) {
        let path: Vec<&str> = name.split('.').filter(|part| *part != "member").collect();
        insert(&mut root, &path, value);
    }
    Json::Object(root)
}

fn insert(node: &mut Map<String, Json>, path: &[&str], value: String) {
    let Some((first, rest)) = path.split_first() else { return };
    let key = first.parse::<u32>().map_or_else(|_| (*first).to_owned(), |position| format!("{position:010}"));
    if rest.is_empty() {
        node.insert(key, Json::String(value));
    } else if let Json::Object(child) = node.entry(key).or_insert_with(|| json!({})) {
        insert(child, rest, value);
    }
}

fn items(list: &Json) -> Vec<&Json> {
    match list {
        Json::Array(items) => items.iter().collect(),
        Json::Object(by_position) => {
            let mut entries: Vec<_> = by_position.iter().collect();
            entries.sort_by_key(|(position, _)| *position);
            entries.into_iter().map(|(_, item)| item).collect()
        }
        _ => Vec::new(),
    }
}

fn data(request: &Json) -> Result<Vec<MetricDatum>, AwsError> {
    let namespace = text(&request["Namespace"]).ok_or_else(|| missing("Namespace"))?;
    items(&request["MetricData"]).into_iter().map(|item| datum(&namespace, item)).collect()
}

fn datum(namespace: &str, item: &Json) -> Result<MetricDatum, AwsError> {
    let dimension = |item: &Json| Some((text(&item["Name"])?, text(&item["Value"])?));
    Ok(MetricDatum {
        namespace: namespace.to_owned(),
        name: text(&item["MetricName"]).ok_or_else(|| missing("MetricName"))?,
        dimensions: items(&item["Dimensions"]).into_iter().filter_map(dimension).collect(),
        timestamp_ms: time(&item["Timestamp"]),
        unit: text(&item["Unit"]),
        value: number(&item["Value"]),
        statistics: statistics(&item["StatisticValues"]),
        values: items(&item["Values"]).into_iter().filter_map(number).collect(),
        counts: items(&item["Counts"]).into_iter().filter_map(number).collect(),
    })
}

fn statistics(summary: &Json) -> Option<Statistics> {
    Some(Statistics {
        sample_count: number(&summary["SampleCount"])?,
        sum: number(&summary["Sum"])?,
        minimum: number(&summary["Minimum"])?,
        maximum: number(&summary["Maximum"])?,
    })
}

fn text(value: &Json) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn number(value: &Json) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn time(value: &Json) -> Option<u64> {
    number(value).map(timestamp_ms).or_else(|| calendar::parse_ms(value.as_str()?))
}

fn missing(parameter: &str) -> AwsError {
    AwsError::new(400, "MissingParameter", format!("the parameter {parameter} is required"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> MetricDatum {
        MetricDatum {
            namespace: "app".to_owned(),
            name: "Time".to_owned(),
            dimensions: vec![("Operation".to_owned(), "Renew All".to_owned()), ("Worker".to_owned(), "w".to_owned())],
            timestamp_ms: Some(1_700_000_000_000),
            unit: Some("Milliseconds".to_owned()),
            value: None,
            statistics: Some(Statistics { sample_count: 2.0, sum: 3.5, minimum: 1.5, maximum: 2.0 }),
            values: vec![],
            counts: vec![],
        }
    }

    #[test]
    fn forms_decode_to_the_same_datum_as_structures() {
        let form = "Action=PutMetricData&Version=2010-08-01&Namespace=app&MetricData.member.1.MetricName=Time\
                    &MetricData.member.1.Dimensions.member.1.Name=Operation\
                    &MetricData.member.1.Dimensions.member.1.Value=Renew+All\
                    &MetricData.member.1.Dimensions.member.2.Name=Worker\
                    &MetricData.member.1.Dimensions.member.2.Value=w\
                    &MetricData.member.1.Timestamp=2023-11-14T22%3A13%3A20Z&MetricData.member.1.Unit=Milliseconds\
                    &MetricData.member.1.StatisticValues.SampleCount=2&MetricData.member.1.StatisticValues.Sum=3.5\
                    &MetricData.member.1.StatisticValues.Minimum=1.5&MetricData.member.1.StatisticValues.Maximum=2";
        assert_eq!(data(&tree(form)).unwrap(), [expected()]);
        let structure = json!({ "Namespace": "app", "MetricData": [{
            "MetricName": "Time", "Timestamp": 1_700_000_000, "Unit": "Milliseconds",
            "Dimensions": [{ "Name": "Operation", "Value": "Renew All" }, { "Name": "Worker", "Value": "w" }],
            "StatisticValues": { "SampleCount": 2, "Sum": 3.5, "Minimum": 1.5, "Maximum": 2 },
        }] });
        assert_eq!(data(&structure).unwrap(), [expected()]);
    }

    #[test]
    fn lists_of_more_than_nine_keep_their_order() {
        let form: String = (1..=12).map(|n| format!("MetricData.member.{n}.MetricName=m{n}&")).collect();
        let names: Vec<String> =
            data(&tree(&format!("Namespace=n&{form}"))).unwrap().into_iter().map(|d| d.name).collect();
        assert_eq!(names, (1..=12).map(|n| format!("m{n}")).collect::<Vec<_>>());
    }

    #[test]
    fn the_oldest_go_first() {
        let metrics = CloudWatch::default();
        metrics.keep(vec![expected(); DATA_MAX]);
        metrics.keep(vec![MetricDatum { name: "last".to_owned(), ..expected() }]);
        assert_eq!(metrics.all().len(), DATA_MAX);
        assert_eq!(metrics.all().last().unwrap().name, "last");
    }
}
