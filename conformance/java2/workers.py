"""The workers of a mixed fleet, each with the journal that its processors keep outside the process."""

import json
import os
from pathlib import Path
from typing import NamedTuple

from harness.endpoint import STREAM
from harness.processes import KINETIDE, Process, clean_environment

INSTALLED = Path(os.environ["CONFORMANCE_WORK"], "java2")

JAVA, KINETIDE_KIND = "java", "kinetide"

# Several of these run on two cores: small heaps, and no more compiler than they need.
JVM_FLAGS = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


class Seen(NamedTuple):
    """A record, as a processor wrote it down."""

    shard: str
    sequence: int
    sub_sequence: int
    number: int
    key: str


class Began(NamedTuple):
    """A processor was initialised: it is told where to go on."""

    shard: str
    checkpoint: str
    sub_sequence: int


class Worker(Process):
    """A worker process that can be killed by its id, and a journal that is read as far as it is written."""

    kind: str
    journal: Path

    def __init__(self, folder, worker_id, command, environment):
        super().__init__(folder, command, environment)
        self.id = worker_id

    def kill(self):
        """SIGKILL, to this one process."""
        self._process.kill()
        self._process.wait()


class JavaWorker(Worker):
    kind = JAVA

    def __init__(self, folder, worker_id, endpoint, application, version):
        self.journal = folder / "journal.csv"
        variables = endpoint.variables
        # The endpoint is an option of the worker; nothing else may lead it there.
        kept = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        environment = {**clean_environment(), **{name: variables[name] for name in kept}}
        properties = {
            "endpoint": endpoint.url,
            "region": variables["AWS_REGION"],
            "stream": STREAM,
            "application": application,
            "worker": worker_id,
            "journal": self.journal,
            "org.slf4j.simpleLogger.showDateTime": "true",
            "org.slf4j.simpleLogger.dateTimeFormat": "HH:mm:ss.SSS",
        }
        options = [f"-D{name}={value}" for name, value in properties.items()]
        super().__init__(folder, worker_id, java(version, f"WorkerV{version}", *options), environment)

    @staticmethod
    def read_line(line):
        if line.startswith("#"):
            event, shard, sequence, sub_sequence, _ = line[1:].split(",")
            return Began(shard, sequence, int(sub_sequence)) if event == "initialize" else None
        shard, sequence, sub_sequence, number, key, _ = line.split(",")
        return Seen(shard, int(sequence), int(sub_sequence), int(number), key)


class KinetideWorker(Worker):
    kind = KINETIDE_KIND

    def __init__(self, folder, worker_id, endpoint, application):
        command = [KINETIDE, "consume", STREAM, "--application", application, "--worker-id", worker_id]
        command += ["--from", "trim-horizon", "--output", "json", "--log-level", "info"]
        super().__init__(folder, worker_id, command, {**clean_environment(), **endpoint.variables})
        self.journal = self.stdout_log

    @staticmethod
    def read_line(line):
        record = json.loads(line)
        return Seen(
            record["shard"],
            int(record["sequenceNumber"]),
            record["subSequenceNumber"],
            int(record["data"]),
            record["partitionKey"],
        )


def java(version, main_class, *options):
    """The command that runs a class of this suite with the KCL of this version."""
    class_path = (INSTALLED / f"v{version}.classpath").read_text().strip()
    return ["java", *JVM_FLAGS, *options, "-cp", class_path, f"conformance.{main_class}"]
