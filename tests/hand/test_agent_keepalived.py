"""How the failover agent sees keepalived: by netlink its address, by /proc its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lbkit.hand import sockets
from tests.hand.agent_config import ROOT, agent, config
from tests.waiting import until

# ── netlink ──────────────────────────────────────────────────────────────────────────────────────────────────

NETLINK = """
import subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from tests.unit import agent as program
agent = program.load()
def ip(*words): subprocess.run(["ip", *words], check=True)
def told(seen):
    time.sleep(0.05); seen.drain(); return seen.term
ip("link", "set", "lo", "up")
for address, other in (("169.254.99.1", "169.254.99.2/32"), ("fd00::9", "fd00::8/128")):
    prefix = address + ("/128" if ":" in address else "/32")
    seen = agent.Addresses("lo", address)
    assert seen.term is None and seen.read() == 0
    ip("addr", "add", other, "dev", "lo"); assert told(seen) == 0
    ip("addr", "add", prefix, "dev", "lo"); first = told(seen); assert first > 0
    assert agent.Addresses("lo", address).read() == first  # a restarted agent sees the same election
    assert agent.Addresses("eth9", address).read() == 0
    ip("addr", "del", prefix, "dev", "lo"); assert told(seen) == 0
    ip("addr", "add", prefix, "dev", "lo"); assert told(seen) > first  # and another one as another
    ip("addr", "del", other, "dev", "lo"); assert told(seen) > first
print("ok")
"""


def test_netlink_tells_of_the_address_and_of_each_election(needs: Callable[[str], None]) -> None:
    needs("ip")
    if os.geteuid():
        pytest.skip("needs root: a network namespace of its own")
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", NETLINK, str(ROOT)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "ok\n", done.stderr


# ── keepalived's processes ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def keepalived(tmp_path: Path) -> Iterator[Any]:
    """(the reader, a process called keepalived that works a little all the time)."""
    script = tmp_path / "keepalived"
    script.write_text("#!/bin/sh\nwhile :; do sleep 0.02; done\n")
    script.chmod(0o755)
    process = subprocess.Popen([script])
    group = tmp_path / "cgroup/system.slice/keepalived.service/cgroup.procs"
    group.parent.mkdir(parents=True)
    group.write_text(f"{process.pid}\n1\n")  # 1: some other program in the unit's group
    reader = agent.Keepalived(config(advert_s=0.1, script_s=0.1), (str(group),))
    until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "keepalived\n")
    yield reader, process, group
    process.kill()
    process.wait()


def states(reader: Any, seconds: float) -> list[str | None]:
    """What it is called over that time, ten times a second; changes alone."""
    found: list[str | None] = []
    for _ in range(round(seconds * 10)):
        state = reader.read(time.monotonic(), True)
        if found[-1:] != [state]:
            found.append(state)
        time.sleep(0.1)
    return found


def test_a_stopped_keepalived_is_hung_until_it_goes_on(keepalived: Any) -> None:
    reader, process, _ = keepalived
    assert states(reader, 1.2) == [None, "runs"]  # nothing can be said from a single look
    process.send_signal(signal.SIGSTOP)
    assert states(reader, 1.5) == ["runs", "hung"]
    process.send_signal(signal.SIGCONT)
    time.sleep(0.1)
    assert states(reader, 0.5) == ["runs"]


def test_a_new_agent_does_not_take_one_that_was_stopped_before_for_one_that_works(keepalived: Any) -> None:
    _, process, group = keepalived
    process.send_signal(signal.SIGSTOP)
    until(lambda: "State:\tT" in Path(f"/proc/{process.pid}/status").read_text())
    again = agent.Keepalived(config(advert_s=0.1, script_s=0.1), (str(group),))
    assert states(again, 1.5) == [None, "hung"]


def test_one_that_turns_in_circles_is_hung_too(tmp_path: Path) -> None:
    script = tmp_path / "keepalived"
    script.write_text("#!/bin/sh\nwhile :; do :; done\n")
    script.chmod(0o755)
    group = tmp_path / "cgroup.procs"
    with subprocess.Popen([script]) as process:
        group.write_text(f"{process.pid}\n")
        reader = agent.Keepalived(config(advert_s=0.1, script_s=0.1), (str(group),))
        try:
            assert states(reader, 2)[-1] == "hung"
        finally:
            process.kill()


def test_a_killed_keepalived_is_dead_and_an_unreadable_one_unknown(keepalived: Any, tmp_path: Path) -> None:
    reader, process, group = keepalived
    process.kill()
    process.wait()
    assert reader.read(time.monotonic(), True) == "dead"
    group.unlink()  # systemd removes the group of a unit that has ended
    assert reader.read(time.monotonic(), True) == "dead"
    nowhere = agent.Keepalived(
        config(), (str(tmp_path / "none/system.slice/keepalived.service/cgroup.procs"),)
    )
    assert nowhere.read(time.monotonic(), True) is None


@pytest.mark.parametrize("watches", [True, False])
def test_whether_a_process_watches_files_is_told(watches: bool) -> None:
    """keepalived does, unless the kernel has no inotify instance left for it."""
    program = "import ctypes, sys; {} print(); sys.stdin.read()".format(
        "ctypes.CDLL(None).inotify_init1(0);" if watches else ""
    )
    with subprocess.Popen(
        [sys.executable, "-uc", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        assert sockets.watches_files(process.pid) is watches
        process.kill()
