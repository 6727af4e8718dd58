//! The rows themselves, in the order of the documentation. Data only.

use std::time::Duration;

use super::{Bounds, Kind, Row, Setter, Settings, Status};
use crate::settings::Takeover;
use std::num::{NonZeroU32, NonZeroUsize};

const STREAM: &str = "Application, stream and AWS";
const DAEMON: &str = "MultiLang daemon";
const LEASES: &str = "Leases";
const ASSIGNMENT: &str = "Assignment by worker utilisation";
const WORKER_TABLE: &str = "Worker metrics table";
const COORDINATOR_TABLE: &str = "Coordinator state table";
const COORDINATION: &str = "Coordination and processing";
const METRICS: &str = "Metrics";
const RETRIEVAL: &str = "Retrieval";

pub(super) const FAN_OUT_BEAN: &str = "fanoutConfig";
const POLLING_BEAN: &str = "pollingConfig";
const HANDOFF_BEAN: &str = "gracefulLeaseHandoffConfigBean";
const ASSIGNMENT_BEAN: &str = "workerUtilizationAwareAssignmentConfigBean";
const WORKER_TABLE_BEAN: &str = "workerMetricStatsTableConfigBean";
const COORDINATOR_TABLE_BEAN: &str = "coordinatorStateTableConfigBean";

const FAN_OUT: &str = "enhanced fan-out";
const BALANCE: &str = "assignment by worker utilisation";
const PUBLISH: &str = "CloudWatch metrics";
const SYNC: &str = "shard synchronisation and lease clean-up";
const MIGRATION: &str = "migration between KCL versions";
const TUNING: &str = "tuning of tables";
const ENDPOINTS: &str = "per-service client options";

const NO_EFFECT: &str = "KCL has not used it since 2.0";
const ON_DEMAND: &str = "the table is billed on demand";
const NO_THREADS: &str = "there are no threads to limit here";

const TAKEOVER: Kind = Kind::Word(&["PROMPT", "FRUGAL"]);
const BILLING: Kind = Kind::Word(&["PAY_PER_REQUEST", "PROVISIONED"]);

const fn row(
    group: &'static str,
    property: &'static str,
    kind: Kind,
    java_default: &'static str,
    doc: &'static str,
) -> Row {
    Row {
        group,
        field: "",
        property,
        aliases: &[],
        bean: "",
        kind,
        java_default,
        bounds: Bounds::None,
        since: "",
        status: Status::Active,
        doc,
        setter: Setter::Nothing,
    }
}

/// A field that no key reaches.
const fn field(
    group: &'static str,
    field: &'static str,
    kind: Kind,
    java_default: &'static str,
    doc: &'static str,
) -> Row {
    let row = row(group, "", kind, java_default, doc);
    Row { field, ..row }
}

impl Row {
    const fn time(self, field: &'static str, set: fn(&mut Settings, Duration)) -> Self {
        Self { field, setter: Setter::Time(set), ..self }
    }

    const fn count(self, field: &'static str, set: fn(&mut Settings, NonZeroU32)) -> Self {
        Self { field, setter: Setter::Count(set), ..self }
    }

    const fn size(self, field: &'static str, set: fn(&mut Settings, NonZeroUsize)) -> Self {
        Self { field, setter: Setter::Size(set), ..self }
    }

    const fn flag(self, field: &'static str, set: fn(&mut Settings, bool)) -> Self {
        Self { field, setter: Setter::Flag(set), ..self }
    }

    const fn choice(self, field: &'static str, set: fn(&mut Settings, &'static str)) -> Self {
        Self { field, setter: Setter::Word(set), ..self }
    }

    const fn bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    const fn bean(self, bean: &'static str) -> Self {
        Self { bean, ..self }
    }

    const fn since(self, since: &'static str) -> Self {
        Self { since, ..self }
    }

    const fn inert(self, why: &'static str) -> Self {
        Self { status: Status::Inert(why), ..self }
    }

    const fn planned(self, part: &'static str) -> Self {
        Self { status: Status::Planned(part), ..self }
    }
}

fn takeover(word: &str) -> Takeover {
    if word == "FRUGAL" { Takeover::Frugal } else { Takeover::Prompt }
}

