//! One child: what it may do wrong, and what becomes of it.

use std::time::Duration;

use kinetide::stream::{Checkpoint, RecordPosition, ShardId, UserRecord};
use kinetide::{CheckpointErrorKind, Clock};
use kinetide_multilang::child::nursery::Nursery;
use kinetide_multilang::child::{Child, ChildSettings};
use kinetide_multilang::message::Action;
use kinetide_multilang::session::Fault;

use crate::support::{Asked, Captured, Script, settings};

const SHORT: Duration = Duration::from_millis(300);

/// A child and everything around it.
struct Scene {
    child: Child,
    asked: Asked,
    captured: Captured,
    nursery: Nursery,
    _script: Option<Script>,
}

impl Scene {
    fn new(script: Script) -> Self {
        let captured = Captured::default();
        let settings = settings(script.command(), &captured);
        Self { _script: Some(script), ..Self::of(&settings, captured) }
    }

    fn of(settings: &ChildSettings, captured: Captured) -> Self {
        let nursery = Nursery::default();
        let child = Child::spawn(settings, &shard(), &nursery, &Clock::system()).unwrap();
        Self { child, asked: Asked::answering(Ok(())), captured, nursery, _script: None }
    }

    fn impatient(script: Script, timeout: Duration) -> Self {
        let captured = Captured::default();
        let mut settings = settings(script.command(), &captured);
        settings.timeout = Some(timeout);
        Self { _script: Some(script), ..Self::of(&settings, captured) }
    }

    async fn call(&mut self, action: &Action<'_>) -> Result<(), Fault> {
        let call = self.child.call(action, &mut self.asked);
        Clock::system().timeout(Duration::from_secs(20), call).await.expect("no call takes this long")
    }

    async fn initialize(&mut self) -> Result<(), Fault> {
        self.call(&Action::Initialize { shard: &shard(), checkpoint: &Checkpoint::TrimHorizon }).await
    }

    async fn process(&mut self, records: &[UserRecord]) -> Result<(), Fault> {
        self.call(&Action::ProcessRecords { records, millis_behind_latest: Some(0) }).await
    }

    async fn exit_code(self) -> Option<i32> {
        self.child.close().await.and_then(|status| status.code())
    }
}

fn shard() -> ShardId {
    ShardId::new("shardId-0").unwrap()
}

fn records(count: u64, bytes: usize) -> Vec<UserRecord> {
    let record = |sequence: u64| UserRecord {
        position: RecordPosition { sequence: sequence.into(), sub_sequence: 0 },
        data: vec![b'x'; bytes].into(),
        partition_key: "key".into(),
        explicit_hash_key: None,
        arrival: None,
        is_aggregated: false,
    };
    (1..=count).map(record).collect()
}

#[tokio::test]
async fn answers_and_ends_with_its_input() {
    let mut scene = Scene::new(Script::answering("while next; do answer; done; exit 7"));
    assert_eq!(scene.initialize().await, Ok(()));
    assert_eq!(scene.process(&records(3, 10)).await, Ok(()));
    assert_eq!(scene.call(&Action::LeaseLost).await, Ok(()));
    let nursery = scene.nursery.clone();
    assert_eq!(scene.exit_code().await, Some(7));
    assert!(nursery.is_empty());
}

#[tokio::test]
async fn garbage_on_stdout_is_skipped() {
    let garbage = r#"printf 'hello\r\n\n   \n{"action":\n[]\nnull\n\377\376\n{"action":"leaseLost"}\n'"#;
    let mut scene = Scene::new(Script::answering(&format!("while next; do {garbage}; answer; {garbage}; done")));
    assert_eq!(scene.initialize().await, Ok(()));
    assert_eq!(scene.process(&[]).await, Ok(()));
}

#[tokio::test]
async fn a_child_that_exits_before_its_status_is_told_with_its_exit_code() {
    let mut scene = Scene::new(Script::answering("next; exit 3"));
    assert_eq!(scene.initialize().await, Err(Fault::OutputEnded));
    assert_eq!(scene.process(&[]).await, Err(Fault::Broken));
    assert_eq!(scene.exit_code().await, Some(3));
}

#[tokio::test]
async fn a_child_that_exits_after_its_status_fails_the_next_action() {
    let mut scene = Scene::new(Script::answering("next; answer; exit 4"));
    assert_eq!(scene.initialize().await, Ok(()));
    let fault = scene.process(&[]).await.unwrap_err();
    assert!(matches!(fault, Fault::OutputEnded | Fault::WriteFailed(_)), "{fault}");
    assert_eq!(scene.exit_code().await, Some(4));
}

