"""One node of the sync: takes note of what is saved here, and takes what another node brings.

Whatever changes this host holds its lock meanwhile, so that setup and the sync never work side by side: what
setup writes is noted when it has let go, and told from a person's edit by the marks of its hand.
"""

import contextlib
import hashlib
import logging
import os
import threading
import time

from lbkit.hand import duty, locking, marks, telling, versions
from lbkit.hand.core import Failed
from lbkit.hand.items import digest

log = logging.getLogger("lbkit.sync")
WHO = "lbkit-sync on this host"
CONFLICT = "sync-conflict-"  # an alarm's name, with the item's
MENDED_WITHIN_S = 4  # somebody may be at work on it
AGAIN_S = 3  # what is broken may be mended elsewhere: by a certificate that a configuration names
GONE_AFTER_S = 2  # an editor that moves the old file away before it writes the new one is no loss


class Node:
    """changed: called when something is to be told to the others.

    broken: item → why what was saved here is not good; it is neither loaded nor sent. unloaded: item → why it
    could not be put to use. refused: item → {why, vector} of what another node brought and was not taken.
    """

    def __init__(self, items, ledger, changed=lambda: None):
        self.items, self.ledger, self.changed = items, ledger, changed
        self.name = ledger.node
        self.mutex = threading.RLock()
        self.broken, self.unloaded, self.refused = {}, {}, {}
        self.gone, self.broken_at = {}, {}
        self.checked = {}  # item → (digest, when) of what was found broken last
        self.unsure = set()  # what was noted, and perhaps not put to use, when the process before this ended
        with self.mutex:
            self.ledger.forget_conflicts(set(self.ledger.data["conflicts"]) - set(self.items))
            for name in self.items:
                self.ledger.recover(name, digest(self.read(name)))
                record = self.ledger.record(name)
                if record["digest"] and not record["setup"]:
                    self.unsure.add(name)

    def read(self, name):
        """The item's content, None where there is none that could be read."""
        with contextlib.suppress(Failed, OSError):
            return self.items[name].read()
        return None

    def version(self, name):
        """{digest, vector, setup} of what is noted."""
        record = self.ledger.record(name)
        known = None if record.get("torn") else record["digest"]
        return {"digest": known, "vector": record["vector"], "setup": record["setup"]}

    def versions(self, peer=None):
        """Item → version, and, for a peer, which of its versions this node is in conflict with."""
        with self.mutex:
            known = {name: found.get(peer, {}) for name, found in self.ledger.data["conflicts"].items()}
            return {
                name: {**self.version(name), "conflict": known.get(name, {}).get("digest")}
                for name in self.items
            }

    # ── saved here ───────────────────────────────────────────────────────────────────────────────────────

    def look(self, names=None):
        """Takes note of what was saved here, and puts it to use. Raises Busy while another is at work."""
        with self.mutex:
            names = [name for name in names or self.items if self.differs(name)]
        if not names and not self.unsure:
            return
        with locking.held(WHO, "sync: saved here"):
            with self.mutex:
                before = [self.version(name) for name in names]
                fresh = [name for name in names if self.note(name)]
                noted = before != [self.version(name) for name in names]
            if noted or self.unsure:  # the others look here in turn: told of nothing, they would for ever
                self.changed()
            for name in {*fresh, *self.unsure}:
                self.load(name)
            self.unsure.clear()

    def differs(self, name):
        """Whether what stands there is not what is noted, nor what was found broken a moment ago."""
        try:
            found = digest(self.items[name].read())
        except (Failed, OSError):
            return not self.was_broken(name, None)
        if found == self.ledger.record(name)["digest"]:
            if name in self.broken:  # HAProxy may have given up meanwhile
                self.unsure.add(name)
            self.well(name)
            return False
        if found is None:  # a moment's absence is none
            return time.monotonic() - self.gone.setdefault(name, time.monotonic()) > GONE_AFTER_S
        return not self.was_broken(name, found)

    def was_broken(self, name, found):
        """Whether just this was found broken a moment ago. found: digest, None for what cannot be read."""
        before, at = self.checked.get(name, (None, 0))
        return name in self.broken and before == found and time.monotonic() - at < AGAIN_S

    def note(self, name):
        """Whether there is something new to be put to use."""
        item, content = self.items[name], None
        try:
            content = item.read()
            if content is not None:
                item.check(content)
        except (Failed, OSError) as error:
            if self.broken.get(name) != str(error):
                log.warning("%s is neither loaded nor sent: %s", name, error)
            self.broken[name] = str(error)
            self.checked[name] = (digest(content), time.monotonic())
            self.broken_at.setdefault(name, time.monotonic())
            return False
        self.well(name)
        first = not self.ledger.record(name)["vector"]
        setup = self.from_setup(item)
        self.ledger.note(name, digest(content), setup)
        if not first:
            log.info("%s was changed here%s", name, " by setup" if setup else "")
        return content is not None and not setup and not first

    def well(self, name):
        if name in self.broken:
            log.info("%s is good again", name)  # `inv verify` takes what was said of it as over
        for found in (self.broken, self.broken_at, self.checked, self.gone):
            found.pop(name, None)

    def from_setup(self, item):
        """Whether it was setup that wrote this, and not a person the same later."""
        found = False
        for path, mark in marks.read().items():
            inside = item.concerns(os.path.dirname(path), os.path.basename(path))
            if not inside or self.ledger.data["marks"].get(path) == mark["count"]:
                continue
            self.ledger.data["marks"][path] = mark["count"]
            with contextlib.suppress(OSError), open(path, "rb") as file:
                found |= hashlib.sha256(file.read()).hexdigest() == mark["sha256"]
        return found

    def load(self, name):
        """What was saved here is in use; HAProxy has loaded what it serves."""
        try:
            content = self.items[name].read()
            if digest(content) == self.ledger.record(name)["digest"]:
                self.items[name].load(content)
            if self.unloaded.pop(name, None):
                log.info("%s is in use", name)
        except (Failed, OSError) as error:
            log.warning("%s was saved and is not in use: %s", name, error)
            self.unloaded[name] = str(error)

    def content(self, name):
        """The content of the noted version; None where something else stands there by now."""
        content = self.read(name)
        return content if digest(content) == self.ledger.record(name)["digest"] else None

    # ── brought by another node ──────────────────────────────────────────────────────────────────────────

    def take(self, name, brought, content, sender):
        """Installs another node's version, if it is still the newer one: `taken`, or `changed` where it is
        not. Raises Failed where it is not good (then all is as before), Busy.

        brought: {digest, vector}.
        """
        if digest(content) != brought["digest"]:
            raise Failed(f"{name} arrived otherwise than it was sent")
        self.look([name])
        with locking.held(WHO, f"sync: {name} from {sender}"), self.mutex:
            if versions.decide(self.version(name), {**brought, "setup": False}) != "fetch":
                return "changed"
            try:
                self.put_aside(name)
                self.ledger.begin(name, brought["digest"], brought["vector"])
                self.items[name].install(content, digest(self.read(name)))
            except (Failed, OSError) as error:
                with contextlib.suppress(OSError):  # no room for that either; what stands there counts
                    self.ledger.undo(name)
                why = (isinstance(error, OSError) and error.strerror) or str(error)
                self.refused[name] = {"why": f"{why} (from {sender})", "vector": brought["vector"]}
                log.warning("refused %s from %s: %s", name, sender, why)
                raise Failed(why) from None
            self.ledger.adopt(name, brought["digest"], brought["vector"])
            self.ledger.told("received", name, sender)
            self.well(name)
            self.unloaded.pop(name, None)
            log.info("received %s from %s", name, sender)
            return "taken"

    def put_aside(self, name):
        """What is about to be replaced and nobody else has (it was not good) is kept."""
        content = self.read(name)
        if content is not None and digest(content) != self.version(name)["digest"]:
            self.ledger.keep(name, self.name, digest(content), content)

    def agree(self, name, theirs):
        """Both have the same content: under one vector from now on."""
        with self.mutex:
            mine = self.version(name)
            if mine["digest"] == theirs["digest"]:
                vector = versions.merged(mine["vector"], theirs["vector"])
                self.ledger.adopt(name, mine["digest"], vector)

    def disagree(self, name, theirs, content, sender):
        """A conflict with that node's version, which is kept; each goes on with its own."""
        with self.mutex:
            if content is not None and digest(content) == theirs["digest"]:
                self.ledger.keep(name, sender, theirs["digest"], content)
            own = self.content(name)
            if own is not None:
                self.ledger.keep(name, self.name, digest(own), own)
            if self.ledger.conflict(name, sender, theirs["digest"], theirs["vector"]):
                log.warning("conflict: %s was changed here and on %s; both are kept", name, sender)

    def prevail(self, name=None):
        """What stands here wins the conflict about this item, or all of them. Returns their names."""
        with self.mutex:
            names = [one for one in self.ledger.data["conflicts"] if name in (None, one)]
            for one in names:
                self.ledger.prevail(one)
        self.changed()
        return names

    # ── alarms ───────────────────────────────────────────────────────────────────────────────────────────

    def complaints(self, after_s=0, to_alarm=False):
        """What people should know of, as sentences; what is broken only when that has lasted. to_alarm:
        without what another program raises an alarm for."""
        now, said = time.monotonic(), []
        for name, why in self.broken.items():
            lasts = now - self.broken_at.get(name, 0) >= after_s
            if lasts and not (to_alarm and self.items[name].watched_by_another):
                said.append(f"{why}; it is neither loaded nor sent")
        said += [f"{name} was saved and is not in use: {why}" for name, why in self.unloaded.items()]
        for name, one in self.refused.items():
            over = versions.has_seen(self.ledger.record(name)["vector"], one["vector"])
            if not over and not (to_alarm and self.items[name].is_alarmed()):
                said.append(f"{name} was refused: {one['why']}")
        return said

    def tell(self, more=()):
        """The alarms are as things stand, one for each fault. more: sentences of other parts."""
        with self.mutex:
            said = [*self.complaints(MENDED_WITHIN_S, to_alarm=True), *more]
            conflicts = dict(self.ledger.data["conflicts"])
        if said:
            mend = next((telling.way_out(one) for one in said if telling.of_broken_cfg(one)), "")
            next_step = f"inv sync.status; {mend}" if mend else "inv sync.status"
            duty.raise_alarm("sync", "sync", f"{'. '.join(said[:3])}.\nNext: {next_step}")
        else:
            duty.end_alarm("sync")
        for name, found in conflicts.items():
            text = f"{telling.in_conflict(name, found)}\nNext: inv sync.now --keep HOST"
            duty.raise_alarm(f"{CONFLICT}{name}", "sync", text)
        for alarm in duty.alarms():
            if alarm.startswith(CONFLICT) and alarm[len(CONFLICT) :] not in conflicts:
                duty.end_alarm(alarm)
