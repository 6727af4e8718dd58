"""What the processors wrote down, against what PutRecords acknowledged: pure functions."""

from typing import NamedTuple


class Audit(NamedTuple):
    lost: list  # (shard, sequence) that were acknowledged and never processed
    strange: list  # what was processed and is not what was acknowledged
    duplicates: int  # how often a record was processed again


def audit(acknowledged, seen):
    """`acknowledged` is shard: {sequence: number}; `seen` is what the journals say."""
    put = {(shard, sequence) for shard, records in acknowledged.items() for sequence in records}
    done = {(each.shard, each.sequence) for each in seen}
    strange = [each for each in seen if acknowledged.get(each.shard, {}).get(each.sequence) != each.number]
    return Audit(sorted(put - done), strange, len(seen) - len(done))


def longest_gap(seen, since):
    """The longest time, after `since`, in which a shard made no progress: seconds, its shard, and when it began.

    What was processed before makes no progress, so only what was new counts.
    """
    last, longest = {}, (0, None, None)
    for each in seen:
        if not each.is_first:
            continue
        before = last.get(each.shard, each.at)
        last[each.shard] = each.at
        if each.at > since:
            longest = max(longest, (each.at - before, each.shard, before), key=lambda gap: gap[0])
    return longest
