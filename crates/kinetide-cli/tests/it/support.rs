//! What the tests share: an endpoint, clients, and the binary as a child process.

use std::process::Stdio;

use kinetide::aws::{Aws, AwsSettings, CredentialsSource, KinesisStream, PutEntry, PutOutcome};
use kinetide::stream::StreamName;
use kinetide_local::{Local, Settings, StreamSpec};
use tokio::process::{Child, Command};

pub(crate) async fn endpoint(streams: &[(&str, u32)]) -> Local {
    let mut settings = Settings::default();
    settings.port = 0;
    settings.streams =
        streams.iter().map(|(name, shards)| StreamSpec { name: (*name).into(), shards: *shards }).collect();
    Local::start(settings).await.unwrap()
}

pub(crate) async fn aws(local: &Local) -> Aws {
    let credentials = CredentialsSource::Static { access_key_id: "test".into(), secret_access_key: "test".into() };
    let settings = AwsSettings {
        region: Some("us-east-1".into()),
        endpoint_url: Some(local.endpoint_url()),
        kinesis_credentials: vec![credentials],
        ..AwsSettings::default()
    };
    Aws::load(&settings).await.unwrap()
}

pub(crate) async fn stream(local: &Local, name: &str) -> KinesisStream {
    KinesisStream::new(&aws(local).await, StreamName::new(name).unwrap())
}

/// Puts texts, each under its key; every one must be stored.
pub(crate) async fn put(stream: &KinesisStream, records: impl IntoIterator<Item = (String, String)>) {
    let entries: Vec<_> =
        records.into_iter().map(|(partition_key, data)| PutEntry { partition_key, data: data.into() }).collect();
    for call in entries.chunks(500) {
        let outcomes = stream.put_records(call).await.unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, PutOutcome::Stored { .. })), "{outcomes:?}");
    }
}

/// The binary, with nothing of the environment but what a test needs.
pub(crate) fn kinetide(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinetide"));
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The same, with the endpoint and credentials in the environment.
pub(crate) fn kinetide_at(local: &Local, arguments: &[&str]) -> Command {
    let mut command = kinetide(arguments);
    command.env("AWS_ENDPOINT_URL", local.endpoint_url()).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    command
}

/// What a finished run printed.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) async fn finish(mut command: Command) -> Finished {
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Finished { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

pub(crate) fn terminate(child: &Child) {
    let pid = child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).unwrap())).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}
