"""The load: numbered records at a steady rate, and what PutRecords acknowledged of them."""

import threading
import time
from typing import NamedTuple

from harness.endpoint import STREAM, partition_key

BATCH = 50
BATCH_MAX = 500
RATE_SHORTFALL = 0.05


class Acknowledged(NamedTuple):
    number: int
    key: str


class Producer(threading.Thread):
    """Puts the numbers from 0 on under many keys, until it is told to stop; keeps pace if it fell behind."""

    def __init__(self, kinesis, file, rate):
        super().__init__(name="producer", daemon=True)
        self._kinesis, self._file, self._rate = kinesis, file, rate
        self._stopped = threading.Event()
        self._error = None
        self._began = self._ended = None
        self.shards = {}  # shard: {sequence: Acknowledged}
        self.count = 0

    @property
    def seconds(self):
        return (self._ended or time.monotonic()) - self._began

    def run(self):
        self._began = time.monotonic()
        try:
            with self._file.open("w", encoding="utf-8") as file:
                while not self._stopped.is_set():
                    self._put_what_is_due(file)
        except Exception as error:  # told by stop(), on the test's own thread
            self._error = error
        self._ended = time.monotonic()

    def _put_what_is_due(self, file):
        due = int(self.seconds * self._rate) - self.count
        if due < BATCH:
            time.sleep((BATCH - due) / self._rate)
            return
        numbers = range(self.count, self.count + min(due, BATCH_MAX))
        entries = [{"Data": str(number).encode(), "PartitionKey": partition_key(number)} for number in numbers]
        answers = self._kinesis.put_records(StreamName=STREAM, Records=entries)["Records"]
        for number, answer in zip(numbers, answers, strict=True):
            if "ErrorCode" in answer:
                raise AssertionError(f"the endpoint refused record {number}: {answer}")
            shard, sequence, key = answer["ShardId"], int(answer["SequenceNumber"]), partition_key(number)
            self.shards.setdefault(shard, {})[sequence] = Acknowledged(number, key)
            file.write(f"{shard},{sequence},{number},{key}\n")
        file.flush()
        self.count += len(numbers)

    def raise_error(self):
        if self._error:
            raise self._error

    def stop(self):
        """Ends the load; the rate must have been kept."""
        self._stopped.set()
        self.join()
        self.raise_error()
        least = self._rate * (1 - RATE_SHORTFALL)
        rate = self.count / self.seconds
        assert rate >= least, f"the load was {rate:.0f} records/s, not {self._rate}"
