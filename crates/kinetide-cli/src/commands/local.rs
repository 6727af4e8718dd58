//! `kinetide local`: the embedded endpoint as a server of its own.

use std::io::Write;
use std::process::ExitCode;

use kinetide_local::{Local, Settings};

use crate::args::{Global, LocalArgs};

pub(crate) async fn run(global: &Global, args: &LocalArgs) -> anyhow::Result<ExitCode> {
    let mut settings = Settings::default();
    settings.port = args.port;
    settings.streams.clone_from(&args.streams);
    settings.data_dir.clone_from(&args.data_dir);
    settings.enforce_limits = args.enforce_limits;
    settings.aws_timing = args.aws_timing;
    let region = global.region.clone().unwrap_or_else(|| settings.region.clone());
    settings.region.clone_from(&region);

    let mut local = Local::start(settings).await?;
    announce(global, &local.endpoint_url(), &region)?;
    let stored = args.data_dir.as_ref().map_or("in memory".to_owned(), |dir| format!("in {}", dir.display()));
    tracing::info!("serving Kinesis and DynamoDB at {}, {stored}", local.endpoint_url());
    tokio::select! {
        ended = local.stopped() => ended?,
        asked = super::asked_to_end() => asked?,
    }
    local.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Prints what a client needs, and then lets go of standard output, so that a shell can take what was printed while the
/// server goes on: `eval "$(kinetide local --stream orders:4 &)"`.
fn announce(global: &Global, url: &str, region: &str) -> anyhow::Result<()> {
    let pid = std::process::id().to_string();
    let variables = [
        ("AWS_ENDPOINT_URL", url),
        ("AWS_REGION", region),
        ("AWS_DEFAULT_REGION", region),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("KINETIDE_LOCAL_PID", &pid),
    ];
    let mut out = std::io::stdout().lock();
    if global.is_json() {
        let object: serde_json::Map<_, _> = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect();
        writeln!(out, "{}", serde_json::Value::Object(object))?;
    } else {
        variables.iter().try_for_each(|(name, value)| writeln!(out, "export {name}={value}"))?;
    }
    out.flush()?;
    drop(out);
    rustix::stdio::dup2_stdout(std::fs::File::options().write(true).open("/dev/null")?)?;
    Ok(())
}
