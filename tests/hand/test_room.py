"""Room for what the lab's hosts watch, in a user namespace with a limit of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

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
