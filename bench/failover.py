"""`bench/run failover`: how long shards stand still when workers die, stop, start, or are restarted one by one.

Real processes over the embedded endpoint, with default settings (failover time 10 s), under a steady load of numbered records.
Each run of each scenario has an endpoint, a stream and an application of its own.
"""

import argparse
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

from measure.audit import longest_gap
from measure.figures import Figure, table, write
from measure.fleet import Fleet

FAILOVER_SECONDS = 10
RECOVERY_SECONDS = 60  # what takes longer has failed
LIMIT_SECONDS = 40 * 60
RECORDS_BEFORE = 1000
AWAY_SECONDS = 3
QUICK_RUNS = 2

OUTPUT = Path(__file__).resolve().parent.parent / "target" / "bench"

JAVA = "Java KCL 3.x, measured earlier"


def under_load(fleet, workers):
    """So many workers share all shards, and records flow."""
    fleet.join(workers)
    fleet.until_balanced()
    fleet.begin_load()
    fleet.until_flowing()


def at_any_moment():
    """Nothing happens in step with the batches of a worker, or with its looks at the table."""
    time.sleep(random.uniform(0, 1))


def choose(fleet, run):
    """The worker to lose and the one to stay: now the one, now the other."""
    at_any_moment()
    victim, survivor = fleet.alive if run % 2 else reversed(fleet.alive)
    return victim, survivor, fleet.shards_of(victim)


def sigkill(folder, run):
    """From the kill until the survivor has processed, of each of the victim's shards, a record that was put after it."""
    with Fleet.start(folder, shards=4) as fleet:
        under_load(fleet, workers=2)
        victim, survivor, orphans = choose(fleet, run)
        number = fleet.producer.next_number
        killed_at = fleet.kill(victim)
        firsts = fleet.until_processed(survivor, orphans, RECOVERY_SECONDS, number)
        return {"sigkill": max(firsts.values()) - killed_at}, fleet.end()


def stop_peers(folder, run):
    """From the SIGTERM until the peer has processed a new record of each of the shards."""
    with Fleet.start(folder, shards=4) as fleet:
        under_load(fleet, workers=2)
        leaver, peer, shards = choose(fleet, run)
        asked_at = fleet.ask_to_stop(leaver)
        firsts = fleet.until_processed(peer, shards, RECOVERY_SECONDS)
        fleet.until_stopped(leaver)
        return {"stop_peers": max(firsts.values()) - asked_at}, fleet.end()


def stop_self(folder, run):
    """From the start of a worker, after the only one stopped, until it has processed a new record of each shard."""
    with Fleet.start(folder, shards=4) as fleet:
        under_load(fleet, workers=1)
        [first] = fleet.alive
        shards = fleet.shards_of(first)
        at_any_moment()
        fleet.ask_to_stop(first)
        fleet.until_stopped(first)
        [second] = fleet.join()
        firsts = fleet.until_processed(second, shards, RECOVERY_SECONDS)
        return {"stop_self": max(firsts.values()) - second.started_at}, fleet.end()


def first_record(folder, run):
    """From the start of the first worker of a new application until it has processed a record."""
    with Fleet.start(folder, shards=4) as fleet:
        for _ in range(0, RECORDS_BEFORE, 500):
            fleet.producer.put(500)
        [worker] = fleet.join()
        fleet.until_any(RECOVERY_SECONDS)
        result = fleet.end()
        return {"first_record": fleet.journals.seen[0].at - worker.started_at}, result


def rolling_restart(folder, run, name="rolling_restart", away_seconds=0):
    """Three workers are stopped and started again, one after another, while records flow."""
    with Fleet.start(folder, shards=6) as fleet:
        under_load(fleet, workers=3)
        since = time.monotonic()
        for worker in list(fleet.alive):
            at_any_moment()
            fleet.ask_to_stop(worker)
            fleet.until_stopped(worker)
            time.sleep(away_seconds)
            fleet.join()
            fleet.until_balanced()
            fleet.until_flowing()
        result = fleet.end()
        gap, shard, began_at = longest_gap(fleet.journals.seen, since)
        fleet.tell(f"began the longest gap, {gap:.3f} s, of {shard}", began_at)
        values = {"lost": len(result.lost), "duplicates": result.duplicates, "gap": gap}
        return {f"{name}_{what}": value for what, value in values.items()}, result


def rolling_restart_away(folder, run):
    """The same, but each worker stays away long enough for its peers to take its shards, which then move back."""
    return rolling_restart(folder, run, "rolling_restart_away", AWAY_SECONDS)


def rolling_figures(name):
    goals = [("lost", "records", 0), ("duplicates", "records", 0), ("gap", "s", 3)]
    return [Figure(f"{name}_{what}", unit, goal) for what, unit, goal in goals]


SCENARIOS = {
    sigkill: [Figure("sigkill", "s", FAILOVER_SECONDS + 1, 68, JAVA)],
    stop_peers: [Figure("stop_peers", "s", 2)],
    stop_self: [Figure("stop_self", "s", 1, 177, JAVA)],
    first_record: [Figure("first_record", "s", 1, 121, JAVA)],
    rolling_restart: rolling_figures("rolling_restart"),
    rolling_restart_away: rolling_figures("rolling_restart_away"),
}


def measure(scenario, run, figures):
    """One run: its values go into the figures; what goes wrong is a failure of all of them."""
    name = scenario.__name__
    folder = OUTPUT / "failover" / name / str(run)
    folder.mkdir(parents=True)
    try:
        values, audit = scenario(folder, run)
        for figure in figures:
            figure.values.append(values[figure.name])
        told = ", ".join(f"{what} {value:.3g}" for what, value in values.items())
        progress(f"run {run}: {told}; lost {len(audit.lost)}, duplicates {audit.duplicates}")
        assert not audit.lost, f"{len(audit.lost)} records are lost: {audit.lost[:3]}"
    except Exception as error:
        (folder / "failure.txt").write_text(traceback.format_exc())
        progress(f"run {run}: {name} failed, see {folder}: {str(error).strip()}")
        for figure in figures:
            figure.failures += 1


def progress(text):
    print(text, file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run failover", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10, help="runs of each scenario (default: 10)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs: about two minutes")
    names = [scenario.__name__ for scenario in SCENARIOS]
    help = "this scenario, for a closer look, may be repeated; writes no JSON"
    parser.add_argument("--only", choices=names, action="append", metavar="NAME", help=f"{help}; {', '.join(names)}")
    return parser.parse_args()


def main():
    options = arguments()
    # Whoever ends this run ends its processes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    runs = QUICK_RUNS if options.quick else max(1, options.runs)
    only = options.only or [each.__name__ for each in SCENARIOS]
    chosen = {each: rows for each, rows in SCENARIOS.items() if each.__name__ in only}
    for scenario in chosen:
        shutil.rmtree(OUTPUT / "failover" / scenario.__name__, ignore_errors=True)
    began = time.monotonic()
    for run in range(1, runs + 1):
        for scenario, figures in chosen.items():
            if time.monotonic() - began > LIMIT_SECONDS:
                progress(f"run {run}: {scenario.__name__} is left out, time is up")
            else:
                measure(scenario, run, figures)
    rows = [figure.row(runs) for figures in chosen.values() for figure in figures]
    print(table(rows))
    if not options.only:
        write(rows, OUTPUT / "failover.json")
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
