"""Servers that are held: by a real HAProxy, over its Runtime API, its restarts and other configurations."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lbkit.hand import looking, servers
from lbkit.hand.core import Failed

ENTRY = {"state": "drain", "weight": None, "who": "op", "since": "now", "reason": ""}


class Balancer:
    """HAProxy with three servers that need not be there, and the hand's files below a directory."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config = folder, folder / "haproxy.cfg"
        self.configure()

    def configure(self, port: int = 9, weight: int = 5) -> None:
        self.config.write_text(
            f"""global
    stats socket {self.folder}/admin.sock level admin
    server-state-file {self.folder}/server-state
defaults
    timeout connect 1s
    timeout client 1s
    timeout server 1s
    load-server-state-from-file global
listen all # a comment
    bind unix@{self.folder}/in.sock
backend apps
    server app-1 127.0.0.1:{port} weight {weight}
    server app-2 127.0.0.1:9
    server app-3 localhost:9 check init-addr last,libc,none
"""
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        process = subprocess.Popen(["haproxy", "-f", str(self.config)], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                looking.stats(servers.SOCKET, "show info")
                break
            assert process.poll() is None, "HAProxy does not start"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        try:
            yield
        finally:
            process.kill()  # as in a crash: nothing can be saved at its end
            process.communicate()

    def seen(self, name: str = "apps/app-1") -> tuple[int, int, str]:
        """(admin flags, weight, port)."""
        row = servers.now(name)
        return int(row["srv_admin_state"]) & 9, int(row["srv_uweight"]), row["srv_port"]


@pytest.fixture
def balancer(tmp_path: Path, needs: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> Balancer:
    needs("haproxy")
    monkeypatch.setattr(servers, "RECORD", str(tmp_path / "lbkit/servers.json"))
    monkeypatch.setattr(servers, "STATE", str(tmp_path / "server-state"))
    monkeypatch.setattr(servers, "SOCKET", str(tmp_path / "admin.sock"))
    monkeypatch.setattr(servers.record, "__defaults__", (servers.RECORD,))
    for reads in (servers.configured, servers.lasts):
        monkeypatch.setattr(reads, "__defaults__", (str(tmp_path / "haproxy.cfg"),))
    return Balancer(tmp_path)


def hold(name: str, state: str = "drain", weight: int | None = None) -> dict:
    return servers.hold({"server": name, "entry": {**ENTRY, "state": state, "weight": weight}})


def test_what_is_held_is_held_after_a_crash_and_in_another_configuration_until_it_is_ended(
    balancer: Balancer,
) -> None:
    with balancer.running():
        assert hold("apps/app-1") == {"running": True, "lasts": True}
        hold("apps/app-2", "maint")
        hold("apps/app-3", "ready", 7)
        assert balancer.seen() == (8, 5, "9")
    with balancer.running():
        assert balancer.seen()[0] == 8
        assert balancer.seen("apps/app-2")[0] == 1
        assert balancer.seen("apps/app-3")[:2] == (0, 7)
    balancer.configure(port=10, weight=3)
    servers.prepare()
    with balancer.running():
        assert balancer.seen() == (8, 3, "10")
        servers.hold({"server": "apps/app-1", "entry": None})
        assert balancer.seen() == (0, 3, "10")
    with balancer.running():
        assert balancer.seen()[0] == 0
        assert balancer.seen("apps/app-2")[0] == 1
    assert set(servers.record()) == {"apps/app-2", "apps/app-3"}


def test_a_port_that_a_held_server_kept_from_before_is_put_right_when_it_is_ready(balancer: Balancer) -> None:
    with balancer.running():
        hold("apps/app-1")
    balancer.configure(port=10)  # by hand, without us
    with balancer.running():
        assert balancer.seen()[2] == "9"
        servers.hold({"server": "apps/app-1", "entry": None})
        assert balancer.seen() == (0, 5, "10")


def test_a_configuration_that_does_not_read_the_file_is_told(balancer: Balancer) -> None:
    text = balancer.config.read_text()
    balancer.config.write_text(text.replace("    load-server-state-from-file global\n", ""))
    with balancer.running():
        assert hold("apps/app-1") == {"running": True, "lasts": False}


def test_what_haproxy_refuses_is_not_recorded(balancer: Balancer) -> None:
    with balancer.running():
        with pytest.raises(Failed, match="no server apps/nix"):
            hold("apps/nix")
        with pytest.raises(Failed, match="weight 300"):
            hold("apps/app-1", "ready", 300)
        servers.hold({"server": "apps/gone", "entry": None})
    assert servers.record() == {}


def test_where_the_record_finds_no_room_haproxy_is_as_before(
    balancer: Balancer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with balancer.running():
        hold("apps/app-2")
        monkeypatch.setattr(os, "fsync", full)  # a mock: filling a disk takes one of the test's own
        with pytest.raises(OSError, match=re.escape(f"No space left on device: '{servers.RECORD}'")):
            hold("apps/app-1")
        with pytest.raises(OSError, match="No space left"):
            servers.hold({"server": "apps/app-2", "entry": None})
        assert balancer.seen()[0] == 0
        assert balancer.seen("apps/app-2")[0] == 8
    assert set(servers.record()) == {"apps/app-2"}


def test_without_haproxy_it_is_recorded_for_its_start(balancer: Balancer) -> None:
    assert hold("apps/app-1", "maint") == {"running": False, "lasts": True}
    assert servers.servers()["stat"] is None
    with balancer.running():
        assert balancer.seen()[0] == 1
        assert "app-1" in servers.servers()["stat"]
