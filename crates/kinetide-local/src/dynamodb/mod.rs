//! DynamoDB, by dynoxide over SQLite, called in process.
//!
//! dynoxide's HTTP server binds a port of its own and its router is private, so requests go to its typed functions and
//! this module does what lies between: decoding, encoding, errors. Not here: what an expression means. Invariants: an
//! error has dynoxide's wording and the service's shape; with a data directory no request runs on a runtime thread,
//! because SQLite may wait for the disk there.

mod timing;

use std::path::Path;

use axum::response::Response;
use bytes::Bytes;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::faults::AwsError;
use crate::settings::{LocalError, Settings};
use crate::storage;
use crate::wire::{self, JSON_10, Protocol};
use timing::Timing;

/// The tables.
pub(crate) struct DynamoDb {
    database: Database,
    /// Whether a call may wait for the disk.
    on_disk: bool,
    timing: Option<Timing>,
}

impl std::fmt::Debug for DynamoDb {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DynamoDb").field("on_disk", &self.on_disk).finish_non_exhaustive()
    }
}

/// An operation's answer or dynoxide's error, both as JSON text.
type Outcome = Result<String, DynoxideError>;

impl DynamoDb {
    pub(crate) fn open(settings: &Settings) -> Result<Self, LocalError> {
        let directory = settings.data_dir.as_deref();
        let database = directory.map_or_else(in_memory, on_disk);
        Ok(Self {
            database: database.map_err(|error| LocalError::Store { store: "DynamoDB", reason: error.to_string() })?,
            on_disk: directory.is_some(),
            timing: settings.aws_timing.then(Timing::default),
        })
    }

    pub(crate) async fn handle(&self, operation: &str, protocol: Protocol, body: Bytes) -> Response {
        let protocol = if let Protocol::Json(_) = protocol { protocol } else { JSON_10 };
        if let Some(error) = self.timing.as_ref().and_then(|timing| timing.refuse(operation, &body)) {
            return wire::error(protocol, &error);
        }
        match self.run(operation, body.clone()).await {
            None => wire::error(protocol, &unknown(operation)),
            Some(Ok(text)) => wire::answer(protocol, self.age(operation, &body, text)),
            Some(Err(error)) => refused(protocol, operation, error),
        }
    }

    /// `None` for an operation that dynoxide does not have.
    async fn run(&self, operation: &str, body: Bytes) -> Option<Outcome> {
        if !self.on_disk {
            return dispatch(&self.database, operation, &body);
        }
        let (database, operation) = (self.database.clone(), operation.to_owned());
        #[expect(clippy::disallowed_methods, reason = "SQLite on a file blocks: a checkpoint waits for the disk")]
        let task = tokio::task::spawn_blocking(move || dispatch(&database, &operation, &body));
        task.await.unwrap_or_else(|error| Some(Err(DynoxideError::InternalServerError(error.to_string()))))
    }

    fn age(&self, operation: &str, request: &[u8], text: String) -> String {
        match &self.timing {
            Some(timing) => timing.age(operation, request, text),
            None => text,
        }
    }
}

/// The bulk-loading settings are SQLite's fastest; without a file there is nothing they could lose.
fn in_memory() -> Result<Database, DynoxideError> {
    let database = Database::memory()?;
    database.enable_bulk_loading()?;
    Ok(database)
}

/// Write-ahead log is dynoxide's default. Leaving bulk loading is its only door to `synchronous = NORMAL`, which waits
/// for the disk at checkpoints instead of at every commit: a killed process loses nothing, a power cut may lose the
/// last commits.
fn on_disk(directory: &Path) -> Result<Database, DynoxideError> {
    let database = Database::new(&storage::tables(directory).to_string_lossy())?;
    database.disable_bulk_loading()?;
    Ok(database)
}

