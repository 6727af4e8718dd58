//! What the tests talk with: SDK clients, bare HTTP, and the embedded Kinesis server without the endpoint around it.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{Record, ShardIteratorType, StreamStatus};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use ferrokinesis::actions::{Operation, dispatch};
use ferrokinesis::store::{Store, StoreOptions};
use ferrokinesis::types::StreamStatus as BareStatus;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kinetide_local::{Local, Settings};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// An endpoint on any free port.
pub(crate) async fn start(change: impl FnOnce(&mut Settings)) -> Local {
    let mut settings = Settings::default();
    settings.port = 0;
    change(&mut settings);
    Local::start(settings).await.unwrap()
}

pub(crate) async fn with_stream(spec: &str) -> Local {
    start(|settings| settings.streams = vec![spec.parse().unwrap()]).await
}

pub(crate) fn kinesis(local: &Local) -> aws_sdk_kinesis::Client {
    clients(local.port()).0
}

pub(crate) fn dynamodb(local: &Local) -> aws_sdk_dynamodb::Client {
    clients(local.port()).1
}

/// SDK clients that do not repeat anything.
pub(crate) fn clients(port: u16) -> (aws_sdk_kinesis::Client, aws_sdk_dynamodb::Client) {
    let https = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::v2026_01_12())
        .region(aws_config::Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::for_tests()))
        .retry_config(RetryConfig::disabled())
        .http_client(https)
        .endpoint_url(format!("http://127.0.0.1:{port}"))
        .build();
    (aws_sdk_kinesis::Client::new(&config), aws_sdk_dynamodb::Client::new(&config))
}

pub(crate) async fn put(client: &aws_sdk_kinesis::Client, stream: &str, key: &str, data: &[u8]) {
    client.put_record().stream_name(stream).partition_key(key).data(Blob::new(data)).send().await.unwrap();
}

pub(crate) async fn iterator(
    client: &aws_sdk_kinesis::Client,
    stream: &str,
    shard: u32,
    kind: ShardIteratorType,
) -> String {
    let request = client.get_shard_iterator().stream_name(stream).shard_id(shard_id(shard)).shard_iterator_type(kind);
    request.send().await.unwrap().shard_iterator.unwrap()
}

/// All records of a shard from its beginning.
pub(crate) async fn records(client: &aws_sdk_kinesis::Client, stream: &str, shard: u32) -> Vec<Record> {
    let from = iterator(client, stream, shard, ShardIteratorType::TrimHorizon).await;
    client.get_records().shard_iterator(from).send().await.unwrap().records
}

pub(crate) fn shard_id(shard: u32) -> String {
    format!("shardId-{shard:012}")
}

/// Until a resharding is done.
pub(crate) async fn active(client: &aws_sdk_kinesis::Client, stream: &str) {
    until("the stream is ACTIVE", async || {
        let summary = client.describe_stream_summary().stream_name(stream).send().await.unwrap();
        summary.stream_description_summary.unwrap().stream_status == StreamStatus::Active
    })
    .await;
}

/// Polls a condition; fails after a minute rather than hanging.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let polled = tokio::time::timeout(Duration::from_secs(60), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(polled.await.is_ok(), "timed out: {what}");
}

/// A bare answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn cbor(&self) -> ciborium::Value {
        ciborium::from_reader(&self.body[..]).unwrap()
    }
}

/// One HTTP/1.1 POST; `Err` if the connection ends without an answer.
pub(crate) async fn post(
    local: &Local,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Result<Answer, hyper::Error> {
    let socket = TcpStream::connect(("127.0.0.1", local.port())).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    answer(sender.send_request(request(local, path, headers, body.into())).await?).await
}

/// The same over HTTP/2 without an upgrade.
pub(crate) async fn post_h2c(
    local: &Local,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Result<Answer, hyper::Error> {
    let socket = TcpStream::connect(("127.0.0.1", local.port())).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    answer(sender.send_request(request(local, path, headers, body.into())).await?).await
}

fn request(local: &Local, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request =
        Request::post(format!("{}{path}", local.endpoint_url())).header("host", format!("127.0.0.1:{}", local.port()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

async fn answer(response: hyper::Response<hyper::body::Incoming>) -> Result<Answer, hyper::Error> {
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(Body::new(body), usize::MAX).await.unwrap();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

/// One JSON call of an operation.
pub(crate) async fn call(local: &Local, target: &str, body: Value) -> Answer {
    let headers = [("x-amz-target", target), ("content-type", "application/x-amz-json-1.1")];
    post(local, "/", &headers, body.to_string()).await.unwrap()
}

/// ferrokinesis alone, with one ACTIVE stream `s`.
pub(crate) async fn bare(shards: u32) -> Store {
    let options = StoreOptions { create_stream_ms: 0, update_stream_ms: 0, ..StoreOptions::default() };
    let store = Store::new(options);
    ask(&store, Operation::CreateStream, json!({ "StreamName": "s", "ShardCount": shards })).await;
    bare_active(&store).await;
    store
}

pub(crate) async fn bare_active(store: &Store) {
    until("the bare stream is ACTIVE", async || {
        store.get_stream("s").await.unwrap().stream_status == BareStatus::Active
    })
    .await;
}

/// One operation of it.
pub(crate) async fn ask(store: &Store, operation: Operation, request: Value) -> Value {
    dispatch(store, operation, request).await.unwrap().unwrap_or_default()
}

/// An iterator at the beginning of its first shard.
pub(crate) async fn bare_iterator(store: &Store) -> Value {
    let request = json!({ "StreamName": "s", "ShardId": shard_id(0), "ShardIteratorType": "TRIM_HORIZON" });
    ask(store, Operation::GetShardIterator, request).await["ShardIterator"].clone()
}
