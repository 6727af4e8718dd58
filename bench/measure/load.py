"""The load: numbered records at a steady rate, and what PutRecords acknowledged of them."""

import threading
import time

from harness.endpoint import PUT_BATCH, STREAM

KEYS = 100
RATE = 600
RATE_LEAST = 500
TICK_SECONDS = 0.1


class Producer(threading.Thread):
    """Puts the numbers from 0 on, one call at a time, until it is told to stop; catches up if it fell behind."""

    def __init__(self, kinesis):
        super().__init__(name="producer", daemon=True)
        self._kinesis = kinesis
        self._stopped = threading.Event()
        self._error = None
        self._began = self._ended = None
        self.next_number = 0  # numbers from here on were not yet put
        self.shards = {}  # shard: {sequence: number}, as acknowledged
        self.times = {}  # shard: when each call with records for it was answered
        self.count = 0  # acknowledged

    def run(self):
        self._began = time.monotonic()
        try:
            while not self._stopped.wait(TICK_SECONDS):
                due = int((time.monotonic() - self._began) * RATE) - self.count
                self.put(min(due, PUT_BATCH))
        except Exception as error:  # told on the bench's own thread
            self._error = error
        self._ended = time.monotonic()

    def put(self, count):
        """One call; every record must be stored."""
        numbers = range(self.next_number, self.next_number + count)
        if not numbers:
            return
        self.next_number += count
        entries = [{"Data": str(number).encode(), "PartitionKey": f"key-{number % KEYS}"} for number in numbers]
        answers = self._kinesis.put_records(StreamName=STREAM, Records=entries)["Records"]
        at = time.monotonic()
        for number, answer in zip(numbers, answers, strict=True):
            if "ErrorCode" in answer:
                raise AssertionError(f"the endpoint refused record {number}: {answer}")
            self.shards.setdefault(answer["ShardId"], {})[int(answer["SequenceNumber"])] = number
        for shard in {answer["ShardId"] for answer in answers}:
            self.times.setdefault(shard, []).append(at)
        self.count += count

    def longest_pause(self):
        """The longest time in which a shard got no record: a gap in the processing cannot be shorter."""
        pauses = [later - at for times in self.times.values() for at, later in zip(times, times[1:])]
        return max(pauses, default=0)

    def raise_error(self):
        if self._error:
            raise self._error

    def halt(self):
        self._stopped.set()
        if self.is_alive():
            self.join()

    def stop(self):
        """Ends the load; the rate must have been kept."""
        self.halt()
        self.raise_error()
        rate = self.count / (self._ended - self._began)
        assert rate >= RATE_LEAST, f"the load was {rate:.0f} records/s, not {RATE}"
