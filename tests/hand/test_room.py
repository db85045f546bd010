"""Room: for what the lab's hosts watch, in a user namespace with a limit of its own; on a balancer's disks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lbkit.hand import duty, room
from lbkit.inventory import ROOT

PROGRAM = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
from lbkit.lab import room
room.LIMIT, room.KEPT = pathlib.Path("/proc/sys/user/max_inotify_instances"), pathlib.Path(sys.argv[2])
room.LIMIT.write_text("2")
assert room.is_there(2) and not room.is_there(3)
room.NEEDED = 4  # what is left of the limit around it counts too
room.make()
assert room.is_there(room.NEEDED) and room.KEPT.read_text() == "2"
room.make()
room.give_back()
assert room.LIMIT.read_text() == "2\\n" and not room.KEPT.exists()
room.give_back()
assert room.LIMIT.read_text() == "2\\n"
"""


def test_limit_is_raised_where_the_hosts_could_watch_nothing_and_given_back(
    tmp_path: Path, needs: Callable[[str], None]
) -> None:
    needs("unshare")
    argv = [
        "unshare",
        "--user",
        "--map-root-user",
        sys.executable,
        "-c",
        PROGRAM,
        str(ROOT),
        str(tmp_path / "kept"),
    ]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ── on a balancer ────────────────────────────────────────────────────────────────────────────────────────

GIB = 1 << 30


@pytest.mark.parametrize(
    ("size", "free", "free_files", "said"),
    [
        (8 * GIB, GIB, 900, ""),
        (8 * GIB, GIB // 2, 900, "/var has only 512 MiB left of 8.0 GiB"),
        (1000 * GIB, 3 * GIB, 900, ""),  # of a large disk a tenth is much
        (1000 * GIB, GIB, 900, "/var has only 1.0 GiB left of 1000.0 GiB"),
        (8 * GIB, GIB, 49, "/var has room for only 49 more files"),
    ],
)
def test_a_disk_lacks_room_by_bytes_or_by_files(size: int, free: int, free_files: int, said: str) -> None:
    disk = {"path": "/var", "size": size, "free": free, "files": 1000, "free_files": free_files}
    assert room.lacking(disk) == said


def test_a_disk_that_does_not_count_files_lacks_none() -> None:
    assert room.lacking({"path": "/", "size": GIB, "free": GIB, "files": 0, "free_files": 0}) == ""


def test_each_file_system_is_looked_at_once() -> None:
    found = room.disks()
    assert found[0]["path"] == "/"
    assert len({Path(disk["path"]).stat().st_dev for disk in found}) == len(found)


def test_the_alarm_stands_while_a_disk_is_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The disk is not real."""
    monkeypatch.setattr(duty, "ALARMS", str(tmp_path / "alarms"))
    monkeypatch.setattr(duty, "SPARE", str(tmp_path / "spare"))
    disk = {"path": "/var", "size": 8 * GIB, "free": 0, "files": 9, "free_files": 9}
    monkeypatch.setattr(room, "disks", lambda: [disk])
    room.watch()
    assert duty.alarms()["room"]["text"].startswith(
        "/var has only 0 MiB left of 8.0 GiB\nNext: on this host: "
    )
    disk["free"] = 4 * GIB
    room.watch()
    assert duty.alarms() == {}
