//! What a data directory keeps, over orderly stops and killed processes.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use kinetide_local::{Local, LocalError, Settings};

use crate::client::*;

fn settings(directory: &Path) -> Settings {
    let mut settings = Settings::default();
    settings.port = 0;
    settings.data_dir = Some(directory.to_owned());
    settings.streams = vec!["s:2".parse().unwrap()];
    settings
}

async fn write(url: Written<'_>) {
    put(url.kinesis, "s", "k", b"kept").await;
    let key = KeySchemaElement::builder().attribute_name("key").key_type(KeyType::Hash).build().unwrap();
    let attribute =
        AttributeDefinition::builder().attribute_name("key").attribute_type(ScalarAttributeType::S).build().unwrap();
    let table = url.dynamodb.create_table().table_name("kept").key_schema(key).attribute_definitions(attribute);
    table.billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
    url.dynamodb.put_item().table_name("kept").item("key", AttributeValue::S("k".to_owned())).send().await.unwrap();
}

struct Written<'a> {
    kinesis: &'a aws_sdk_kinesis::Client,
    dynamodb: &'a aws_sdk_dynamodb::Client,
}

/// Sequence numbers of the records in both shards, and how many items there are.
async fn read(local: &Local) -> (Vec<String>, i32) {
    let client = kinesis(local);
    let mut found = Vec::new();
    for shard in [0, 1] {
        found.extend(records(&client, "s", shard).await.into_iter().map(|record| record.sequence_number));
    }
    (found, dynamodb(local).scan().table_name("kept").send().await.unwrap().count)
}

#[tokio::test]
async fn a_restart_finds_everything_and_goes_on_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let local = Local::start(settings(directory.path())).await.unwrap();
    write(Written { kinesis: &kinesis(&local), dynamodb: &dynamodb(&local) }).await;
    let before = read(&local).await;
    assert_eq!((before.0.len(), before.1), (1, 1));
    local.stop().await;

    let local = Local::start(settings(directory.path())).await.unwrap();
    assert_eq!(read(&local).await, before);
    put(&kinesis(&local), "s", "k", b"next").await;
    let after = read(&local).await.0;
    assert!(after.len() == 2 && after[1] > before.0[0], "{after:?}");
    local.stop().await;
}

#[tokio::test]
async fn a_deleted_stream_stays_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let local = Local::start(settings(directory.path())).await.unwrap();
    let client = kinesis(&local);
    put(&client, "s", "k", b"gone").await;
    client.delete_stream().stream_name("s").send().await.unwrap();
    until("it is gone", async || client.describe_stream_summary().stream_name("s").send().await.is_err()).await;
    local.stop().await;

    let local = Local::start(settings(directory.path())).await.unwrap();
    assert!(records(&kinesis(&local), "s", 0).await.is_empty() && records(&kinesis(&local), "s", 1).await.is_empty());
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_and_not_built_upon() {
    let directory = tempfile::tempdir().unwrap();
    let local = Local::start(settings(directory.path())).await.unwrap();
    write(Written { kinesis: &kinesis(&local), dynamodb: &dynamodb(&local) }).await;
    local.stop().await;
    for log in ["records.log", "streams/wal.log"] {
        let mut file = std::fs::File::options().append(true).open(directory.path().join(log)).unwrap();
        std::io::Write::write_all(&mut file, &[200, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]).unwrap();
    }
    for expected in [1, 2, 3] {
        let local = Local::start(settings(directory.path())).await.unwrap();
        assert_eq!(read(&local).await.0.len(), expected);
        put(&kinesis(&local), "s", "k", b"more").await;
        kinesis(&local)
            .increase_stream_retention_period()
            .stream_name("s")
            .retention_period_hours(24 + expected as i32)
            .send()
            .await
            .unwrap();
        local.stop().await;
    }
}

#[tokio::test]
async fn a_directory_serves_one_endpoint_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let local = Local::start(settings(directory.path())).await.unwrap();
    let error = Local::start(settings(directory.path())).await.unwrap_err();
    assert!(matches!(&error, LocalError::DataDirInUse { path } if path == directory.path()), "{error}");
    local.stop().await;
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Local::start(settings(&file)).await.unwrap_err();
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
}

const DIRECTORY: &str = "KINETIDE_LOCAL_TEST_DIRECTORY";

/// Not a test of its own: the process that the next test kills.
#[tokio::test]
async fn serve_until_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let mut local = Local::start(settings(Path::new(&directory))).await.unwrap();
    println!("\nport={}", local.port());
    local.stopped().await.unwrap();
}

fn serve(directory: &Path) -> (Child, u16) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "persistence::serve_until_killed", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("port=")?.parse().ok());
    (child, port.expect("the child serves"))
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_killed_process() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, port) = serve(directory.path());
    let (kinesis, dynamodb) = clients(port);
    write(Written { kinesis: &kinesis, dynamodb: &dynamodb }).await;
    for n in 0..50u8 {
        put(&kinesis, "s", &n.to_string(), &[n]).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let local = Local::start(settings(directory.path())).await.unwrap();
    let (found, items) = read(&local).await;
    assert_eq!((found.len(), items), (51, 1));
}