fn refused(protocol: Protocol, operation: &str, error: DynoxideError) -> Response {
    let error = match error {
        // dynoxide marks a family of refusals that single-item writes wrap in an envelope; the mark must not get out.
        DynoxideError::EnvelopedValidation(message) => DynoxideError::ValidationException(match operation {
            "PutItem" | "UpdateItem" | "DeleteItem" => format!("1 validation error detected: {message}"),
            _ => message,
        }),
        error => error,
    };
    let status = error.status_code().try_into().unwrap_or_default();
    let mut response = wire::respond(status, protocol, error.to_json().into());
    let code = error.error_type().rsplit('#').next().unwrap_or_default();
    if let Ok(code) = code.parse() {
        response.headers_mut().insert("x-amzn-errortype", code);
    }
    response
}

fn dispatch(database: &Database, operation: &str, body: &[u8]) -> Option<Outcome> {
    Some(match operation {
        "BatchExecuteStatement" => call(body, |request| database.batch_execute_statement(request)),
        "BatchGetItem" => call(body, |request| database.batch_get_item(request)),
        "BatchWriteItem" => call(body, |request| database.batch_write_item(request)),
        "CreateTable" => call(body, |request| database.create_table(request)),
        "DeleteItem" => call(body, |request| database.delete_item(request)),
        "DeleteTable" => call(body, |request| database.delete_table(request)),
        "DescribeStream" => call(body, |request| database.describe_stream(request)),
        "DescribeTable" => call(body, |request| database.describe_table(request)),
        "DescribeTimeToLive" => call(body, |request| database.describe_time_to_live(request)),
        "ExecuteStatement" => call(body, |request| database.execute_statement(request)),
        "ExecuteTransaction" => call(body, |request| database.execute_transaction(request)),
        "GetItem" => call(body, |request| database.get_item(request)),
        "GetRecords" => call(body, |request| database.get_records(request)),
        "GetShardIterator" => call(body, |request| database.get_shard_iterator(request)),
        "ListStreams" => call(body, |request| database.list_streams(request)),
        "ListTables" => call(body, |request| database.list_tables(request)),
        "ListTagsOfResource" => call(body, |request| database.list_tags_of_resource(request)),
        "PutItem" => call(body, |request| database.put_item(request)),
        "Query" => call(body, |request| database.query(request)),
        "Scan" => call(body, |request| database.scan(request)),
        "TagResource" => call(body, |request| database.tag_resource(request)),
        "TransactGetItems" => call(body, |request| database.transact_get_items(request)),
        "TransactWriteItems" => call(body, |request| database.transact_write_items(request)),
        "UntagResource" => call(body, |request| database.untag_resource(request)),
        "UpdateItem" => call(body, |request| database.update_item(request)),
        "UpdateTable" => call(body, |request| database.update_table(request)),
        "UpdateTimeToLive" => call(body, |request| database.update_time_to_live(request)),
        _ => return None,
    })
}

fn unknown(operation: &str) -> AwsError {
    AwsError::new(400, "UnknownOperationException", format!("DynamoDB {operation:?} is not emulated"))
}

fn call<Q: DeserializeOwned, A: Serialize>(body: &[u8], run: impl FnOnce(Q) -> Result<A, DynoxideError>) -> Outcome {
    let request = serde_json::from_slice(body).map_err(|error| unreadable(&error.to_string()))?;
    serde_json::to_string(&run(request)?).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

/// dynoxide's request types put the class of a refusal in front of their message; serde appends where it stood.
fn unreadable(message: &str) -> DynoxideError {
    let plain = |text: &str| text.split(" at line ").next().unwrap_or_default().to_owned();
    let class = message.split(':').next().unwrap_or_default();
    let rest = message.split_once(':').map_or("", |(_, rest)| rest);
    match class {
        "VALIDATION_REQUEST" => DynoxideError::EnvelopedValidation(plain(rest)),
        "VALIDATION" | "VALIDATION_AS_READ" => DynoxideError::ValidationException(plain(rest)),
        "SERIALIZATION" | "SERIALIZATION_AS_READ" => DynoxideError::SerializationException(plain(rest)),
        _ if ["missing field", "unknown variant", "invalid type: null", "AttributeValue"]
            .iter()
            .any(|sign| message.contains(sign)) =>
        {
            DynoxideError::ValidationException(plain(message))
        }
        _ => DynoxideError::SerializationException(plain(message)),
    }
}
