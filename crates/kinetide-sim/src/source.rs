//! The stream as one worker sees it: through its link.

use async_trait::async_trait;
use kinetide::stream::{
    GetRecords, MemoryStream, Record, Shard, ShardFilter, ShardId, ShardIterator, SourceError, SourceErrorKind,
    StartAt, StreamName, StreamSource,
};

use crate::fault::{Fault, Service};
use crate::link::{Call, Link, Verdict};
use crate::plan::Sabotage;

/// A stream through a link.
#[derive(Debug, Clone)]
pub struct FaultyStream {
    stream: MemoryStream,
    link: Link,
    sabotage: Option<Sabotage>,
}

impl FaultyStream {
    /// This stream through this link.
    #[must_use]
    pub fn new(stream: MemoryStream, link: Link, sabotage: Option<Sabotage>) -> Self {
        Self { stream, link, sabotage }
    }

    async fn carry(&self, call: Call<'_>) -> Result<Verdict, SourceError> {
        let kind = match self.link.carry(call).await {
            Verdict::Throttled => SourceErrorKind::Throttled,
            Verdict::Refused => SourceErrorKind::Unavailable,
            Verdict::IteratorExpired => SourceErrorKind::IteratorExpired,
            verdict => return Ok(verdict),
        };
        Err(SourceError::new(kind, call.operation, "injected"))
    }

    async fn answer<T>(&self, call: Call<'_>, answer: Result<T, SourceError>) -> Result<T, SourceError> {
        let is_through = self.link.answer(call).await;
        if is_through {
            answer
        } else {
            Err(SourceError::new(SourceErrorKind::Unavailable, call.operation, "injected"))
        }
    }
}

fn call<'a>(operation: &'static str, shard: Option<&'a ShardId>) -> Call<'a> {
    Call { service: Service::Stream, operation, is_write: false, shard }
}

/// The shard of a memory stream's iterator is its first word.
fn shard_of(iterator: &ShardIterator) -> Option<ShardId> {
    ShardId::new(iterator.0.split(' ').next()?).ok()
}

#[async_trait]
impl StreamSource for FaultyStream {
    fn stream(&self) -> &StreamName {
        self.stream.stream()
    }

    async fn list_shards(&self, filter: ShardFilter) -> Result<Vec<Shard>, SourceError> {
        let call = call("list_shards", None);
        self.carry(call).await?;
        let answer = self.stream.list_shards(filter).await;
        self.answer(call, answer).await
    }

    async fn iterator(&self, shard: &ShardId, start: StartAt) -> Result<ShardIterator, SourceError> {
        let call = call("iterator", Some(shard));
        self.carry(call).await?;
        let answer = self.stream.iterator(shard, start).await;
        self.answer(call, answer).await
    }

    async fn get_records(&self, iterator: &ShardIterator, limit: usize) -> Result<GetRecords, SourceError> {
        let shard = shard_of(iterator);
        let call = call("get_records", shard.as_ref());
        let verdict = self.carry(call).await?;
        let mut answer = self.stream.get_records(iterator, limit).await;
        if let (Verdict::EndCutShort, Ok(GetRecords { next: None, children, .. })) = (verdict, &mut answer) {
            self.link.tell(Fault::EndCutShort, call.operation, 0);
            children.clear();
        }
        if let (Some(sabotage), Ok(answer)) = (self.sabotage, &mut answer) {
            spoil(sabotage, &mut answer.records);
        }
        self.answer(call, answer).await
    }
}

fn spoil(sabotage: Sabotage, records: &mut Vec<Record>) {
    match sabotage {
        Sabotage::LosesRecords if records.len() > 2 => drop(records.remove(1)),
        Sabotage::RepeatsRecords => records.extend(records.first().cloned()),
        _ => {}
    }
}
