//! What the demo shows: progress while it runs, and the audit's findings at the end.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::audit::Audit;
use crate::output;

/// Progress: a bar on a terminal, plain lines otherwise; all on standard error.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(records: u32, is_quiet: bool) -> Self {
        let wanted = std::io::stderr().is_terminal() && !is_quiet;
        let bar = wanted.then(|| {
            let template = "{bar:40} {pos}/{len} processed, {msg}, {elapsed}";
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(u64::from(records)).with_style(style).with_message("0 produced")
        });
        Self { bar }
    }

    pub(super) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => output::tell(line),
        }
    }

    pub(super) fn produced(&self, count: u32) {
        match &self.bar {
            Some(bar) => bar.set_message(format!("{count} produced")),
            None if count.is_multiple_of(50_000) => output::tell(&format!("{count} produced")),
            None => {}
        }
    }

    pub(super) fn processed(&self, count: u32) {
        if let Some(bar) = &self.bar {
            bar.set_position(u64::from(count));
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The findings, as programs read them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    produced: u32,
    processed: u64,
    lost: u32,
    duplicates: u64,
    order_violations: u64,
    first_record_ms: Option<u64>,
    takeover_ms: Option<u64>,
    reshard_ms: Option<u64>,
    records_per_s: u64,
}

impl Report {
    pub(super) fn of(audit: &Audit) -> Self {
        let findings = audit.findings();
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            produced: findings.produced,
            processed: findings.processed,
            lost: findings.lost,
            duplicates: findings.duplicates,
            order_violations: findings.order_violations,
            first_record_ms: findings.first_record.map(millis),
            takeover_ms: findings.takeover.map(millis),
            reshard_ms: findings.reshard.map(millis),
            records_per_s: findings.records_per_s as u64,
        }
    }

    /// True if nothing is lost and nothing is out of order.
    pub(super) fn holds(&self) -> bool {
        self.lost == 0 && self.order_violations == 0
    }

    pub(super) fn print(&self, as_json: bool) -> std::io::Result<()> {
        if as_json {
            return output::print(&serde_json::to_string(self)?);
        }
        let shown = |millis: Option<u64>| millis.map_or("never".to_owned(), |millis| format!("{millis} ms"));
        let lines = [
            format!("produced            {}", self.produced),
            format!("processed           {}", self.processed),
            format!("lost                {}", self.lost),
            format!("duplicates          {}", self.duplicates),
            format!("out of order        {}", self.order_violations),
            format!("first record after  {}", shown(self.first_record_ms)),
            format!("takeover took       {}", shown(self.takeover_ms)),
            format!("resharding took     {}", shown(self.reshard_ms)),
            format!("records/s           {} before the kill", self.records_per_s),
            if self.holds() { "nothing lost, every key in order".to_owned() } else { "FAILED".to_owned() },
        ];
        output::print(&lines.join("\n"))
    }
}
