"""One application on one stream: the embedded endpoint, workers that join, stop and die, a load, and the journals.

Every wait has an end, and every process has one too, however the block ends.
"""

import time
from contextlib import contextmanager
from datetime import datetime, timezone

from harness.endpoint import Endpoint
from harness.waiting import wait_until
from measure.audit import audit
from measure.journals import Journals
from measure.load import Producer
from measure.workers import APPLICATION, Worker

BALANCE_SECONDS = 40
SETTLED_SECONDS = 2  # more than two looks at the lease table: who lost a lease knows it by then
FLOW_SECONDS = 20
DRAIN_SECONDS = 40
STDERR_SHOWN = 2000


class LeaseEndpoint(Endpoint):
    """The endpoint, with a view of who owns what."""

    def kinesis(self):
        return self._kinesis

    def owners(self):
        """The owner of each shard's lease, or None."""
        try:
            items = self._dynamodb.scan(TableName=APPLICATION, ConsistentRead=True)["Items"]
        except self._dynamodb.exceptions.ResourceNotFoundException:
            return {}
        leases = [item for item in items if item["leaseKey"]["S"].startswith("shardId-")]
        return {lease["leaseKey"]["S"]: lease.get("leaseOwner", {}).get("S") for lease in leases}


class Fleet:
    def __init__(self, folder, endpoint, shards):
        self._folder, self._endpoint, self._shards = folder, endpoint, shards
        self._wall = time.time() - time.monotonic()
        self.journals = Journals()
        self.producer = Producer(endpoint.kinesis())
        self.workers = []
        self.alive = []

    @classmethod
    @contextmanager
    def start(cls, folder, shards):
        """A fresh stream of so many shards, and no worker yet."""
        with LeaseEndpoint.start(folder / "endpoint", shards) as endpoint:
            fleet = cls(folder, endpoint, shards)
            fleet.journals.start()
            try:
                yield fleet
            finally:
                fleet._close()

    def _close(self):
        for worker in self.workers:
            worker.kill_family()
        self.producer.halt()
        self.journals.stop()
        self._tell_disturbances()
        with (self._folder / "journal.csv").open("w") as file:
            file.write("time,worker,shard,number,sequence,is_first\n")
            for seen in self.journals.seen:
                fields = self.clock(seen.at), seen.worker, seen.shard, seen.number, seen.sequence, int(seen.is_first)
                file.write(",".join(map(str, fields)) + "\n")

    def _tell_disturbances(self):
        """A machine that is busy with something else shows here."""
        pauses = self.producer.longest_pause(), self.journals.longest_pause
        self.tell("the longest pauses were %.3f s of the load for a shard, %.3f s of the look at journals" % pauses)

    def clock(self, at):
        """A moment as the workers' logs write it."""
        return datetime.fromtimestamp(at + self._wall, timezone.utc).strftime("%H:%M:%S.%f")[:-3]

    def tell(self, event, at=None):
        """A line of the run's story, kept beside its logs."""
        with (self._folder / "story.txt").open("a") as file:
            file.write(f"{self.clock(at or time.monotonic())} {event}\n")

    # Steps

    def join(self, how_many=1):
        """Starts workers; each has an id that no worker had before it."""
        joined = []
        for _ in range(how_many):
            worker_id = f"worker-{len(self.workers) + 1}"
            worker = Worker(self._folder / worker_id, worker_id, self._endpoint)
            self.workers.append(worker)
            self.alive.append(worker)
            self.journals.follow(worker)
            self.tell(f"started {worker_id}", worker.started_at)
            joined.append(worker)
        return joined

    def kill(self, worker):
        """SIGKILL; when."""
        self.alive.remove(worker)
        at = worker.kill()
        self.tell(f"killed {worker.id}", at)
        return at

    def ask_to_stop(self, worker):
        """SIGTERM; when."""
        self.alive.remove(worker)
        at = worker.ask_to_stop()
        self.tell(f"asked {worker.id} to stop", at)
        return at

    def until_stopped(self, worker):
        """Until a worker that was asked to has ended well, and owns nothing."""
        status = worker.wait(DRAIN_SECONDS, f"the end of {worker.id}")
        self.tell(f"{worker.id} has ended with {status}")
        assert status == 0, f"{worker.id} ended with {status}: {end_of(worker)}"
        kept = self.shards_of(worker)
        assert not kept, f"{worker.id} ended and still owns {kept}"

    def begin_load(self):
        self.producer.start()
        self.tell("began the load")

    def end(self):
        """Ends the load, waits until all that was acknowledged is processed, or no more comes, and stops all workers; the
        audit of everything.
        """
        if self.producer.is_alive():
            self.producer.stop()
        self.tell(f"ended the load after {self.producer.count} records")
        try:
            self._until(lambda: len(self.journals.distinct) >= self.producer.count, DRAIN_SECONDS, "the last records")
        except AssertionError as error:
            self.tell(str(error))  # the audit counts what is missing
        last = list(self.alive)
        for worker in last:
            self.ask_to_stop(worker)
        for worker in last:
            self.until_stopped(worker)
        self.journals.stop()
        self.journals.raise_error()
        result = audit(self.producer.shards, self.journals.seen)
        self.tell(f"lost {len(result.lost)}, duplicates {result.duplicates}, strange {len(result.strange)}")
        assert not result.strange, f"processed what was not put: {result.strange[:3]}"
        return result

    # What is

    def shards_of(self, worker):
        return sorted(shard for shard, owner in self._endpoint.owners().items() if owner == worker.id)

    def until_balanced(self):
        """Every lease is owned, no worker has two more than another, and it stays so."""
        since = None

        def done():
            nonlocal since
            owners = list(self._endpoint.owners().values())
            counts = [owners.count(worker.id) for worker in self.alive]
            is_balanced = len(owners) == sum(counts) == self._shards and max(counts) - min(counts) <= 1
            since = (since or time.monotonic()) if is_balanced else None
            return since and time.monotonic() - since >= SETTLED_SECONDS

        self._until(done, BALANCE_SECONDS, lambda: f"balance: {self._endpoint.owners()}")
        self.tell(f"balanced: {self._endpoint.owners()}", since)

    def until_flowing(self):
        """Every shard's owner processes records that are put from now on."""
        number = self.producer.next_number
        owners = self._endpoint.owners()
        workers = {worker.id: worker for worker in self.alive}

        def done():
            return all(self.journals.first_fresh(workers[owner], shard, number) for shard, owner in owners.items())

        self._until(done, FLOW_SECONDS, "records of every shard to flow")
        self.tell("records flow")

    def until_processed(self, worker, shards, seconds, number=0):
        """When the worker processed a new record of each shard, one from this number on: shard to moment."""

        def done():
            firsts = {shard: self.journals.first_fresh(worker, shard, number) for shard in shards}
            return firsts if all(firsts.values()) else None

        firsts = self._until(done, seconds, f"{worker.id} to process {shards}")
        for shard, at in firsts.items():
            self.tell(f"{worker.id} processes {shard}", at)
        return firsts

    def until_any(self, seconds):
        """Until anybody has processed anything."""
        self._until(lambda: self.journals.seen, seconds, "the first record")

    def _until(self, condition, seconds, what):
        """Waits, unless something is wrong already."""

        def done():
            self.producer.raise_error()
            self.journals.raise_error()
            for worker in self.alive:
                assert worker.exit_status is None, f"{worker.id} ended with {worker.exit_status}: {end_of(worker)}"
            return condition()

        return wait_until(done, seconds, what)


def end_of(worker):
    return worker.stderr_log.read_text(errors="replace")[-STDERR_SHOWN:]
