//! Commands that work.

use std::process::Stdio;
use std::time::Duration;

use kinetide::Clock;
use kinetide::aws::DynamoDbLeaseTable;
use kinetide::lease::LeaseTable;
use kinetide::stream::Checkpoint;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::support::{aws, endpoint, finish, kinetide, kinetide_at, put, stream, terminate};

fn numbers(range: std::ops::Range<u32>) -> impl Iterator<Item = (String, String)> {
    range.map(|number| (format!("key {}", number % 7), number.to_string()))
}

fn sorted(text: &str) -> Vec<u32> {
    let mut numbers: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn local_says_what_to_export_and_ends_on_sigterm() {
    let mut child = kinetide(&["local", "--port", "0", "--stream", "orders:4"]).spawn().unwrap();
    // The server lets go of its output, so that a shell's command substitution ends while it goes on.
    let mut printed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut printed).await.unwrap();
    let url = printed.lines().find_map(|line| line.strip_prefix("export AWS_ENDPOINT_URL=")).unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{printed}");
    let arguments = ["tail", "orders", "--from", "trim-horizon", "--no-follow"];
    let mut tail = kinetide(&arguments);
    for line in printed.lines() {
        let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
        tail.env(name, value);
    }
    let tailed = finish(tail).await;
    assert_eq!((tailed.code, tailed.stdout.as_str()), (Some(0), ""), "{}", tailed.stderr);
    terminate(&child);
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn local_keeps_what_it_is_told_to_keep() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let mut expected = String::new();
    for run in 0..2 {
        let local = ["local", "--port", "0", "--stream", "orders:1", "--data-dir", data_dir, "--output", "json"];
        let mut child = kinetide(&local).spawn().unwrap();
        let mut printed = String::new();
        child.stdout.take().unwrap().read_to_string(&mut printed).await.unwrap();
        let variables: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&printed).unwrap();
        let with_endpoint = |arguments: &[&str]| {
            let mut command = kinetide(arguments);
            command.envs(variables.iter().map(|(name, value)| (name, value.as_str().unwrap())));
            command
        };
        let tail = ["tail", "orders", "--from", "trim-horizon", "--no-follow"];
        assert_eq!(finish(with_endpoint(&tail)).await.stdout, expected);
        let file = dir.path().join("line.txt");
        std::fs::write(&file, format!("run {run}\n")).unwrap();
        let put = finish(with_endpoint(&["put", "orders", file.to_str().unwrap()])).await;
        assert_eq!(put.code, Some(0), "{}", put.stderr);
        expected += &format!("run {run}\n");
        terminate(&child);
        assert_eq!(child.wait().await.unwrap().code(), Some(0));
    }
}

