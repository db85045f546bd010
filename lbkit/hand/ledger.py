"""What a node knows of the items that it syncs: their records, what is being installed, conflicts; on disk.

{"items": {item: record}, "installing": {item: {digest, vector}}, "conflicts": {item: {node: {digest,
vector}}}, "marks": {path: count}, "last": {"sent"|"received": {item, node, at}}, "writer": by what name this
ledger counts}. Versions that lost, and
those of a conflict, are kept as files beside it, for root alone.
"""

import json
import os
import time

from lbkit.hand import orders, versions

DIRECTORY = "/var/lib/lbkit/sync"
KEPT_MOST = 20  # versions of one item


def empty(node):
    """A ledger that knows nothing. It counts by a name of its own: the numbers of one that was lost would
    else be given again, and an edit would pass for a version that the others have seen long ago."""
    writer = f"{node}~{os.urandom(4).hex()}"
    return {"items": {}, "installing": {}, "conflicts": {}, "marks": {}, "last": {}, "writer": writer}


class Ledger:
    """node: this one's name."""

    def __init__(self, node, directory=DIRECTORY):
        self.node, self.directory = node, directory
        self.path = os.path.join(directory, "ledger.json")
        self.data = empty(node)
        os.makedirs(directory, 0o700, exist_ok=True)
        try:
            with open(self.path, encoding="utf-8") as file:
                self.data.update(json.load(file))
        except (FileNotFoundError, ValueError):
            pass  # without it nothing is known to be newer: what differs is a conflict then, and nothing lost

    @property
    def writer(self):
        """The name by which this node's changes are counted."""
        return self.data["writer"]

    def write(self):
        orders.put(self.path, json.dumps(self.data))

    def record(self, item):
        return self.data["items"].get(item, versions.NEW)

    def recover(self, item, digest):
        """Where this node ended in the middle of an installation: what stands there is the old version, or
        the new one, or, of a tree, some of both: then it counts for nothing, and is fetched again."""
        if (begun := self.data["installing"].pop(item, None)) is None:
            return
        if digest == begun["digest"]:
            self.data["items"][item] = versions.adopted(self.record(item), self.writer, **begun)
        elif digest != self.record(item)["digest"]:
            self.data["items"][item] = {**self.record(item), "digest": digest, "torn": True}
        self.write()

    def note(self, item, digest, setup):
        """The item was changed on this node."""
        record = {name: value for name, value in self.record(item).items() if name != "torn"}
        self.data["items"][item] = versions.noted(record, self.writer, digest, setup)
        self.write()

    def begin(self, item, digest, vector):
        """The version is about to be installed."""
        self.data["installing"][item] = {"digest": digest, "vector": vector}
        self.write()

    def undo(self, item):
        """It was not installed: what was there still is."""
        self.data["installing"].pop(item, None)
        self.write()

    def adopt(self, item, digest, vector):
        """The item has that content here, whoever made it; a conflict that the vector knows of is over."""
        self.data["items"][item] = versions.adopted(self.record(item), self.writer, digest, vector)
        self.data["installing"].pop(item, None)
        found = self.data["conflicts"].pop(item, {})
        open_ = {n: one for n, one in found.items() if not versions.has_seen(vector, one["vector"])}
        if open_:
            self.data["conflicts"][item] = open_
        self.write()

    def prevail(self, item):
        """What this node has is newer than all that it conflicts with."""
        vector = self.record(item)["vector"]
        for other in self.data["conflicts"].pop(item, {}).values():
            vector = versions.merged(vector, other["vector"])
        self.data["items"][item] = versions.own_next(self.record(item), self.writer, vector)
        self.write()

    def told(self, what, item, node):
        """what: `sent` or `received`. The time is for people; nothing is decided by it."""
        self.data["last"][what] = {"item": item, "node": node, "at": int(time.time())}
        self.write()

    def conflict(self, item, node, digest, vector):
        """Whether this conflict with that node's version is a new one."""
        found = self.data["conflicts"].setdefault(item, {})
        entry = {"digest": digest, "vector": vector}
        if found.get(node) == entry:
            return False
        found[node] = entry
        self.write()
        return True

    def forget_conflicts(self, items):
        """Those items are not synced any more."""
        for item in items:
            del self.data["conflicts"][item]
        if items:
            self.write()

    def keep(self, item, node, digest, content):
        """That node's version lies in conflicts/ITEM/, for root alone; those kept first go, of many.

        The files' times give that order, and nothing else: each is later than all before it.
        """
        folder = os.path.join(self.directory, "conflicts", item)
        os.makedirs(folder, 0o700, exist_ok=True)
        path = os.path.join(folder, f"{node}-{digest[:12]}")
        if not os.path.exists(path):
            orders.put(path, content, 0o600)
        others = [one.path for one in os.scandir(folder) if one.path != path]
        others.sort(key=lambda one: os.stat(one).st_mtime_ns)
        at = max([time.time_ns(), *(os.stat(one).st_mtime_ns + 1 for one in others)])
        os.utime(path, ns=(at, at))
        for old in others[: 1 - KEPT_MOST]:
            os.unlink(old)
        return path
