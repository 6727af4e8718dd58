//! Settings: plain data that says how a worker behaves. Components (clock, table, stream, observer) are not settings;
//! they are given to [`crate::worker::WorkerBuilder`].
//!
//! Every setting has one row in [`table`], from which the MultiLang daemon's properties, the documentation and the test of
//! defaults are made.

pub mod table;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// How a worker behaves. Change what differs, leave the rest: `Settings { failover_time: …, ..Settings::default() }`.
///
/// Defaults are those of the Java KCL unless the field says otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// A lease whose counter has not moved for this long is taken by another worker. Longer: fewer DynamoDB writes, fewer
    /// needless takeovers; shorter: a dead worker's shards wait less. Default 10 s, at least 1 s.
    pub failover_time: Duration,
    /// How promptly a dead worker's leases are taken, and so what the lease table costs. Default [`Takeover::Prompt`].
    pub takeover: Takeover,
    /// Leases this worker holds at most. Default unlimited (2147483647).
    pub leases_per_worker_max: NonZeroU32,
    /// Leases taken from a live, busier worker in one look at the table at most. More balances sooner and makes more
    /// duplicates at once. Default 1.
    pub leases_stolen_max: NonZeroU32,
    /// Asks a busier worker to hand a lease over, once its processor has checkpointed, instead of taking it away: no record
    /// comes twice. One that does not answer within a failover time, like a Java worker of 1.x or 2.x, is not asked again.
    /// Default true.
    pub graceful_hand_off: bool,
    /// How long such a hand-off waits for the processor. Default 30 s, at least 1 s.
    pub hand_off_time: Duration,
    /// Leases unowned or unmoved for three failover times are taken at once and in any number. Default true.
    pub priority_lease_assignment: bool,
    /// Lease renewals under way at once. Default 20.
    pub lease_renewals_parallel_max: NonZeroUsize,
    /// Skips the look at the stream's shards at start if the table has leases. Default false.
    pub skip_shard_sync_if_leases_exist: bool,
    /// Deletes the leases of finished shards once their children are under way. Default true.
    pub cleanup_finished_leases: bool,
    /// How often the leader looks for finished leases to delete, and for hash keys that no lease holds. A hole is filled
    /// when it was seen three times in a row. Default 60 s.
    pub upkeep_interval: Duration,
    /// Leaves out shards that are listed as children of open ones, instead of listing again. Default false.
    pub ignore_unexpected_child_shards: bool,
    /// How often a consumer that waits for its parent shards looks at their leases. Default 10 s.
    pub parent_shard_poll_interval: Duration,
    /// Wait between attempts to start. Default 1 s.
    pub initialization_backoff: Duration,
    /// Attempts to start before the worker gives up. Default 20.
    pub initialization_attempts_max: NonZeroU32,
    /// Wait between attempts of a call to ListShards that was throttled. Default 1.5 s.
    pub list_shards_backoff: Duration,
    /// Attempts of a throttled call to ListShards. Default 50.
    pub list_shards_attempts_max: NonZeroU32,
    /// First wait after a failed step of a consumer, a processor's included; it doubles up to 10 s. Default 0.5 s.
    pub task_backoff: Duration,
    /// Times a batch is given again to a processor that failed, before its shard stops; with the default waits, about a
    /// minute. Default 10.
    pub processor_retries_max: u32,
    /// Calls the processor for empty answers too. Default false.
    pub empty_batches: bool,
    /// Records asked for in one GetRecords call, 1 to 10,000. Default 10,000.
    pub records_per_call_max: NonZeroUsize,
    /// Wait between two GetRecords calls on a shard, at least 200 ms. Unset, it adapts: 200 ms after records, up to 1.5 s
    /// while the shard is empty, so an idle shard costs little and a busy one is read as fast as the service allows.
    /// Default unset (Java: 1.5 s).
    pub idle_time_between_reads: Option<Duration>,
    /// Bytes of records fetched and not yet processed, over all shards of the worker. One answer (up to 10 MiB) per shard
    /// may stand above it. Default 32 MiB.
    pub prefetch_bytes_max: NonZeroUsize,
    /// A shard that stands still for this long, in one step of its reading and processing, is told as stalled. Shorter: slow
    /// processors are told too. Default 60 s, at least 1 s.
    pub stall_time: Duration,
    /// How long a graceful stop waits for processors before it goes on without them. Default 30 s.
    pub shutdown_grace: Duration,
}

/// How promptly a dead worker's leases are taken. Both cost less than the Java KCL with the same failover time; docs/compatibility.md says by how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Takeover {
    /// One failover time after its death, and a sixteenth more. Leases are looked at often, renewed a little less often than
    /// by Java.
    #[default]
    Prompt,
    /// Two failover times after its death at most. Leases are looked at rarely.
    Frugal,
    /// One failover time after its death, and one look interval more.
    Intervals {
        /// How often an owner renews a lease: at least twice per failover time, or a single failed renewal loses it.
        renew: Duration,
        /// How often each worker reads the whole table, however many there are.
        look: Duration,
    },
}

/// A setting out of its bounds: its name, the value, the bound and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting {name} is {value}: {fix}")]
pub struct InvalidSetting {
    /// The field.
    pub name: &'static str,
    /// The value it has.
    pub value: String,
    /// The bound it breaks, and what to do about it.
    pub fix: &'static str,
}

const FAILOVER_TIME_MIN: Duration = Duration::from_secs(1);
const WAIT_MIN: Duration = Duration::from_millis(10);
const IDLE_TIME_MIN: Duration = Duration::from_millis(200);

