"""The sync's parts with real files, pipes and inotify: messages, what wakes it, what setup wrote."""

from __future__ import annotations

import errno
import getpass
import grp
import hashlib
import os
import resource
import select
import socket
import stat
import threading
from pathlib import Path

import pytest

from lbkit.hand import duty, framing, inotify, items, ledger, locking, marks, orders, syncing, talk
from lbkit.hand.core import Failed

PARTS = items.CERTBOT_PARTS


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    with one, other:
        yield framing.Stream(one.fileno(), one.fileno()), framing.Stream(other.fileno(), other.fileno()), one


def test_messages_come_through_one_by_one(ends):
    one, other, _ = ends
    one.send({"op": "a"}, b"body")
    one.send({"op": "b"})
    assert other.receive() == ({"op": "a", "size": 4}, b"body")
    assert other.receive() == ({"op": "b", "size": 0}, b"")


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xff\xff\xff",
        b"\0\0\0\x02{}",
        b"\0\0\0\x02ab",
        b"\0\0\0\x0c" + b'{"size":-10}',
        b"\0\0\0\x15" + b'{"size": 99999999999}',
    ],
)
def test_absurd_sizes_and_what_is_no_message_end_the_conversation(ends, raw):
    _, other, wire = ends
    wire.sendall(raw)
    with pytest.raises(framing.Broken):
        other.receive(1)


def test_a_message_that_is_cut_off_is_none_and_an_end_between_two_is_one(ends):
    _, other, wire = ends
    wire.sendall(b"\0\0\0\x20{")
    wire.shutdown(socket.SHUT_WR)
    with pytest.raises(framing.Broken, match="ended"):
        other.receive(1)
    first, second = socket.socketpair()
    with first, second:
        second.close()
        assert framing.Stream(first.fileno(), first.fileno()).receive(1) == (None, b"")


# ── what wakes it ────────────────────────────────────────────────────────────────────────────────────────


def saved(watcher):
    assert select.select([watcher.fd], [], [], 10)[0]
    return watcher.events()


def test_saves_by_writing_renaming_and_in_directories_that_are_new_are_events(tmp_path):
    watcher = inotify.Watcher()
    folder = tmp_path / "later" / "deeper"
    item = items.SavedFile("x", str(folder / "x"))
    watcher.watch(item.watched())
    folder.mkdir(parents=True)
    assert any(item.concerns(*event) for event in saved(watcher))
    watcher.watch(item.watched())
    (folder / "x").write_text("1")
    assert (str(folder), "x") in saved(watcher)
    (folder / "new").write_text("2")
    watcher.events()
    (folder / "new").rename(folder / "x")
    assert (str(folder), "x") in saved(watcher)
    assert not item.concerns(str(folder), "other")
    folder.rename(tmp_path / "away")  # and what is put in its place is watched anew
    saved(watcher)
    folder.mkdir()
    watcher.watch(item.watched())
    watcher.events()
    (folder / "x").write_text("3")
    assert (str(folder), "x") in saved(watcher)


def test_an_event_is_about_the_trees_below_and_above_which_it_is():
    tree = items.Tree("letsencrypt", "/etc/letsencrypt", PARTS)
    assert tree.concerns("/etc/letsencrypt/live/site", "cert.pem")
    assert tree.concerns("/etc", "letsencrypt")
    assert not tree.concerns("/etc/letsencrypt", "cli.ini")
    assert not tree.concerns("/etc/haproxy", "haproxy.cfg")


# ── what setup wrote ─────────────────────────────────────────────────────────────────────────────────────


def test_what_setup_wrote_is_told_from_the_same_text_saved_later_by_a_person(tmp_path, monkeypatch):
    path = tmp_path / "haproxy.cfg"
    monkeypatch.setattr(marks, "SYNCED", str(tmp_path))
    monkeypatch.setattr(marks, "MARKS", str(tmp_path / "marks.json"))
    monkeypatch.setattr(locking, "LOCK", str(tmp_path / "lock"))
    item = items.SavedFile("cfg", str(path))
    book = ledger.Ledger("a", str(tmp_path / "ledger"))
    node = syncing.Node({"cfg": item}, book)
    marks.write(str(path), b"by setup")
    path.write_text("by setup")
    node.look()
    assert node.version("cfg")["setup"] is True
    path.write_text("by a person")
    node.look()
    assert node.version("cfg")["setup"] is False
    path.write_text("by setup")
    node.look()
    assert node.version("cfg") == {**node.version("cfg"), "setup": False, "vector": {book.writer: 3}}


