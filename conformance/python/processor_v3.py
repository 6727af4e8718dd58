"""A record processor for version 3 of the amazon_kclpy interface: it checkpoints every so many records."""

from amazon_kclpy import kcl
from amazon_kclpy.v3 import processor

from audit import CHECKPOINT_EVERY, Audit


class RecordProcessor(processor.RecordProcessorBase):
    def __init__(self):
        self._audit = Audit()
        self._seen = 0

    def initialize(self, initialize_input):
        self._audit.write(
            "initialize",
            shard=initialize_input.shard_id,
            sequence=initialize_input.sequence_number,
            sub_sequence=initialize_input.sub_sequence_number,
        )

    def process_records(self, process_records_input):
        self._audit.write("batch", millis_behind_latest=process_records_input.millis_behind_latest)
        for record in process_records_input.records:
            self._audit.record(record)
            self._seen += 1
            if self._seen % CHECKPOINT_EVERY == 0:
                self._checkpoint(
                    process_records_input.checkpointer, record.sequence_number, record.sub_sequence_number
                )

    def _checkpoint(self, checkpointer, sequence=None, sub_sequence=None):
        self._audit.write("checkpoint", sequence=sequence)
        checkpointer.checkpoint(sequence, sub_sequence)
        self._audit.write("checkpointed", sequence=sequence)

    def lease_lost(self, lease_lost_input):
        self._audit.write("lease_lost")

    def shard_ended(self, shard_ended_input):
        self._audit.write("shard_ended")
        self._checkpoint(shard_ended_input.checkpointer)

    def shutdown_requested(self, shutdown_requested_input):
        self._audit.write("shutdown_requested")
        self._checkpoint(shutdown_requested_input.checkpointer)

    def end(self):
        self._audit.write("end")


if __name__ == "__main__":
    record_processor = RecordProcessor()
    kcl.KCLProcess(record_processor).run()
    record_processor.end()
