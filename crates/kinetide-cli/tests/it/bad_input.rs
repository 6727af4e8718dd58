//! What people get wrong: one clear sentence with the name and the value at fault, and an exit code.

use crate::support::{endpoint, finish, kinetide, kinetide_at, put, stream};

/// Runs, and expects failure with exactly one line on standard error that has all these parts.
async fn refused(command: tokio::process::Command, code: i32, parts: &[&str]) {
    let run = finish(command).await;
    assert_eq!(run.code, Some(code), "{}", run.stderr);
    assert_eq!(run.stdout, "");
    for part in parts {
        assert!(run.stderr.contains(part), "'{part}' is not in: {}", run.stderr);
    }
    assert_eq!(run.stderr.trim_end().lines().count(), 1, "{}", run.stderr);
}

#[tokio::test]
async fn a_stream_that_does_not_exist() {
    let local = endpoint(&[]).await;
    refused(kinetide_at(&local, &["tail", "ordrs"]), 1, &["kinetide: stream 'ordrs'", "not found"]).await;
    let consume = kinetide_at(&local, &["consume", "ordrs", "--application", "app"]);
    refused(consume, 1, &["kinetide: stream 'ordrs' does not exist"]).await;
    let aws = crate::support::aws(&local).await;
    use kinetide::lease::LeaseTable;
    let table = kinetide::aws::DynamoDbLeaseTable::new(&aws, &"app".parse().unwrap());
    assert!(table.list().await.is_err(), "a misspelt stream leaves no table behind");
}

#[tokio::test]
async fn an_endpoint_that_nobody_serves() {
    let local = endpoint(&[]).await;
    let put = kinetide_at(&local, &["tail", "orders", "--endpoint-url", "http://127.0.0.1:1"]);
    refused(put, 1, &["stream 'orders'", "no connection to http://127.0.0.1:1", "Connection refused"]).await;
    let mut tail = kinetide_at(&local, &["tail", "orders"]);
    tail.env("AWS_ENDPOINT_URL", "");
    refused(tail, 1, &["AWS_ENDPOINT_URL is ''", "http://"]).await;
    refused(kinetide_at(&local, &["tail", "orders", "--endpoint-url", "junk"]), 1, &["the endpoint is 'junk'"]).await;
}

#[tokio::test]
async fn no_region_and_no_credentials() {
    refused(kinetide(&["tail", "orders"]), 1, &["no AWS region", "AWS_REGION"]).await;
    let tail = kinetide(&["tail", "orders", "--region", "us-east-1"]);
    refused(tail, 1, &["no AWS credentials", "AWS_ACCESS_KEY_ID"]).await;
}

#[tokio::test]
async fn a_table_that_is_no_lease_table() {
    let local = endpoint(&[("orders", 1)]).await;
    let table = r#"{"TableName":"app","BillingMode":"PAY_PER_REQUEST",
        "AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],
        "KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]}"#;
    create_table(&local, table).await;
    let consume = kinetide_at(&local, &["consume", "orders", "--application", "app"]);
    refused(consume, 1, &["lease table", "its key is (id) and not (leaseKey)", "table=app"]).await;
}

/// A table of any layout: one request over a plain socket, because the library only makes lease tables.
async fn create_table(local: &kinetide_local::Local, body: &str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", local.port())).await.unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nx-amz-target: DynamoDB_20120810.CreateTable\r\n\
         content-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\nconnection: close\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=host, Signature=00\r\nx-amz-date: 20260101T000000Z\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn arguments_that_make_no_sense() {
    let local = endpoint(&[("orders", 1)]).await;
    let from = kinetide_at(&local, &["tail", "orders", "--from", "yesterday"]);
    refused(from, 1, &["invalid position 'yesterday'", "trim-horizon"]).await;
    refused(kinetide_at(&local, &["tail", "or ders"]), 1, &["invalid stream name 'or ders'"]).await;
    let number = "49590338271490256608559692538361571095921575989136588898";
    let from = kinetide_at(&local, &["tail", "orders", "--from", number]);
    refused(from, 1, &["belongs to one shard", "--shard"]).await;
    let gone = kinetide_at(&local, &["tail", "orders", "--shard", "shardId-000000000009"]);
    refused(gone, 1, &["stream 'orders'", "shardId-000000000009"]).await;
    refused(kinetide_at(&local, &["consume", "orders", "-a", "my app"]), 1, &["lease table name 'my app'"]).await;
    let level = finish(kinetide(&["tail", "orders", "--log-level", "inof"])).await;
    assert!(level.code == Some(2) && level.stderr.contains("inof"), "{}", level.stderr);
    let shards = finish(kinetide(&["local", "--stream", "orders:many"])).await;
    assert_eq!(shards.code, Some(2));
    assert!(shards.stderr.contains("orders:many"), "{}", shards.stderr);
}

#[tokio::test]
async fn a_port_in_use() {
    let local = endpoint(&[]).await;
    let port = local.port().to_string();
    let run = finish(kinetide(&["local", "--port", &port])).await;
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains(&port) && run.stderr.contains("in use"), "{}", run.stderr);
}

#[tokio::test]
async fn lines_without_the_key_are_named_and_those_before_are_put() {
    let local = endpoint(&[("orders", 1)]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"id\":1}\n{\"id\":2}\n{\"other\":3}\n").unwrap();
    let path = file.path().to_str().unwrap();
    let command = kinetide_at(&local, &["put", "orders", path, "--partition-key", "id"]);
    refused(command, 1, &["line 3 of", path, "after 2 records were stored", "no field 'id'"]).await;
    let tail = finish(kinetide_at(&local, &["tail", "orders", "--from", "trim-horizon", "--no-follow"])).await;
    assert_eq!(tail.stdout.lines().count(), 2, "{}", tail.stderr);
    refused(kinetide_at(&local, &["put", "orders", "/no/such/file"]), 1, &["cannot open /no/such/file"]).await;
}

/// A reader that goes away takes its output with it, and nothing else.
#[tokio::test]
async fn closed_outputs_are_no_panic() {
    let local = endpoint(&[("orders", 1)]).await;
    for arguments in
        [["put", "orders", "/dev/null", "--output", "json"], ["tail", "nowhere", "--output", "json", "--no-follow"]]
    {
        let mut child = kinetide_at(&local, &arguments).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        let code = child.wait().await.unwrap().code();
        assert!(matches!(code, Some(0 | 1)), "{arguments:?}: {code:?}");
    }
}

#[tokio::test]
async fn a_damaged_aggregate_is_delivered_as_it_is() {
    let local = endpoint(&[("orders", 1)]).await;
    let kinesis = stream(&local, "orders").await;
    let damaged = kinetide::aws::PutEntry {
        partition_key: "k".into(),
        data: bytes::Bytes::from_static(b"\xf3\x89\x9a\xc2 and then nothing of the kind, but long enough"),
    };
    kinesis.put_records(&[damaged]).await.unwrap();
    put(&kinesis, [("k".to_owned(), "plain".to_owned())]).await;
    let arguments = ["consume", "orders", "--application", "app", "--limit", "2", "--output", "json"];
    let run = finish(kinetide_at(&local, &arguments)).await;
    assert_eq!((run.code, run.stdout.lines().count()), (Some(0), 2), "{}", run.stderr);
    assert!(run.stdout.contains("dataBase64") && run.stdout.contains("\"plain\""), "{}", run.stdout);
    assert!(run.stderr.contains("begin like an aggregate"), "{}", run.stderr);
}
