"""What stood there before is kept, or nothing is replaced; the last ten, and what was there first."""

from __future__ import annotations

import base64
import getpass
import grp
import hashlib
import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from lbkit.hand import framing, items, keeping, locking, restoring, writing
from lbkit.hand.core import Failed

ME = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}


@pytest.fixture(autouse=True)
def lock(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "LOCK", str(tmp_path / "lock"))


@pytest.fixture
def path(tmp_path):
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc" / "a.conf"


def request(path: Path, content: str, **more) -> dict:
    if path.is_symlink():
        was = str(path.readlink())
    else:
        was = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
    return {"path": str(path), "content": content, "mode": 0o640, "was": was, "keep": True, **ME, **more}


def put(path: Path, content: str, **more) -> None:
    writing.write_file(request(path, content, **more), None)


def versions(path: Path) -> list[str]:
    """Contents of what is kept, the oldest first; `-` for no file."""
    found = [one for one in keeping.listing() if one["path"] == str(path)]
    return [keeping.content(one)["content"] if one["exists"] else "-" for one in found]


def test_what_was_there_before_lbkit_and_the_last_ten_are_kept(path):
    path.write_text("the distribution's\n")
    for number in range(15):
        put(path, f"{number}\n")
    assert versions(path) == ["the distribution's\n", *(f"{number}\n" for number in range(4, 14))]
    assert [one["number"] for one in keeping.listing() if one["original"]] == [1]


def test_that_there_was_no_file_is_what_was_there_before_lbkit(path):
    put(path, "new\n")
    (version,) = keeping.listing()
    assert (version["exists"], version["original"]) == (False, True)
    assert version["becomes"] == hashlib.sha256(b"new\n").hexdigest()


def test_a_version_tells_what_it_was_and_who_replaced_it(path):
    path.write_text("a\nb\nc\n")
    path.chmod(0o604)
    with locking.held("kim@desk", "inv setup"):
        put(path, "a\nB\nc\nd\n")
    (version,) = keeping.listing()
    assert version["path"] == str(path)
    assert (version["owner"], version["group"], version["mode"]) == (ME["owner"], ME["group"], 0o604)
    assert version["sha256"] == hashlib.sha256(b"a\nb\nc\n").hexdigest()
    assert (version["who"], version["command"]) == ("kim@desk", "inv setup")
    assert (version["added"], version["removed"]) == (2, 1)


def test_copies_are_for_root_alone_whatever_the_mode_of_the_file_was(path, kept):
    path.write_text("key\n")
    path.chmod(0o644)
    put(path, "new\n")
    modes = {stat.S_IMODE(one.stat().st_mode) for one in kept.rglob("*") if one.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(one.stat().st_mode) for one in (kept, *kept.iterdir())} == {0o700}


def test_the_same_content_is_not_kept_twice_in_a_row(path, monkeypatch):
    """A run that is cut between the copy and the replacement leaves a version that still stands there."""
    path.write_text("old\n")

    def cut(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", cut)
        with pytest.raises(KeyboardInterrupt):
            put(path, "new\n")
    assert path.read_text() == "old\n"
    with locking.held("kim@desk", "inv setup"):
        put(path, "newer\n")
    (version,) = keeping.listing()
    assert version["becomes"] == hashlib.sha256(b"newer\n").hexdigest()
    assert version["who"] == "kim@desk"


def test_half_a_copy_of_a_run_that_was_killed_is_no_version_and_goes(path, kept):
    put(path, "a\n")
    (folder,) = kept.iterdir()
    (folder / "2.4242").write_text("half")
    assert len(keeping.listing()) == 1
    put(path, "b\n")
    assert sorted(one.name for one in folder.iterdir()) == ["1", "2"]


def test_a_copy_that_cannot_be_read_hides_no_other(path, kept):
    for content in ("a\n", "b\n", "c\n"):
        put(path, content)
    (folder,) = kept.iterdir()
    (folder / "2").write_text("no JSON\n")
    (kept / "README").write_text("somebody's note\n")
    assert [one["number"] for one in keeping.listing()] == [1, 3]
    put(path, "d\n")


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small file system")
def test_on_a_full_disk_nothing_is_replaced(path, kept):
    kept.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(kept)], check=True)
    try:
        path.write_text("x" * 100_000)
        with pytest.raises(Failed, match=r"could not be kept in .*: No space left") as failure:
            put(path, "new\n")
        assert failure.value.output.startswith(f"{kept}: ")  # of its own file system, and of no other
        assert path.read_text() == "x" * 100_000
        assert list(path.parent.iterdir()) == [path]
        assert keeping.listing() == []
    finally:
        subprocess.run(["umount", str(kept)], check=True)


