"""Processes: started with a mark in their environment, by which they and all their descendants are found again."""

import os
import signal
import subprocess
import uuid
from pathlib import Path

from harness.waiting import wait_until

MARK = "KINETIDE_CONFORMANCE_MARK"

KINETIDE = os.environ["KINETIDE_BIN"]

STOP_SECONDS = 20


def clean_environment():
    """This process's environment without what would make a run depend on whose machine it is."""
    private = ("AWS_", "KINETIDE_", "RUST_", "JAVA_", "NODE_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(private)}
    # Nothing may look for credentials anywhere but in what the test says.
    kept["AWS_EC2_METADATA_DISABLED"] = "true"
    kept["AWS_CONFIG_FILE"] = kept["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    return kept


class Process:
    """A running program whose output goes to `stdout.log` and `stderr.log` in its folder."""

    def __init__(self, folder, command, environment, cwd=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.mark = uuid.uuid4().hex
        self.stdout_log, self.stderr_log = folder / "stdout.log", folder / "stderr.log"
        with self.stdout_log.open("wb") as stdout, self.stderr_log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                env={**environment, MARK: self.mark},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )

    @property
    def exit_status(self):
        """As a shell shows it: 128 plus the number of the signal, if one killed it; None while it runs."""
        status = self._process.poll()
        return 128 - status if status is not None and status < 0 else status

    def wait(self, seconds, what):
        wait_until(lambda: self.exit_status is not None, seconds, what)
        return self.exit_status

    def terminate(self):
        """SIGTERM, as a supervisor would; the exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait(STOP_SECONDS, f"the end of process {self._process.pid} after SIGTERM")

    def family(self):
        """The living processes that this one started, and itself: process id to executable."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and self._is_ours(entry):
                try:
                    found[int(entry.name)] = os.readlink(entry / "exe")
                except OSError:
                    pass  # it ended meanwhile
        return found

    def _is_ours(self, entry):
        try:
            return f"{MARK}={self.mark}\0".encode() in (entry / "environ").read_bytes()
        except OSError:
            return False

    def kill_family(self):
        """For the end of a test that failed halfway: nothing may outlive it."""
        for pid in self.family():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._process.wait()