#[tokio::test]
async fn a_wrong_status_is_a_failure() {
    let mut scene = Scene::new(Script::answering("next; action=processRecords; answer; next"));
    assert_eq!(scene.initialize().await, Err(Fault::WrongStatus(Some("processRecords".to_owned()))));
}

#[tokio::test]
async fn the_last_line_needs_no_end() {
    let mut scene = Scene::new(Script::answering(r#"next; printf '{"action":"status","responseFor":"initialize"}'"#));
    assert_eq!(scene.initialize().await, Ok(()));
}

#[tokio::test]
async fn a_lone_return_ends_a_line() {
    let body = r#"next; printf 'noise\r{"action":"status","responseFor":"initialize"}\r'; next"#;
    assert_eq!(Scene::new(Script::answering(body)).initialize().await, Ok(()));
}

#[tokio::test]
async fn silence_has_a_limit() {
    let mut scene = Scene::impatient(Script::answering("next; sleep 60"), SHORT);
    assert_eq!(scene.initialize().await, Err(Fault::TimedOut));
}

#[tokio::test]
async fn babble_is_silence() {
    let mut scene = Scene::impatient(Script::answering("next; while :; do echo babble; done"), SHORT);
    assert_eq!(scene.initialize().await, Err(Fault::TimedOut));
}

#[tokio::test]
async fn checkpoints_start_the_limit_again() {
    let checkpoint = r#"sleep 0.5; echo '{"action":"checkpoint"}'; IFS= read -r reply;"#;
    let mut scene = Scene::impatient(
        Script::answering(&format!("next; {} answer; next", checkpoint.repeat(3))),
        Duration::from_millis(1200),
    );
    assert_eq!(scene.process(&[]).await, Ok(()));
    assert_eq!(scene.asked.requests.len(), 3);
}

#[tokio::test]
async fn the_reply_to_a_checkpoint_is_the_next_line() {
    let body = r#"
next; echo '{"action": "checkpoint", "sequenceNumber": "5", "subSequenceNumber": 2}'
IFS= read -r reply; printf '%s\n' "$reply" >&2; answer; next"#;
    let mut scene = Scene::new(Script::answering(body));
    scene.asked.answer = Err(CheckpointErrorKind::LeaseLost);
    assert_eq!(scene.process(&records(9, 1)).await, Ok(()));
    assert_eq!(scene.asked.requests[0].sequence_number.as_deref(), Some("5"));
    let captured = scene.captured.clone();
    scene.exit_code().await;
    assert_eq!(
        captured.text(),
        "{\"action\":\"checkpoint\",\"sequenceNumber\":\"5\",\"subSequenceNumber\":2,\"error\":\"ShutdownException\"}\n"
    );
}

#[tokio::test]
async fn no_checkpoint_while_it_initialises() {
    let body = r#"
next; echo '{"action":"checkpoint"}'; IFS= read -r reply; printf '%s\n' "$reply" >&2; answer; next"#;
    let mut scene = Scene::new(Script::answering(body));
    assert_eq!(scene.initialize().await, Ok(()));
    assert!(scene.asked.requests.is_empty());
    let captured = scene.captured.clone();
    scene.exit_code().await;
    assert!(captured.text().contains("\"error\":\"InvalidStateException\""));
}

#[tokio::test]
async fn a_megabyte_on_stderr_passes() {
    let flood = "i=0; while [ $i -lt 16384 ]; do echo 'sixty-three bytes of a complaint that nobody has asked to hear....'; i=$((i+1)); done >&2";
    let mut scene = Scene::new(Script::answering(&format!("next; {flood}; answer; next; printf 'no line end' >&2")));
    assert_eq!(scene.initialize().await, Ok(()));
    let captured = scene.captured.clone();
    scene.exit_code().await;
    let text = captured.text();
    assert_eq!(text.lines().count(), 16_385);
    assert!(text.len() > 1 << 20 && text.ends_with("no line end"));
}

#[tokio::test]
async fn talking_before_listening_is_no_deadlock() {
    // More than a pipe holds, in both directions at once.
    let noise = "head -c 1000000 /dev/zero | tr '\\0' '#'; echo";
    let mut scene = Scene::new(Script::answering(&format!("{noise}; next; answer; next")));
    assert_eq!(scene.process(&records(50, 20_000)).await, Ok(()));
}

#[tokio::test]
async fn a_script_without_a_first_line_is_run_by_the_shell() {
    let script = Script::answering("while next; do answer; done");
    let captured = Captured::default();
    let command = vec![script.path().display().to_string()];
    let mut scene = Scene::of(&settings(command, &captured), captured);
    assert_eq!(scene.initialize().await, Ok(()));
}

#[tokio::test]
async fn what_cannot_be_started_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "echo").unwrap();
    let lost = Script::new("#!/no/such/interpreter\n");
    let cases = [
        (
            vec!["no-such-program", "a"],
            "executableName 'no-such-program a' cannot be started: 'no-such-program' is not on PATH",
        ),
        (vec!["/no/such/file"], "executableName '/no/such/file' cannot be started: there is no file '/no/such/file'"),
    ];
    let error = |command: Vec<String>| {
        let settings = settings(command, &Captured::default());
        Child::spawn(&settings, &shard(), &Nursery::default(), &Clock::system()).err().unwrap().to_string()
    };
    for (command, sentence) in cases {
        assert_eq!(error(command.into_iter().map(str::to_owned).collect()), sentence);
    }
    assert!(error(vec![plain.display().to_string()]).ends_with("is not executable"));
    assert!(error(vec![lost.path().display().to_string()]).contains("the interpreter in the first line of"));
}

