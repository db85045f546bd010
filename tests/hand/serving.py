"""A real HAProxy that serves a certificate, as on a host: a master with workers and its admin socket.

A stand-in for `systemctl` passes on the reload as Debian's unit does (the tests have no systemd), and stands in
for nothing else.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lbkit.hand import deploying, duty, loaded, served, writing
from tests import authority
from tests.hand.test_writing import ME
from tests.waiting import until

NAMES = ("a.example.com", "b.example.com")
CONFIG = """
global
    stats socket {socket} mode 600 level admin expose-fd listeners
    ssl-default-bind-options no-tls-tickets
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend web
    bind 127.0.0.1:{port} ssl crt {certs} alpn h2,http/1.1
    http-request return status 200 content-type text/plain string "here"
frontend more
    bind 127.0.0.1:{more} ssl crt {certs} alpn h2,http/1.1
    http-request return status 200
"""
SYSTEMCTL = """#!/bin/sh
case $1 in
show) kill -0 {pid} 2>/dev/null && echo active || echo inactive ;;
reload) haproxy -c -q -f {config} && kill -USR2 {pid} ;;
esac
"""


@dataclass
class Balancer:
    folder: Path
    config: dict[str, Any]
    process: subprocess.Popen[bytes]

    @property
    def site(self) -> dict[str, Any]:
        return dict(self.config["certificates"][0])

    @property
    def path(self) -> Path:
        return Path(self.site["path"])

    @property
    def socket(self) -> str:
        return str(self.config["socket"])

    @property
    def worker(self) -> str | None:
        return writing.stats_pid(self.socket)

    def reload(self) -> None:
        """Until another worker answers. A master that has just started may overhear the signal; systemd waits
        for its word that it is ready."""
        before, sent = self.worker, 0.0

        def another() -> bool:
            nonlocal sent
            if time.monotonic() > sent + 3:
                sent = time.monotonic()
                self.process.send_signal(signal.SIGUSR2)
            return self.worker not in (None, before)

        until(another)

    def install(self, pem: str) -> str:
        return str(deploying.install(self.config, self.site, lambda: pem.encode(), lambda: None))

    def serve(self) -> str:
        return str(deploying.serve(self.config, self.site, lambda: None))

    def shown(self) -> set[str]:
        """Fingerprints that clients are shown, everywhere."""
        return {served.handshake(one["connect"], one["name"]) for one in self.site["served_on"]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def first(middle):
    return authority.issue("First", NAMES, middle)


@pytest.fixture(scope="module")
def second(middle):
    return authority.issue("Second", NAMES, middle)


@pytest.fixture
def balancer(tmp_path, monkeypatch, first, needs) -> Iterator[Balancer]:
    """HAProxy with the first certificate, which is the last that was found good."""
    needs("haproxy")
    folder = Path(tmp_path)
    certs = folder / "certs"
    certs.mkdir(mode=0o700)
    ports = [free_port(), free_port()]
    site = {
        "name": "site",
        "path": str(certs / "site.pem"),
        "domains": list(NAMES),
        "issuer": "own",
        "lineage": None,
        "served_on": [{"connect": ["127.0.0.1", port], "name": NAMES[0]} for port in ports],
        "min_days": 14,
    }
    control = folder / "admin.sock"
    config = {"socket": str(control), "certificates": [site]}
    Path(site["path"]).write_text(first.pem)
    text = CONFIG.format(socket=control, port=ports[0], more=ports[1], certs=site["path"])
    (folder / "haproxy.cfg").write_text(text)
    monkeypatch.setattr(writing, "ROOT", ME)
    monkeypatch.setattr(duty, "ALARMS", str(folder / "alarms"))
    monkeypatch.setattr(duty, "SPARE", str(folder / "spare"))
    monkeypatch.setattr(deploying, "KEPT", str(folder / "kept"))
    monkeypatch.setattr(deploying, "OURS", f"{certs}/")
    monkeypatch.setattr(deploying, "SETTLED_S", 0.5)
    monkeypatch.setattr(loaded, "LOADED", str(folder / "loaded.json"))
    process = subprocess.Popen(
        ["haproxy", "-W", "-db", "-f", "haproxy.cfg"], cwd=folder, stderr=(folder / "log").open("wb")
    )
    stand_in(folder, process.pid, monkeypatch)
    running = Balancer(folder, config, process)
    try:
        until(lambda: served.answers(str(control)))
        deploying.keep(site, first.pem.encode())
        yield running
    finally:
        process.terminate()
        process.wait(10)
        print((folder / "log").read_text())


def stand_in(folder: Path, pid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = folder / "bin"
    programs.mkdir()
    program = programs / "systemctl"
    program.write_text(SYSTEMCTL.format(pid=pid, config=folder / "haproxy.cfg"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}:/usr/sbin")


def alarms() -> dict[str, str]:
    return {name: entry["text"] for name, entry in duty.alarms().items()}
