"""The parts of the failover agent that touch the world: HAProxy's answers, the slow check, notices."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbkit import inventory
from lbkit.steps import agent as step
from tests.hand.agent_config import ROOT, agent, config
from tests.unit import agent as program
from tests.waiting import until

slow_check = program.load("check-haproxy")


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


def test_slow_check_repeats_what_the_agent_has_said_for_a_while_to_a_keepalived_that_may_be_deaf(
    haproxy: FakeHaproxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_check, "agent_at_work", lambda: True)
    tracked = tmp_path / "haproxy-unfit"
    monkeypatch.setattr(slow_check.unheard, "__defaults__", (str(tracked),))
    assert slow_check.fit(haproxy.port, 0.5, [])
    for text, age, fit in (("1\n", 1, True), ("1\n", 10, False), ("0\n", 10, True), ("", 10, True)):
        tracked.write_text(text)
        os.utime(tracked, (time.time() - age, time.time() - age))
        assert slow_check.fit(haproxy.port, 0.5, []) is fit


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
    here, gone = '{"stance": "leaves", "holder": "me"}', '{"stance": "leaves", "holder": "lower"}'

    def waits_to_the_end(deadline_s: float) -> bool:
        began = time.monotonic()
        agent.await_handover(deadline_s, str(path))
        return time.monotonic() - began >= deadline_s

    def passed_on() -> None:
        """At once, as the agent writes it: half a file is no state, and ends the wait too."""
        (tmp_path / "new").write_text(gone)
        (tmp_path / "new").rename(path)

    path.write_text(here)
    threading.Timer(0.3, passed_on).start()
    assert not waits_to_the_end(60)
    assert path.read_text() == gone
    path.write_text(here)  # nobody takes it
    assert waits_to_the_end(0.6)
    path.write_text('{"stance": "none", "holder": "me"}')  # keepalived's own address
    assert not waits_to_the_end(60)
    path.unlink()
    assert not waits_to_the_end(60)


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


def test_only_what_nobody_wanted_is_an_error_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = agent.Agent(config(aws=None), agent.Files(str(tmp_path), maintenance=str(tmp_path / "none")))
    rules = one.config.rules
    check = agent.Check(1, 100.0, "serves", peer=True)
    seen = agent.Seen(now=100.0, ready=True, term=0, keepalived="runs", check=check)
    for out in ({"maintenance": True}, {"aside": True}):
        one.seen = agent.replace(seen, **out)
        decided = agent.decide(one.seen, agent.replace(one.memory, fit=True), rules)
        assert not decided.fit
        one.tell(None, decided, {})
        assert "<5>unfit: " in capsys.readouterr().out
    one.seen = seen
    one.tell(None, agent.replace(decided, why_fit="HAProxy hangs; the peer serves"), {})
    assert "<3>unfit: " in capsys.readouterr().out


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