#[tokio::test]
async fn put_and_tail_lines() {
    let local = endpoint(&[("orders", 3)]).await;
    let mut put = kinetide_at(&local, &["put", "orders", "--output", "json"]);
    let mut child = put.stdin(Stdio::piped()).spawn().unwrap();
    let lines: String = (0..2_500).map(|number| format!("{number}\n")).collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), result["records"].as_u64()), (Some(0), Some(2_500)));

    let tail = finish(kinetide_at(&local, &["tail", "orders", "--from", "trim-horizon", "--no-follow"])).await;
    assert_eq!((tail.code, sorted(&tail.stdout)), (Some(0), (0..2_500).collect::<Vec<_>>()), "{}", tail.stderr);
    let arguments = ["tail", "orders", "--from", "10m", "--limit", "7", "--output", "json"];
    let tail = finish(kinetide_at(&local, &arguments)).await;
    assert_eq!((tail.code, tail.stdout.lines().count()), (Some(0), 7), "{}", tail.stderr);
    assert!(tail.stdout.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

#[tokio::test]
async fn put_takes_keys_from_json_and_keeps_their_order() {
    let local = endpoint(&[("orders", 3)]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines: String = (0..1_000).map(|n| format!("{{\"user\":\"u{}\",\"n\":{n}}}\n", n % 5)).collect();
    std::fs::write(file.path(), lines).unwrap();
    let path = file.path().to_str().unwrap();
    let put = finish(kinetide_at(&local, &["put", "orders", path, "--partition-key", "user"])).await;
    assert_eq!(put.code, Some(0), "{}", put.stderr);
    let arguments = ["tail", "orders", "--from", "trim-horizon", "--no-follow", "--output", "json"];
    let tail = finish(kinetide_at(&local, &arguments)).await;
    let mut last = std::collections::BTreeMap::new();
    for line in tail.stdout.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let data: serde_json::Value = serde_json::from_str(record["data"].as_str().unwrap()).unwrap();
        assert_eq!(record["partitionKey"], data["user"]);
        let number = data["n"].as_u64().unwrap();
        let previous = last.insert(data["user"].to_string(), number);
        assert!(previous.is_none_or(|previous| previous < number));
    }
    assert_eq!(last.len(), 5);
}

#[tokio::test]
async fn tail_follows_a_split() {
    let local = endpoint(&[("orders", 1)]).await;
    let kinesis = stream(&local, "orders").await;
    put(&kinesis, numbers(0..100)).await;
    let mut child = kinetide_at(&local, &["tail", "orders", "--from", "trim-horizon"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    while seen.len() < 100 {
        seen.push(lines.next_line().await.unwrap().unwrap());
    }
    use kinetide::stream::{ShardFilter, StreamSource};
    let shards = kinesis.list_shards(ShardFilter::AtLatest).await.unwrap();
    kinesis.split_shard(&shards[0]).await.unwrap();
    while kinesis.list_shards(ShardFilter::All).await.unwrap().len() < 3 {}
    put(&kinesis, numbers(100..200)).await;
    while seen.len() < 200 {
        let line = Clock::system().timeout(Duration::from_secs(20), lines.next_line()).await;
        seen.push(line.expect("the children are read").unwrap().unwrap());
    }
    assert_eq!(sorted(&seen.join("\n")), (0..200).collect::<Vec<_>>());
    terminate(&child);
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn consume_goes_on_where_it_stopped() {
    let local = endpoint(&[("orders", 2)]).await;
    let kinesis = stream(&local, "orders").await;
    let arguments = ["consume", "orders", "--application", "app", "--limit"];
    put(&kinesis, numbers(0..300)).await;
    let first = finish(kinetide_at(&local, &[&arguments[..], &["120"]].concat())).await;
    assert_eq!((first.code, first.stdout.lines().count()), (Some(0), 120), "{}", first.stderr);
    let second = finish(kinetide_at(&local, &[&arguments[..], &["180"]].concat())).await;
    assert_eq!(sorted(&(first.stdout + &second.stdout)), (0..300).collect::<Vec<_>>(), "{}", second.stderr);
}

#[tokio::test]
async fn a_closed_pipe_ends_consume_cleanly_and_checkpoints_only_what_was_written() {
    let local = endpoint(&[("orders", 1)]).await;
    let kinesis = stream(&local, "orders").await;
    put(&kinesis, (0..40_000).map(|n| ("key".to_owned(), format!("{n:0>50}")))).await;
    let mut child = kinetide_at(&local, &["consume", "orders", "--application", "app"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..10 {
        lines.next_line().await.unwrap().unwrap();
    }
    drop(lines);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    // The pipe's buffer holds less than one batch, so nothing was written whole.
    let leases = DynamoDbLeaseTable::new(&aws(&local).await, &"app".parse().unwrap()).list().await.unwrap();
    assert_eq!(leases[0].checkpoint, Checkpoint::TrimHorizon);
    assert_eq!(leases[0].owner, None, "the lease is given back");
}

#[tokio::test]
async fn the_demo_loses_nothing() {
    let demo = finish(kinetide(&["demo", "--output", "json", "--records", "20000"])).await;
    let report: serde_json::Value = serde_json::from_str(demo.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((demo.code, report["lost"].as_u64()), (Some(0), Some(0)), "{} {}", demo.stdout, demo.stderr);
    assert_eq!((report["produced"].as_u64(), report["order_violations"].as_u64()), (Some(20_000), Some(0)));
    for figure in ["first_record_ms", "takeover_ms", "reshard_ms", "records_per_s", "duplicates", "processed"] {
        assert!(report[figure].is_u64(), "{figure} in {report}");
    }
}
