//! Whole daemons on a stream and a lease table in memory: what children see, what is stored, how it ends.

use std::path::PathBuf;
use std::time::Duration;

use kinetide::lease::{LeaseTable, MemoryLeaseTable};
use kinetide::stream::{Checkpoint, InitialPosition, MemoryStream, ShardId, StreamName};
use kinetide::{Clock, Settings, Worker};
use kinetide_multilang::bridge::BridgeFactory;
use kinetide_multilang::child::nursery::Nursery;
use kinetide_multilang::{RunOptions, Signal, Signals, Supervision, run};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::support::{Captured, Script, settings};

/// Logs every line it gets, checkpoints every batch and at every last chance.
const FAITHFUL: &str = r#"
checkpoint() { printf '\n{"action": "checkpoint", "sequenceNumber": null}\n'; IFS= read -r reply; printf '%s\n' "$reply" >>"$1"; }
while next; do
    printf '%s\n' "$line" >>"$1"
    case $action in processRecords | shardEnded | shutdownRequested) checkpoint "$1" ;; esac
    answer
done
printf 'end of input\n' >>"$1"
"#;

struct World {
    stream: MemoryStream,
    table: MemoryLeaseTable,
}

struct Running {
    task: JoinHandle<u8>,
    signals: mpsc::Sender<Signal>,
    nursery: Nursery,
}

impl World {
    fn new() -> Self {
        let name = StreamName::new("orders").unwrap();
        Self { stream: MemoryStream::new(name, 1, Clock::system()), table: MemoryLeaseTable::new("app") }
    }

    fn put(&self, data: &str) {
        self.stream.put("key", data.to_owned().into_bytes()).unwrap();
    }

    fn start(&self, command: Vec<String>, grace: Duration, timeout: Option<Duration>) -> Running {
        let (nursery, clock) = (Nursery::default(), Clock::system());
        let mut children = settings(command, &Captured::default());
        children.timeout = timeout;
        let (halt, halted) = mpsc::channel(1);
        let factory = BridgeFactory::new(children, nursery.clone(), clock.clone(), halt);
        let build = Worker::builder()
            .application("app")
            .stream("orders")
            .initial_position(InitialPosition::TrimHorizon)
            .settings(Settings {
                shutdown_grace: grace,
                task_backoff: Duration::from_millis(50),
                failover_time: Duration::from_secs(2),
                ..Settings::default()
            })
            .table(self.table.clone())
            .source(self.stream.clone())
            .processor(factory)
            .build();
        let (sender, signals) = Signals::channel();
        let supervision = Supervision { nursery: nursery.clone(), clock, grace, halted, signals };
        Running { task: tokio::spawn(supervision.run(build)), signals: sender, nursery }
    }

    async fn checkpoint(&self) -> Checkpoint {
        let shard = ShardId::new("shardId-000000000000").unwrap();
        self.table.get(&shard.clone().into()).await.unwrap().unwrap().checkpoint
    }
}

impl Running {
    async fn ended(self) -> u8 {
        let code = Clock::system().timeout(Duration::from_secs(20), self.task).await.expect("it ends").unwrap();
        // Killed children are gone, but their tasks may need a moment to see it.
        for _ in 0..100 {
            if self.nursery.is_empty() {
                return code;
            }
            Clock::system().sleep(Duration::from_millis(10)).await;
        }
        panic!("a child is left");
    }

    async fn stop(self, signal: Signal) -> u8 {
        self.signals.send(signal).await.unwrap();
        self.ended().await
    }
}

/// Waits until the child has logged a line like this.
async fn logs(script: &Script, part: &str) {
    let clock = Clock::system();
    let started = clock.monotonic();
    while !script.logged().iter().any(|line| line.contains(part)) {
        assert!(clock.monotonic().since(started) < Duration::from_secs(20), "no {part} in {:?}", script.logged());
        clock.sleep(Duration::from_millis(10)).await;
    }
}

fn position(of: &[String], part: &str) -> usize {
    of.iter().position(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part} in {of:?}"))
}

const ONE: &str = "\"data\":\"b25l\"";
const TWO: &str = "\"data\":\"dHdv\"";
const STORED: &str = "\"error\":null";

