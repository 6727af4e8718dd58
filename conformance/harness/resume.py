"""The scenario that every client goes through: a daemon stopped in the middle, and started again.

20,000 records lie in four shards. The first daemon is stopped by SIGTERM while records flow; the second takes over. What
must hold is said by four functions below, each about one shard, in terms of the records that the stream took (`puts`).
"""

import time
from itertools import zip_longest

from harness.daemon import Daemon

RECORDS = 20_000
STOP_AFTER = 6_000
ARRIVAL_SLACK_SECONDS = 5
FIRST_SECONDS = 30
REST_SECONDS = 45

# Small reads at the shortest spacing that the KCL allows: 5 x 250 records a second and shard, so that the first daemon
# cannot be done before it is stopped.
PACE = {"maxRecords": 250, "idleTimeBetweenReadsInMillis": 200}


def stop_and_resume(folder, endpoint, application, *, grace_millis, settings=None, variables=None):
    """Runs the scenario; `settings` go into the properties file, `variables` replace those the endpoint announced."""
    properties = application.properties(**PACE, shutdownGraceMillis=grace_millis, **(settings or {}))
    variables = {**endpoint.variables, **(variables or {})}
    put_after = time.time()
    puts = endpoint.put_numbers(RECORDS)
    assert len(puts) == 4, f"the records lie in {sorted(puts)}"

    with Daemon.start(folder / "first", application, properties, variables) as first:
        first.wait_for_records(STOP_AFTER, FIRST_SECONDS, shards=len(puts))
        family = first.process.family()
        assert len(family) == 1 + len(puts), f"not one daemon and one child per shard: {family}"
        assert not [program for program in family.values() if "java" in program], f"there is a JVM: {family}"
        assert first.stop() == 143
    seen = first.journal.by_shard()
    stored = endpoint.checkpoints(application.name)
    assert seen.keys() == stored.keys() == puts.keys()
    assert first.journal.records_seen() < RECORDS, "the first daemon was done before it was stopped"
    for shard, child in seen.items():
        saw_from_the_start(child, puts[shard])
        checkpointed_what_it_asked_for(child, stored[shard], puts[shard], asked_to_stop=grace_millis > 0)
        records_arrived_between(child, put_after, time.time())

    rest = {shard: puts[shard][place(stored[shard], puts[shard]) :] for shard in puts}
    with Daemon.start(folder / "second", application, properties, variables) as second:
        second.wait_for_records(sum(map(len, rest.values())), REST_SECONDS)
        assert second.stop() == 143
    resumed = second.journal.by_shard()
    assert resumed.keys() == puts.keys()
    for shard, child in resumed.items():
        saw_exactly_the_rest(child, stored[shard], rest[shard])


def place(checkpoint, puts):
    """How many of a shard's records a checkpoint covers."""
    sequence, sub_sequence = checkpoint
    assert sub_sequence == 0, "these records are not aggregated"
    return 0 if sequence == "TRIM_HORIZON" else [put.sequence for put in puts].index(sequence) + 1


def saw_from_the_start(child, puts):
    """A first child is told to begin at the beginning and gets a gapless beginning of its shard, in order."""
    began_at(child, "TRIM_HORIZON")
    assert child.records, "the child saw nothing"
    same_records(child, puts[: len(child.records)])


def checkpointed_what_it_asked_for(child, stored, puts, *, asked_to_stop):
    """The table holds the last checkpoint that was granted, or, if the stop cut its answer off, the one asked for last.

    Asked to stop, the child checkpoints everything it saw; otherwise it hears nothing but the end of its input.
    """
    granted = [event["sequence"] for event in child.all("checkpointed")]
    asked = [event["sequence"] for event in child.all("checkpoint")]
    if asked_to_stop:
        assert child.calls == ["initialize", "shutdown_requested", "lease_lost", "end"]
        assert asked == granted
        assert stored == (child.records[-1].sequence, 0), "what was seen before the stop is not all checkpointed"
    else:
        assert [call for call in child.calls if call != "end"] == ["initialize"]
        assert asked[: len(granted)] == granted and len(asked) <= len(granted) + 1
        assert stored[0] in {(granted or ["TRIM_HORIZON"])[-1], (asked or ["TRIM_HORIZON"])[-1]}
        assert place(stored, puts) <= len(child.records)


def records_arrived_between(child, earliest, latest):
    """Arrival times are moments of this test (a wrong unit would be off by years), lags are counts of milliseconds."""
    arrivals = [event["arrival"] for event in child.all("record")]
    assert earliest - ARRIVAL_SLACK_SECONDS <= min(arrivals) <= max(arrivals) <= latest + ARRIVAL_SLACK_SECONDS
    lags = [event["millis_behind_latest"] for event in child.all("batch")]
    assert all(isinstance(lag, int) and lag >= 0 for lag in lags if lag is not None), "a lag is no count"


def saw_exactly_the_rest(child, stored, rest):
    """A second child is told the stored checkpoint and gets every record after it once, in order, and no other."""
    began_at(child, *stored)
    same_records(child, rest)


def same_records(child, expected):
    for at, (seen, put) in enumerate(zip_longest(child.records, expected)):
        assert seen == put, f"of {child.shard}, record {at} should be {put}, but is {seen}"


def began_at(child, sequence, sub_sequence=0):
    """What `initialize` said; processors of version 1 are not told."""
    [initialize] = child.all("initialize")
    if "sequence" in initialize:
        assert (initialize["sequence"], initialize["sub_sequence"]) == (sequence, sub_sequence)
