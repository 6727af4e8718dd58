"""A worker as a process: `kinetide consume` prints each record as a line of JSON, and checkpoints after what it printed."""

import json
import signal
import time

from harness.endpoint import STREAM
from harness.processes import KINETIDE, Process, clean_environment

APPLICATION = "failover"


class Worker(Process):
    """A running worker, with default settings; its journal is its standard output."""

    def __init__(self, folder, worker_id, endpoint):
        command = [KINETIDE, "consume", STREAM, "--application", APPLICATION, "--worker-id", worker_id]
        command += ["--output", "json", "--log-level", "info"]
        self.id = worker_id
        self.started_at = time.monotonic()
        super().__init__(folder, command, {**clean_environment(), **endpoint.variables})

    @property
    def journal(self):
        return self.stdout_log

    def kill(self):
        """SIGKILL, to this one process; when."""
        at = time.monotonic()
        self._process.kill()
        self._process.wait()
        return at

    def ask_to_stop(self):
        """SIGTERM, without waiting; when."""
        at = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        return at


def read_line(line):
    """Shard, sequence number and number of the record that a worker printed."""
    record = json.loads(line)
    return record["shard"], int(record["sequenceNumber"]), int(record["data"])
