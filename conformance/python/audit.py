"""An audit trail: what a record processor was told and did, one JSON object per line, one file per process."""

import json
import os

CHECKPOINT_EVERY = 100


class Audit:
    """Writes the trail; each line is on its way to the disk before the next thing happens."""

    def __init__(self):
        self._file = open(os.path.join(os.environ["JOURNAL_DIR"], f"{os.getpid()}.jsonl"), "a", buffering=1)

    def write(self, event, **facts):
        self._file.write(json.dumps({"event": event, **facts}) + "\n")

    def record(self, record):
        self.write(
            "record",
            number=int(record.binary_data),
            key=record.partition_key,
            sequence=record.sequence_number,
            sub_sequence=record.sub_sequence_number,
            arrival=record.approximate_arrival_timestamp.timestamp(),
        )
