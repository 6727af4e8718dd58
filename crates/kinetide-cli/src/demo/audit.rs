//! Counts what the workers process: which numbers were seen, how often, and in which order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kinetide::stream::{ShardId, WorkerId};
use kinetide::{Clock, Moment, ShardContext, UserRecord};

/// The audit of one demo, shared by every processor.
pub(super) struct Audit {
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    /// How often each number was seen.
    seen: Vec<u32>,
    distinct: u32,
    duplicates: u64,
    order_violations: u64,
    /// The last number of each key in each tenure.
    last: HashMap<(Tenure, String), u32>,
    first_worker_started: Option<Moment>,
    first_record: Option<Moment>,
    /// How many were processed in which time, up to the middle of the demo.
    first_half: Option<(u32, Duration)>,
    reshards: Vec<Reshard>,
    followed_by: BTreeMap<ShardId, Vec<ShardId>>,
    first_initialized: BTreeMap<ShardId, Moment>,
    killed: Option<Killed>,
}

/// One owner's time with a shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Tenure {
    worker: WorkerId,
    shard: ShardId,
    fencing_token: u64,
}

struct Reshard {
    started: Moment,
    parents: Vec<ShardId>,
}

struct Killed {
    worker: WorkerId,
    at: Moment,
    waiting: BTreeSet<ShardId>,
    took: Option<Duration>,
}

/// What the audit found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Findings {
    pub produced: u32,
    pub processed: u64,
    pub lost: u32,
    pub duplicates: u64,
    pub order_violations: u64,
    pub first_record: Option<Duration>,
    pub takeover: Option<Duration>,
    pub reshard: Option<Duration>,
    pub records_per_s: f64,
}

