//! `kinetide tail`: records of every shard from a position on, without leases; nothing is remembered.
//!
//! When a shard ends, the shards that follow it are read from their beginning.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use kinetide::aggregation::decode::deaggregate;
use kinetide::aws::{Aws, KinesisStream};
use kinetide::event::Events;
use kinetide::retrieval::polling::{Fetched, Poller};
use kinetide::retrieval::prefetch::Budget;
use kinetide::stream::{ChildShard, ShardFilter, ShardId, StartAt, StreamName, StreamSource};
use kinetide::{Clock, Rng, Settings};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::position;
use crate::args::{Global, TailArgs};
use crate::output::write_record;

const PREFETCH_BYTES_MAX: usize = 32 << 20;

pub(crate) async fn run(global: &Global, args: &TailArgs) -> anyhow::Result<ExitCode> {
    let clock = Clock::system();
    let start = position::parse(&args.from, clock.wall())?;
    if matches!(start, StartAt::Sequence(_)) && args.shard.is_none() {
        bail!("a sequence number belongs to one shard: give --shard too");
    }
    let aws = Aws::load(&global.aws()).await?;
    let source = Arc::new(KinesisStream::new(&aws, StreamName::new(args.stream.as_str())?));
    let shards = first_shards(&source, args, &start).await.with_context(|| format!("stream '{}'", args.stream))?;
    let mut tail = Tail::new(source, clock, global.is_json(), args);
    for shard in shards {
        tail.follow(shard, start.clone());
    }
    tokio::select! {
        result = tail.print() => result?,
        asked = super::asked_to_end() => asked?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The shards that hold the position; what follows them is found as they end.
async fn first_shards(source: &KinesisStream, args: &TailArgs, start: &StartAt) -> anyhow::Result<Vec<ShardId>> {
    if let Some(shard) = &args.shard {
        let shard = ShardId::new(shard.as_str())?;
        // A shard or a number that does not exist is an answer, nothing to wait for.
        source.iterator(&shard, start.clone()).await?;
        return Ok(vec![shard]);
    }
    let filter = match start {
        StartAt::Latest => ShardFilter::AtLatest,
        StartAt::Timestamp(time) => ShardFilter::AtTimestamp(*time),
        _ => ShardFilter::AtTrimHorizon,
    };
    Ok(source.list_shards(filter).await?.into_iter().map(|shard| shard.id).collect())
}

struct Tail {
    source: Arc<KinesisStream>,
    clock: Clock,
    as_json: bool,
    left: Option<usize>,
    only_one_shard: bool,
    no_follow: bool,
    budget: Budget,
    rng: Rng,
    seen: BTreeSet<ShardId>,
    /// Shards not yet read to the newest record; counts only if the end of what is there is the end.
    behind: BTreeSet<ShardId>,
    pollers: JoinSet<()>,
    sender: mpsc::Sender<(ShardId, Fetched)>,
    fetched: mpsc::Receiver<(ShardId, Fetched)>,
}

impl Tail {
    fn new(source: Arc<KinesisStream>, clock: Clock, as_json: bool, args: &TailArgs) -> Self {
        let (sender, fetched) = mpsc::channel(16);
        Self {
            source,
            clock,
            as_json,
            left: args.limit,
            only_one_shard: args.shard.is_some(),
            no_follow: args.no_follow,
            budget: Budget::new(PREFETCH_BYTES_MAX),
            rng: Rng::system(),
            seen: BTreeSet::new(),
            behind: BTreeSet::new(),
            pollers: JoinSet::new(),
            sender,
            fetched,
        }
    }

    fn follow(&mut self, shard: ShardId, start: StartAt) {
        if !self.seen.insert(shard.clone()) {
            return;
        }
        self.behind.insert(shard.clone());
        let poller = Poller {
            source: self.source.clone(),
            shard: shard.clone().into(),
            start,
            settings: Arc::new(Settings::default()),
            budget: self.budget.share(),
            clock: self.clock.clone(),
            rng: self.rng.fork(),
            events: Events::default(),
            absences: 0,
        };
        let (out, mut answers) = mpsc::channel(1);
        let sender = self.sender.clone();
        self.pollers.spawn(poller.run(out));
        self.pollers.spawn(async move {
            while let Some(answer) = answers.recv().await {
                if sender.send((shard.clone(), answer)).await.is_err() {
                    return;
                }
            }
        });
    }

    async fn print(&mut self) -> anyhow::Result<()> {
        let mut out = tokio::io::stdout();
        while self.left != Some(0) && !(self.no_follow && self.behind.is_empty()) {
            let Some((shard, answer)) = self.fetched.recv().await else { return Ok(()) };
            let (text, end) = self.take(&shard, answer);
            if let Err(error) = write(&mut out, &text).await {
                return if error.kind() == std::io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error.into()) };
            }
            match end {
                Some(_) if self.only_one_shard => return Ok(()),
                Some(children) => children.into_iter().for_each(|child| self.follow(child.id, StartAt::TrimHorizon)),
                None => {}
            }
        }
        Ok(())
    }

    /// The text of one answer's records, and the shards that follow.
    fn take(&mut self, shard: &ShardId, answer: Fetched) -> (Vec<u8>, Option<Vec<ChildShard>>) {
        let mut text = Vec::new();
        for record in deaggregate(answer.records).records {
            match &mut self.left {
                Some(0) => break,
                Some(left) => *left -= 1,
                None => {}
            }
            write_record(&mut text, shard, &record, self.as_json);
        }
        if answer.millis_behind_latest == Some(0) || answer.end.is_some() {
            self.behind.remove(shard);
        }
        (text, answer.end)
    }
}

async fn write(out: &mut tokio::io::Stdout, text: &[u8]) -> std::io::Result<()> {
    out.write_all(text).await?;
    out.flush().await
}
