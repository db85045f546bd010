"""Which version is the newer, by a table, and what becomes of any interleaving, by simulation.

The simulated node is the product's own Node and Ledger, the driver its own Peer; only files, ssh and the host's
lock are in memory. No clock takes part, so none can jump.
"""

from __future__ import annotations

import contextlib
import random
import threading

import pytest

from lbkit.hand import duty, items, ledger, locking, marks, peering, syncing, versions
from lbkit.hand.core import Failed


def version(digest, setup=False, **vector):
    return {"digest": digest, "vector": vector, "setup": setup}


TABLE = [
    (version("x", a=1), version("x", a=1), "nothing"),
    (version("x", a=1), version("x", b=1), "agree"),
    (version("x", a=2, b=1), version("y", a=1, b=1), "send"),
    (version("x", a=1, b=1), version("y", a=1, b=2), "fetch"),
    (version("x", a=2, b=1), version("y", a=1, b=2), "conflict"),
    (version("x", a=1), version("y", a=1), "conflict"),  # one of them lost its ledger
    (version(None), version(None), "nothing"),
    (version(None, a=3), version("y", b=1), "fetch"),
    (version("x", a=1), version(None, a=1, b=7), "send"),
    (version("x", a=2, setup=True), version("y", a=1), "wait"),
    (version("x", a=1), version("y", a=2, setup=True), "wait"),
    (version("x", a=1, setup=True), version("y", a=2), "fetch"),  # somebody edited over what setup wrote
    (version("x", a=2, setup=True), version("y", b=2), "wait"),
    (version("x", a=2, setup=True), version("x", b=2, setup=True), "agree"),
    (version("x", a=1, setup=True), version("x", a=1), "agree"),
    (version("x", a=1, setup=True), version(None), "wait"),
]


@pytest.mark.parametrize(("mine", "theirs", "expected"), TABLE)
def test_what_is_done_about_two_versions(mine, theirs, expected):
    turned = {"send": "fetch", "fetch": "send"}
    assert versions.decide(mine, theirs) == expected
    assert versions.decide(theirs, mine) == turned.get(expected, expected)


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [(True, True, "conflict"), (True, False, "send"), (False, True, "fetch"), (False, False, "conflict")],
)
def test_a_certificate_that_is_good_no_more_is_no_side_of_a_conflict(mine, theirs, expected):
    assert versions.settle("conflict", mine, theirs) == expected
    assert versions.settle("send", mine, theirs) == "send"


def test_content_that_is_gone_is_no_new_version():
    record = versions.noted(versions.NEW, "a", "x")
    gone = versions.noted(record, "a", None)
    assert versions.decide(gone, version("x", a=1)) == "fetch"
    again = versions.noted(gone, "a", "y")
    assert versions.decide(again, version("x", a=1)) == "send"


# ── simulation ───────────────────────────────────────────────────────────────────────────────────────────


class Memory:
    """One item of one simulated node. fails: the next installation ends in the middle, before or after the
    content is in place."""

    name, fails = "cfg", None

    def __init__(self):
        self.content, self.refuses = None, b"broken"

    def read(self):
        return self.content

    def check(self, content):
        if content.startswith(self.refuses):
            raise Failed("broken")

    def is_good(self):
        return True

    def load(self, content):
        pass

    def install(self, content, was):
        assert items.digest(self.content) == was
        self.check(content)
        fails, self.fails = self.fails, None
        if fails == "before":
            raise KeyboardInterrupt
        self.content = content
        if fails == "after":
            raise KeyboardInterrupt


class Book(ledger.Ledger):
    """On no disk: what is written is there after a crash, and nothing else."""

    def __init__(self, node, kept):
        self.node, self.kept = node, kept
        self.data = ledger.empty(node)

    def write(self):
        pass

    def keep(self, item, node, digest, content):
        self.kept.add(content)