/// Every setting.
pub const ROWS: &[Row] = &[
    row(
        STREAM,
        "applicationName",
        Kind::Text,
        "",
        "Names the application, and the lease table unless that has its own name; required.",
    ),
    row(STREAM, "streamName", Kind::Text, "", "The stream to consume; required unless there is an ARN."),
    row(
        STREAM,
        "streamArn",
        Kind::Arn,
        "",
        "The stream to consume, by ARN: only the name in it is used, and it wins over `streamName`.",
    )
    .since("2.5.1"),
    row(STREAM, "tableName", Kind::Text, "the application's name", "The lease table."),
    row(STREAM, "workerId", Kind::Text, "a random UUID", "Names this worker among those of the application.")
        .aliases(&["workerIdentifier"]),
    row(
        STREAM,
        "AwsCredentialsProvider",
        Kind::Credentials,
        "",
        "Where credentials come from, as Java class names with commas between; required.",
    ),
    row(
        STREAM,
        "AwsCredentialsProviderDynamoDB",
        Kind::Credentials,
        "those for Kinesis",
        "Where credentials for DynamoDB come from.",
    ),
    row(
        STREAM,
        "AwsCredentialsProviderCloudWatch",
        Kind::Credentials,
        "those for Kinesis",
        "Where credentials for CloudWatch come from.",
    )
    .planned(PUBLISH),
    row(STREAM, "regionName", Kind::Region, "that of the environment", "The AWS region."),
    row(STREAM, "kinesisEndpoint", Kind::Uri, "that of the region", "The address of Kinesis.")
        .aliases(&["kinesisClient.endpointOverride"]),
    row(STREAM, "dynamoDBEndpoint", Kind::Uri, "that of the region", "The address of DynamoDB.")
        .aliases(&["dynamoDbClient.endpointOverride"]),
    row(STREAM, "cloudWatchClient.endpointOverride", Kind::Uri, "that of the region", "The address of CloudWatch.")
        .planned(PUBLISH),
    row(STREAM, "kinesisClient.region", Kind::Region, "`regionName`", "The region of Kinesis alone.")
        .planned(ENDPOINTS),
    row(STREAM, "dynamoDbClient.region", Kind::Region, "`regionName`", "The region of DynamoDB alone.")
        .planned(ENDPOINTS),
    row(STREAM, "cloudWatchClient.region", Kind::Region, "`regionName`", "The region of CloudWatch alone.")
        .planned(PUBLISH),
    row(STREAM, "kinesisClient.dualstackEnabled", Kind::Flag, "false", "Calls Kinesis over IPv6 too.")
        .planned(ENDPOINTS),
    row(STREAM, "dynamoDbClient.dualstackEnabled", Kind::Flag, "false", "Calls DynamoDB over IPv6 too.")
        .planned(ENDPOINTS),
    row(STREAM, "cloudWatchClient.dualstackEnabled", Kind::Flag, "false", "Calls CloudWatch over IPv6 too.")
        .planned(PUBLISH),
    row(STREAM, "kinesisClient.fipsEnabled", Kind::Flag, "false", "Calls the FIPS endpoint of Kinesis.")
        .planned(ENDPOINTS),
    row(STREAM, "dynamoDbClient.fipsEnabled", Kind::Flag, "false", "Calls the FIPS endpoint of DynamoDB.")
        .planned(ENDPOINTS),
    row(STREAM, "cloudWatchClient.fipsEnabled", Kind::Flag, "false", "Calls the FIPS endpoint of CloudWatch.")
        .planned(PUBLISH),
    row(
        STREAM,
        "initialPositionInStream",
        Kind::Word(&["LATEST", "TRIM_HORIZON"]),
        "LATEST",
        "Where a shard without a checkpoint starts.",
    ),
    row(
        STREAM,
        "initialPositionInStreamExtended",
        Kind::EpochSeconds,
        "",
        "Starts a shard without a checkpoint at this time.",
    )
    .since("1.9.2"),
    row(
        DAEMON,
        "executableName",
        Kind::Command,
        "",
        "The command of a shard's child process; required. Split at blanks, no quoting, no shell.",
    ),
    row(DAEMON, "processingLanguage", Kind::Text, "", "Names the language of the processors, for people."),
    row(DAEMON, "maxActiveThreads", Kind::Count, "0", "Limits the daemon's threads.").inert(NO_THREADS),
    row(
        DAEMON,
        "timeoutInSeconds",
        Kind::Seconds,
        "",
        "Ends the daemon at once if a child is silent for so long while it owes an answer.",
    )
    .since("1.8.1"),
    row(
        DAEMON,
        "shutdownGraceMillis",
        Kind::Millis,
        "0",
        "How long a stop waits for processors to checkpoint; at 0 they are not even asked.",
    )
    .time("shutdown_grace", |settings, grace| settings.shutdown_grace = grace),
    row(DAEMON, "validateSequenceNumberBeforeCheckpointing", Kind::Flag, "true", "Checked sequence numbers once.")
        .inert(NO_EFFECT),
    row(
        LEASES,
        "failoverTimeMillis",
        Kind::Millis,
        "10000",
        "A lease that has not moved for so long is taken by another worker.",
    )
    .bounds(Bounds::AtLeast(1000))
    .time("failover_time", |settings, time| settings.failover_time = time),
    row(
        LEASES,
        "leaseAssignmentIntervalMillis",
        Kind::Millis,
        "2 × failoverTimeMillis",
        "How often the leader assigns leases.",
    )
    .since("3.1.1")
    .planned(BALANCE),
    row(LEASES, "shardSyncIntervalMillis", Kind::Millis, "60000", "How often the leader compares shards and leases.")
        .planned(SYNC),
    row(
        LEASES,
        "takeover",
        TAKEOVER,
        "PROMPT",
        "How promptly a dead worker's leases are taken: after one failover time, or after two at a lower cost.",
    )
    .choice("takeover", |settings, word| settings.takeover = takeover(word)),
    row(
        LEASES,
        "cleanupLeasesUponShardCompletion",
        Kind::Flag,
        "true",
        "Deletes the leases of finished shards once their children are under way.",
    )
    .flag("cleanup_finished_leases", |settings, flag| settings.cleanup_finished_leases = flag),
    field(
        LEASES,
        "upkeep_interval",
        Kind::Millis,
        "",
        "How often the leader looks for finished leases to delete and for hash keys that no lease holds.",
    ),
    row(
        LEASES,
        "ignoreUnexpectedChildShards",
        Kind::Flag,
        "false",
        "Leaves out shards that are listed as children of open ones, instead of listing again.",
    )
    .flag("ignore_unexpected_child_shards", |settings, flag| settings.ignore_unexpected_child_shards = flag),
    row(LEASES, "maxLeasesForWorker", Kind::Count, "2147483647", "Leases one worker holds at most.")
        .count("leases_per_worker_max", |settings, leases| settings.leases_per_worker_max = leases),
    row(LEASES, "maxLeasesToStealAtOneTime", Kind::Count, "1", "Leases taken at once from a live, busier worker.")
        .count("leases_stolen_max", |settings, leases| settings.leases_stolen_max = leases),
    row(
        LEASES,
        "enablePriorityLeaseAssignment",
        Kind::Flag,
        "true",
        "Takes leases that have long been free at once and in any number.",
    )
    .flag("priority_lease_assignment", |settings, flag| settings.priority_lease_assignment = flag),
    row(LEASES, "initialLeaseTableReadCapacity", Kind::Count, "10", "Read units of the lease table.").inert(ON_DEMAND),
    row(LEASES, "initialLeaseTableWriteCapacity", Kind::Count, "10", "Write units of the lease table.")
        .inert(ON_DEMAND),
    row(
        LEASES,
        "leaseTableDeletionProtectionEnabled",
        Kind::Flag,
        "false",
        "Protects a new lease table from deletion.",
    )
    .planned(TUNING),
    row(LEASES, "leaseTablePitrEnabled", Kind::Flag, "false", "Keeps point-in-time backups of a new lease table.")
        .planned(TUNING),
    row(
        LEASES,
        "leaseTableScanTotalSegments",
        Kind::Count,
        "automatic",
        "Parallel parts in which the lease table is read.",
    )
    .since("3.5.0")
    .planned(TUNING),
    row(LEASES, "maxLeaseRenewalThreads", Kind::Count, "20", "Lease renewals under way at once.")
        .size("lease_renewals_parallel_max", |settings, count| settings.lease_renewals_parallel_max = count),
    row(
        LEASES,
        "listShardsBackoffTimeInMillis",
        Kind::Millis,
        "1500",
        "Wait between attempts of a throttled ListShards.",
    )
    .time("list_shards_backoff", |settings, time| settings.list_shards_backoff = time),
    row(LEASES, "maxListShardsRetryAttempts", Kind::Count, "50", "Attempts of a throttled ListShards.")
        .count("list_shards_attempts_max", |settings, attempts| settings.list_shards_attempts_max = attempts),
    row(
        LEASES,
        "gracefulLeaseHandoffTimeoutMillis",
        Kind::Millis,
        "30000",
        "How long a hand-off waits for the processor's checkpoint.",
    )
    .bean(HANDOFF_BEAN)
    .since("3.0.0")
    .bounds(Bounds::AtLeast(1_000))
    .time("hand_off_time", |settings, time| settings.hand_off_time = time),
    row(
        LEASES,
        "isGracefulLeaseHandoffEnabled",
        Kind::Flag,
        "true",
        "Lets a processor checkpoint before its lease moves to another worker.",
    )
    .bean(HANDOFF_BEAN)
    .since("3.0.0")
    .flag("graceful_hand_off", |settings, flag| settings.graceful_hand_off = flag),
    balance("inMemoryWorkerMetricsCaptureFrequencyMillis", Kind::Millis, "1000", "How often a worker measures itself."),
    balance(
        "workerMetricsReporterFreqInMillis",
        Kind::Millis,
        "30000",
        "How often a worker publishes what it measured.",
    ),
    balance("noOfPersistedMetricsPerWorkerMetrics", Kind::Count, "10", "Measurements kept per metric."),
    balance("disableWorkerMetrics", Kind::Flag, "false", "Balances by throughput alone."),
    balance(
        "allowThroughputOvershoot",
        Kind::Flag,
        "true",
        "Moves a lease even if its throughput is more than the gap.",
    ),
    balance("maxThroughputPerHostKBps", Kind::Real, "unlimited", "Throughput one worker is given at most."),
    balance("dampeningPercentage", Kind::Count, "60", "Part of the gap that one round closes."),
    balance("reBalanceThresholdPercentage", Kind::Count, "10", "Distance from the mean that is tolerated."),
    balance("varianceBalancingFrequency", Kind::Count, "3", "Rounds between two that balance."),
    balance("workerMetricsEMAAlpha", Kind::Real, "0.5", "Weight of the newest measurement in the moving average."),
    balance(
        "staleWorkerMetricsEntryCleanupDuration",
        Kind::IsoDuration,
        "P1D",
        "Age at which a worker's measurements are deleted.",
    ),
    worker_table(
        "workerMetricsTableName",
        Kind::Text,
        "<application>-WorkerMetricStats",
        "The table of worker metrics.",
    ),
    worker_table("workerMetricsBillingMode", BILLING, "PAY_PER_REQUEST", "How it is billed."),
    worker_table("workerMetricsReadCapacity", Kind::Count, "0", "Its read units, if provisioned."),
    worker_table("workerMetricsWriteCapacity", Kind::Count, "0", "Its write units, if provisioned."),
    worker_table("workerMetricsPointInTimeRecoveryEnabled", Kind::Flag, "false", "Keeps point-in-time backups of it."),
    worker_table("workerMetricsDeletionProtectionEnabled", Kind::Flag, "false", "Protects it from deletion."),
    worker_table("workerMetricsTags", Kind::Tags, "none", "Tags it gets."),
    coordinator_table(
        "coordinatorStateTableName",
        Kind::Text,
        "<application>-CoordinatorState",
        "The table of coordinator state.",
    ),
    coordinator_table("coordinatorStateBillingMode", BILLING, "PAY_PER_REQUEST", "How it is billed."),
    coordinator_table("coordinatorStateReadCapacity", Kind::Count, "0", "Its read units, if provisioned."),
    coordinator_table("coordinatorStateWriteCapacity", Kind::Count, "0", "Its write units, if provisioned."),
    coordinator_table(
        "coordinatorStatePointInTimeRecoveryEnabled",
        Kind::Flag,
        "false",
        "Keeps point-in-time backups of it.",
    ),
    coordinator_table("coordinatorStateDeletionProtectionEnabled", Kind::Flag, "false", "Protects it from deletion."),
    coordinator_table("coordinatorStateTags", Kind::Tags, "none", "Tags it gets."),
    row(
        COORDINATION,
        "parentShardPollIntervalMillis",
        Kind::Millis,
        "10000",
        "How often a shard that waits for its parents looks at them.",
    )
    .bounds(Bounds::AtLeast(10))
    .time("parent_shard_poll_interval", |settings, time| settings.parent_shard_poll_interval = time),
    row(
        COORDINATION,
        "stallTimeMillis",
        Kind::Millis,
        "60000",
        "A shard that stands still for so long in one step is told as stalled.",
    )
    .bounds(Bounds::AtLeast(1_000))
    .time("stall_time", |settings, time| settings.stall_time = time),
    row(
        COORDINATION,
        "skipShardSyncAtWorkerInitializationIfLeasesExist",
        Kind::Flag,
        "false",
        "Starts without a look at the stream if the table has leases.",
    )
    .flag("skip_shard_sync_if_leases_exist", |settings, flag| settings.skip_shard_sync_if_leases_exist = flag),
    row(
        COORDINATION,
        "schedulerInitializationBackoffTimeMillis",
        Kind::Millis,
        "1000",
        "Wait between attempts to start.",
    )
    .time("initialization_backoff", |settings, time| settings.initialization_backoff = time),
    field(
        COORDINATION,
        "initialization_attempts_max",
        Kind::Count,
        "20",
        "Attempts to start before the worker gives up.",
    ),
    row(
        COORDINATION,
        "clientVersionConfig",
        Kind::Word(&[
            "CLIENT_VERSION_CONFIG_3X",
            "CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X",
            "CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X_PHASE1",
        ]),
        "CLIENT_VERSION_CONFIG_3X",
        "The KCL version whose fleets this worker gets on with.",
    )
    .since("3.0.0")
    .planned(MIGRATION),
    row(
        COORDINATION,
        "migrateAllEntitiesToLeaseTable",
        Kind::Flag,
        "false",
        "Keeps worker metrics and coordinator state in the lease table.",
    )
    .since("3.5.0")
    .planned(MIGRATION),
    row(
        COORDINATION,
        "tableMigrationCompleteBakeTimeSeconds",
        Kind::Seconds,
        "86400",
        "How long a fleet stays ready to go back to three tables.",
    )
    .since("3.5.0")
    .planned(MIGRATION),
    row(
        COORDINATION,
        "shardPrioritization",
        Kind::Class,
        "none",
        "Orders shards; a Java object, so no file can give it.",
    ),
    row(COORDINATION, "taskBackoffTimeMillis", Kind::Millis, "500", "First wait after a failed step of a shard.")
        .bounds(Bounds::AtLeast(10))
        .time("task_backoff", |settings, time| settings.task_backoff = time),
    row(COORDINATION, "logWarningForTaskAfterMillis", Kind::Millis, "off", "Warns of a step that takes longer.")
        .planned("deadlines of steps"),
    row(
        COORDINATION,
        "callProcessRecordsEvenForEmptyRecordList",
        Kind::Flag,
        "false",
        "Calls the processor for empty answers too.",
    )
    .flag("empty_batches", |settings, flag| settings.empty_batches = flag),
    field(
        COORDINATION,
        "processor_retries_max",
        Kind::Count,
        "",
        "Times a failed batch is given again before its shard stops; a failing child ends the daemon instead.",
    ),
    row(
        METRICS,
        "metricsBufferTimeMillis",
        Kind::Millis,
        "10000",
        "How long metrics are collected before they are sent.",
    )
    .planned(PUBLISH),
    row(METRICS, "metricsMaxQueueSize", Kind::Count, "10000", "Metrics waiting to be sent at most.").planned(PUBLISH),
    row(METRICS, "metricsLevel", Kind::Word(&["NONE", "SUMMARY", "DETAILED"]), "DETAILED", "Which metrics are sent.")
        .planned(PUBLISH),
    row(METRICS, "metricsEnabledDimensions", Kind::List, "ALL", "The dimensions metrics have.").planned(PUBLISH),
    row(
        RETRIEVAL,
        "retrievalMode",
        Kind::Word(&["DEFAULT", "POLLING", "FANOUT"]),
        "DEFAULT",
        "How records are fetched. DEFAULT polls until enhanced fan-out is built, FANOUT is refused.",
    )
    .since("2.1.0"),
    row(RETRIEVAL, "maxRecords", Kind::Count, "10000", "Records asked for in one GetRecords call.")
        .bean(POLLING_BEAN)
        .bounds(Bounds::AtMost(10_000))
        .size("records_per_call_max", |settings, records| settings.records_per_call_max = records),
    row(
        RETRIEVAL,
        "idleTimeBetweenReadsInMillis",
        Kind::Millis,
        "1500",
        "Wait between two GetRecords calls on a shard.",
    )
    .bean(POLLING_BEAN)
    .bounds(Bounds::RaisedTo(200))
    .time("idle_time_between_reads", |settings, time| settings.idle_time_between_reads = Some(time)),
    row(
        RETRIEVAL,
        "millisBehindLatestThresholdForReducedTps",
        Kind::Millis,
        "0",
        "A shard less far behind than this is read less often.",
    )
    .bean(POLLING_BEAN)
    .since("3.1.1")
    .planned("reduced reading of shards that are up to date"),
    row(RETRIEVAL, "retryGetRecordsInSeconds", Kind::Seconds, "", "Repeats a slow GetRecords.")
        .bean(POLLING_BEAN)
        .inert("KCL 3 does not use it"),
    row(RETRIEVAL, "maxGetRecordsThreadPool", Kind::Count, "", "Threads that repeat a slow GetRecords.")
        .bean(POLLING_BEAN)
        .inert("KCL 3 does not use it"),
    field(
        RETRIEVAL,
        "prefetch_bytes_max",
        Kind::Count,
        "",
        "Bytes fetched and not yet processed, over all shards of the worker.",
    ),
    fan_out("consumerArn", Kind::Text, "", "A consumer registered already."),
    fan_out("consumerName", Kind::Text, "the application's name", "The consumer to register."),
    fan_out("maxDescribeStreamSummaryRetries", Kind::Count, "10", "Attempts of DescribeStreamSummary."),
    fan_out("maxDescribeStreamConsumerRetries", Kind::Count, "10", "Attempts of DescribeStreamConsumer."),
    fan_out("registerStreamConsumerRetries", Kind::Count, "10", "Attempts of RegisterStreamConsumer."),
    fan_out("retryBackoffMillis", Kind::Millis, "1000", "Wait between them."),
];

const fn balance(property: &'static str, kind: Kind, java_default: &'static str, doc: &'static str) -> Row {
    row(ASSIGNMENT, property, kind, java_default, doc).bean(ASSIGNMENT_BEAN).since("3.0.0").planned(BALANCE)
}

const fn worker_table(property: &'static str, kind: Kind, java_default: &'static str, doc: &'static str) -> Row {
    row(WORKER_TABLE, property, kind, java_default, doc).bean(WORKER_TABLE_BEAN).since("3.0.0").planned(BALANCE)
}

const fn coordinator_table(property: &'static str, kind: Kind, java_default: &'static str, doc: &'static str) -> Row {
    row(COORDINATOR_TABLE, property, kind, java_default, doc)
        .bean(COORDINATOR_TABLE_BEAN)
        .since("3.0.0")
        .planned(BALANCE)
}

const fn fan_out(property: &'static str, kind: Kind, java_default: &'static str, doc: &'static str) -> Row {
    row(RETRIEVAL, property, kind, java_default, doc).bean(FAN_OUT_BEAN).since("2.1.0").planned(FAN_OUT)
}
