"""What the processors under test wrote down: one file per process, one JSON object per line.

Every processor, in any language, keeps the same journal in the folder that `JOURNAL_DIR` names:

    {"event": "initialize", "shard": ..., "sequence": ..., "sub_sequence": ...}
    {"event": "batch", "millis_behind_latest": ...}
    {"event": "record", "number": ..., "key": ..., "sequence": ..., "sub_sequence": ..., "arrival": seconds since 1970}
    {"event": "checkpoint", "sequence": ...}            before it is asked for; null for "all that was delivered"
    {"event": "checkpointed", "sequence": ...}          after the daemon said yes
    {"event": "shutdown_requested"}, {"event": "lease_lost"}, {"event": "shard_ended"}
    {"event": "end"}                                    after the client's run loop returned: end of input
"""

import json

from harness.endpoint import Put


class Child:
    """The journal of one process, read as far as it is written."""

    def __init__(self, path):
        self.events = []
        self.records = []
        self._path = path
        self._offset = 0

    def refresh(self):
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        complete = text[: text.rfind(b"\n") + 1]
        self._offset += len(complete)
        for line in complete.splitlines():
            event = json.loads(line)
            self.events.append(event)
            if event["event"] == "record":
                self.records.append(Put(event["number"], event["key"], event["sequence"]))

    def all(self, name):
        return [event for event in self.events if event["event"] == name]

    @property
    def calls(self):
        """The calls that are not about records, in order."""
        chatter = {"batch", "record", "checkpoint", "checkpointed"}
        return [event["event"] for event in self.events if event["event"] not in chatter]

    @property
    def shard(self):
        [initialize] = self.all("initialize")
        return initialize["shard"]


class Journal:
    """The journals of all processes of one run."""

    def __init__(self, folder):
        folder.mkdir(parents=True)
        self._folder = folder
        self._children = {}

    def refresh(self):
        for path in self._folder.glob("*.jsonl"):
            self._children.setdefault(path, Child(path))
        for child in self._children.values():
            child.refresh()
        return self

    def shards_seen(self):
        return sum(bool(child.records) for child in self._children.values())

    def records_seen(self):
        return sum(len(child.records) for child in self._children.values())

    def by_shard(self):
        """The one child of each shard."""
        children = {child.shard: child for child in self._children.values() if child.events}
        assert len(children) == len(self._children), "a shard had two children, or a child had no shard"
        return children