class World:
    """Nodes, of which one or another drives; messages are lost and nodes crash in the middle."""

    def __init__(self, names, seed):
        self.chance = random.Random(seed)
        self.kept, self.saved, self.seen = set(), {}, set()
        self.files = {name: Memory() for name in names}
        self.books = {name: Book(name, self.kept) for name in names}
        self.nodes, self.count, self.up = {}, 0, set(names)
        for name in names:
            self.boot(name)

    def boot(self, name):
        self.nodes[name] = syncing.Node({"cfg": self.files[name]}, self.books[name])

    def save(self, name):
        """A person saves: never over something that is not noted yet, as the watcher is quick."""
        self.nodes[name].look()
        before = self.books[name].record("cfg")["vector"]
        newer = ("newer", "same")
        self.seen |= {one for one, vector in self.saved.items() if versions.relation(before, vector) in newer}
        self.count += 1
        content = self.files[name].content = f"{self.count}".encode()
        self.nodes[name].look()
        self.saved[content] = self.books[name].record("cfg")["vector"]

    def ask(self, driver, peer):
        """The conversation of one driver with one peer. Each message may be lost, on its way or back."""
        world = self

        class Conversation:
            def ask(self, request, body=b""):
                node = world.nodes[peer]
                if peer not in world.up or world.chance.random() < world.loss:
                    raise OSError("lost")
                answer = world.serve(node, driver, request, body)
                if world.chance.random() < world.loss:
                    raise OSError("lost on the way back")
                return answer

            def close(self):
                pass

        return Conversation()

    def serve(self, node, driver, request, body):
        """As the program does (files/usr/local/lib/lbkit/sync)."""
        if request["op"] == "state":
            node.look()
            return {"items": node.versions(driver)}, b""
        if request["op"] == "get":
            content = node.content("cfg")
            return {"digest": items.digest(content)}, content or b""
        told = {name: request.get(name) for name in ("digest", "vector")}
        if request["op"] == "put":
            self.maybe_crash(node)
            return {"done": self.crashing(node, lambda: node.take("cfg", told, body, driver))}, b""
        if request["op"] == "agree":
            node.agree("cfg", told)
        elif request["op"] == "conflict":
            node.disagree("cfg", told, body, driver)
        return {"good": True}, b""

    def maybe_crash(self, node):
        if self.chance.random() < self.loss:
            self.files[node.name].fails = self.chance.choice(["before", "after"])

    def crashing(self, node, work):
        try:
            return work()
        except KeyboardInterrupt:
            self.boot(node.name)
            raise OSError("it crashed") from None

    def drive(self, driver):
        node = self.nodes[driver]
        node.look()
        for peer in self.nodes:
            if peer != driver:
                one = peering.Peer(peer, self.nodes[driver], lambda p=peer: self.ask(driver, p), 1)
                self.maybe_crash(node)
                with contextlib.suppress(OSError, Failed):
                    self.crashing(self.nodes[driver], one.compare)
                self.files[driver].fails = None

    def everything(self):
        return {name: (file.content, str(self.books[name].data)) for name, file in self.files.items()}

    def run(self, steps, loss):
        self.loss = loss
        often = self.chance.choice([0.02, 0.1, 0.3])
        for _ in range(steps):
            name = self.chance.choice(list(self.nodes))
            what = self.chance.random()
            if what < often:
                self.save(name)
            elif what < often + 0.02:
                self.nodes[name].prevail()
            elif what < 0.8 and name in self.up:
                self.drive(name)
            elif len(self.up) > 1 and name in self.up:
                self.up.discard(name)
            else:
                self.up.add(name)


def level() -> World:
    """Two nodes that lose no message and have the same, saved on the first."""
    world = World("ab", 1)
    world.loss = 0.0
    world.save("a")
    world.drive("a")
    return world


@pytest.fixture
def in_memory(monkeypatch):
    monkeypatch.setattr(locking, "held", lambda who, command: contextlib.nullcontext())
    monkeypatch.setattr(marks, "read", dict)
    monkeypatch.setattr(duty, "raise_alarm", lambda *_: None)


