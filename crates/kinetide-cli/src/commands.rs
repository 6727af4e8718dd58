//! The subcommands, one file each, and what they share.

pub(crate) mod consume;
pub(crate) mod local;
pub(crate) mod position;
pub(crate) mod put;
pub(crate) mod run;
pub(crate) mod tail;

use tokio::signal::unix::{SignalKind, signal};

/// Resolves when somebody asks this process to end: Ctrl-C, SIGTERM or SIGHUP.
pub(crate) async fn asked_to_end() -> anyhow::Result<()> {
    let (mut interrupt, mut terminate, mut hangup) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