#[tokio::test]
async fn a_stop_and_a_start_lose_nothing_and_repeat_nothing_checkpointed() {
    let world = World::new();
    world.put("one");
    let first = Script::answering(FAITHFUL);
    let daemon = world.start(first.command(), Duration::ZERO, None);
    logs(&first, STORED).await;
    assert_eq!(daemon.stop(Signal::Terminate).await, 143);
    let log = first.logged();
    assert!(log[0].starts_with(
        "{\"action\":\"initialize\",\"shardId\":\"shardId-000000000000\",\"sequenceNumber\":\"TRIM_HORIZON\",\"subSequenceNumber\":0}"
    ));
    assert!(log[1].contains(ONE));
    assert_eq!(log.last().unwrap(), "end of input");
    assert!(!log.iter().any(|line| line.contains("shutdownRequested") || line.contains("leaseLost")), "{log:?}");

    world.put("two");
    let second = Script::answering(FAITHFUL);
    let daemon = world.start(second.command(), Duration::ZERO, None);
    logs(&second, TWO).await;
    logs(&second, STORED).await;
    assert_eq!(daemon.stop(Signal::Interrupt).await, 130);
    let log = second.logged();
    let Checkpoint::At(at) = world.checkpoint().await else { panic!("no checkpoint") };
    assert!(!log.iter().any(|line| line.contains(ONE)), "{log:?}");
    assert!(!log[0].contains("TRIM_HORIZON") && !log[0].contains(&format!("\"{}\"", at.sequence)), "{log:?}");
}

#[tokio::test]
async fn grace_lets_the_child_checkpoint() {
    let world = World::new();
    world.put("one");
    // It checkpoints only when it is told that its time is over.
    let body = FAITHFUL.replace("processRecords | shardEnded | ", "");
    let script = Script::answering(&body);
    let daemon = world.start(script.command(), Duration::from_secs(10), None);
    logs(&script, ONE).await;
    assert_eq!(daemon.stop(Signal::Terminate).await, 143);
    let log = script.logged();
    let order = ["initialize", "processRecords", "shutdownRequested", STORED, "leaseLost", "end of input"];
    assert!(order.map(|part| position(&log, part)).is_sorted(), "{log:?}");
    assert!(matches!(world.checkpoint().await, Checkpoint::At(_)));
}

#[tokio::test]
async fn a_failure_in_shutdown_requested_is_only_told() {
    let world = World::new();
    world.put("one");
    let body =
        r#"while next; do printf '%s\n' "$action" >>"$1"; [ "$action" = shutdownRequested ] && exit 5; answer; done"#;
    let script = Script::answering(body);
    let daemon = world.start(script.command(), Duration::from_secs(10), None);
    logs(&script, "processRecords").await;
    assert_eq!(daemon.stop(Signal::Hangup).await, 129);
}

#[tokio::test]
async fn a_child_that_fails_ends_the_daemon() {
    for body in [
        "exit 3",
        "next; answer; next; exit 3",
        "next; action=other; answer",
        "next; answer; next; action=no; answer; next",
    ] {
        let world = World::new();
        world.put("one");
        let script = Script::answering(body);
        assert_eq!(world.start(script.command(), Duration::ZERO, None).ended().await, 1, "{body}");
        assert_eq!(world.checkpoint().await, Checkpoint::TrimHorizon, "{body}");
    }
}

#[tokio::test]
async fn a_missing_executable_ends_the_daemon() {
    let daemon = World::new().start(vec!["no-such-program".to_owned()], Duration::ZERO, None);
    assert_eq!(daemon.ended().await, 1);
}