#[tokio::test]
async fn a_child_leads_a_group_of_its_own() {
    let mut scene = Scene::new(Script::answering("next; echo $$ >&2; answer; next"));
    assert_eq!(scene.initialize().await, Ok(()));
    let captured = scene.captured.clone();
    while captured.text().is_empty() {
        Clock::system().sleep(Duration::from_millis(5)).await;
    }
    let pid = rustix::process::Pid::from_raw(captured.text().trim().parse().unwrap());
    assert_eq!(rustix::process::getpgid(pid).ok(), pid);
}

#[tokio::test]
async fn a_child_that_does_not_end_is_terminated() {
    let mut scene = Scene::new(Script::answering("trap 'exit 9' TERM; next; answer; while :; do sleep 0.05; done"));
    assert_eq!(scene.initialize().await, Ok(()));
    assert_eq!(scene.exit_code().await, Some(9));
}

#[tokio::test]
async fn babble_does_not_keep_a_child_from_being_ended() {
    let mut scene = Scene::new(Script::answering("next; answer; exec yes"));
    assert_eq!(scene.initialize().await, Ok(()));
    let close = Clock::system().timeout(Duration::from_secs(20), scene.child.close()).await;
    let status = close.expect("it has a limit").unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
}

#[tokio::test]
async fn a_child_that_does_not_listen_is_killed_with_its_own() {
    // The grandchild holds stdout, and neither of the two listens to SIGTERM.
    let body = "trap '' TERM; (sleep 60; echo) & next; answer; while :; do sleep 0.05; done";
    let mut scene = Scene::new(Script::answering(body));
    assert_eq!(scene.initialize().await, Ok(()));
    let nursery = scene.nursery.clone();
    let status = scene.child.close().await.unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    assert!(nursery.is_empty());
}

#[tokio::test]
async fn a_dropped_child_sees_the_end_of_its_input_first() {
    let script = Script::answering("next; answer; next || echo over >\"$1\"");
    let log = script.log();
    let mut scene = Scene::new(script);
    assert_eq!(scene.initialize().await, Ok(()));
    let Scene { child, nursery, _script, .. } = scene;
    drop(child);
    nursery.all_seen_out().await;
    assert!(nursery.is_empty());
    assert_eq!(std::fs::read_to_string(log).unwrap(), "over\n");
}

#[tokio::test]
async fn a_close_that_is_given_up_goes_on_and_asks_before_it_kills() {
    let script = Script::answering(
        r#"
trap 'echo asked >>"$1"; exit 9' TERM; next; answer; next || echo over >>"$1"; while :; do sleep 0.05; done"#,
    );
    let log = script.log();
    let captured = Captured::default();
    let mut settings = settings(script.command(), &captured);
    settings.patience.end = Duration::from_secs(3600);
    let mut scene = Scene::of(&settings, captured);
    assert_eq!(scene.initialize().await, Ok(()));
    let Scene { child, nursery, .. } = scene;
    assert!(Clock::system().timeout(Duration::from_millis(50), child.close()).await.is_err());
    let ended = Clock::system().timeout(Duration::from_secs(20), nursery.all_seen_out()).await;
    assert!(ended.is_ok() && nursery.is_empty());
    assert_eq!(std::fs::read_to_string(log).unwrap(), "over\nasked\n");
}

#[tokio::test]
async fn a_call_dropped_half_way_breaks_the_session() {
    let mut scene = Scene::new(Script::answering("next; sleep 60"));
    let initialize = scene.initialize();
    assert!(Clock::system().timeout(Duration::from_millis(100), initialize).await.is_err());
    assert_eq!(scene.process(&[]).await, Err(Fault::Broken));
}
