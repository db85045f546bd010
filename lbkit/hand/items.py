"""What is synced: how each item is read, checked, put in place and put to use. Every failure is a Failed.

An item's content is bytes, None where there is nothing worth keeping: no file, or a placeholder.
"""

import functools
import hashlib
import json
import os
import stat
import time

from lbkit.hand import (
    deploying,
    duty,
    framing,
    keeping,
    lineages,
    loaded,
    looking,
    pem,
    served,
    telling,
    trees,
    writing,
)
from lbkit.hand.core import Failed, run

HEALTHY_WITHIN_S = 5
KEPT_PAGES, KEPT_BYTES = 100, 128 << 20  # of what a tree's files were before: a peer chooses their names


def digest(content):
    return None if content is None else hashlib.sha256(content).hexdigest()


class HaProxy:
    """The service on this host. settings: {environment, group, reload_on, restart_on, stats_socket,
    health_port}, as setup has them."""

    def __init__(self, settings):
        self.settings = settings

    def healthy(self):
        connect = ("127.0.0.1", self.settings["health_port"])
        question = {"connect": connect, "name": "localhost", "path": "/health", "http": True, "tls": False}
        return looking.ask_once(question)["status"] == 200

    def load(self, below):
        """It serves with what the files of that path, or below it, say. Raises Failed."""
        record = loaded.load_record().get("haproxy.service", {})
        paths = [path for path in self.settings["reload_on"] if f"{path}/".startswith(f"{below}/")]
        if any(record.get(path) != loaded.fingerprint(path) for path in paths):
            self.reload()

    def reload(self):
        """Another worker serves what the files say now, as well as the one before; a HAProxy that gave up on
        what stood there before is started, one that was stopped is not. Raises Failed."""
        if not served.runs(self.settings["stats_socket"]):
            if served.gave_up():
                self.act("start", [*self.settings["reload_on"], *self.settings["restart_on"]])
            return
        healthy = self.healthy()
        self.act("reload", self.settings["reload_on"])
        deadline = time.monotonic() + HEALTHY_WITHIN_S
        while healthy and not self.healthy():
            if time.monotonic() > deadline:
                raise Failed("HAProxy does not serve after the reload")
            time.sleep(0.05)

    def act(self, action, paths):
        names = ("reload_on", "restart_on", "stats_socket")
        change = {name: self.settings[name] for name in names}
        writing.write_service({**change, "action": action, "unit": served.UNIT, "paths": paths}, None)


class Item:
    """watched_by_another: a program that raises an alarm where what is saved here is not good."""

    watched_by_another = False

    def is_good(self):
        return True

    def is_alarmed(self):
        """Whether an alarm tells that what was brought is not in use."""
        return False


