//! `kinetide demo`: the whole job on the embedded endpoint, and an audit of it.
//!
//! A producer puts numbered records over many keys into four shards while three workers consume them. On the way one shard
//! is split, two are merged, and one worker is killed as a crash would kill it. At the end every number must have been seen,
//! and every key in order within each tenure of an owner.

mod audit;
mod fleet;
mod produce;
mod report;

use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use kinetide::Clock;
use kinetide::aws::{Aws, KinesisStream};
use kinetide::stream::{Shard, ShardFilter, SourceErrorKind, StreamName, StreamSource};
use kinetide_local::{Local, Settings, StreamSpec};

use crate::args::{DemoArgs, Global, local_aws};
use audit::Audit;
use fleet::Fleet;
use report::{Progress, Report};

const STREAM: &str = "demo";
const SHARDS: u32 = 4;
const WORKERS: usize = 3;
/// How long the workers may take to share the leases.
const BALANCE_TIME_MAX: Duration = Duration::from_secs(30);
/// The demo gives up after this long.
const TIME_MAX: Duration = Duration::from_secs(170);

pub(crate) async fn run(global: &Global, args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let clock = Clock::system();
    let mut settings = Settings::default();
    settings.port = 0;
    settings.streams = vec![StreamSpec { name: STREAM.into(), shards: SHARDS }];
    let local = Local::start(settings).await?;
    let aws = Aws::load(&local_aws(local.endpoint_url())).await?;

    let demo = Demo {
        audit: Arc::new(Audit::new(args.records, clock.clone())),
        stream: KinesisStream::new(&aws, StreamName::new(STREAM)?),
        endpoint_url: local.endpoint_url(),
        aws,
        progress: Progress::new(args.records, global.is_json()),
        records: args.records,
        clock: clock.clone(),
    };
    let outcome = clock.timeout(TIME_MAX, demo.run()).await;
    demo.progress.finish();
    let report = match outcome {
        Ok(report) => report?,
        Err(_) => {
            demo.progress.say(&format!("not finished after {} s", TIME_MAX.as_secs()));
            Report::of(&demo.audit)
        }
    };
    local.stop().await;
    report.print(global.is_json())?;
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Demo {
    audit: Arc<Audit>,
    stream: KinesisStream,
    endpoint_url: String,
    aws: Aws,
    progress: Progress,
    records: u32,
    clock: Clock,
}

impl Demo {
    async fn run(&self) -> anyhow::Result<Report> {
        self.progress.say(&format!("a stream of {SHARDS} shards at {}, {WORKERS} workers", self.endpoint_url));
        let mut fleet = Fleet::start(WORKERS, STREAM, &self.aws, &self.endpoint_url, &self.audit).await?;
        let half = self.records / 2;
        tokio::try_join!(self.produce(0..half), self.reshard(half))?;
        self.audit.halfway();

        self.wait_for_balance(&fleet).await?;
        let victim = fleet.kill_one(&self.audit).await?;
        self.progress.say(&format!("killed {victim}; its shards wait for the failover time of 10 s"));
        self.produce(half..self.records).await?;
        while !self.audit.is_complete() {
            fleet.check()?;
            self.tick().await;
        }
        fleet.shut_down().await?;
        Ok(Report::of(&self.audit))
    }

    /// A kill while shares still move would be followed by a steal, which is no takeover.
    async fn wait_for_balance(&self, fleet: &Fleet) -> anyhow::Result<()> {
        self.progress.say("waiting until every worker has its share");
        let give_up_at = self.clock.monotonic().after(BALANCE_TIME_MAX);
        while !fleet.is_balanced().await? && self.clock.monotonic() < give_up_at {
            self.tick().await;
        }
        Ok(())
    }

    async fn produce(&self, numbers: Range<u32>) -> anyhow::Result<()> {
        produce::produce(&self.stream, numbers, &self.progress, &self.clock).await
    }

    /// Splits a shard and merges two while records flow; returns when the new shards are read and half is processed.
    async fn reshard(&self, half: u32) -> anyhow::Result<()> {
        self.wait_for(|| self.audit.processed() > self.records / 10).await;
        let shards = self.open_shards().await?;
        let [first, _, left, right] = &shards[..] else { bail!("{} open shards instead of {SHARDS}", shards.len()) };
        self.progress.say(&format!("splitting {}", first.id));
        self.audit.reshard_started(&[&first.id]);
        self.stream.split_shard(first).await.context("cannot split")?;

        self.wait_for(|| self.audit.processed() > self.records / 5).await;
        self.progress.say(&format!("merging {} and {}", left.id, right.id));
        self.audit.reshard_started(&[&left.id, &right.id]);
        // A stream that is still being changed refuses another change for a moment.
        while let Err(error) = self.stream.merge_shards(&left.id, &right.id).await {
            if error.kind() != SourceErrorKind::NotReady {
                return Err(error).context("cannot merge");
            }
            self.tick().await;
        }
        self.wait_for(|| self.audit.processed() >= half && self.audit.is_resharded()).await;
        Ok(())
    }

    async fn wait_for(&self, condition: impl Fn() -> bool) {
        while !condition() {
            self.tick().await;
        }
    }

    async fn tick(&self) {
        self.progress.processed(self.audit.processed());
        self.clock.sleep(Duration::from_millis(20)).await;
    }

    async fn open_shards(&self) -> anyhow::Result<Vec<Shard>> {
        let mut shards = self.stream.list_shards(ShardFilter::AtLatest).await?;
        shards.sort_by_key(|shard| shard.hash_range);
        Ok(shards)
    }
}
