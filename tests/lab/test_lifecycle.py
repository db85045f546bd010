"""The lab comes up from any state and goes down without a trace; all on a lab of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
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
from tests.lab.tidy import tidy

pytestmark = pytest.mark.lab

LAB = settings.current().beside("life", 40)
NOBODY = settings.current().beside("none", 60)


@pytest.fixture
def own() -> Iterator[api.Lab]:
    lab = api.Lab(LAB)
    with tidy(LAB):
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
        "mounts": re.findall(rf".*{LAB.name}.*", Path("/proc/self/mounts").read_text()),
        "processes": [one for one in commands if LAB.name in one and "pytest" not in one],
        "cgroups": LAB.cgroup.exists(),
        "state": LAB.state.exists(),
        "listening": [port for port in range(LAB.base_port + 1, LAB.base_port + 10) if _listens(port)],
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
    assert own.down() is True
    assert traces() == before
    assert own.down() is False


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


def test_a_killed_image_build_leaves_no_process_or_mount_and_no_half_image(tmp_path: Path) -> None:
    cache = tmp_path / f"{LAB.name}-cache"
    before = traces()
    program = (
        "import pathlib, sys; from lbkit.lab import image, settings;"
        "settings.CACHE = pathlib.Path(sys.argv[1]); image.ensure('bookworm')"
    )
    build = subprocess.Popen([sys.executable, "-c", program, str(cache)], cwd=settings.PROJECT)
    deadline = time.monotonic() + 60
    while not (cache / "bookworm.partial/image/usr").exists():
        assert time.monotonic() < deadline
        assert build.poll() is None
        time.sleep(0.05)
    build.kill()
    build.wait()
    while traces() != before:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not list(cache.glob("bookworm-*"))
    shutil.rmtree(cache)


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


def test_status_says_how_to_reach_the_hosts_and_which_are_off(own: api.Lab) -> None:
    assert own.status().up is False
    own.up()
    seen = json.loads(own.status().as_json())
    assert seen["up"] is True
    one = next(node for node in seen["nodes"] if node["name"] == "lb-1")
    assert one == {
        "name": "lb-1",
        "state": "running",
        "address": "10.77.1.11",
        "ssh": f"127.0.0.1:{LAB.base_port + 1}",
        "holds": "198.51.100.10",
    }
    own.host("lb-2").power_off()
    assert {node.name: node.state for node in own.status().nodes}["lb-2"] == "off"


def test_another_suite_is_refused_while_the_lab_runs(own: api.Lab) -> None:
    own.up("bookworm")
    with pytest.raises(Refused, match="runs with bookworm"):
        own.up("trixie")
    with pytest.raises(Refused, match="no image of 'potato'"):
        api.Lab(NOBODY).up("potato")


def test_a_lab_that_is_down_says_so() -> None:
    assert control.status(NOBODY).up is False
    with pytest.raises(Refused, match=r"is not up.\nNext: inv lab.up"):
        api.Lab(NOBODY).host("lb-1")
    machine.remove_cgroups(NOBODY)
