"""The parts of the failover agent that touch the world: HAProxy's answers, netlink, processes, files, notices."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lbkit import inventory
from lbkit.steps import agent as step
from tests.unit import agent as program

ROOT = Path(__file__).parents[2]
agent = program.load()
slow_check = program.load("check-haproxy")


def until(claim: Callable[[], object], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
        time.sleep(0.01)


class FakeHaproxy:
    """A listener on loopback that serves, hangs, drips, or answers with another status."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.how = "serves"
        self.open: list[socket.socket] = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self.how == "hangs":
                self.open.append(connection)
                return
            text = {"serves": b"200 OK", "fails": b"503 No", "drips": b"200 OK"}[self.how]
            for byte in b"HTTP/1.0 " + text + b"\r\n\r\n" if self.how == "drips" else ():
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
            connection.sendall(b"HTTP/1.0 " + text + b"\r\n\r\n")
            connection.close()

    def stop(self) -> None:
        # shutdown wakes the thread in accept, which would keep the port open
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def haproxy() -> Iterator[FakeHaproxy]:
    fake = FakeHaproxy()
    yield fake
    fake.stop()


def config(haproxy_port: int = 1, **more: Any) -> Any:
    """As the step writes it for the committed inventory, asking a fake HAProxy."""
    cluster = inventory.load(ROOT / "hosts.toml", secrets=False)
    data = json.loads(json.dumps(step.config(cluster, cluster.active)))
    data["peers"] = tuple(agent.Peer(**peer) for peer in data["peers"])
    data["rules"] = agent.Rules(moves=False, **data["rules"])
    data["notify"] = agent.Notify(events=tuple(data["notify"]["events"]))
    return replace(agent.Config(**data), health_port=haproxy_port, **more)


