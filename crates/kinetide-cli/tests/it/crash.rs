//! Kills a consuming process again and again between processing and checkpoint: nothing may be lost.

use std::collections::BTreeMap;
use std::time::Duration;

use kinetide::{Clock, Rng};
use kinetide_local::Local;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::support::{endpoint, kinetide_at, put, stream};

const RECORDS: usize = 120_000;
const KILLS: usize = 20;
const KEYS: usize = 500;

/// A run of the consumer and its lines.
fn consume(local: &Local) -> (Child, Lines<BufReader<ChildStdout>>) {
    // A worker that comes back under its own name takes its leases back at once.
    let arguments = ["consume", "orders", "--application", "app", "--worker-id", "only", "--output", "json"];
    let mut child = kinetide_at(local, &arguments).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

/// What was seen, over all runs.
struct Seen {
    times: Vec<u32>,
    distinct: usize,
}

impl Seen {
    /// Takes one line; `last` is the last number of each key in this run.
    fn take(&mut self, line: &str, last: &mut BTreeMap<String, usize>) {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let number: usize = record["data"].as_str().unwrap().parse().unwrap();
        let key = record["partitionKey"].as_str().unwrap().to_owned();
        let previous = last.insert(key, number);
        assert!(previous.is_none_or(|previous| previous < number), "{number} after {previous:?} in one run");
        self.times[number] += 1;
        self.distinct += usize::from(self.times[number] == 1);
    }
}

#[tokio::test]
async fn twenty_kills_lose_nothing() {
    let local = endpoint(&[("orders", 4)]).await;
    let (clock, mut rng) = (Clock::system(), Rng::seeded(20));
    let producing = stream(&local, "orders").await;
    let producer = tokio::spawn(async move {
        let clock = Clock::system();
        for call in 0..RECORDS / 500 {
            let records = (call * 500..(call + 1) * 500).map(|n| (format!("key {}", n % KEYS), n.to_string()));
            put(&producing, records).await;
            clock.sleep(Duration::from_millis(20)).await;
        }
    });

    let mut seen = Seen { times: vec![0; RECORDS], distinct: 0 };
    for kill in 0..KILLS {
        let (mut child, mut lines) = consume(&local);
        let mut last = BTreeMap::new();
        // The lines of a batch arrive before its checkpoint is written, so a kill after any line but the last of a batch,
        // and often after that too, falls between the two.
        for _ in 0..=rng.below(6_000) {
            let line = clock.timeout(Duration::from_secs(30), lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("run {kill} is silent")).unwrap();
            seen.take(&line.unwrap_or_else(|| panic!("run {kill} ended")), &mut last);
        }
        child.kill().await.unwrap();
        while let Ok(Some(line)) = lines.next_line().await {
            // The last line may be cut short by the kill: it was not processed.
            if line.ends_with('}') {
                seen.take(&line, &mut last);
            }
        }
    }
    producer.await.unwrap();

    let (mut child, mut lines) = consume(&local);
    let mut last = BTreeMap::new();
    while seen.distinct < RECORDS {
        let line = clock.timeout(Duration::from_secs(30), lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("lost {} of {RECORDS} records", RECORDS - seen.distinct));
        seen.take(&line.unwrap().unwrap(), &mut last);
    }
    child.kill().await.unwrap();
    let again = seen.times.iter().filter(|times| **times > 1).count();
    assert!(again > 0, "no kill fell between processing and checkpoint, so this proved nothing");
}
