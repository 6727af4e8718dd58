"""What every suite gets from pytest: a folder and an endpoint per test, logs beside a failure, and the closing line."""

import os
import re
import shutil
from pathlib import Path

import pytest

pytest.register_assert_rewrite("harness")

from harness.endpoint import Endpoint  # noqa: E402

LOG_LINES_SHOWN = 30


@pytest.fixture
def folder(request):
    """An empty folder for the test's files; it stays, for whoever looks into a failure, until the next run."""
    name = re.sub(r"[^\w.-]+", "_", request.node.name)
    path = Path(os.environ["CONFORMANCE_WORK"], "runs", request.path.parent.name, name)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    request.node.user_properties.append(("folder", path))
    return path


@pytest.fixture
def endpoint(folder):
    """A fresh `kinetide local` with one stream of four shards."""
    with Endpoint.start(folder / "endpoint", shards=4) as started:
        yield started


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    folder = dict(item.user_properties).get("folder")
    if report.failed and folder:
        for log in sorted(folder.rglob("*.log")):
            lines = log.read_text(errors="replace").splitlines()
            report.sections.append((f"end of {log}", "\n".join(lines[-LOG_LINES_SHOWN:])))
    return report


def pytest_unconfigure(config):
    """The last line of the run, in the words that every suite of this project ends with."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter:
        counts = {outcome: len(reports) for outcome, reports in reporter.stats.items()}
        failed = counts.get("failed", 0) + counts.get("error", 0)
        print(f"{counts.get('passed', 0)} passed, {failed} failed")
