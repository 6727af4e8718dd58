package conformance;

import com.amazonaws.auth.DefaultAWSCredentialsProviderChain;
import com.amazonaws.services.kinesis.clientlibrary.exceptions.InvalidStateException;
import com.amazonaws.services.kinesis.clientlibrary.exceptions.ShutdownException;
import com.amazonaws.services.kinesis.clientlibrary.exceptions.ThrottlingException;
import com.amazonaws.services.kinesis.clientlibrary.interfaces.IRecordProcessorCheckpointer;
import com.amazonaws.services.kinesis.clientlibrary.interfaces.v2.IRecordProcessor;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.InitialPositionInStream;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.KinesisClientLibConfiguration;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.ShutdownReason;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.Worker;
import com.amazonaws.services.kinesis.clientlibrary.types.InitializationInput;
import com.amazonaws.services.kinesis.clientlibrary.types.ProcessRecordsInput;
import com.amazonaws.services.kinesis.clientlibrary.types.ShutdownInput;
import com.amazonaws.services.kinesis.clientlibrary.types.UserRecord;
import com.amazonaws.services.kinesis.metrics.interfaces.MetricsLevel;
import com.amazonaws.services.kinesis.model.Record;
import java.nio.charset.StandardCharsets;

/** A KCL 1.x worker with its default settings, but for metrics and the initial position. */
public final class WorkerV1 {
    public static void main(String[] args) {
        Settings settings = Settings.read();
        Journal journal = new Journal(settings.journal());
        KinesisClientLibConfiguration configuration = new KinesisClientLibConfiguration(
                        settings.application(),
                        settings.stream(),
                        new DefaultAWSCredentialsProviderChain(),
                        settings.worker())
                .withKinesisEndpoint(settings.endpoint())
                .withDynamoDBEndpoint(settings.endpoint())
                .withRegionName(settings.region())
                .withInitialPositionInStream(InitialPositionInStream.TRIM_HORIZON)
                .withMetricsLevel(MetricsLevel.NONE);
        Worker worker = new Worker.Builder()
                .recordProcessorFactory(() -> new Processor(journal))
                .config(configuration)
                .build();
        worker.run();
    }

    private static final class Processor implements IRecordProcessor {
        private final Journal journal;
        private String shard;

        Processor(Journal journal) {
            this.journal = journal;
        }

        @Override
        public void initialize(InitializationInput input) {
            shard = input.getShardId();
            journal.event(
                    "initialize",
                    shard,
                    input.getExtendedSequenceNumber().getSequenceNumber(),
                    input.getExtendedSequenceNumber().getSubSequenceNumber());
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            Journal.Lines lines = new Journal.Lines();
            for (Record record : input.getRecords()) {
                long subSequence = record instanceof UserRecord user ? user.getSubSequenceNumber() : 0;
                String number = StandardCharsets.UTF_8.decode(record.getData()).toString();
                lines.record(shard, record.getSequenceNumber(), subSequence, number, record.getPartitionKey());
            }
            journal.write(lines);
            checkpoint(input.getCheckpointer());
        }

        @Override
        public void shutdown(ShutdownInput input) {
            if (input.getShutdownReason() == ShutdownReason.TERMINATE) {
                journal.event("shard-ended", shard);
                checkpoint(input.getCheckpointer());
            } else {
                journal.event("lease-lost", shard);
            }
        }

        private void checkpoint(IRecordProcessorCheckpointer checkpointer) {
            try {
                checkpointer.checkpoint();
            } catch (ShutdownException lost) {
                journal.event("checkpoint-refused", shard);
            } catch (InvalidStateException | ThrottlingException error) {
                throw new IllegalStateException(error);
            }
        }
    }
}