#[tokio::test]
async fn a_child_out_of_time_ends_the_daemon_at_once() {
    let world = World::new();
    let script = Script::answering("next; trap '' TERM; sleep 60; :");
    let daemon = world.start(script.command(), Duration::from_secs(30), Some(Duration::from_millis(300)));
    let clock = Clock::system();
    let started = clock.monotonic();
    assert_eq!(daemon.ended().await, 1);
    assert!(clock.monotonic().since(started) < Duration::from_secs(5));
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let world = World::new();
    world.put("one");
    let script = Script::answering(r#"next; answer; next; printf '%s\n' "$line" >>"$1"; sleep 60; :"#);
    let daemon = world.start(script.command(), Duration::from_secs(60), None);
    logs(&script, ONE).await;
    daemon.signals.send(Signal::Terminate).await.unwrap();
    Clock::system().sleep(Duration::from_millis(1100)).await;
    assert_eq!(daemon.stop(Signal::Interrupt).await, 130);
}

#[tokio::test]
async fn the_same_signal_twice_in_a_moment_is_one() {
    let world = World::new();
    world.put("one");
    let script = Script::answering(FAITHFUL);
    let daemon = world.start(script.command(), Duration::from_secs(10), None);
    logs(&script, ONE).await;
    daemon.signals.send(Signal::Terminate).await.unwrap();
    assert_eq!(daemon.stop(Signal::Interrupt).await, 143);
    assert!(script.logged().iter().any(|line| line.contains("leaseLost")));
}

#[tokio::test]
async fn a_split_ends_the_parent_and_starts_its_children() {
    let world = World::new();
    world.put("one");
    let script = Script::answering(FAITHFUL);
    let daemon = world.start(script.command(), Duration::ZERO, None);
    logs(&script, ONE).await;
    world.stream.split(&ShardId::new("shardId-000000000000").unwrap()).unwrap();
    logs(&script, "shardEnded").await;
    logs(&script, "shardId-000000000001").await;
    logs(&script, "shardId-000000000002").await;
    assert_eq!(daemon.stop(Signal::Terminate).await, 143);
    assert_eq!(world.checkpoint().await, Checkpoint::ShardEnd);
}

#[tokio::test]
async fn an_end_that_is_not_checkpointed_gets_a_fresh_child() {
    let world = World::new();
    world.put("one");
    // The first child forgets; the second finds that it was there and does better.
    let body = r#"
while next; do
    printf '%s\n' "$line" >>"$1"
    if [ "$action" = shardEnded ] && [ -e "$1.forgot" ]; then echo '{"action":"checkpoint"}'; IFS= read -r reply; fi
    [ "$action" = shardEnded ] && : >"$1.forgot"
    answer
done"#;
    let script = Script::answering(body);
    let daemon = world.start(script.command(), Duration::ZERO, None);
    logs(&script, ONE).await;
    world.stream.split(&ShardId::new("shardId-000000000000").unwrap()).unwrap();
    logs(&script, "shardId-000000000001").await;
    assert_eq!(daemon.stop(Signal::Terminate).await, 143);
    let log = script.logged();
    let ends: Vec<usize> = (0..log.len()).filter(|index| log[*index].contains("shardEnded")).collect();
    assert_eq!(ends.len(), 2, "{log:?}");
    assert!(log[ends[0] + 1].contains("initialize") && log[ends[0] + 1].contains("shardId-000000000000"), "{log:?}");
    assert_eq!(world.checkpoint().await, Checkpoint::ShardEnd);
}

#[tokio::test]
async fn an_end_that_nobody_checkpoints_ends_the_daemon() {
    let world = World::new();
    world.put("one");
    let script = Script::answering(r#"while next; do printf '%s\n' "$line" >>"$1"; answer; done"#);
    let daemon = world.start(script.command(), Duration::ZERO, None);
    logs(&script, ONE).await;
    world.stream.split(&ShardId::new("shardId-000000000000").unwrap()).unwrap();
    assert_eq!(daemon.ended().await, 1);
    let ends = script.logged().iter().filter(|line| line.contains("shardEnded")).count();
    assert_eq!(ends, 4);
    assert_eq!(world.checkpoint().await, Checkpoint::TrimHorizon);
}

#[tokio::test]
async fn a_bad_file_is_a_start_up_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.properties");
    let texts = [
        None,
        Some("executableName = x\n"),
        Some(
            "executableName=x\napplicationName=a\nstreamName=s\nAwsCredentialsProvider=DefaultCredentialsProvider\nretrievalMode=FANOUT\n",
        ),
        Some("a=\\u00zz\n"),
    ];
    for text in texts {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let options = RunOptions { properties_file: PathBuf::from(&file), ..RunOptions::default() };
        assert_eq!(run(options, Signals::channel().1).await, 1, "{text:?}");
    }
}