# ── the configuration ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["hosts.toml", "examples/aws.toml", "examples/on-premises.toml"])
def test_what_the_step_writes_is_what_the_program_reads(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LBKIT_STATS_PASSWORD", "correct#horse")
    monkeypatch.setenv("LBKIT_VRRP_PASSWORD", "pass1234")
    cluster = inventory.load(ROOT / name, secrets=False)
    path = tmp_path / "agent.json"
    for host in cluster.hosts:
        path.write_text(json.dumps(step.config(cluster, host)))
        read = agent.load_config(str(path))
        assert read.rules.moves is (cluster.address.kind == "eip")
        assert read.peers[0].address != host.private_address
        assert (read.priority > read.peers[0].priority) is (host.role == "active")


def test_a_configuration_that_cannot_be_read_ends_it_with_the_next_step(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    path.write_text('{"cluster": "x"}')
    done = subprocess.run(
        [sys.executable, str(program.LIBRARY / "failover-agent"), str(path)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Next: inv agent" in done.stderr
    assert "Traceback" not in done.stderr


# ── HAProxy ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("how", "answer"), [("serves", "serves"), ("hangs", "silent"), ("drips", "silent"), ("fails", "wrong")]
)
def test_checker_tells_serving_from_hanging(haproxy: FakeHaproxy, how: str, answer: str) -> None:
    haproxy.how = how
    assert agent.Checker(config(haproxy.port, peers=()), None).check(1).answer == answer


def test_checker_sees_a_killed_haproxy_as_refused_and_asks_the_peer(haproxy: FakeHaproxy) -> None:
    peer = FakeHaproxy()
    peer.how = "fails"  # any answer is an answer
    asked = config(
        haproxy.port,
        peers=(agent.Peer("b", "127.0.0.1", 240),),
        ask={"port": peer.port, "http": True, "tls": False},
    )
    checker = agent.Checker(asked, None)
    assert (checker.check(1).answer, checker.check(1).peer) == ("serves", None)
    haproxy.stop()
    check = checker.check(2)
    assert (check.answer, check.peer) == ("refused", True)
    peer.how = "hangs"
    assert checker.check(3).peer is False
    peer.stop()
    assert checker.check(4).peer is False


def test_checker_of_an_unfit_node_asks_its_own_haproxy_as_a_peer_would(haproxy: FakeHaproxy) -> None:
    ask = {"port": haproxy.port, "http": True, "tls": False}
    checker = agent.Checker(config(1, ask=ask, private_address="127.0.0.1", peers=()), lambda _: None)
    assert checker.check(1).own is None
    checker.ask_peers = True
    checked = checker.check(2)
    assert (checked.answer, checked.own) == ("refused", True)
    haproxy.stop()
    assert checker.check(3).own is False


def test_checker_keeps_its_rate(haproxy: FakeHaproxy) -> None:
    checks: list[Any] = []
    agent.Checker(config(haproxy.port), checks.append).start()
    until(lambda: len(checks) >= 8)
    assert checks[7].at - checks[0].at > 0.6  # every 0.1 s, and no burst to make up for a late one
    assert [check.number for check in checks] == list(range(1, len(checks) + 1))


@pytest.mark.parametrize(
    ("active", "sub", "job", "meaning"),
    [
        ("active", "running", "", "up"),
        ("reloading", "reload", "reload", "up"),
        ("deactivating", "stop-sigterm", "stop", "stopped"),
        ("inactive", "dead", "", "stopped"),
        ("deactivating", "stop-sigterm", "restart", "restarting"),  # systemctl restart, a package upgrade
        ("inactive", "dead", "start", "restarting"),
        ("activating", "start", "start", "restarting"),
        ("deactivating", "final-sigterm", "", "restarting"),  # a crash on its way
        ("activating", "auto-restart", "", "restarting"),
        ("inactive", "dead-before-auto-restart", "", "restarting"),  # systemd 254 and later
        ("failed", "failed-before-auto-restart", "", "restarting"),
        ("failed", "failed", "", "failed"),
        ("", "", "", None),
    ],
)
def test_states_of_the_unit(active: str, sub: str, job: str, meaning: str | None) -> None:
    assert agent.unit_state(active, sub, job) == meaning


# ── the slow check beside it ─────────────────────────────────────────────────────────────────────────────────


def test_slow_check_leaves_the_verdict_to_an_agent_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "agent.json"
    state.touch()
    assert slow_check.agent_at_work(str(state))
    for age in (5, -3600):  # stopped; a clock that was set back
        os.utime(state, (time.time() - age, time.time() - age))
        assert not slow_check.agent_at_work(str(state))
    assert not slow_check.agent_at_work(str(tmp_path / "none"))


def test_slow_check_alone_follows_the_rule_of_the_last_node(
    haproxy: FakeHaproxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_check, "agent_at_work", lambda: False)
    peer = FakeHaproxy()
    there = f"127.0.0.1,{peer.port},http"
    assert slow_check.fit(haproxy.port, 0.5, [there])
    haproxy.how = "hangs"
    assert not slow_check.fit(haproxy.port, 0.5, [there])
    assert not slow_check.fit(haproxy.port, 0.5, [f"127.0.0.1,{peer.port},tcp"])
    assert not slow_check.fit(haproxy.port, 0.5, [])  # without peers there is no last one
    peer.how = "hangs"
    assert slow_check.fit(haproxy.port, 0.5, [there])
    peer.stop()
    assert slow_check.fit(haproxy.port, 0.5, [there])


# ── the end of keepalived ────────────────────────────────────────────────────────────────────────────────────


def test_the_handover_is_waited_for_but_not_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    path.write_text('{"stance": "leaves", "holder": "me"}')
    threading.Timer(0.3, lambda: path.write_text('{"stance": "leaves", "holder": "lower"}')).start()
    for least, most, prepare in (
        (0.2, 1.0, lambda: None),
        (0.5, 1.5, lambda: path.write_text('{"stance": "leaves", "holder": "me"}')),  # nobody takes it
        (0.0, 0.2, lambda: path.write_text('{"stance": "none", "holder": "me"}')),  # keepalived's own address
        (0.0, 0.2, path.unlink),
    ):
        prepare()
        began = time.monotonic()
        agent.await_handover(0.6, str(path))
        assert least <= time.monotonic() - began < most


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


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_reader_ever_sees_half_a_track_file(tmp_path: Path) -> None:
    files = agent.Files(str(tmp_path))
    files.write_fit(True)
    stop, seen = threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            seen.add((tmp_path / "haproxy-unfit").read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(2000):
        files.write_fit(bool(number % 2))
    stop.set()
    reader.join()
    assert seen == {"0\n", "1\n"}
    assert [path.name for path in tmp_path.iterdir()] == ["haproxy-unfit"]


def test_what_a_killed_agent_left_half_written_is_cleared(tmp_path: Path) -> None:
    for name in ("agent.json", "agent.json.123", "haproxy-unfit", "aside"):
        (tmp_path / name).write_text("0")
    agent.Files(str(tmp_path)).clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.json", "aside", "haproxy-unfit"]


def test_memory_survives_a_restart_and_not_a_reboot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = agent.Files(str(tmp_path))
    files.write_fit(False)
    memory = agent.Memory(term=77, taken=True, called=12.5, flaps=(1.0,), troubles=(("api", "x"),), fails=3)
    files.write_memory(memory)
    read = files.read_memory()
    assert (read.term, read.taken, read.called, read.flaps, read.troubles) == (
        77,
        True,
        12.5,
        (1.0,),
        (("api", "x"),),
    )
    assert (read.fit, read.fails, read.cold) == (False, 0, True)
    monkeypatch.setattr(agent, "boot_id", lambda: "another")
    assert files.read_memory() == agent.Memory(fit=False)
    (tmp_path / "memory.json").write_text('{"boot": "another", "te')
    assert files.read_memory() == agent.Memory(fit=False)


def test_an_order_ends_by_its_time(tmp_path: Path) -> None:
    files = agent.Files(str(tmp_path))
    assert not files.ordered("aside")
    for left_s, stands in ((10, True), (-1, False), (1e6, False)):
        (tmp_path / "aside").write_text(f"{time.monotonic() + left_s}\n")
        assert files.ordered("aside") is stands
    (tmp_path / "aside").write_text("nonsense")
    assert not files.ordered("aside")


def test_metrics_are_in_prometheus_text_format() -> None:
    state = dict.fromkeys(("role", "haproxy", "keepalived", "holder"), "MASTER") | dict.fromkeys(
        ("fit", "moves", "last_move_s", "calls_failed", "reads_failed", "notices_lost"), 1
    )
    text = agent.metrics_of(state | {"cluster": "c", "host": "h", "troubles": {"api": "x"}})
    assert 'lbkit_agent_master{cluster="c",host="h"} 1\n' in text
    assert 'lbkit_agent_trouble{cluster="c",host="h",trouble="api"} 1\n' in text
    for line in text.splitlines():
        assert line.startswith("#") or line.count(" ") == 1


@pytest.mark.parametrize(("term", "holder"), [(7, "me"), (0, None), (None, None)])
def test_a_virtual_ip_is_with_the_node_on_whose_interface_it_is(
    tmp_path: Path, term: int | None, holder: str | None
) -> None:
    one = agent.Agent(config(aws=None), agent.Files(str(tmp_path), maintenance=str(tmp_path / "none")))
    check = agent.Check(1, 100.0, "serves")
    one.seen = agent.Seen(now=100.0, ready=False, term=term, keepalived="runs", check=check)
    one.write_state(agent.decide(one.seen, one.memory, agent.Rules(moves=False)))
    assert json.loads((tmp_path / "agent.json").read_text())["holder"] == holder
    holds = f'lbkit_agent_holds_address{{cluster="{one.config.cluster}",host="{one.config.host}"}} '
    assert f"{holds}{int(holder == 'me')}\n" in (tmp_path / "agent.prom").read_text()


# ── notices ──────────────────────────────────────────────────────────────────────────────────────────────────


def notices(command: tuple[str, ...]) -> Any:
    made = agent.Notices(config(notify=agent.Notify(events=("moved", "api"), command=command)))
    made.pauses = (0.1, 0.1)
    made.start()
    return made


def test_notices_are_delivered_in_order_as_json_and_only_those_wanted(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = tmp_path / "tell"
    script.write_text(f'#!/bin/sh\ncat >> {out}; echo " $1" >> {out}\n')
    script.chmod(0o755)
    told = notices((str(script),))
    told.put("moved", "first", took_ms=12)
    told.put("keepalived", "not asked for")
    told.put("api", "second", state="begun")
    until(lambda: out.exists() and out.read_text().count("\n") == 2)
    lines = out.read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["moved", "api"]
    first = json.loads(lines[0].rpartition(" ")[0])
    assert (first["text"], first["took_ms"], first["host"]) == ("first", 12, "lb-1")


def test_a_notice_that_hangs_delays_nobody_and_a_full_queue_is_counted() -> None:
    told = notices(("/bin/sleep",))  # is given the event's name for a time, and fails
    for _ in range(300):  # the thread that tells hangs in the first
        told.put("moved", "x")
    assert told.lost >= 190


def test_a_dead_topic_does_not_hold_up_the_command(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = tmp_path / "tell"
    script.write_text(f"#!/bin/sh\ncat >> {out}\n")
    script.chmod(0o755)
    notify = agent.Notify(events=("moved",), topic="arn:aws:sns:x:1:t", command=(str(script),))
    told, over = agent.Notices(config(notify=notify)), threading.Event()
    told.ways = [(lambda _: over.wait(), told.ways[0][1]), told.ways[1]]
    told.start()
    told.put("moved", "x")
    until(lambda: out.exists() and '"moved"' in out.read_text())
    over.set()


def test_a_failing_notice_is_repeated_then_given_up(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = tmp_path / "tell"
    script.write_text(f"#!/bin/sh\necho x >> {out}\nexit 1\n")
    script.chmod(0o755)
    told = notices((str(script),))
    told.put("moved", "x")
    until(lambda: told.lost == 1)
    assert out.read_text() == "x\nx\nx\n"


def test_at_boot_a_node_in_maintenance_begins_unfit_and_at_a_restart_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "maintenance"
    out.touch()
    files = agent.Files(str(tmp_path), maintenance=str(out))
    assert not files.read_memory().fit
    files.write_memory(agent.Memory())  # the last node standing
    files.write_fit(True)
    assert files.read_memory().fit


def test_a_node_in_maintenance_that_serves_since_nobody_else_does_goes_on_after_a_restart(
    tmp_path: Path,
) -> None:
    out = tmp_path / "maintenance"
    out.touch()
    files = agent.Files(str(tmp_path), maintenance=str(out))
    files.write_fit(True)
    files.write_memory(agent.Memory(served=True, steps_in=True))
    check = agent.Check(1, 50.0, "serves", peer=True, served=True)
    seen = agent.Seen(now=50.0, check=check, keepalived="runs", term=7, maintenance=True)
    assert agent.decide(seen, files.read_memory(), agent.Rules(moves=False)).fit


class FullFiles(agent.Files):  # type: ignore[misc, name-defined]
    """A tmpfs with no room left, in which nothing new can be made; what is there can be overwritten."""

    def write(self, path: str, text: str) -> None:
        raise OSError(28, "No space left on device")


def test_with_no_room_in_run_keepalived_is_told_all_the_same(tmp_path: Path) -> None:
    agent.Files(str(tmp_path)).write_fit(True)
    FullFiles(str(tmp_path)).write_fit(False)
    assert (tmp_path / "haproxy-unfit").read_text() == "1\n"