impl Default for Settings {
    fn default() -> Self {
        Self {
            failover_time: Duration::from_secs(10),
            takeover: Takeover::Prompt,
            leases_per_worker_max: nonzero(2_147_483_647),
            leases_stolen_max: NonZeroU32::MIN,
            graceful_hand_off: true,
            hand_off_time: Duration::from_secs(30),
            priority_lease_assignment: true,
            lease_renewals_parallel_max: nonzero_size(20),
            skip_shard_sync_if_leases_exist: false,
            cleanup_finished_leases: true,
            upkeep_interval: Duration::from_secs(60),
            ignore_unexpected_child_shards: false,
            parent_shard_poll_interval: Duration::from_secs(10),
            initialization_backoff: Duration::from_secs(1),
            initialization_attempts_max: nonzero(20),
            list_shards_backoff: Duration::from_millis(1500),
            list_shards_attempts_max: nonzero(50),
            task_backoff: Duration::from_millis(500),
            processor_retries_max: 10,
            empty_batches: false,
            records_per_call_max: nonzero_size(10_000),
            idle_time_between_reads: None,
            prefetch_bytes_max: nonzero_size(32 << 20),
            stall_time: Duration::from_secs(60),
            shutdown_grace: Duration::from_secs(30),
        }
    }
}

const fn nonzero(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

const fn nonzero_size(number: usize) -> NonZeroUsize {
    match NonZeroUsize::new(number) {
        Some(number) => number,
        None => NonZeroUsize::MIN,
    }
}

impl Settings {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first setting out of its bounds.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let refuse = |name, value: String, fix| Err(InvalidSetting { name, value, fix });
        if self.failover_time < FAILOVER_TIME_MIN {
            return refuse("failover_time", format!("{:?}", self.failover_time), "give at least 1 s");
        }
        if self.records_per_call_max.get() > 10_000 {
            let value = self.records_per_call_max.to_string();
            return refuse("records_per_call_max", value, "GetRecords returns at most 10000; give 1 to 10000");
        }
        if let Some(idle) = self.idle_time_between_reads.filter(|idle| *idle < IDLE_TIME_MIN) {
            let fix = "Kinesis allows five reads per second and shard; give at least 200 ms";
            return refuse("idle_time_between_reads", format!("{idle:?}"), fix);
        }
        for (name, wait) in
            [("parent_shard_poll_interval", self.parent_shard_poll_interval), ("task_backoff", self.task_backoff)]
        {
            if wait < WAIT_MIN {
                return refuse(
                    name,
                    format!("{wait:?}"),
                    "give at least 10 ms: it is what keeps a failing call from spinning",
                );
            }
        }
        if let Takeover::Intervals { renew, look } = self.takeover {
            let is_right = renew >= WAIT_MIN && renew <= self.failover_time / 2 && look >= WAIT_MIN;
            if !is_right {
                let fix = "renew at least twice per failover time, and give at least 10 ms for both";
                return refuse("takeover", format!("{renew:?} and {look:?}"), fix);
            }
        }
        for (name, wait) in [
            ("upkeep_interval", self.upkeep_interval),
            ("stall_time", self.stall_time),
            ("hand_off_time", self.hand_off_time),
        ] {
            if wait < Duration::from_secs(1) {
                return refuse(name, format!("{wait:?}"), "give at least 1 s");
            }
        }
        Ok(())
    }

    /// How often an owner renews a lease: a little more than twice per failover time, so that a renewal that failed can be
    /// repeated. Java renews three times; what is saved pays for more frequent looks.
    #[must_use]
    pub fn renew_interval(&self) -> Duration {
        match self.takeover {
            Takeover::Prompt => self.failover_time * 4 / 9,
            Takeover::Frugal => self.failover_time * 47 / 100,
            Takeover::Intervals { renew, .. } => renew,
        }
    }

    /// How often one of so many workers looks for leases to take.
    ///
    /// A lease's age is known as exactly as the looks are frequent, so a dead worker's shards wait one failover time and at
    /// most this. Each worker reads the whole table, so in a large fleet each looks less often, at most as rarely as Java.
    #[must_use]
    pub fn look_interval(&self, workers: usize) -> Duration {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        let (alone, shared) = match self.takeover {
            Takeover::Prompt => (self.failover_time / 16, self.failover_time.saturating_mul(workers) / 64),
            Takeover::Frugal => (self.failover_time * 4 / 5, self.failover_time.saturating_mul(workers) / 32),
            Takeover::Intervals { look, .. } => return look,
        };
        alone.max(shared).min(self.failover_time * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert_eq!(Settings::default().validate(), Ok(()));
    }

    #[test]
    fn looks_are_rarer_in_large_fleets_and_never_rarer_than_javas() {
        let look = |takeover, workers| Settings { takeover, ..Settings::default() }.look_interval(workers).as_millis();
        assert_eq!([1, 4, 16, 1_000].map(|workers| look(Takeover::Prompt, workers)), [625, 625, 2_500, 20_000]);
        assert_eq!([1, 4, 64, 1_000].map(|workers| look(Takeover::Frugal, workers)), [8_000, 8_000, 20_000, 20_000]);
    }

    #[test]
    fn refusals_name_value_bound_and_fix() {
        let settings = Settings { idle_time_between_reads: Some(Duration::from_millis(50)), ..Settings::default() };
        assert_eq!(
            settings.validate().unwrap_err().to_string(),
            "setting idle_time_between_reads is 50ms: Kinesis allows five reads per second and shard; give at least 200 ms"
        );
        let settings = Settings { failover_time: Duration::ZERO, ..Settings::default() };
        assert_eq!(settings.validate().unwrap_err().name, "failover_time");
        let settings = Settings { records_per_call_max: nonzero_size(10_001), ..Settings::default() };
        assert_eq!(settings.validate().unwrap_err().name, "records_per_call_max");
    }
}