def test_what_setup_did_not_install_is_not_said_to_be_its_work(tmp_path, monkeypatch):
    path, noted = tmp_path / "haproxy.cfg", tmp_path / "marks.json"
    path.write_text("old")
    monkeypatch.setattr(marks, "SYNCED", str(tmp_path))
    monkeypatch.setattr(marks, "MARKS", str(noted))
    was = hashlib.sha256(b"old").hexdigest()
    owned = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name, "mode": 0o640}
    request = {"kind": "file", "path": str(path), "content": "new", "was": was, **owned}
    with pytest.raises(Failed, match="invalid"):
        talk.write({**request, "check": ("false", "{}")}, print)
    assert not noted.exists()
    talk.write(request, print)
    assert marks.read()[str(path)] == {"sha256": hashlib.sha256(b"new").hexdigest(), "count": 1}


def test_what_ended_in_the_middle_of_an_installation_is_the_old_the_new_or_nothing(tmp_path):
    book = ledger.Ledger("a", str(tmp_path))
    book.note("x", "old", False)
    for found, expected in (("new", "new"), ("old", "old"), ("half", None)):
        book.begin("x", "new", {"a": 1, "b": 1})
        again = ledger.Ledger("a", str(tmp_path))
        again.recover("x", found)
        node = syncing.Node({}, again)
        assert node.version("x")["digest"] == expected


