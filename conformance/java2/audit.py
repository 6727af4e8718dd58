"""What the processors wrote outside their processes, against what PutRecords acknowledged."""

from bisect import bisect_left
from collections import Counter

from java2.rows import BEGINNING, parents
from java2.workers import JAVA, Began, Seen

SHOWN = 5


class Audit:
    """Reads all journals; what is wrong is in `faults`."""

    def __init__(self, chunks, acknowledged, shards, rows):
        self._acknowledged, self._shards, self._rows = acknowledged, shards, rows
        self._order = {shard: sorted(records) for shard, records in acknowledged.items()}
        self.faults = []
        self.entries = {worker: list(entries(worker, pieces)) for worker, pieces in chunks.items()}
        self.seen = Counter()  # (shard, sequence): how often
        self.first = {}  # (shard, sequence): the look at which it was seen first
        self.workers_of = {}  # (shard, sequence): kinds of worker
        self.went_on_after = Counter()  # (kind that stopped, kind that went on): how often
        for worker, lines in self.entries.items():
            self._count(worker, lines)
        self._nothing_is_lost()
        self._parents_come_first()
        for worker, lines in self.entries.items():
            self._in_order_and_without_gaps(worker, lines)

    @property
    def duplicates(self):
        return sum(self.seen.values()) - len(self.seen)

    def _count(self, worker, lines):
        for look, entry in lines:
            if not isinstance(entry, Seen):
                continue
            place = entry.shard, entry.sequence
            self.seen[place] += 1
            self.first[place] = min(look, self.first.get(place, look))
            self.workers_of.setdefault(place, set()).add(worker.kind)
            stored = self._acknowledged.get(entry.shard, {}).get(entry.sequence)
            if stored != (entry.number, entry.key) or entry.sub_sequence != 0:
                self.faults.append(f"{worker.id} saw {entry}, but PutRecords acknowledged {stored}")

    def _nothing_is_lost(self):
        everything = {(shard, sequence) for shard, records in self._acknowledged.items() for sequence in records}
        self.lost = sorted(everything - self.seen.keys())
        if self.lost:
            self.faults.append(f"{len(self.lost)} of {len(everything)} records are lost: {self.lost[:SHOWN]} ...")

    def _parents_come_first(self):
        """No record of a child was seen before the last of its parents; a look tells when only to within one look."""
        for shard, described in self._shards.items():
            own = [self.first[shard, each] for each in self._order.get(shard, ()) if (shard, each) in self.first]
            for parent in parents(described):
                last = [self.first[parent, each] for each in self._order.get(parent, ()) if (parent, each) in self.first]
                if own and last and max(last) > min(own) + 1:
                    self.faults.append(f"records of {shard} were seen before the last of its parent {parent}")

    def _in_order_and_without_gaps(self, worker, lines):
        """Per shard: each record follows the one before, or begins a tenure where somebody had stopped."""
        last = {}
        for look, entry in lines:
            if isinstance(entry, Began):
                last[entry.shard] = entry.checkpoint if entry.checkpoint == BEGINNING else self._told(worker, entry)
            elif isinstance(entry, Seen):
                before = self._before(entry)
                if last.get(entry.shard) != before:
                    self._begins(worker, look, entry, before)
                last[entry.shard] = entry.sequence

    def _told(self, worker, began):
        """Where a Java processor was told to go on: the row said so."""
        if not self._rows.was_stored(began.shard, began.checkpoint) or began.sub_sequence != 0:
            self.faults.append(f"{worker.id} was told {began}, which no row said")
        if not began.checkpoint.isdigit():
            return None
        self._note(began.shard, int(began.checkpoint), worker)
        return int(began.checkpoint)

    def _begins(self, worker, look, entry, before):
        """A record that does not follow the worker's last one."""
        if worker.kind == JAVA:
            self.faults.append(f"{worker.id} saw {entry} out of order: the record before is {before}")
        elif before != BEGINNING:
            if self.first.get((entry.shard, before), look + 2) > look + 1:
                self.faults.append(f"{worker.id} began with {entry}, but nobody had seen {before} before it")
            if not self._rows.was_stored(entry.shard, str(before)):
                self.faults.append(f"{worker.id} began with {entry}, which follows no checkpoint that was in the table")
            self._note(entry.shard, before, worker)

    def _note(self, shard, sequence, worker):
        for kind in self.workers_of.get((shard, sequence), ()):
            self.went_on_after[kind, worker.kind] += 1

    def _before(self, entry):
        """The sequence number of the record before this one in its shard."""
        order = self._order.get(entry.shard, [])
        place = bisect_left(order, entry.sequence)
        return order[place - 1] if place else BEGINNING


def entries(worker, chunks):
    """What a journal says, line by line, with the look at which each line was found. An unfinished last line is no line."""
    rest = b""
    for look, data in chunks:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            entry = worker.read_line(line.decode())
            if entry:
                yield look, entry
