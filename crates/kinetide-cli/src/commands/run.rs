//! `kinetide run`: the MultiLang daemon.

use std::process::ExitCode;

use anyhow::bail;
use kinetide_multilang::{RunOptions, Signals, run as run_daemon};

use crate::args::{Global, RunArgs};

pub(crate) async fn run(global: &Global, args: RunArgs) -> anyhow::Result<ExitCode> {
    // Like the Java daemon: the option wins over the bare name.
    let Some(properties_file) = args.properties_file.or(args.file) else {
        bail!("no properties file was given: kinetide run app.properties")
    };
    let options = RunOptions {
        properties_file,
        endpoint_url: global.endpoint_url.clone(),
        region: global.region.clone(),
        profile: global.profile.clone(),
    };
    Ok(run_daemon(options, Signals::of_process()?).await.into())
}
