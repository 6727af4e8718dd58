"""aws-kcl record processors of both interfaces, run by `kinetide run`."""

import os
from pathlib import Path

import pytest

from harness.daemon import Application
from harness.resume import stop_and_resume

HERE = Path(__file__).parent
NODE_MODULES = Path(os.environ["CONFORMANCE_WORK"], "node", "node_modules")


def processor(version):
    return Application(
        name=f"orders-node-v{version}",
        folder=HERE,
        executable=f"node processor_v{version}.js",
        language="nodejs",
        environment={"NODE_PATH": str(NODE_MODULES)},
    )


@pytest.mark.parametrize("version", [2, 1], ids="v{}".format)
def test_stopped_at_once_and_resumed(folder, endpoint, version):
    stop_and_resume(folder, endpoint, processor(version), grace_millis=0)


@pytest.mark.parametrize("version", [2, 1], ids="v{}".format)
def test_stopped_with_grace_and_resumed(folder, endpoint, version):
    stop_and_resume(folder, endpoint, processor(version), grace_millis=10_000)