impl Audit {
    pub(super) fn new(records: u32, clock: Clock) -> Self {
        let state = State {
            seen: vec![0; records as usize],
            distinct: 0,
            duplicates: 0,
            order_violations: 0,
            last: HashMap::new(),
            first_worker_started: None,
            first_record: None,
            first_half: None,
            reshards: Vec::new(),
            followed_by: BTreeMap::new(),
            first_initialized: BTreeMap::new(),
            killed: None,
        };
        Self { clock, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn worker_started(&self) {
        let now = self.clock.monotonic();
        self.lock().first_worker_started.get_or_insert(now);
    }

    /// A processor was initialised: the shard has an owner again.
    pub(super) fn initialized(&self, context: &ShardContext) {
        let now = self.clock.monotonic();
        let mut state = self.lock();
        state.first_initialized.entry(context.shard.clone()).or_insert(now);
    }

    /// A shard ended, and these follow it.
    pub(super) fn followed_by(&self, parent: &ShardId, children: &[ShardId]) {
        self.lock().followed_by.insert(parent.clone(), children.to_vec());
    }

    /// A processor got records.
    pub(super) fn processed_records(&self, context: &ShardContext, records: &[UserRecord]) {
        let now = self.clock.monotonic();
        let mut state = self.lock();
        state.first_record.get_or_insert(now);
        state.note_takeover(context, now);
        let tenure = Tenure {
            worker: context.worker.clone(),
            shard: context.shard.clone(),
            fencing_token: context.fencing_token,
        };
        for record in records {
            state.count(&tenure, record);
        }
    }

    /// A processor is done with its shard.
    pub(super) fn ended(&self, context: &ShardContext) {
        let now = self.clock.monotonic();
        self.lock().note_takeover(context, now);
    }

    pub(super) fn reshard_started(&self, parents: &[&ShardId]) {
        let started = self.clock.monotonic();
        let parents = parents.iter().map(|parent| (*parent).clone()).collect();
        self.lock().reshards.push(Reshard { started, parents });
    }

    /// A worker was killed; the shards it held wait for another.
    pub(super) fn killed(&self, worker: WorkerId, waiting: BTreeSet<ShardId>) {
        let at = self.clock.monotonic();
        self.lock().killed = Some(Killed { worker, at, waiting, took: None });
    }

    /// The middle of the demo, before anything is killed: up to here the rate is counted.
    pub(super) fn halfway(&self) {
        let now = self.clock.monotonic();
        let mut state = self.lock();
        state.first_half = state.first_record.map(|first| (state.distinct, now.since(first)));
    }

    /// Every shard made by a reshard is read.
    pub(super) fn is_resharded(&self) -> bool {
        let state = self.lock();
        state.reshards.iter().all(|reshard| state.reshard_time(reshard).is_some())
    }

    pub(super) fn processed(&self) -> u32 {
        self.lock().distinct
    }

    /// Everything was seen, and every shard of the killed worker goes on.
    pub(super) fn is_complete(&self) -> bool {
        let state = self.lock();
        let is_taken_over = state.killed.as_ref().is_none_or(|killed| killed.waiting.is_empty());
        state.distinct as usize == state.seen.len() && is_taken_over
    }

    pub(super) fn findings(&self) -> Findings {
        let state = self.lock();
        let since_start = |moment: Moment| state.first_worker_started.map(|started| moment.since(started));
        let reshards: Option<Vec<_>> = state.reshards.iter().map(|reshard| state.reshard_time(reshard)).collect();
        let produced = u32::try_from(state.seen.len()).unwrap_or(u32::MAX);
        Findings {
            produced,
            processed: u64::from(state.distinct) + state.duplicates,
            lost: produced - state.distinct,
            duplicates: state.duplicates,
            order_violations: state.order_violations,
            first_record: state.first_record.and_then(since_start),
            takeover: state.killed.as_ref().and_then(|killed| killed.took),
            reshard: reshards.and_then(|all| all.into_iter().max()),
            records_per_s: state
                .first_half
                .map_or(0.0, |(count, took)| f64::from(count) / took.as_secs_f64().max(0.001)),
        }
    }
}

impl State {
    /// From the call to the moment when the last of the shards that follow has an owner that reads it.
    fn reshard_time(&self, reshard: &Reshard) -> Option<Duration> {
        let mut last = None;
        for parent in &reshard.parents {
            for child in self.followed_by.get(parent)? {
                last = last.max(Some(*self.first_initialized.get(child)?));
            }
        }
        last.map(|last| last.since(reshard.started))
    }

    fn note_takeover(&mut self, context: &ShardContext, now: Moment) {
        // The killed worker's last call may still be under way on another thread.
        let Some(killed) = self.killed.as_mut().filter(|killed| killed.worker != context.worker) else { return };
        if killed.waiting.remove(&context.shard) && killed.waiting.is_empty() {
            killed.took = Some(now.since(killed.at));
        }
    }

    fn count(&mut self, tenure: &Tenure, record: &UserRecord) {
        // A record nobody produced would be a finding too: it is out of order with everything.
        let number = std::str::from_utf8(&record.data).ok().and_then(|text| text.parse::<u32>().ok());
        let Some((number, times)) = number.and_then(|n| Some((n, self.seen.get_mut(n as usize)?))) else {
            self.order_violations += 1;
            return;
        };
        *times += 1;
        if *times == 1 {
            self.distinct += 1
        } else {
            self.duplicates += 1
        }
        let last = self.last.insert((tenure.clone(), record.partition_key.to_string()), number);
        if last.is_some_and(|last| last >= number) {
            self.order_violations += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use kinetide::stream::{Record, StreamName};

    use super::*;

    fn context(worker: &str, fencing_token: u64) -> ShardContext {
        ShardContext {
            stream_id: None,
            stream: StreamName::new("demo").unwrap(),
            shard: ShardId::new("shard").unwrap(),
            worker: WorkerId::new(worker).unwrap(),
            fencing_token,
        }
    }

    fn records(numbers: &[u32]) -> Vec<UserRecord> {
        let record = |number: &u32| Record {
            sequence: u64::from(*number).into(),
            data: number.to_string().into(),
            partition_key: "k".into(),
            arrival: None,
        };
        numbers.iter().map(|number| record(number).into()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn finds_what_is_lost_repeated_and_out_of_order() {
        let audit = Audit::new(5, Clock::system());
        audit.processed_records(&context("a", 1), &records(&[0, 1, 3, 2]));
        let findings = audit.findings();
        assert_eq!((findings.lost, findings.duplicates, findings.order_violations), (1, 0, 1));
        // Another tenure starts over, which is no violation.
        audit.processed_records(&context("b", 2), &records(&[2, 3, 4]));
        let findings = audit.findings();
        assert_eq!((findings.lost, findings.duplicates, findings.order_violations), (0, 2, 1));
        audit.processed_records(&context("b", 2), &records(&[77]));
        assert_eq!(audit.findings().order_violations, 2, "a number nobody produced");
    }

    #[tokio::test(start_paused = true)]
    async fn a_takeover_ends_with_the_last_shard() {
        let clock = Clock::system();
        let audit = Audit::new(1, clock.clone());
        audit.initialized(&context("a", 1));
        audit.processed_records(&context("a", 1), &records(&[0]));
        audit.killed(context("a", 1).worker, BTreeSet::from([context("a", 1).shard]));
        assert!(!audit.is_complete());
        clock.sleep(Duration::from_secs(11)).await;
        audit.initialized(&context("b", 2));
        audit.processed_records(&context("b", 2), &records(&[0]));
        assert!(audit.is_complete());
        assert_eq!(audit.findings().takeover, Some(Duration::from_secs(11)));
    }
}
