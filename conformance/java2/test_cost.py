"""What a Java worker asks of the lease table, against the intervals from which `kinetide-sim --scenario cost` computes it."""

import os
import time

import boto3
import pytest

from harness.counting import counting
from harness.endpoint import Endpoint
from harness.waiting import wait_until
from java2.watch import owner
from java2.workers import JavaWorker

IS_QUICK = os.environ.get("KINETIDE_QUICK") == "1" or os.environ.get("CI") == "true"

APPLICATION = "costs"
SHARDS = 4
START_SECONDS = 240
SETTLE_SECONDS = 20
WATCHED_SECONDS = 120

RENEW_SECONDS = (10_000 // 3 - 25) / 1000
TAKER_SECONDS = (10_000 + 25) * 2 / 1000


class Proxied:
    """The endpoint, by the proxy's address."""

    def __init__(self, endpoint, url):
        self.url, self.variables = url, {**endpoint.variables, "AWS_ENDPOINT_URL": url}


@pytest.mark.skipif(IS_QUICK, reason="the quick form is asked for")
def test_a_java_worker_costs_what_is_computed(folder):
    with Endpoint.start(folder / "endpoint", SHARDS) as endpoint, counting(endpoint.url) as (url, counts):
        worker = JavaWorker(folder / "java", "java", Proxied(endpoint, url), APPLICATION, 2)
        try:
            wait_until(lambda: len(owned(endpoint)) == SHARDS, START_SECONDS, "the Java worker to own every lease")
            time.sleep(SETTLE_SECONDS)
            before, began = counts.copy(), time.monotonic()
            time.sleep(WATCHED_SECONDS)
            seconds, asked = time.monotonic() - began, counts.copy() - before
        finally:
            worker.kill_family()
    renewals, scans = SHARDS * seconds / RENEW_SECONDS, seconds / TAKER_SECONDS
    print(f"renewals {asked['UpdateItem']}, computed {renewals:.0f}; scans {asked['Scan']}, computed {scans:.1f} and audits")
    assert asked["UpdateItem"] == pytest.approx(renewals, rel=0.05)
    # Beside the taker: elections at 0, 1 and then each five minutes, and an audit each two.
    assert scans - 1 <= asked["Scan"] <= scans + 4
    assert not asked.keys() & {"PutItem", "DeleteItem"}


def owned(endpoint):
    """The leases that the worker owns."""
    variables = endpoint.variables
    dynamodb = boto3.client(
        "dynamodb",
        endpoint_url=endpoint.url,
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )
    try:
        return [item for item in dynamodb.scan(TableName=APPLICATION)["Items"] if owner(item) == "java"]
    except dynamodb.exceptions.ResourceNotFoundException:
        return []
