//! What a request costs over the loopback port: `cargo run --release --example measure`.
//!
//! One keep-alive connection, one request after the other, bare HTTP/1.1, so that no client library is measured along.

use std::time::Instant;

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use kinetide_local::{Local, Settings};
use serde_json::{Value, json};
use tokio::net::TcpStream;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut settings = Settings::default();
    settings.port = 0;
    settings.streams = vec!["s:4".parse()?];
    settings.data_dir = std::env::args().nth(1).map(Into::into);
    let local = Local::start(settings).await?;
    let socket = TcpStream::connect(("127.0.0.1", local.port())).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);

    let table = json!({ "TableName": "leases", "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{ "AttributeName": "leaseKey", "KeyType": "HASH" }],
        "AttributeDefinitions": [{ "AttributeName": "leaseKey", "AttributeType": "S" }] });
    ask(&mut sender, "DynamoDB_20120810.CreateTable", &table).await?;
    let item = json!({ "TableName": "leases", "Item": { "leaseKey": { "S": "a" }, "leaseCounter": { "N": "0" } } });
    ask(&mut sender, "DynamoDB_20120810.PutItem", &item).await?;
    let update = json!({ "TableName": "leases", "Key": { "leaseKey": { "S": "a" } },
        "UpdateExpression": "SET leaseCounter = leaseCounter + :one",
        "ConditionExpression": "attribute_exists(leaseKey)", "ExpressionAttributeValues": { ":one": { "N": "1" } } });
    measure("UpdateItem", &mut sender, "DynamoDB_20120810.UpdateItem", &update, 3000).await?;

    let data = base64::engine::general_purpose::STANDARD.encode([7; 200]);
    let records: Vec<Value> = (0..500).map(|n| json!({ "PartitionKey": n.to_string(), "Data": data })).collect();
    let put = json!({ "StreamName": "s", "Records": records });
    measure("PutRecords of 500 x 200 B", &mut sender, "Kinesis_20131202.PutRecords", &put, 100).await?;
    let from = json!({ "StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON" });
    let token = ask(&mut sender, "Kinesis_20131202.GetShardIterator", &from).await?["ShardIterator"].clone();
    measure(
        "GetRecords of 10,000 x 200 B",
        &mut sender,
        "Kinesis_20131202.GetRecords",
        &json!({ "ShardIterator": token }),
        50,
    )
    .await?;
    let from = json!({ "StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "LATEST" });
    let token = ask(&mut sender, "Kinesis_20131202.GetShardIterator", &from).await?["ShardIterator"].clone();
    measure("GetRecords of none", &mut sender, "Kinesis_20131202.GetRecords", &json!({ "ShardIterator": token }), 5000)
        .await?;
    local.stop().await;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this program's purpose is to take the time")]
async fn measure(
    what: &str,
    sender: &mut SendRequest<Body>,
    target: &str,
    body: &Value,
    times: u32,
) -> Result<(), Box<dyn std::error::Error>> {
    let body = body.to_string();
    let begun = Instant::now();
    for _ in 0..times {
        send(sender, target, body.clone()).await?;
    }
    println!("{what}: {:.0} µs", begun.elapsed().as_secs_f64() * 1e6 / f64::from(times));
    Ok(())
}

async fn ask(sender: &mut SendRequest<Body>, target: &str, body: &Value) -> Result<Value, Box<dyn std::error::Error>> {
    Ok(serde_json::from_slice(&send(sender, target, body.to_string()).await?)?)
}

async fn send(
    sender: &mut SendRequest<Body>,
    target: &str,
    body: String,
) -> Result<bytes::Bytes, Box<dyn std::error::Error>> {
    let request = Request::post("/").header("host", "local").header("x-amz-target", target);
    let request = request.header("content-type", "application/x-amz-json-1.1").body(Body::from(body))?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    assert!(response.status().is_success(), "{target}: {}", response.status());
    Ok(axum::body::to_bytes(Body::new(response.into_body()), usize::MAX).await?)
}