@pytest.mark.usefixtures("in_memory")
@pytest.mark.parametrize("names", ["ab", "abc"])
@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_any_interleaving_ends_the_same_or_in_a_named_conflict_and_nothing_is_lost(names, loss):
    ends = set()
    for seed in range(400):
        world = World(names, seed)
        world.run(40, loss)
        world.up, world.loss = set(names), 0.0
        for _ in range(4):
            world.drive(names[0])
        contents = {file.content for file in world.files.values()}
        books = [world.books[name].data for name in names]
        if len(contents) > 1:
            ends.add("conflict")
            assert "cfg" in books[0]["conflicts"], seed
            for name in names[1:]:
                differs = world.files[name].content != world.files[names[0]].content
                assert ("cfg" in world.books[name].data["conflicts"]) >= differs, seed
            assert contents <= world.kept, seed
        else:
            ends.add("same")
            assert books[0]["conflicts"] == {}, seed
            assert len({str(world.books[name].record("cfg")["vector"]) for name in names}) == 1, seed
        assert set(world.saved) <= contents | world.kept | world.seen, seed  # seen: by who saved over it
        before = world.everything()
        world.drive(names[0])  # no loop: nothing more happens
        assert world.everything() == before, seed
    assert ends == {"same", "conflict"}


@pytest.mark.usefixtures("in_memory")
def test_a_conflict_is_settled_by_the_host_that_is_kept(in_memory):
    world = level()
    world.save("a")
    world.save("b")
    world.drive("a")
    assert world.nodes["a"].ledger.data["conflicts"]
    assert world.nodes["b"].prevail() == ["cfg"]
    world.drive("a")
    assert {file.content for file in world.files.values()} == {b"3"}
    assert not any(book.data["conflicts"] for book in world.books.values())
    assert {b"2", b"3"} <= world.kept


@pytest.mark.usefixtures("in_memory")
def test_what_is_broken_is_not_sent_and_a_newer_one_replaces_it_and_keeps_it(in_memory):
    world = level()
    world.files["a"].content = b"broken one"
    world.drive("a")
    assert world.files["b"].content == b"1"
    assert "cfg" in world.nodes["a"].broken
    world.save("b")
    world.drive("a")
    assert world.files["a"].content == b"2"
    assert world.nodes["a"].broken == {}
    assert b"broken one" in world.kept


@pytest.mark.usefixtures("in_memory")
@pytest.mark.parametrize("lost", ["a", "b"])
def test_a_host_that_lost_its_ledger_overwrites_nothing_and_loses_no_edit(lost):
    world = World("ab", 1)
    world.loss = 0.0
    for name in "abbb":
        world.save(name)
        world.drive("a")
    world.files[lost].content = b"edited"
    world.books[lost] = Book(lost, world.kept)
    world.boot(lost)
    world.drive("a")
    assert {file.content for file in world.files.values()} == {b"4", b"edited"}
    assert all("cfg" in book.data["conflicts"] for book in world.books.values())


@pytest.mark.usefixtures("in_memory")
@pytest.mark.parametrize("keep", ["a", "b"])
def test_a_refusal_is_told_until_the_version_here_has_seen_what_was_refused(keep):
    world = level()
    world.files["b"].refuses = b"2"
    world.save("a")
    world.drive("a")
    assert "refused" in str(world.nodes["b"].complaints())
    world.save("b")
    world.drive("a")
    assert "refused" in str(world.nodes["b"].complaints())
    if keep == "a":
        world.files["b"].refuses = b"broken"
    world.nodes[keep].prevail()
    world.drive("a")
    assert {file.content for file in world.files.values()} == {b"2" if keep == "a" else b"3"}
    assert world.nodes["b"].complaints() == []


@pytest.mark.usefixtures("in_memory")
def test_what_was_broken_and_stands_as_before_again_is_put_to_use(monkeypatch):
    used = []
    monkeypatch.setattr(Memory, "load", lambda self, content: used.append(content))
    world = World("ab", 1)
    world.loss = 0.0
    world.save("a")
    world.files["a"].content = b"broken one"
    world.nodes["a"].look()
    world.files["a"].content = b"1"
    used.clear()
    world.nodes["a"].look()
    world.nodes["a"].look()
    assert used == [b"1"]


@pytest.mark.usefixtures("in_memory")
def test_a_moment_in_which_nobody_knows_who_is_in_charge_delays_a_save_by_no_interval():
    """As after a clock's jump, until the agent writes again; the rest of the service may not have seen it."""
    known, compared = iter([None]), threading.Event()
    world = World("ab", 1)
    peer = peering.Peer("b", world.nodes["a"], lambda: None, 3600, lambda: next(known, True))

    def compare():
        compared.set()
        threading.Event().wait()  # nothing more is asked of this thread

    peer.compare = compare
    threading.Thread(target=peer.run, daemon=True).start()
    assert compared.wait(30)
