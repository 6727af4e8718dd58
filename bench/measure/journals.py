"""What the workers printed, and when: all journals are read every few milliseconds while the processes run.

Times are this process's monotonic clock after the read, so a record is never noted earlier than it was printed.
"""

import threading
import time
from typing import NamedTuple

from measure.workers import read_line

LOOK_SECONDS = 0.005


class Seen(NamedTuple):
    """A record that a processor wrote down."""

    at: float
    worker: str
    shard: str
    sequence: int
    number: int
    is_first: bool  # nobody had processed it before


class Journals(threading.Thread):
    """Reads until it is stopped. Lists only grow, so other threads may look at them at any time."""

    def __init__(self):
        super().__init__(name="journals", daemon=True)
        self._stopped = threading.Event()
        self._error = None
        self._files = {}
        self._looked_at = None
        self.longest_pause = 0  # between two looks
        self.seen = []  # in the order of time
        self.distinct = set()  # (shard, sequence)
        self.fresh = {}  # (worker, shard): what this worker was the first to process

    def follow(self, worker):
        self._files = {**self._files, worker.id: [worker.journal.open("rb"), b""]}

    def run(self):
        try:
            while not self._stopped.wait(LOOK_SECONDS):
                self._look()
            self._look()
        except Exception as error:  # told on the bench's own thread
            self._error = error

    def _look(self):
        now = time.monotonic()
        self.longest_pause = max(self.longest_pause, now - (self._looked_at or now))
        self._looked_at = now
        for worker, state in self._files.items():
            file, rest = state
            data = file.read()
            if not data:
                continue
            at = time.monotonic()
            *lines, state[1] = (rest + data).split(b"\n")
            for line in lines:
                self._note(at, worker, *read_line(line))

    def _note(self, at, worker, shard, sequence, number):
        is_first = (shard, sequence) not in self.distinct
        seen = Seen(at, worker, shard, sequence, number, is_first)
        self.seen.append(seen)
        if is_first:
            self.distinct.add((shard, sequence))
            self.fresh.setdefault((worker, shard), []).append(seen)

    def first_fresh(self, worker, shard, number=0):
        """When this worker processed the first record of this shard that nobody had, from this number on; or None."""
        fresh = self.fresh.get((worker.id, shard), ())
        if not fresh or fresh[-1].number < number:
            return None
        return next(seen.at for seen in fresh if seen.number >= number)

    def raise_error(self):
        if self._error:
            raise self._error

    def stop(self):
        self._stopped.set()
        if self.is_alive():
            self.join()
        for file, _ in self._files.values():
            file.close()  # more than once does no harm