def test_what_was_noted_before_a_crash_is_put_to_use_after_it(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(items.SavedFile, "load", lambda self, content: used.append(content))
    used = []
    item = items.SavedFile("x", str(tmp_path / "x"))
    Path(item.path).write_text("1")
    book = ledger.Ledger("a", str(tmp_path / "ledger"))
    syncing.Node({"x": item}, book).look()
    assert used == []  # what stood there at the very first start is in use
    for _ in range(2):
        node = syncing.Node({"x": item}, book)
        node.look()
        node.look()
    assert used == [b"1", b"1"]  # once after each start: nobody knows how far the one before came


def test_kept_versions_are_for_root_alone_and_the_oldest_of_many_go(tmp_path):
    book = ledger.Ledger("a", str(tmp_path / "ledger"))
    for number in range(ledger.KEPT_MOST + 3):
        path = book.keep("x", "b", f"{number:064}"[::-1], b"secret")
        os.utime(path, (number, number))
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    folder = tmp_path / "ledger/conflicts/x"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(list(folder.iterdir())) == ledger.KEPT_MOST


def test_the_version_that_is_kept_last_stays_whatever_the_clock_said_before(tmp_path):
    book = ledger.Ledger("a", str(tmp_path / "ledger"))
    in_the_future = 4_000_000_000
    for number in range(ledger.KEPT_MOST):
        path = book.keep("x", "b", f"{number:064}"[::-1], b"secret")
        os.utime(path, (in_the_future, in_the_future + number))
    theirs = book.keep("x", "b", "e" * 64, b"one of two")
    for number in range(ledger.KEPT_MOST):  # saved again and again, with the conflict open
        book.keep("x", "b", "e" * 64, b"one of two")
        ours = book.keep("x", "a", f"{number:012}", b"the other of two")
        assert Path(theirs).exists()
        assert Path(ours).exists()


def test_what_stands_there_after_an_installation_that_was_cut_off_is_kept_before_it_is_replaced(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(locking, "LOCK", str(tmp_path / "lock"))
    path, book = tmp_path / "x", ledger.Ledger("a", str(tmp_path / "ledger"))
    book.note("x", items.digest(b"old"), False)
    book.begin("x", items.digest(b"new"), {"b": 1})
    path.write_text("edited before the service was there again")
    node = syncing.Node({"x": items.SavedFile("x", str(path))}, book)
    vector = {**book.record("x")["vector"], "b": 1}
    assert node.take("x", {"digest": items.digest(b"new"), "vector": vector}, b"new", "b") == "taken"
    kept = [one.read_text() for one in (tmp_path / "ledger/conflicts/x").iterdir()]
    assert kept == ["edited before the service was there again"]


def test_an_operator_is_told_that_the_host_is_locked(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve():
            connection, _ = listener.accept()
            with connection:
                stream = framing.Stream(connection.fileno(), connection.fileno())
                stream.receive()
                stream.send({"locked": "locked by somebody"})

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(Failed, match="locked by somebody"):
            framing.ask_service({"op": "now"}, 10, path)
        thread.join()


def test_a_conflict_about_what_is_synced_no_more_is_over_and_so_is_its_alarm(tmp_path, monkeypatch):
    monkeypatch.setattr(duty, "ALARMS", str(tmp_path / "alarms"))
    monkeypatch.setattr(duty, "SPARE", str(tmp_path / "spare"))
    book = ledger.Ledger("a", str(tmp_path / "ledger"))
    for name in ("x", "shop.pem"):
        book.conflict(name, "b", "other", {"b": 1})
    both = {name: items.SavedFile(name, str(tmp_path / name)) for name in ("x", "shop.pem")}
    syncing.Node(both, book).tell()
    assert set(duty.alarms()) == {"sync-conflict-x", "sync-conflict-shop.pem"}
    del both["shop.pem"]
    syncing.Node(both, book).tell()
    assert set(duty.alarms()) == {"sync-conflict-x"}
    assert set(book.data["conflicts"]) == {"x"}


def test_what_found_no_room_to_be_kept_is_kept_whole_the_next_time(tmp_path):
    book = ledger.Ledger("a", str(tmp_path / "ledger"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            book.keep("x", "b", "e" * 64, b"a certificate")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert Path(book.keep("x", "b", "e" * 64, b"a certificate")).read_bytes() == b"a certificate"
    assert len(list((tmp_path / "ledger/conflicts/x").iterdir())) == 1


def test_a_broken_configuration_is_checked_once_and_again_when_saved_or_after_a_while(tmp_path, monkeypatch):
    """Peers that are woken look here again: what is told of nothing would go round for ever."""
    monkeypatch.setattr(locking, "LOCK", str(tmp_path / "lock"))
    item = items.SavedFile("x", str(tmp_path / "x"))
    path, checked, woken = Path(item.path), [], []
    node = syncing.Node({"x": item}, ledger.Ledger("a", str(tmp_path / "ledger")), lambda: woken.append(1))
    path.write_text("good")
    node.look()
    woken.clear()

    def check(content):
        checked.append(content)
        raise Failed("it is broken")

    monkeypatch.setattr(item, "check", check)
    path.write_text("broken")
    for _ in range(3):
        node.look()
    assert (checked, woken) == ([b"broken"], [])
    path.write_text("otherwise broken")
    node.look()
    assert checked == [b"broken", b"otherwise broken"]
    monkeypatch.setattr(syncing, "AGAIN_S", 0)
    monkeypatch.setattr(item, "check", lambda content: None)
    node.look()
    assert (node.complaints(), woken) == ([], [1])


def test_what_finds_no_room_is_refused_told_here_too_and_taken_when_there_is_room(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "LOCK", str(tmp_path / "lock"))
    path, book = tmp_path / "x", ledger.Ledger("a", str(tmp_path / "ledger"))
    path.write_text("old")
    node = syncing.Node({"x": items.SavedFile("x", str(path))}, book)
    node.look()
    monkeypatch.setattr(items.SavedFile, "install", lambda self, content, was: path.write_bytes(content))
    vector = {**book.record("x")["vector"], "b": 1}
    brought = {"digest": items.digest(b"new"), "vector": vector}
    with monkeypatch.context() as patch:
        patch.setattr(orders, "put", full)
        with pytest.raises(Failed, match="No space left"):
            node.take("x", brought, b"new", "b")
    assert path.read_text() == "old"
    assert "x was refused: No space left on device (from b)" in node.complaints()
    assert node.take("x", brought, b"new", "b") == "taken"
    assert node.complaints() == []


def full(path, content, mode=0o644):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# ── certificates ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_certificate_behind_a_link_is_synced_and_noticed_where_it_is_saved(tmp_path):
    real = tmp_path / "of 2026/site.pem"
    real.parent.mkdir()
    real.write_text("chain and key")
    (tmp_path / "site.pem").symlink_to(real)
    item = items.Certificate("site.pem", str(tmp_path / "site.pem"), "site")
    assert item.read() == b"chain and key"
    assert item.watched() == [str(tmp_path), str(real.parent)]
    assert item.concerns(str(real.parent), "site.pem")
    assert item.concerns(str(tmp_path), "site.pem")
    assert not item.concerns(str(tmp_path), "other.pem")
    with pytest.raises(Failed, match="is a link"):  # of what is put in place by renaming
        items.SavedFile("cfg", str(tmp_path / "site.pem")).read()


def test_a_certificate_that_was_refused_is_told_by_one_alarm_at_least_and_at_most(tmp_path, monkeypatch):
    monkeypatch.setattr(duty, "ALARMS", str(tmp_path / "alarms"))
    monkeypatch.setattr(duty, "SPARE", str(tmp_path / "spare"))
    monkeypatch.setattr(locking, "LOCK", str(tmp_path / "lock"))
    item = items.Certificate("site.pem", str(tmp_path / "site.pem"), "site")
    node = syncing.Node({"site.pem": item}, ledger.Ledger("a", str(tmp_path / "ledger")))
    brought = {"digest": items.digest(b"x"), "vector": {"b": 1}}
    with pytest.raises(Failed):  # of this host, which has no certificates.json
        node.take("site.pem", brought, b"x", "b")
    node.tell()
    assert set(duty.alarms()) == {"sync"}
    duty.raise_alarm("certificate-site", "certificate", "cert-deploy's own words")
    node.tell()
    assert set(duty.alarms()) == {"certificate-site"}
    assert "site.pem was refused" in node.complaints()[0]


def test_an_alarm_of_a_broken_configuration_names_setup_and_one_of_another_file_where_it_is_looked_at(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(duty, "ALARMS", str(tmp_path / "alarms"))
    monkeypatch.setattr(duty, "SPARE", str(tmp_path / "spare"))
    monkeypatch.setattr(syncing, "MENDED_WITHIN_S", 0)
    node = syncing.Node({}, ledger.Ledger("a", str(tmp_path / "ledger")))
    for name, broken in (("haproxy.cfg", True), ("x", False)):
        node.broken, node.items = {name: f"/etc/{name} is not valid"}, {name: items.SavedFile(name, "/x")}
        node.tell()
        what, _, next_step = duty.alarms()["sync"]["text"].partition("\nNext: ")
        assert what == f"/etc/{name} is not valid; it is neither loaded nor sent."
        assert next_step.startswith("inv sync.status")
        assert ("inv setup" in next_step) is broken


def test_one_fault_of_a_certificate_raises_one_alarm_and_it_is_not_the_syncs(tmp_path, monkeypatch):
    monkeypatch.setattr(duty, "ALARMS", str(tmp_path / "alarms"))
    monkeypatch.setattr(duty, "SPARE", str(tmp_path / "spare"))
    monkeypatch.setattr(locking, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(syncing, "MENDED_WITHIN_S", 0)

    def broken(content):
        raise Failed("it is broken")

    for item, raised in (
        (items.Certificate("x", str(tmp_path / "x"), "site"), set()),  # cert-deploy raises it
        (items.SavedFile("x", str(tmp_path / "x")), {"sync"}),
    ):
        monkeypatch.setattr(item, "check", broken)
        (tmp_path / "x").write_text("broken")
        node = syncing.Node({"x": item}, ledger.Ledger("a", str(tmp_path / f"ledger-{len(raised)}")))
        node.look()
        node.tell()
        assert set(duty.alarms()) == raised
        assert node.complaints() == ["it is broken; it is neither loaded nor sent"]
        node.tell(["lb-2 refused it"])  # what the other says of it is told here
        assert set(duty.alarms()) == {"sync"}
        duty.end_alarm("sync")
