"""Orders to the agent on a real file system, and an address that is kept in a real (and empty) network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lbkit.hand import orders
from tests.unit import agent as program

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run_lbkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(orders, "RUN", str(tmp_path))
    return tmp_path


def test_what_is_ordered_here_stands_for_the_agent_until_it_is_released(run_lbkit: Path) -> None:
    files = program.load().Files(str(run_lbkit))
    orders.order({"name": "aside", "for_s": 20, "keep": None})
    assert files.ordered("aside")
    assert not files.ordered("take")
    for _ in range(2):
        orders.release({"keep": None})
        assert list(run_lbkit.iterdir()) == []


def test_in_a_directory_of_another_user_no_link_is_followed(run_lbkit: Path) -> None:
    other = run_lbkit / "other"
    other.write_text("untouched")
    (run_lbkit / "aside").symlink_to(other)
    (run_lbkit / f"aside.{os.getpid()}").symlink_to(other)
    orders.order({"name": "aside", "for_s": 20, "keep": None})
    assert other.read_text() == "untouched"
    assert not (run_lbkit / "aside").is_symlink()
    assert time.monotonic() < float((run_lbkit / "aside").read_text())


def test_maintenance_says_since_when_by_whom_and_why_also_of_a_file_made_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lbkit/maintenance"
    monkeypatch.setattr(orders, "MAINTENANCE", str(path))
    entry = {"who": "kim@laptop", "since": "12:00", "reason": "new kernel"}
    orders.maintain({"maintenance": entry})
    assert orders.maintenance(path) == entry
    path.write_text("")
    assert orders.maintenance(path) == {"who": "somebody", "since": "some time ago", "reason": ""}
    for _ in range(2):
        orders.maintain({"maintenance": None})
        assert orders.maintenance(path) is None


KEEP = """
import json, subprocess, sys
from lbkit.hand import orders
orders.RUN, address = sys.argv[1:]
def lo():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    shown = json.loads(subprocess.run(["ip", "-j", "address", "show", "lo"], capture_output=True, check=True).stdout)
    return [(a["local"], a["prefixlen"], a["valid_life_time"]) for a in shown[0]["addr_info"] if a["local"] == address]
for _ in range(2):
    orders.order({"name": "aside", "for_s": 20, "keep": address})
kept = lo()
orders.release({"keep": address})
print(json.dumps([kept, lo()]))
"""


@pytest.mark.skipif(not shutil.which("ip") or os.geteuid() != 0, reason="needs ip, and root for a network")
@pytest.mark.parametrize(("address", "prefix"), [("10.77.9.100", 32), ("2001:db8::100", 128)])
def test_an_address_is_kept_for_a_time_that_the_kernel_knows(
    tmp_path: Path, address: str, prefix: int
) -> None:
    argv = ["unshare", "--net", sys.executable, "-c", KEEP, str(tmp_path), address]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    ((kept,), after) = json.loads(done.stdout)
    assert kept[:2] == [address, prefix]
    assert 0 < kept[2] <= 20
    assert after == []
