"""`kinetide run` with somebody's record processor."""

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.endpoint import STREAM
from harness.journal import Journal
from harness.processes import KINETIDE, Process, clean_environment
from harness.waiting import wait_until

CHILDREN_GONE_SECONDS = 10

JAVA_TRAP = """#!/bin/sh
touch "$JAVA_TRAP_SPRUNG"
exit 97
"""


@dataclass
class Application:
    """A record processor as its author has it: a folder, a command that works there, and an environment."""

    name: str
    folder: Path
    executable: str
    language: str
    environment: dict = field(default_factory=dict)
    path: tuple = ()  # folders to look for programs in, before all others

    def properties(self, **settings):
        """The properties file its author would write."""
        return {
            "executableName": self.executable,
            "streamName": STREAM,
            "applicationName": self.name,
            "AwsCredentialsProvider": "DefaultCredentialsProvider",
            "processingLanguage": self.language,
            "initialPositionInStream": "TRIM_HORIZON",
            **settings,
        }


class Daemon:
    """A running daemon, its children, and what they saw."""

    def __init__(self, folder, application, properties, variables):
        journal = folder / "journal"
        self.journal = Journal(journal)
        self._java_trap_sprung = folder / "java-was-started"
        environment = {
            **clean_environment(),
            **variables,
            **application.environment,
            "JOURNAL_DIR": str(journal),
            "JAVA_TRAP_SPRUNG": str(self._java_trap_sprung),
        }
        path = [java_trap(folder / "bin"), *application.path, environment["PATH"]]
        environment["PATH"] = os.pathsep.join(str(entry) for entry in path)
        file = folder / "app.properties"
        file.write_text("".join(f"{key} = {value}\n" for key, value in properties.items()), encoding="iso-8859-1")
        self.process = Process(folder, [KINETIDE, "run", file], environment, cwd=application.folder)

    @classmethod
    @contextmanager
    def start(cls, *args, **kwargs):
        daemon = cls(*args, **kwargs)
        try:
            yield daemon
        finally:
            daemon.process.kill_family()

    def wait_for_records(self, count, seconds, *, shards=1):
        """Until the children saw this many records, in at least so many shards."""

        def progress():
            return f"{self.journal.records_seen()} records of {self.journal.shards_seen()} shards"

        def enough():
            journal = self.journal.refresh()
            if journal.records_seen() >= count and journal.shards_seen() >= shards:
                return True
            assert self.process.exit_status is None, f"the daemon ended after {progress()}"
            return False

        wait_until(enough, seconds, lambda: f"{count} records of {shards} shards, there are {progress()}")

    def stop(self):
        """SIGTERM; the exit status, once no process of this run is left and all journals are read."""
        status = self.process.terminate()
        wait_until(lambda: not self.process.family(), CHILDREN_GONE_SECONDS, lambda: f"{self.process.family()} to end")
        self.journal.refresh()
        assert not self._java_trap_sprung.exists(), "something started java"
        return status


def java_trap(folder):
    """A folder whose `java` tells on whoever starts it."""
    folder.mkdir(parents=True)
    trap = folder / "java"
    trap.write_text(JAVA_TRAP)
    trap.chmod(trap.stat().st_mode | stat.S_IXUSR)
    return folder
