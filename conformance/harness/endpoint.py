"""Kinesis and DynamoDB for one test: `kinetide local` on a free port, filled and inspected with boto3."""

import shlex
from contextlib import contextmanager
from dataclasses import dataclass

import boto3
from botocore.config import Config

from harness.processes import KINETIDE, Process, clean_environment
from harness.waiting import wait_until

STREAM = "orders"
PUT_BATCH = 500  # what PutRecords takes
KEYS = 997
READY_SECONDS = 20


@dataclass(frozen=True)
class Put:
    """A record as the stream took it; equal to what a processor must see."""

    number: int
    key: str
    sequence: str


class Endpoint:
    """A running endpoint, by the variables it announced."""

    def __init__(self, variables):
        self.variables = variables
        self.url = variables["AWS_ENDPOINT_URL"]
        self._kinesis, self._dynamodb = self._client("kinesis"), self._client("dynamodb")

    @classmethod
    @contextmanager
    def start(cls, folder, shards):
        """Serves one stream until the end of the block, and then ends as asked."""
        command = [KINETIDE, "local", "--port", "0", "--stream", f"{STREAM}:{shards}"]
        process = Process(folder, command, clean_environment())
        try:
            yield cls(wait_until(lambda: announced(process), READY_SECONDS, "kinetide local to announce itself"))
            assert process.terminate() == 0
        finally:
            process.kill_family()

    def _client(self, service):
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=self.variables["AWS_REGION"],
            aws_access_key_id=self.variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.variables["AWS_SECRET_ACCESS_KEY"],
            config=Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 3}),
        )

    def put_numbers(self, count):
        """Puts the numbers from 0 on under many keys, some of them not ASCII; the records of each shard in its order."""
        shards = {}
        for start in range(0, count, PUT_BATCH):
            waiting = list(range(start, min(start + PUT_BATCH, count)))
            while waiting:
                waiting = self._put_some(waiting, shards)
        for records in shards.values():
            records.sort(key=lambda put: int(put.sequence))
        return shards

    def _put_some(self, numbers, shards):
        """Puts one batch; the numbers that the stream refused."""
        entries = [{"Data": str(number).encode(), "PartitionKey": partition_key(number)} for number in numbers]
        answers = self._kinesis.put_records(StreamName=STREAM, Records=entries)["Records"]
        refused = []
        for number, answer in zip(numbers, answers):
            if "ErrorCode" in answer:
                refused.append(number)
            else:
                put = Put(number, partition_key(number), answer["SequenceNumber"])
                shards.setdefault(answer["ShardId"], []).append(put)
        return refused

    def checkpoints(self, application):
        """What the lease table holds for each shard: the sequence number and the sub-sequence number."""
        items = self._dynamodb.scan(TableName=application, ConsistentRead=True)["Items"]
        leases = [item for item in items if item["leaseKey"]["S"].startswith("shardId-")]
        return {
            lease["leaseKey"]["S"]: (lease["checkpoint"]["S"], int(lease["checkpointSubSequenceNumber"]["N"]))
            for lease in leases
        }


def partition_key(number):
    key = number % KEYS
    return f"clé-{key}-ключ" if key % 10 == 0 else f"key-{key}"


def announced(process):
    """The variables among the `export` lines that `kinetide local` prints, once all of them are there."""
    assert process.exit_status is None, f"kinetide local ended: {process.stderr_log.read_text()}"
    lines = [shlex.split(line) for line in process.stdout_log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    variables = dict(words[1].split("=", 1) for words in lines if words[:1] == ["export"])
    wanted = {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    return variables if wanted <= variables.keys() else None