def test_a_path_that_is_too_long_for_a_name_is_kept_too(path):
    long = path.with_name("a" * 240)
    long.write_text("old\n")
    keeping.keep(str(long), b"new\n")
    assert versions(long) == ["old\n"]


def test_what_the_check_refuses_is_no_reason_to_keep_anything(path):
    path.write_text("old\n")
    with pytest.raises(Failed, match="would be invalid"):
        put(path, "new\n", check=("false",))
    assert keeping.listing() == []


def test_bytes_that_are_no_text_come_back_as_they_were(path):
    path.write_bytes(b"# caf\xe9\n\x00")
    put(path, "new\n")
    content = json.loads(json.dumps(keeping.content({"path": str(path), "number": 1})["content"]))
    put(path, content)
    assert path.read_bytes() == b"# caf\xe9\n\x00"


def test_a_link_is_kept_as_a_link_and_can_be_one_again(path):
    target = path.with_name("target")
    target.write_text("elsewhere\n")
    path.symlink_to(target)
    put(path, "new\n")
    (version,) = keeping.listing()
    assert version["link"] == str(target)
    seen = path.with_name("seen")
    check = ("sh", "-c", f"cat {{}} > {seen}")
    restoring.write_link({**request(path, ""), "target": version["link"], "check": check}, None)
    assert path.readlink() == target
    assert seen.read_text() == "elsewhere\n"
    assert versions(path)[1] == "new\n"


@pytest.mark.skipif(os.getuid() != 0, reason="gives a file away")
def test_a_file_of_somebody_who_is_no_user_any_more_can_be_his_again(path):
    path.write_text("old\n")
    os.chown(path, 54321, 54322)
    put(path, "new\n")
    (version,) = keeping.listing()
    put(path, "old\n", owner=version["owner"], group=version["group"])
    assert (path.stat().st_uid, path.stat().st_gid) == (54321, 54322)


def test_a_file_that_goes_is_kept_first(path):
    put(path, "new\n")
    restoring.remove(request(path, ""), None)
    assert not path.exists()
    assert versions(path) == ["-", "new\n"]
    assert keeping.listing()[-1]["becomes"] is None


def test_a_file_that_somebody_changed_meanwhile_does_not_go(path):
    path.write_text("read\n")
    change = request(path, "")
    path.write_text("theirs\n")
    with pytest.raises(Failed, match="changed by somebody else"):
        restoring.remove(change, None)
    assert path.read_text() == "theirs\n"


def test_a_version_that_is_gone_is_told(path):
    with pytest.raises(Failed, match="is not kept any more"):
        keeping.content({"path": str(path), "number": 7})


def test_each_page_that_the_sync_replaces_or_removes_is_kept(tmp_path):
    root, pages = tmp_path, tmp_path / "pages"
    pages.mkdir()
    for name in ("500.http", "503.http", "504.http"):
        (pages / name).write_text(f"old {name}\n")
    item = items.Tree("pages", str(root), ("pages",), keep=True)
    before = item.read()
    (pages / "503.http").write_text("new\n")
    (pages / "504.http").unlink()
    brought = item.read()
    (pages / "503.http").write_text("old 503.http\n")
    (pages / "504.http").write_text("old 504.http\n")
    item.install(brought, items.digest(before))
    assert not (pages / "504.http").exists()
    assert versions(pages / "503.http") == ["old 503.http\n"]
    assert versions(pages / "504.http") == ["old 504.http\n"]
    assert versions(pages / "500.http") == []


