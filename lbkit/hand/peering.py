"""The node in charge and one other: a conversation that stays open, in which both sides are compared.

The node in charge pushes what it has newer and pulls what the other has newer; the other only answers.
"""

import contextlib
import logging
import subprocess
import threading
import time

from lbkit.hand import duty, framing, versions
from lbkit.hand.core import Failed, last_lines
from lbkit.hand.locking import Busy

log = logging.getLogger("lbkit.sync")

KEY = "/etc/lbkit/sync/id_ed25519"
KNOWN_HOSTS = "/etc/lbkit/sync/known_hosts"
USER = "lbkit-sync"
AGAIN_S = (0.25, 0.5, 1, 2)  # a host that is locked, an item that is being changed
RETRY_S = (1, 2, 4, 8, 15)  # a host that is not reached
ANSWER_S = 90  # haproxy -c, a reload, and cert-deploy's proof


class Later(Exception):
    """Not now: the other host is locked, or was changed at that moment, or setup is not through."""


def ssh(peer, settings):
    """The command line of the conversation. No file of root's own ssh counts, and nothing is ever asked."""
    options = {
        "BatchMode": "yes",
        "BindAddress": settings["private_address"],
        "CheckHostIP": "no",
        "ConnectTimeout": "5",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": peer["name"],
        "IdentitiesOnly": "yes",
        "IPQoS": "none",
        "LogLevel": "ERROR",
        "PreferredAuthentications": "publickey",
        "ServerAliveCountMax": "3",
        "ServerAliveInterval": "5",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "UserKnownHostsFile": KNOWN_HOSTS,
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    where = ["-p", str(settings["port"]), "-l", USER, peer["address"]]
    return ["ssh", "-T", "-F", "/dev/null", "-i", KEY, *words, *where]


class Conversation:
    """With `sync receive` on the other host, over ssh."""

    def __init__(self, argv):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        self.stream = framing.Stream(self.process.stdout.fileno(), self.process.stdin.fileno())

    def ask(self, request, body=b""):
        """(answer, body). Raises Broken with ssh's own words, Failed where the other refuses, Later."""
        try:
            self.stream.send(request, body, ANSWER_S)
            answer, content = self.stream.receive(ANSWER_S)
        except framing.Broken as error:
            raise framing.Broken(self.last_words() or str(error)) from None
        except OSError as error:
            raise framing.Broken(self.last_words() or error.strerror) from None
        if answer is None:
            raise framing.Broken(self.last_words() or "the connection ended")
        if "locked" in answer:
            raise Later(answer["locked"])
        if "refused" in answer:
            raise Failed(answer["refused"])
        return answer, content

    def last_words(self):
        """What ssh says about its end; empty while it goes on."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
            said = self.process.stderr.read().decode(errors="replace")
            return " ".join(last_lines(said, 2).split())
        return ""

    def close(self):
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()
        self.process.wait()


class Peer:
    """One other node, and the thread that brings it level while this node is in charge.

    behind: item → why the two sides are not the same. trouble: why it is not reached, None where it is.
    connect: makes a conversation.
    """

    def __init__(self, name, node, connect, interval_s, in_charge=duty.in_charge):
        self.name, self.node, self.connect = name, node, connect
        self.interval_s, self.in_charge = interval_s, in_charge
        self.conversation = None
        self.behind, self.since, self.trouble, self.compared = {}, {}, None, None
        self.level = {}  # item → digest that both had when they were last compared
        self.woken = threading.Condition()
        self.due = True
        self.rounds = 0

    def wake(self):
        """Something may have changed: compare at once."""
        with self.woken:
            self.due = True
            self.woken.notify_all()

    def run(self):
        """Until the process ends."""
        failed = 0
        wait_s = 0
        while True:
            with self.woken:
                if not self.due:
                    self.woken.wait(wait_s)
                self.due = False
            in_charge = self.in_charge()
            if in_charge is not True:
                self.hang_up()
                self.behind, self.since, self.trouble, failed = {}, {}, None, 0
                wait_s = self.interval_s if in_charge is False else AGAIN_S[-1]
                continue
            try:
                complete = self.compare()
                failed = 0 if complete else failed + 1
                wait_s = self.interval_s if complete else AGAIN_S[min(failed, len(AGAIN_S)) - 1]
                self.trouble = None
            except Exception as error:  # whatever it was, the next round begins anew
                self.hang_up()
                failed += 1
                wait_s = RETRY_S[min(failed, len(RETRY_S)) - 1]
                self.lost(str(error) or type(error).__name__)
            with self.woken:
                self.rounds += 1
                self.woken.notify_all()

    def lost(self, why):
        """The peer is not reached: what it has not got yet is told as such."""
        if self.trouble is None or self.trouble["why"] != why:
            log.warning("%s is not reached: %s", self.name, why)
        since = self.trouble["since"] if self.trouble else time.monotonic()
        self.trouble = {"since": since, "why": why}
        for name, mine in self.node.versions().items():
            if mine["digest"] is not None and self.level.get(name) != mine["digest"]:
                self.tell(name, f"{self.name} is not reached")

    def hang_up(self):
        if self.conversation:
            self.conversation.close()
            self.conversation = None

    def ask(self, op, body=b"", **more):
        if self.conversation is None:
            self.conversation = self.connect()
        return self.conversation.ask({"op": op, **more}, body)

    def compare(self):
        """Whether both sides are as level as they can be; False: again soon."""
        try:
            theirs = self.state()
        except Later as error:
            self.lost_to_lock(str(error))
            return False
        complete = True
        for name in self.node.items:
            if name in theirs:
                try:
                    self.bring(name, theirs[name])
                except Later as error:
                    self.tell(name, str(error))
                    complete = False
        self.compared = time.time()
        return complete

    def state(self):
        """What the peer has of each item. A conversation that was kept open may have ended with a reboot of
        its host: that says nothing of whether the host is reached now."""
        kept = self.conversation is not None
        try:
            return self.ask("state")[0]["items"]
        except framing.Broken:
            if not kept:
                raise
        self.hang_up()
        return self.ask("state")[0]["items"]

    def lost_to_lock(self, why):
        for name, mine in self.node.versions().items():
            if mine["digest"] is not None and self.level.get(name) != mine["digest"]:
                self.tell(name, f"{self.name}: {why}")

    def tell(self, name, why):
        """why: the item is behind, or "" where it is not."""
        if why:
            if self.behind.get(name) != why:
                log.info("%s on %s: %s", name, self.name, why)
            self.since.setdefault(name, time.time())
            self.behind[name] = why
        else:
            self.since.pop(name, None)
            self.behind.pop(name, None)

    # ── one item ─────────────────────────────────────────────────────────────────────────────────────────

    def bring(self, name, theirs):
        """Both have the same, or it is told why not."""
        with self.node.mutex:
            mine = self.node.version(name)
        verdict = versions.decide(mine, theirs)
        if verdict == "conflict":
            verdict, mine, theirs = self.settled(name, mine, theirs)
        why = getattr(self, verdict)(name, mine, theirs)
        self.tell(name, why)
        if not why:
            self.level[name] = mine["digest"] if verdict != "fetch" else theirs["digest"]

    def settled(self, name, mine, theirs):
        """(verdict, mine, theirs) where one side of a conflict may be good no more."""
        here = self.node.items[name].is_good()
        there = self.ask("good", item=name)[0]["good"]
        verdict = versions.settle("conflict", here, there)
        both = versions.merged(mine["vector"], theirs["vector"])
        if verdict == "send":
            with self.node.mutex:
                self.node.ledger.adopt(name, mine["digest"], both)
            mine = {**mine, "vector": both}
        return verdict, mine, {**theirs, "vector": both} if verdict == "fetch" else theirs

    def nothing(self, _name, _mine, _theirs):
        return ""

    def agree(self, name, mine, theirs):
        self.ask("agree", item=name, digest=mine["digest"], vector=mine["vector"])
        self.node.agree(name, theirs)
        return ""

    def send(self, name, mine, _theirs):
        with self.node.mutex:
            content = self.node.content(name)
        if content is None:
            return self.node.broken.get(name) or changing(name)
        try:
            answer, _ = self.ask("put", content, item=name, digest=mine["digest"], vector=mine["vector"])
        except Failed as error:
            return f"{self.name} refused it: {error}"
        if answer["done"] != "taken":
            raise Later(f"{name} was changed on {self.name} at that moment")
        with self.node.mutex:
            self.node.ledger.told("sent", name, self.name)
        log.info("sent %s to %s", name, self.name)
        return ""

    def fetch(self, name, _mine, theirs):
        answer, content = self.ask("get", item=name)
        if answer["digest"] != theirs["digest"]:
            return changing(name)
        brought = {"digest": theirs["digest"], "vector": theirs["vector"]}
        try:
            done = self.node.take(name, brought, content, self.name)
        except Busy as error:
            raise Later(f"this host: {error}") from None
        except Failed as error:
            return f"refused here: {error}"
        if done != "taken":
            return changing(name)
        self.node.changed()  # there may be a third
        return ""

    def wait(self, _name, mine, _theirs):
        """It is looked at again soon: setup's word that it is through comes from no one."""
        raise Later(
            f"waits for setup, which wrote it on {self.node.name if mine['setup'] else self.name} alone"
        )

    def conflict(self, name, mine, theirs):
        with self.node.mutex:
            known = self.node.ledger.data["conflicts"].get(name, {}).get(self.name)
            content = self.node.content(name)
        entry = {"digest": theirs["digest"], "vector": theirs["vector"]}
        if known != entry or theirs["conflict"] != mine["digest"]:
            answer, other = self.ask("get", item=name)
            if content is None or answer["digest"] != theirs["digest"]:
                return changing(name)
            self.ask("conflict", content, item=name, digest=mine["digest"], vector=mine["vector"])
            self.node.disagree(name, theirs, other, self.name)
        return f"in conflict with {self.name}: both are kept"


def changing(name):
    raise Later(f"{name} is being changed")
