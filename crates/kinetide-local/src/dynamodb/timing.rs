//! How long tables and indexes take, when the endpoint is asked to be as slow as the real service.
//!
//! dynoxide's tables and indexes are ready at once. This module remembers when the real ones would be, makes
//! descriptions say CREATING until then, and refuses what the service refuses. Invariant: a table or index that is not
//! remembered is ready.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::clock;
use crate::faults::AwsError;

const TABLE: Duration = Duration::from_secs(8);
/// For an index added to a table; one created with its table is ready with it.
const INDEX: Duration = Duration::from_secs(60);

/// When what is being created becomes ready: by table, and by index within the table (`None` is the table itself).
type Pending = HashMap<(String, Option<String>), Instant>;

#[derive(Debug, Default)]
pub(crate) struct Timing {
    pending: Mutex<Pending>,
}

impl Timing {
    /// What the service says to a request for a table or index that is still being created.
    pub(super) fn refuse(&self, operation: &str, body: &[u8]) -> Option<AwsError> {
        let pending = self.current();
        if pending.is_empty() || operation == "DescribeTable" || operation == "CreateTable" {
            return None;
        }
        let request: Json = serde_json::from_slice(body).ok()?;
        let table = request["TableName"].as_str()?;
        if pending.contains_key(&(table.to_owned(), None)) {
            return Some(creating(operation, table));
        }
        let index = request["IndexName"].as_str()?;
        pending.contains_key(&(table.to_owned(), Some(index.to_owned()))).then(|| {
            AwsError::new(
                400,
                "ValidationException",
                format!("Cannot read from backfilling global secondary index: {index}"),
            )
        })
    }

    /// Starts the wait of what an answer has just created, and writes CREATING where a description would say so.
    pub(super) fn age(&self, operation: &str, request: &[u8], text: String) -> String {
        let member = match operation {
            "CreateTable" | "UpdateTable" | "DeleteTable" => "TableDescription",
            "DescribeTable" => "Table",
            _ => return text,
        };
        let Ok(mut answer) = serde_json::from_str::<Json>(&text) else { return text };
        let description = &mut answer[member];
        let Some(table) = description["TableName"].as_str().map(str::to_owned) else { return text };
        self.begin(operation, &table, request);
        mark(&self.current(), &table, description);
        answer.to_string()
    }

    fn begin(&self, operation: &str, table: &str, request: &[u8]) {
        let now = clock::monotonic();
        let mut pending = self.lock();
        match operation {
            "CreateTable" => {
                pending.insert((table.to_owned(), None), now + TABLE);
            }
            "UpdateTable" => {
                for index in added_indexes(request) {
                    pending.insert((table.to_owned(), Some(index)), now + INDEX);
                }
            }
            "DeleteTable" => pending.retain(|(name, _), _| name != table),
            _ => {}
        }
    }

    /// What is pending now; what has become ready is forgotten.
    fn current(&self) -> Pending {
        let now = clock::monotonic();
        let mut pending = self.lock();
        pending.retain(|_, ready| *ready > now);
        pending.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// dynoxide describes an added index as ACTIVE at once, so the request has to say which ones are new.
fn added_indexes(request: &[u8]) -> Vec<String> {
    let request: Json = serde_json::from_slice(request).unwrap_or_default();
    let updates = request["GlobalSecondaryIndexUpdates"].as_array().into_iter().flatten();
    updates.filter_map(|update| update["Create"]["IndexName"].as_str().map(str::to_owned)).collect()
}

fn mark(pending: &Pending, table: &str, description: &mut Json) {
    let whole = pending.contains_key(&(table.to_owned(), None));
    let mut status = whole.then_some("CREATING");
    for index in description["GlobalSecondaryIndexes"].as_array_mut().into_iter().flatten() {
        let name = index["IndexName"].as_str().map(str::to_owned);
        if whole || pending.contains_key(&(table.to_owned(), name)) {
            index["IndexStatus"] = json!("CREATING");
            index["Backfilling"] = json!(!whole);
            status = status.or(Some("UPDATING"));
        }
    }
    if let Some(status) = status {
        description["TableStatus"] = json!(status);
    }
}

fn creating(operation: &str, table: &str) -> AwsError {
    match operation {
        "UpdateTable" | "DeleteTable" => {
            let message =
                format!("Attempt to change a resource which is still in use: Table is being created: {table}");
            AwsError::new(400, "ResourceInUseException", message)
        }
        _ => AwsError::new(400, "ResourceNotFoundException", "Requested resource not found"),
    }
}
