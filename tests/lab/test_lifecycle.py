"""The lab comes up from any state and goes down without a trace; all on a lab of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbkit.errors import Refused
from lbkit.lab import api, control, machine, settings, world

pytestmark = pytest.mark.lab

LAB = settings.Lab("lifecycle", 2320)


@pytest.fixture
def own() -> Iterator[api.Lab]:
    lab = api.Lab(LAB)
    lab.down()
    yield lab
    lab.down()


def traces() -> dict[str, object]:
    """What a lab could leave behind on the machine."""

    def shown(*argv: str) -> str:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    commands = shown("ps", "-e", "-o", "args=").splitlines()
    return {
        "links": re.sub(r"state \S+|mode \S+", "", shown("ip", "-o", "link")),
        "addresses": shown("ip", "-o", "addr").replace("\\", ""),
        "namespaces": shown("ip", "netns"),
        "rules": shown("nft", "list", "ruleset"),
        "mounts": [
            line for line in Path("/proc/self/mounts").read_text().splitlines() if "lifecycle" in line
        ],
        "processes": [one for one in commands if LAB.name in one and "pytest" not in one],
        "cgroups": LAB.cgroup.exists(),
        "state": LAB.state.exists(),
        "listening": [port for port in range(2321, 2330) if _listens(port)],
    }


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(lab: api.Lab) -> bool:
    return all(subprocess.run(lab.ssh_argv(name, "true")).returncode == 0 for name in ("lb-1", "lb-2"))


def _command(*words: str) -> subprocess.Popen[bytes]:
    """The lab's commands in a process of their own, as an operator starts them."""
    program = "import sys; from lbkit.lab import view; getattr(view, sys.argv[1])(*eval(sys.argv[2]))"
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        env={**os.environ, "LBKIT_LAB": LAB.name, "LBKIT_LAB_PORTS": str(LAB.base_port)},
        cwd=settings.PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def test_down_leaves_nothing_behind(own: api.Lab) -> None:
    before = traces()
    own.up()
    assert _answers(own)
    own.host("lb-1").exec(["sh", "-c", "nohup sleep 1000 >/dev/null 2>&1 &"])
    started = time.monotonic()
    assert own.down() is True
    assert time.monotonic() - started < 3
    assert traces() == before
    assert own.down() is False


def test_from_a_built_image_the_lab_is_up_within_20_s(own: api.Lab) -> None:
    started = time.monotonic()
    own.up()
    assert _answers(own)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("after_s", [0.3, 0.5, 0.7, 0.9, 1.2, 1.6])
def test_a_start_killed_half_way_is_recovered_by_the_next_and_by_down(own: api.Lab, after_s: float) -> None:
    before = traces()
    start = _command("up", "('bookworm', False)")
    time.sleep(after_s)
    start.kill()
    start.wait()
    own.up()
    assert _answers(own)
    own.down()
    start = _command("up", "('bookworm', False)")
    time.sleep(after_s)
    start.kill()
    start.wait()
    own.down()
    assert traces() == before


def test_ctrl_c_during_the_start_leaves_nothing_running(own: api.Lab) -> None:
    start = _command("up", "('bookworm', False)")
    time.sleep(1)
    start.send_signal(signal.SIGINT)
    start.wait(10)
    assert world.find(LAB) is None or own.status().up
    own.down()


def test_up_recovers_after_kill_minus_nine(own: api.Lab) -> None:
    own.up()
    found = world.find(LAB)
    assert found
    os.kill(found.holder, signal.SIGKILL)
    assert own.status().up is False
    assert own.up() is True
    assert _answers(own)


def test_two_starts_at_once_make_one_lab(own: api.Lab) -> None:
    starts = [_command("up", "('bookworm', False)") for _ in range(2)]
    told = [start.communicate(timeout=60)[1].decode() for start in starts]
    assert [start.returncode for start in starts] == [0, 0], told
    assert sum("is up already" in text for text in told) == 1
    assert _answers(own)


def test_two_labs_run_side_by_side(own: api.Lab, selftest: api.Lab) -> None:
    own.up()
    own.host("lb-1").exec(["touch", "/root/own"])
    assert selftest.host("lb-1").exec(["ls", "/root/own"], check=False).returncode == 2
    own.down()
    assert _answers(selftest)


def test_a_taken_port_is_named_and_nothing_is_left(own: api.Lab) -> None:
    before = traces()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", LAB.base_port + 2))
        taken.listen()
        with pytest.raises(Refused, match=f"Port {LAB.base_port + 2} .*\n.*LBKIT_LAB_PORTS"):
            own.up()
        assert world.find(LAB) is None
    own.down()
    assert traces() == before


def test_another_suite_is_refused_while_the_lab_runs(own: api.Lab) -> None:
    own.up("bookworm")
    with pytest.raises(Refused, match="runs with bookworm"):
        own.up("trixie")
    with pytest.raises(Refused, match="no image of 'potato'"):
        api.Lab(settings.Lab("nobody", 2360)).up("potato")


def test_a_lab_that_is_down_says_so() -> None:
    nobody = settings.Lab("nobody", 2360)
    assert control.status(nobody).up is False
    with pytest.raises(Refused, match=r"is not up.\nNext: inv lab.up"):
        api.Lab(nobody).host("lb-1")
    machine.remove_cgroups(nobody)
