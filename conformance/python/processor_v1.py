"""A record processor for version 1 of the amazon_kclpy interface: bare arguments, base64 data, no sub-sequence numbers."""

import base64

from amazon_kclpy import kcl

from audit import CHECKPOINT_EVERY, Audit

# What version 1 calls by its reason, in the words of the audit trail.
SHUTDOWN_EVENTS = {"ZOMBIE": "lease_lost", "TERMINATE": "shard_ended"}


class RecordProcessor(kcl.RecordProcessorBase):
    def __init__(self):
        self._audit = Audit()
        self._seen = 0

    def initialize(self, shard_id):
        self._audit.write("initialize", shard=shard_id)

    def process_records(self, records, checkpointer):
        for record in records:
            self._audit.write(
                "record",
                number=int(base64.b64decode(record.get("data"))),
                key=record.get("partitionKey"),
                sequence=record.get("sequenceNumber"),
                arrival=record.get("approximateArrivalTimestamp") / 1000,
            )
            self._seen += 1
            if self._seen % CHECKPOINT_EVERY == 0:
                self._checkpoint(checkpointer, record.get("sequenceNumber"))

    def _checkpoint(self, checkpointer, sequence=None):
        self._audit.write("checkpoint", sequence=sequence)
        checkpointer.checkpoint(sequence)
        self._audit.write("checkpointed", sequence=sequence)

    def shutdown(self, checkpointer, reason):
        self._audit.write(SHUTDOWN_EVENTS[reason])
        if reason == "TERMINATE":
            self._checkpoint(checkpointer)

    def shutdown_requested(self, checkpointer):
        self._audit.write("shutdown_requested")
        self._checkpoint(checkpointer)

    def end(self):
        self._audit.write("end")


if __name__ == "__main__":
    record_processor = RecordProcessor()
    kcl.KCLProcess(record_processor).run()
    record_processor.end()
