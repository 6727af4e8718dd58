"""The rows of the lease table, field by field: whoever wrote one, it must be the same row."""

from collections import Counter

from java2.watch import FINISHED, checkpoint, is_finished, next_owner, owner
from java2.workers import KINETIDE_KIND

BEGINNING = "TRIM_HORIZON"
CHANGED_BY_TAKE = {"leaseOwner", "leaseCounter", "ownerSwitchesSinceCheckpoint"}


class Rows:
    """Every state of every row that was seen, in order."""

    def __init__(self, looks, shards, acknowledged, kind_of):
        self._shards, self._acknowledged, self._kind_of = shards, acknowledged, kind_of
        self.faults = []
        self.written_by = Counter()  # kind of the owner: states of rows
        self.takes = Counter()  # (kind that lost it, kind that took it): how often
        self._checkpoints = {}  # shard: the values seen
        self._unseen = {}  # shard: [(from, to)], the ranks between which a change of owner hid a value
        last = {}
        for look in looks:
            for key, row in look.rows.items():
                before = last.get(key)
                if row != before:
                    self._one(key, row)
                    self._step(key, before, row)
                last[key] = row

    def was_stored(self, key, position):
        """Whether a new owner can have read this: it was seen, or two looks around it saw the owner change."""
        hidden = position.isdigit() and any(low <= int(position) <= high for low, high in self._unseen.get(key, ()))
        return hidden or position in self._checkpoints.get(key, ())

    def _one(self, key, row):
        """One state of a row, by itself."""
        self.written_by[self._kind_of(owner(row))] += 1
        self._checkpoints.setdefault(key, set()).add(checkpoint(row))
        shard = self._shards.get(key)
        if not shard:
            self.faults.append(f"this is no lease of a shard of the stream: {row}")
            return
        expected = self._expected(key, shard, row)
        wrong = sorted(name for name in row.keys() | expected.keys() if plain(row.get(name)) != expected.get(name))
        if wrong:
            differences = {name: (row.get(name), expected.get(name)) for name in wrong}
            self.faults.append(f"row {key} of {owner(row)} differs (is, should be): {differences}")

    def _expected(self, key, shard, row):
        """The row as it must be; of what moves, the value it has, if it may have it."""
        hash_range = shard["HashKeyRange"]
        expected = {
            "leaseKey": ("S", key),
            "startingHashKey": ("S", hash_range["StartingHashKey"]),
            "endingHashKey": ("S", hash_range["EndingHashKey"]),
            "checkpointSubSequenceNumber": ("N", "0"),
        }
        for name in ("leaseCounter", "ownerSwitchesSinceCheckpoint"):
            expected[name] = ("N", canonical(row.get(name)))
        if "leaseOwner" in row:
            holder = row["leaseOwner"]["S"]
            expected["leaseOwner"] = ("S", holder if self._kind_of(holder) else "a worker of the fleet")
        if next_owner(row) and next_owner(row) != owner(row) and self._kind_of(next_owner(row)) == KINETIDE_KIND:
            # Only Kinetide asks; a worker that does not know hand-offs goes on until the lease is taken from it.
            expected["checkpointOwner"] = ("S", owner(row) if self._kind_of(owner(row)) else "a worker of the fleet")
        position = checkpoint(row)
        is_known = position in (BEGINNING, FINISHED) or (
            position.isdigit() and int(position) in self._acknowledged.get(key, {})
        )
        expected["checkpoint"] = ("S", position if is_known else "a position in the shard")
        if parents(shard):
            expected["parentShardId"] = ("SS", parents(shard))
        children = {child for child, each in self._shards.items() if key in parents(each)}
        if is_finished(row) or "childShardIds" in row:
            expected["childShardIds"] = ("SS", children or "children of a closed shard")
        return expected

    def _step(self, key, before, row):
        """What changed since the last look. More than one write may lie between."""
        if not before:
            self._unseen.setdefault(key, []).append((-1, rank(row)))
            return
        now_owned = owner(row) and owner(row) != owner(before)
        steps = number(row, "leaseCounter") - number(before, "leaseCounter")
        changed = {name for name in row.keys() | before.keys() if row.get(name) != before.get(name)}
        is_hand_off = changed == {"leaseOwner", "checkpointOwner"} and not now_owned
        if steps < 0 or (steps == 0 and changed - {"childShardIds"} and not is_hand_off):
            self.faults.append(f"row {key} changed without its counter: {before} -> {row}")
        if rank(row) < rank(before):
            self.faults.append(f"row {key}: the checkpoint went back: {before} -> {row}")
        if now_owned and steps > 1:
            self._unseen.setdefault(key, []).append((rank(before), rank(row)))
        if now_owned and owner(before) and steps == 1:
            self._take(key, before, row, changed)

    def _take(self, key, before, row, changed):
        """Exactly one write changed the owner: nothing but three fields may have changed, and a hand-off is over."""
        self.takes[self._kind_of(owner(before)), self._kind_of(owner(row))] += 1
        switches = number(row, "ownerSwitchesSinceCheckpoint") - number(before, "ownerSwitchesSinceCheckpoint")
        if next_owner(before):
            # Handed over counts as a switch; taken by whom the row names already does not, as in Java.
            is_right = {"checkpointOwner", "leaseCounter"} <= changed <= CHANGED_BY_TAKE | {"checkpointOwner"} and switches in (0, 1)
        else:
            is_right = changed == CHANGED_BY_TAKE and switches == 1
        if not is_right:
            self.faults.append(f"row {key} was taken in another way than Java takes: {before} -> {row}")


def plain(value):
    """An attribute as its type and its value."""
    if value is None:
        return None
    [(kind, content)] = value.items()
    return kind, set(content) if kind == "SS" else content


def canonical(value):
    """The number as it must be written."""
    return str(int((value or {}).get("N", "0")))


def number(row, name):
    return int(row[name]["N"])


def rank(row):
    """Checkpoints in their order."""
    position = checkpoint(row)
    return {BEGINNING: -1, FINISHED: float("inf")}.get(position, int(position) if position.isdigit() else -2)


def parents(shard):
    return {shard[name] for name in ("ParentShardId", "AdjacentParentShardId") if name in shard}
