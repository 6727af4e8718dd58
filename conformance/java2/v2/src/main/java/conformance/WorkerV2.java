package conformance;

import java.net.URI;
import java.nio.charset.StandardCharsets;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.common.KinesisClientUtil;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.MetricsLevel;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/** A KCL 2.x worker with its default settings, but for polling, metrics and the initial position. */
public final class WorkerV2 {
    public static void main(String[] args) {
        Settings settings = Settings.read();
        Journal journal = new Journal(settings.journal());
        URI endpoint = URI.create(settings.endpoint());
        Region region = Region.of(settings.region());
        KinesisAsyncClient kinesis = KinesisClientUtil.createKinesisAsyncClient(
                KinesisAsyncClient.builder().endpointOverride(endpoint).region(region));
        DynamoDbAsyncClient dynamo =
                DynamoDbAsyncClient.builder().endpointOverride(endpoint).region(region).build();
        CloudWatchAsyncClient cloudWatch =
                CloudWatchAsyncClient.builder().endpointOverride(endpoint).region(region).build();

        InitialPositionInStreamExtended position =
                InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);
        ConfigsBuilder configs = new ConfigsBuilder(
                new SingleStreamTracker(settings.stream(), position),
                settings.application(),
                kinesis,
                dynamo,
                cloudWatch,
                settings.worker(),
                () -> new Processor(journal));
        Scheduler scheduler = new Scheduler(
                configs.checkpointConfig(),
                configs.coordinatorConfig(),
                configs.leaseManagementConfig(),
                configs.lifecycleConfig(),
                configs.metricsConfig().metricsLevel(MetricsLevel.NONE).metricsFactory(new NullMetricsFactory()),
                configs.processorConfig(),
                configs.retrievalConfig()
                        .retrievalSpecificConfig(new PollingConfig(settings.stream(), kinesis)));
        scheduler.run();
    }

    private static final class Processor implements ShardRecordProcessor {
        private final Journal journal;
        private String shard;

        Processor(Journal journal) {
            this.journal = journal;
        }

        @Override
        public void initialize(InitializationInput input) {
            shard = input.shardId();
            journal.event(
                    "initialize",
                    shard,
                    input.extendedSequenceNumber().sequenceNumber(),
                    input.extendedSequenceNumber().subSequenceNumber());
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            Journal.Lines lines = new Journal.Lines();
            for (KinesisClientRecord record : input.records()) {
                String number = StandardCharsets.UTF_8.decode(record.data()).toString();
                lines.record(
                        shard, record.sequenceNumber(), record.subSequenceNumber(), number, record.partitionKey());
            }
            journal.write(lines);
            checkpoint(input.checkpointer());
        }

        @Override
        public void leaseLost(LeaseLostInput input) {
            journal.event("lease-lost", shard);
        }

        @Override
        public void shardEnded(ShardEndedInput input) {
            journal.event("shard-ended", shard);
            checkpoint(input.checkpointer());
        }

        @Override
        public void shutdownRequested(ShutdownRequestedInput input) {
            checkpoint(input.checkpointer());
        }

        private void checkpoint(RecordProcessorCheckpointer checkpointer) {
            try {
                checkpointer.checkpoint();
            } catch (ShutdownException lost) {
                journal.event("checkpoint-refused", shard);
            } catch (InvalidStateException error) {
                throw new IllegalStateException(error);
            }
        }
    }
}
