"""Java KCL workers and Kinetide workers on one lease table: join, balance, kill, reshard.

`KINETIDE_QUICK=1`, or `CI=true`, keeps to one short run.
"""

import os
import subprocess
from pathlib import Path

import pytest

from harness.processes import clean_environment
from java2.audit import Audit
from java2.fleet import Fleet
from java2.rows import Rows
from java2.workers import JAVA, KINETIDE_KIND, java

RATE = 1000
LOAD_SECONDS = 120
SHOWN = 20

IS_QUICK = os.environ.get("KINETIDE_QUICK") == "1" or os.environ.get("CI") == "true"
full = pytest.mark.skipif(IS_QUICK, reason="the quick form is asked for")

VECTORS = Path(__file__).parents[2] / "crates/kinetide/src/coordinator/leader/vectors.txt"

OTHER = {JAVA: KINETIDE_KIND, KINETIDE_KIND: JAVA}


def test_the_leader_vectors_are_what_java_says():
    vectors = subprocess.run(java(2, "LeaderVectors"), env=clean_environment(), capture_output=True, check=True, timeout=60)
    assert vectors.stdout.decode() == VECTORS.read_text(encoding="utf-8")


@full
@pytest.mark.parametrize("first", [JAVA, KINETIDE_KIND], ids="{}-first".format)
def test_java_2_and_kinetide_share_sixteen_shards(folder, first):
    with Fleet.on_a_fresh_stream(folder, 16, java_version=2, rate=RATE) as fleet:
        join_both(fleet, first, each=2)
        fleet.kill(JAVA)
        fleet.reshard()
        fleet.kill(KINETIDE_KIND)
        fleet.end(LOAD_SECONDS)
        judge(fleet)


@full
def test_java_1_and_kinetide_share_eight_shards(folder):
    with Fleet.on_a_fresh_stream(folder, 8, java_version=1, rate=RATE) as fleet:
        join_both(fleet, KINETIDE_KIND, each=2)
        fleet.kill(JAVA)
        fleet.reshard()
        fleet.end(LOAD_SECONDS)
        judge(fleet)


@pytest.mark.skipif(not IS_QUICK, reason="the full form has all of it")
def test_quick_java_2_and_kinetide_share_four_shards(folder):
    with Fleet.on_a_fresh_stream(folder, 4, java_version=2, rate=RATE) as fleet:
        join_both(fleet, KINETIDE_KIND, each=1)
        fleet.kill(JAVA)
        fleet.join(JAVA, 1)
        fleet.until_balanced()
        fleet.reshard()
        fleet.end(load_seconds=0)
        judge(fleet)


def join_both(fleet, first, each):
    """Workers of one kind process everything; then those of the other join and get their share."""
    fleet.join(first, each)
    fleet.until_all_are_processed()
    fleet.join(OTHER[first], each)
    fleet.until_balanced()


def judge(fleet):
    """Every record, and every state of every row."""
    shards, acknowledged = fleet.all_shards(), fleet.producer.shards
    rows = Rows(fleet.watch.looks, shards, acknowledged, fleet.kind_of)
    audit = Audit(fleet.watch.chunks, acknowledged, shards, rows)
    fleet.tell(
        "judged",
        lost=len(audit.lost),
        seen=sum(audit.seen.values()),
        duplicates=audit.duplicates,
        row_states={str(kind): count for kind, count in rows.written_by.items()},
        takes={f"{old} to {new}": count for (old, new), count in rows.takes.items()},
        went_on={f"{new} after {old}": count for (old, new), count in audit.went_on_after.items()},
    )
    faults = fleet.faults + audit.faults + rows.faults
    # Both ways: each read what the other had written.
    for old, new in OTHER.items():
        if not audit.went_on_after[old, new]:
            faults.append(f"no {new} worker went on where a {old} worker had stopped: nothing was compared")
    fleet.tell("faults", faults=faults)
    assert not faults, "\n".join([f"{len(faults)} faults:", *faults[:SHOWN]])
