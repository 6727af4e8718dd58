"""A mixed fleet on one stream and one lease table: workers that join, balance and are killed, while records flow.

What a step finds wrong goes into `faults`, and the scenario goes on: one run tells everything there is to tell.
"""

import json
import time
from contextlib import contextmanager

import boto3
from botocore.config import Config

from harness.endpoint import STREAM, Endpoint
from harness.waiting import wait_until
from java2.load import Producer
from java2.watch import Watch, checkpoint, counts, is_finished, open_rows, owner
from java2.workers import JAVA, KINETIDE_KIND, JavaWorker, KinetideWorker

FAILOVER_SECONDS = 10
TAKER_SECONDS = 20
KINETIDE_TAKES_SECONDS = FAILOVER_SECONDS + 1
JAVA_TAKES_SECONDS = 2 * TAKER_SECONDS + 2

START_SECONDS = 240  # an empty table: KCL waits up to 30 s, lists the shards, and sleeps another 60 s
STEAL_SECONDS = 30  # a Java worker steals one lease in a taker interval of 20 s
GIVE_UP_SECONDS = 90
DRAIN_SECONDS = 60

APPLICATION = "orders-mixed"


class Fleet:
    def __init__(self, folder, endpoint, java_version, rate):
        self._folder, self._endpoint, self._java_version = folder, endpoint, java_version
        self._kinesis = client(endpoint, "kinesis")
        self.workers = {}
        self.alive = {}
        self.faults = []
        self.story = []
        self.watch = Watch(client(endpoint, "dynamodb"), APPLICATION)
        self.producer = Producer(self._kinesis, folder / "acknowledged.csv", rate)

    @classmethod
    @contextmanager
    def on_a_fresh_stream(cls, folder, shards, java_version, rate):
        with Endpoint.start(folder / "endpoint", shards) as endpoint:
            fleet = cls(folder, endpoint, java_version, rate)
            fleet.watch.start()
            fleet.producer.start()
            try:
                yield fleet
            finally:
                for worker in fleet.workers.values():
                    worker.kill_family()

    def tell(self, event, **facts):
        """A line of the run's story, kept beside its logs."""
        line = {"at": self.watch.clock(time.monotonic()), "event": event, **facts}
        self.story.append(line)
        with (self._folder / "story.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    # Steps

    def join(self, kind, how_many):
        """Starts workers of one kind."""
        present = sum(worker.kind == kind for worker in self.workers.values())
        for number in range(present, present + how_many):
            worker_id = f"{kind}-{number}"
            folder = self._folder / worker_id
            if kind == JAVA:
                worker = JavaWorker(folder, worker_id, self._endpoint, APPLICATION, self._java_version)
            else:
                worker = KinetideWorker(folder, worker_id, self._endpoint, APPLICATION)
            self.workers[worker_id] = self.alive[worker_id] = worker
            self.watch.follow(worker)
        self.tell("joined", kind=kind, workers=how_many)

    def until_all_are_processed(self, seconds=START_SECONDS):
        """Every open shard is owned by a living worker, and got its first checkpoint."""

        def done():
            rows = open_rows(self._rows())
            return set(self.open_shards()) <= rows.keys() and all(
                owner(row) in self.alive and checkpoint(row).isdigit() for row in rows.values()
            )

        self._until(done, seconds, "every open shard to be owned and processed")
        self.tell("all processed", owned=counts(self._rows(), self.alive))

    def until_balanced(self):
        """No worker owns two leases more than another, and every lease is owned."""

        def done():
            owned = counts(self._rows(), self.alive)
            return None not in owned and max(owned.values()) - min(owned.values()) <= 1

        most = max(counts(self._rows(), self.alive).values())
        self._until(done, START_SECONDS + most * STEAL_SECONDS, "balance")
        self.tell("balanced", owned=counts(self._rows(), self.alive))

    def kill(self, kind):
        """Kills the worker of this kind with the most leases; its shards must be owned again in time."""
        owned = counts(self._rows(), self.alive)
        victim = max((worker for worker in self.alive.values() if worker.kind == kind), key=lambda each: owned[each.id])
        del self.alive[victim.id]
        victim.kill()
        killed_at = time.monotonic()
        look = self._until(lambda: self._first_look_after(killed_at), GIVE_UP_SECONDS, "a look")
        orphans = {key for key, row in open_rows(look.rows).items() if owner(row) == victim.id}
        fast = min(len(orphans), self._room_of_kinetide(look.rows, len(self.alive)))
        self.tell("killed", worker=victim.id, shards=len(orphans), kinetide_can_take=fast)
        self._until(lambda: self._owned_again(orphans, self._rows()), GIVE_UP_SECONDS, f"{sorted(orphans)} to be owned")
        took = self._takeovers(orphans, killed_at)
        seconds = sorted(took.values())
        self.tell("owned again", seconds={key: round(value, 1) for key, value in took.items()},
                  by={key: owner(self._rows()[key]) for key in orphans})
        if fast and seconds[fast - 1] > KINETIDE_TAKES_SECONDS:
            self.faults.append(
                f"after the death of {victim.id}, Kinetide had room for {fast} of its {len(orphans)} shards, which must be"
                f" owned again within {KINETIDE_TAKES_SECONDS} s; it took {[round(value, 1) for value in seconds]} s"
            )
        if seconds[-1] > JAVA_TAKES_SECONDS:
            self.faults.append(
                f"after the death of {victim.id}, its shards must be owned again within {JAVA_TAKES_SECONDS} s;"
                f" it took {[round(value, 1) for value in seconds]} s"
            )

    def reshard(self):
        """Splits a shard of either kind, and merges two neighbours, if there are any left; until the children are read."""
        rows = self._rows()
        shards = sorted(self.open_shards().values(), key=lambda shard: start(shard))
        parents = set()
        for kind in (JAVA, KINETIDE_KIND):
            of_kind = [shard for shard in shards if self.kind_of(owner(rows[shard["ShardId"]])) == kind]
            if of_kind:
                self._split(of_kind[0])
                parents.add(of_kind[0]["ShardId"])
        left = [
            (one["ShardId"], two["ShardId"])
            for one, two in zip(shards, shards[1:])
            if not {one["ShardId"], two["ShardId"]} & parents
        ]
        # Best a pair that two kinds must finish together.
        left.sort(key=lambda pair: len({self.kind_of(owner(rows[key])) for key in pair}), reverse=True)
        if left:
            one, two = left[0]
            self._kinesis.merge_shards(StreamName=STREAM, ShardToMerge=one, AdjacentShardToMerge=two)
            self._until_active()
            parents |= {one, two}
        self.tell("resharded", parents={key: owner(rows[key]) for key in parents})

        def done():
            current = self._rows()
            return all(key not in current or is_finished(current[key]) for key in parents)

        self._until(done, GIVE_UP_SECONDS, f"the parents {sorted(parents)} to be finished")
        self.until_all_are_processed(GIVE_UP_SECONDS)

    def end(self, load_seconds):
        """Ends the load, waits until all of it is checkpointed, and stops the workers."""
        time.sleep(max(0, load_seconds - self.producer.seconds))
        self.producer.stop()
        self.tell("load ended", records=self.producer.count, seconds=round(self.producer.seconds))
        last = {shard: max(records) for shard, records in self.producer.shards.items()}

        def done():
            rows = open_rows(self._rows())
            return all(checkpoint(row).isdigit() and int(checkpoint(row)) >= last.get(key, 0) for key, row in rows.items())

        try:
            self._until(done, DRAIN_SECONDS, "everything to be checkpointed")
        except AssertionError as error:
            self.faults.append(str(error))
        self._stop()

    def _stop(self):
        """SIGTERM to the Kinetide workers, one by one: what each gives back is free, or somebody else's, at once."""
        for worker in [each for each in self.alive.values() if each.kind == KINETIDE_KIND]:
            del self.alive[worker.id]
            status = worker.terminate()
            ended_at = time.monotonic()
            look = wait_until(lambda: self._first_look_after(ended_at), GIVE_UP_SECONDS, "a look")
            kept = sorted(key for key, row in look.rows.items() if owner(row) == worker.id)
            self.tell("stopped", worker=worker.id, status=status, kept=kept)
            if kept or status != 0:
                self.faults.append(f"{worker.id} ended with {status}, and still owned {kept}")
        for worker in self.alive.values():
            worker.kill()
        self.watch.stop()

    # What is

    def kind_of(self, worker_id):
        return self.workers[worker_id].kind if worker_id in self.workers else None

    def all_shards(self):
        pages = self._kinesis.get_paginator("list_shards").paginate(StreamName=STREAM)
        return {shard["ShardId"]: shard for page in pages for shard in page["Shards"]}

    def open_shards(self):
        shards = self.all_shards().items()
        return {key: shard for key, shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]}

    def _rows(self):
        self.producer.raise_error()
        return self.watch.rows

    def _until(self, condition, seconds, what):
        def checked():
            dead = {worker.id: worker.exit_status for worker in self.alive.values() if worker.exit_status is not None}
            assert not dead, f"workers ended on their own: {dead}"
            time.sleep(0.1)
            return condition()

        return wait_until(checked, seconds, lambda: f"{what}; the table says {describe(self.watch.rows)}")

    def _first_look_after(self, moment):
        look = self.watch.looks[-1]
        return look if look.at > moment + 0.2 else None

    def _room_of_kinetide(self, rows, workers):
        """How many leases the Kinetide workers may take until they have their share."""
        owned = counts(rows, self.alive)
        leases = len(open_rows(rows))
        share = 1 if workers >= leases else -(-leases // workers)
        return sum(max(0, share - owned[each.id]) for each in self.alive.values() if each.kind == KINETIDE_KIND)

    def _owned_again(self, orphans, rows):
        return all(key not in rows or is_finished(rows[key]) or owner(rows[key]) in self.alive for key in orphans)

    def _takeovers(self, orphans, killed_at):
        """For each shard, the seconds from the kill to the last look that still finds it without a living owner.

        It got its owner before the next look, a tenth of a second later: it was certainly orphaned for that long.
        """
        looks = [look for look in self.watch.looks if look.at > killed_at]
        return {
            key: max((look.at - killed_at for look in looks if not self._owned_again({key}, look.rows)), default=0)
            for key in orphans
        }

    def _split(self, shard):
        low, high = start(shard), int(shard["HashKeyRange"]["EndingHashKey"])
        middle = str((low + high) // 2 + 1)
        self._kinesis.split_shard(StreamName=STREAM, ShardToSplit=shard["ShardId"], NewStartingHashKey=middle)
        self._until_active()

    def _until_active(self):
        def active():
            summary = self._kinesis.describe_stream_summary(StreamName=STREAM)
            return summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"

        wait_until(active, 20, "the stream to be active again")


def start(shard):
    return int(shard["HashKeyRange"]["StartingHashKey"])


def describe(rows):
    return {key: (owner(row), checkpoint(row), row["leaseCounter"]["N"]) for key, row in sorted(rows.items())}


def client(endpoint, service):
    return boto3.client(
        service,
        endpoint_url=endpoint.url,
        region_name=endpoint.variables["AWS_REGION"],
        aws_access_key_id=endpoint.variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=endpoint.variables["AWS_SECRET_ACCESS_KEY"],
        # An answer that is lost would leave records that nobody acknowledged: then the run is void.
        config=Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 1}),
    )