class SavedFile(Item):
    """One file, the same on every node. This class alone: a file that nobody reads (the mark of a test)."""

    def __init__(self, name, path):
        self.name, self.path = name, path
        self.owner = {"owner": "root", "group": "root", "mode": 0o600}

    def place(self):
        """Where the file itself stands."""
        return self.path

    def watched(self):
        return sorted({os.path.dirname(path) for path in (self.path, self.place())})

    def concerns(self, folder, name):
        """Whether an event in the directory is about this item, or about a directory above it."""
        changed = f"{os.path.join(folder, name)}/"
        return not name or any(f"{path}/".startswith(changed) for path in (self.path, self.place()))

    def read(self):
        try:
            descriptor = os.open(self.place(), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Failed(f"{self.path} cannot be read, or is a link: {error.strerror}") from None
        with open(descriptor, "rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode) or info.st_size > framing.BODY_LIMIT:
                raise Failed(f"{self.path} is no file of at most {framing.BODY_LIMIT} bytes")
            return file.read()

    def check(self, _content):
        """What stands there is good. Raises Failed."""

    def install(self, content, was):
        """The content stands there and is in use; else Failed, and all is as before. was: the digest of what
        must stand there until then."""
        self.put(content, was)

    def put(self, content, was, **more):
        change = {"path": self.path, "content": content, "was": was, **self.owner, **more}
        os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
        writing.write_file(change, None)

    def load(self, _content):
        """What was saved here by somebody is put to use. Raises Failed."""


class Configuration(SavedFile):
    """haproxy.cfg, checked with what differs between the hosts, and reloaded."""

    def __init__(self, name, path, haproxy):
        super().__init__(name, path)
        self.haproxy = haproxy
        self.owner = {"owner": "root", "group": haproxy.settings["group"], "mode": 0o640}
        self.validated = {
            "check": ("haproxy", "-c", "-f", "{}"),
            "check_env": haproxy.settings["environment"],
        }

    def check(self, content):
        argv = ["haproxy", "-c", "-f", self.path]
        try:
            run(argv, self.haproxy.settings["environment"])
        except Failed as error:
            raise Failed(f"{self.path} is not valid: {telling.first_fault(error.output, content)}") from None

    def install(self, content, was):
        before = self.read()
        try:
            self.put(content, was, keep=True, **self.validated)
        except Failed as error:
            raise Failed(f"{error.what}: {telling.first_fault(error.output, content)}") from None
        try:
            self.haproxy.reload()
        except Failed as error:
            if before is not None:  # a restart must not meet what the reload did not take
                self.put(before, digest(content))
                self.haproxy.reload()
            why = telling.first_fault(error.output, content)
            raise Failed(f"{error.what}: {why}; the one before is back") from None

    def load(self, _content):
        self.haproxy.load(self.path)


class Certificate(SavedFile):
    """A certificate with its key. What is saved here is served by cert-deploy, which watches it too and
    raises its alarms. It may be a link, which stays one: what it leads to is synced."""

    watched_by_another = True

    def __init__(self, name, path, certificate):
        super().__init__(name, path)
        self.certificate = certificate

    def place(self):
        return os.path.realpath(self.path)

    def read(self):
        content = super().read()
        return None if content is not None and pem.is_placeholder(content) else content

    def check(self, content):
        wanted = deploying.named(deploying.load_config(), self.certificate)
        verdict = pem.inspect(deploying.text_of(content), wanted["domains"])
        if not verdict["good"]:
            raise Failed(f"{self.path} is not good: {'; '.join(verdict['why'])}")

    def is_good(self):
        try:
            self.check(self.read() or b"")
        except Failed:
            return False
        return True

    def is_alarmed(self):
        return deploying.alarm({"name": self.certificate}) in duty.alarms()

    def install(self, content, _was):
        folder = os.path.dirname(self.place())
        if os.path.isdir(folder) and not os.access(folder, os.W_OK):
            raise Failed(
                f"{self.path} leads to {folder}, where the sync may not write: "
                f"put the file itself in its place, or name that one in the inventory"
            )
        config = deploying.load_config()
        wanted = deploying.named(config, self.certificate)
        deploying.install(config, wanted, lambda: content, lambda: None)  # the lock is ours already


class Tree(Item):
    """Directories that count as one item: certbot's state, or HAProxy's error pages.

    whole: raises Failed where the entries are not fit to be used. used: called when they have changed. keep:
    each file that is replaced can be had back. (certbot itself keeps all that it ever obtained.)
    """

    def __init__(self, name, path, parts, whole=None, used=None, keep=False):
        self.name, self.path, self.parts = name, path, parts
        self.whole, self.used, self.keep = whole, used, keep

    def watched(self):
        return trees.directories(self.path, self.parts)

    def concerns(self, folder, name):
        """Whether an event is about this item: below one of the parts, one of them itself, or above them."""
        path = os.path.join(folder, name)
        below = os.path.relpath(path, self.path).split("/")[0] in self.parts
        return not name or below or f"{self.path}/".startswith(f"{path}/")

    def read(self):
        return trees.read(self.path, self.parts)

    def check(self, content):
        entries = trees.parse(content, self.parts)
        if self.whole:
            self.whole(entries)

    def install(self, content, was):
        self.check(content)
        before = self.read()
        if digest(before) != was:
            raise Failed(f"{self.path} was changed meanwhile")
        if self.keep:
            self.keep_replaced(before, content)
        trees.install(self.path, self.parts, json.loads(content))
        try:
            self.load(content)
        except Failed:
            if before is not None:
                trees.install(self.path, self.parts, json.loads(before))
            raise

    def keep_replaced(self, before, content):
        old, new = (trees.contents(one) for one in (before or b"[]", content))
        for name, replaced in old.items():
            if replaced != new.get(name):
                keeping.keep(os.path.join(self.path, name), new.get(name))
        for part in self.parts:
            keeping.bound(os.path.join(self.path, part), KEPT_PAGES, KEPT_BYTES)

    def load(self, _content):
        if self.used:
            self.used()


def of(settings, certificates):
    """All items, in the order in which they are brought to a peer: what haproxy.cfg names comes before it.

    settings: /etc/lbkit/sync.json. certificates: [{name, path}].
    """
    haproxy = HaProxy(settings["haproxy"])
    mark = os.path.join(settings["directory"], "mark", "mark")
    found = [SavedFile("mark", mark)]
    certbot = settings["letsencrypt"]
    whole = functools.partial(lineages.check, root=certbot)
    found.append(Tree("letsencrypt", certbot, CERTBOT_PARTS, whole))
    if settings["pages"]:
        root, _, part = settings["pages"].rpartition("/")
        found.append(Tree("pages", root, (part,), used=lambda: haproxy.load(settings["pages"]), keep=True))
    for one in certificates:
        found.append(Certificate(f"{one['name']}.pem", one["path"], one["name"]))
    found.append(Configuration("haproxy.cfg", settings["config"], haproxy))
    return {item.name: item for item in found}


CERTBOT_PARTS = ("accounts", "archive", "live", "renewal")
