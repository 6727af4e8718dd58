"""Watches the lease table and the journals while a scenario runs: many times a second, with the time of each look."""

import threading
import time
from typing import NamedTuple

LOOK_SECONDS = 0.1
FINISHED = "SHARD_END"


class Look(NamedTuple):
    """The whole lease table at one moment."""

    at: float
    rows: dict


class Chunk(NamedTuple):
    """What was new in a journal at one look: it was written after the look before."""

    look: int
    data: bytes


class Watch(threading.Thread):
    def __init__(self, dynamodb, table):
        super().__init__(name="watch", daemon=True)
        self._dynamodb, self._table = dynamodb, table
        self._stopped = threading.Event()
        self._error = None
        self._files = {}
        self._began = time.monotonic()
        self.looks = [Look(self._began, {})]
        self.chunks = {}  # worker: [Chunk]

    def follow(self, worker):
        """Reads the worker's journal from now on."""
        self.chunks[worker] = []
        self._files[worker] = None

    def run(self):
        try:
            while not self._stopped.is_set():
                self._look()
                self._stopped.wait(LOOK_SECONDS)
            self._look()
        except Exception as error:  # told on the test's own thread
            self._error = error

    def _look(self):
        number = len(self.looks)
        rows = {item["leaseKey"]["S"]: item for item in self._scan()}
        for worker in list(self._files):
            self._read(worker, number)
        self.looks.append(Look(time.monotonic(), rows))

    def _scan(self):
        try:
            pages = self._dynamodb.get_paginator("scan").paginate(TableName=self._table, ConsistentRead=True)
            return [item for page in pages for item in page["Items"]]
        except self._dynamodb.exceptions.ResourceNotFoundException:
            return []

    def _read(self, worker, number):
        file = self._files[worker]
        if not file:
            if not worker.journal.exists():
                return
            file = self._files[worker] = worker.journal.open("rb")
        data = file.read()
        if data:
            self.chunks[worker].append(Chunk(number, data))

    @property
    def rows(self):
        """The table as it was seen last."""
        if self._error:
            raise self._error
        return self.looks[-1].rows

    def clock(self, at):
        """Seconds since the watch began, for people."""
        return round(at - self._began, 2)

    def stop(self):
        self._stopped.set()
        self.join()
        for file in self._files.values():
            if file:
                file.close()
        if self._error:
            raise self._error


def owner(row):
    """Who processes the shard: while a hand-off is pending, still the one it is asked of."""
    return row.get("checkpointOwner", row.get("leaseOwner", {})).get("S")


def next_owner(row):
    """Who waits for a pending hand-off."""
    return row["leaseOwner"]["S"] if "checkpointOwner" in row else None


def checkpoint(row):
    return row["checkpoint"]["S"]


def is_finished(row):
    return checkpoint(row) == FINISHED


def open_rows(rows):
    return {key: row for key, row in rows.items() if not is_finished(row)}


def counts(rows, workers):
    """How many unfinished leases each of these workers owns, and under None how many nobody of them does."""
    result = dict.fromkeys(workers, 0)
    for row in open_rows(rows).values():
        holder = owner(row) if owner(row) in result else None
        result[holder] = result.get(holder, 0) + 1
    return result