def test_pages_of_ever_new_names_do_not_fill_the_disk(tmp_path, monkeypatch):
    """A peer names them, and each that goes is kept."""
    monkeypatch.setattr(items, "KEPT_PAGES", 3)
    item = items.Tree("pages", str(tmp_path), ("pages",), keep=True)
    other = tmp_path / "other"
    keeping.keep(str(other), b"new")

    def bring(name: str, content: str) -> None:
        text = base64.b64encode(content.encode()).decode()
        entries = [["pages", "d", 0o755, ""], [f"pages/{name}", "f", 0o644, text]]
        item.install(json.dumps(entries).encode(), items.digest(item.read()))

    def names() -> list[str]:
        found = sorted(keeping.listing(), key=lambda one: one["at"])
        return [Path(one["path"]).name for one in found if one["path"] != str(other)]

    for number in range(6):
        bring(f"{number}.http", "page\n")
    assert names() == ["2.http", "3.http", "4.http"]
    monkeypatch.setattr(items, "KEPT_BYTES", 5000)
    bring("large.http", "x" * 4000)
    bring("larger.http", "x" * 6000)
    assert names() == ["5.http", "large.http"]
    bring("small.http", "page\n")
    assert names() == ["larger.http"], "the newest, whatever its size"
    assert versions(other) == ["-"]


def test_what_the_sync_brings_is_kept_and_what_it_takes_back_is_not(path, monkeypatch):
    """A configuration that does not pass the reload was never one to go back to."""
    path.write_text("good\n")
    monkeypatch.setattr(writing, "check", lambda *_: None)
    haproxy = items.HaProxy({"group": ME["group"], "environment": {}})
    item = items.Configuration("haproxy.cfg", str(path), haproxy)
    item.owner = {**ME, "mode": 0o640}
    reloads = []

    def reload() -> None:
        reloads.append(path.read_text())
        if path.read_text() == "bad\n":
            raise Failed("no reload")

    monkeypatch.setattr(haproxy, "reload", reload)
    with pytest.raises(Failed, match="the one before is back"):
        item.install(b"bad\n", items.digest(b"good\n"))
    item.install(b"better\n", items.digest(b"good\n"))
    assert reloads == ["bad\n", "good\n", "better\n"]
    assert versions(path) == ["good\n"]


def test_the_mark_of_a_test_of_the_sync_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(framing, "BODY_LIMIT", 1 << 20)
    item = items.SavedFile("mark", str(tmp_path / "mark"))
    item.owner = {**ME, "mode": 0o600}
    item.install(b"a", None)
    item.install(b"b", items.digest(b"a"))
    assert keeping.listing() == []


def test_where_no_directory_can_be_made_nothing_is_replaced(path, monkeypatch):
    """As on a disk that was full before lbkit came."""
    path.write_text("old\n")
    (path.parent / "file").write_text("")
    monkeypatch.setattr(keeping, "DIRECTORY", str(path.parent / "file" / "kept"))
    with pytest.raises(Failed, match="could not be kept") as failure:
        put(path, "new\n")
    assert failure.value.output.startswith(f"{path.parent}: ")
    assert "KiB" in failure.value.output
    assert path.read_text() == "old\n"


def test_what_somebody_else_put_in_place_of_lbkits_is_told_of_the_newest_version(path):
    put(path, "a\n")
    put(path, "b\n")
    assert [one["edited"] for one in keeping.told()] == [False, False]
    path.write_text("theirs\n")
    assert [one["edited"] for one in keeping.told()] == [False, True]
    path.unlink()
    assert [one["edited"] for one in keeping.told()] == [False, True]
    path.mkdir()
    assert [one["edited"] for one in keeping.told()] == [False, False], "it is unknown what that is"
