"""amazon_kclpy record processors of every version, run by `kinetide run`."""

import os
import sys
from pathlib import Path

import pytest

from harness.daemon import Application
from harness.resume import stop_and_resume

HERE = Path(__file__).parent
AMAZON_KCLPY = Path(os.environ["CONFORMANCE_WORK"], "python", "site")

# Nobody listens there: a client that does not take its endpoint from the properties file gets nowhere.
NOWHERE = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}


def processor(version):
    return Application(
        name=f"orders-python-v{version}",
        folder=HERE,
        executable=f"python processor_v{version}.py",
        language=f"python/{sys.version_info.major}.{sys.version_info.minor}",
        environment={"PYTHONPATH": str(AMAZON_KCLPY)},
        path=(Path(sys.executable).parent,),
    )


@pytest.mark.parametrize("version", [3, 2], ids="v{}".format)
def test_stopped_at_once_and_resumed(folder, endpoint, version):
    stop_and_resume(folder, endpoint, processor(version), grace_millis=0)


@pytest.mark.parametrize("version", [3, 2, 1], ids="v{}".format)
def test_stopped_with_grace_and_resumed(folder, endpoint, version):
    stop_and_resume(folder, endpoint, processor(version), grace_millis=10_000)


def test_endpoints_in_the_properties_file_win_over_the_environment(folder, endpoint):
    settings = {
        "kinesisEndpoint": endpoint.url,
        "dynamoDBEndpoint": endpoint.url,
        "regionName": "us-east-1",
        "metricsLevel": "NONE",
    }
    stop_and_resume(folder, endpoint, processor(3), grace_millis=10_000, settings=settings, variables=NOWHERE)
