//! The demo's workers: real ones, over HTTP to the embedded endpoint.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, bail};
use kinetide::aws::{Aws, DynamoDbLeaseTable};
use kinetide::lease::LeaseTable;
use kinetide::stream::{ShardId, TableName, WorkerId};
use kinetide::{
    Batch, Checkpointer, Event, InitialPosition, Initialize, ProcessorResult, RecordProcessor, ShardContext, Worker,
    WorkerError, WorkerHandle,
};
use tokio::task::JoinHandle;

use super::audit::Audit;
use crate::args::local_aws;

/// Tells the audit what it is given, then checkpoints.
struct Auditor {
    context: ShardContext,
    audit: Arc<Audit>,
}

impl RecordProcessor for Auditor {
    async fn initialize(&mut self, _start: &Initialize) -> ProcessorResult {
        self.audit.initialized(&self.context);
        Ok(())
    }

    async fn process_records(&mut self, batch: &Batch, checkpointer: &Checkpointer) -> ProcessorResult {
        self.audit.processed_records(&self.context, &batch.records);
        Ok(checkpointer.checkpoint().await?)
    }

    async fn shard_ended(&mut self, checkpointer: &Checkpointer) -> ProcessorResult {
        checkpointer.checkpoint().await?;
        self.audit.ended(&self.context);
        Ok(())
    }
}

const APPLICATION: &str = "demo-app";

struct Member {
    id: WorkerId,
    handle: WorkerHandle,
    task: JoinHandle<Result<(), WorkerError>>,
}

pub(super) struct Fleet {
    members: Vec<Member>,
    table: DynamoDbLeaseTable,
}

impl Fleet {
    pub(super) async fn start(
        size: usize,
        stream: &str,
        aws: &Aws,
        endpoint_url: &str,
        audit: &Arc<Audit>,
    ) -> anyhow::Result<Self> {
        let mut members = Vec::new();
        for index in 1..=size {
            let (observer_audit, factory_audit) = (audit.clone(), audit.clone());
            let worker = Worker::builder()
                .application(APPLICATION)
                .stream(stream)
                .worker_id(format!("worker-{index}"))
                .initial_position(InitialPosition::TrimHorizon)
                .aws(local_aws(endpoint_url.to_owned()))
                .observer(move |event| {
                    if let Event::ShardEnded { shard, children } = event {
                        observer_audit.followed_by(&shard.shard, children);
                    }
                })
                .processor(move |context: &ShardContext| Auditor {
                    context: context.clone(),
                    audit: factory_audit.clone(),
                })
                .build()
                .await?;
            audit.worker_started();
            let (id, handle) = (worker.id().clone(), worker.handle());
            members.push(Member { id, handle, task: tokio::spawn(worker.run()) });
        }
        Ok(Self { members, table: DynamoDbLeaseTable::new(aws, &TableName::new(APPLICATION)?) })
    }

    /// The open leases of each worker. The table knows: a lease may have been taken a moment ago by a worker that has not
    /// begun to read.
    async fn holdings(&self) -> anyhow::Result<Vec<BTreeSet<ShardId>>> {
        let leases = self.table.list().await?;
        let held_by = |member: &Member| {
            let held = leases.iter().filter(|lease| !lease.is_finished() && lease.owner.as_ref() == Some(&member.id));
            held.map(|lease| lease.key.shard.clone()).collect()
        };
        Ok(self.members.iter().map(held_by).collect())
    }

    /// True if no worker has reason to take a lease from another.
    pub(super) async fn is_balanced(&self) -> anyhow::Result<bool> {
        let counts: Vec<_> = self.holdings().await?.iter().map(BTreeSet::len).collect();
        let (least, most) = (counts.iter().min(), counts.iter().max());
        Ok(least.zip(most).is_some_and(|(least, most)| *least > 0 && most - least <= 1))
    }

    /// Kills the worker that holds most, as a crash would: nothing is finished and nothing is given back.
    pub(super) async fn kill_one(&mut self, audit: &Audit) -> anyhow::Result<WorkerId> {
        let mut holdings = self.holdings().await?;
        let busiest = (0..holdings.len()).max_by_key(|index| holdings[*index].len());
        let busiest = busiest.context("there are no workers")?;
        let victim = self.members.remove(busiest);
        victim.task.abort();
        audit.killed(victim.id.clone(), holdings.remove(busiest));
        Ok(victim.id)
    }

    /// A worker that ended by itself is a fault of the demo, told at once.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        match self.members.iter().find(|member| member.task.is_finished()) {
            Some(member) => bail!("{} ended by itself", member.id),
            None => Ok(()),
        }
    }

    pub(super) async fn shut_down(self) -> anyhow::Result<()> {
        for member in &self.members {
            member.handle.shutdown();
        }
        for member in self.members {
            member.task.await?.with_context(|| member.id.to_string())?;
        }
        Ok(())
    }
}
