"""The front page: what is asked of the pair to see that it serves, and which backend answers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lbkit.inventory import Cluster, HttpFrontend, TcpFrontend
from lbkit.inventory.cluster import whole_name

Frontend = HttpFrontend | TcpFrontend


@dataclass(frozen=True)
class Page:
    """What is asked of one frontend. name: for SNI and the Host header. backend: who answers it."""

    frontend: Frontend
    address: str
    name: str
    path: str
    backend: str

    def question(self) -> dict[str, Any]:
        """For the hand's `ask`: HTTP for the page, TCP for a connection."""
        frontend = self.frontend
        if not isinstance(frontend, HttpFrontend):
            (port,) = (number for _, number in frontend.ports)
            return {"connect": (self.address, port), "name": self.name, "http": False, "tls": False}
        port, tls = frontend.https_port or frontend.http_port, bool(frontend.https_port)
        connect = (self.address, port)
        return {"connect": connect, "name": self.name, "path": self.path, "http": True, "tls": tls}


def page(cluster: Cluster, *addresses: str) -> Page | None:
    """Of the first frontend, rather an HTTP one, that listens on one of the addresses; None without any."""
    frontends = sorted(cluster.haproxy.frontends, key=lambda one: not isinstance(one, HttpFrontend))
    for frontend in frontends:
        for address in addresses:
            if listens(frontend, address):
                name, path, backend = next(candidates(cluster, frontend))
                return Page(frontend, address, name, path, backend)
    return None


def listens(frontend: Frontend, address: str) -> bool:
    every = "::" if ":" in address else "*"
    return every in frontend.addresses or address in frontend.addresses


def candidates(cluster: Cluster, frontend: Frontend) -> Iterator[tuple[str, str, str]]:
    """(name, path, backend) that may be asked: the front page of the first name, else what a route takes."""
    domain = cluster.front_name
    if not isinstance(frontend, HttpFrontend):
        yield domain, "/", frontend.backends[0]
        return
    if backend := frontend.backend_for(domain, "/"):
        yield domain, "/", backend
    for route in frontend.routes:
        name = whole_name(route.host[0]) if route.host else domain
        path = (route.path_prefix or ("/",))[0] + (route.path_suffix or ("",))[0]
        if backend := frontend.backend_for(name, path):
            yield name, path, backend


# ── by another haproxy.cfg than the inventory's ──────────────────────────────────────────────────────────

SECTION = re.compile(r"(\w+)(?:\s+([\w.-]+))?")
BIND = re.compile(r'\s+bind\s+"?(?P<address>\S*?):(?P<port>\d+)"?(?P<options>(?:\s.*)?)')


def by(question: dict[str, Any], frontend: str, config: str) -> dict[str, Any] | None:
    """The question, asked where the frontend listens by that haproxy.cfg (before or after a change of its
    port); None where by it nothing listens that could be asked. One without a `bind` that can be read says
    nothing else."""
    address, port = question["connect"]
    known = list(binds(config))
    found: dict[str, dict[int, bool]] = {}  # frontend → port → with TLS
    for name, bind in known:
        if reaches(bind["address"], address):
            found.setdefault(name, {})[int(bind["port"])] = " ssl" in bind["options"]
    mine = found.get(frontend, {})
    same = [number for number, tls in mine.items() if tls == question["tls"]]
    if not known or port in same:
        return question
    if mine:
        port = (same or list(mine))[0]
        return {**question, "connect": (address, port), "tls": mine[port]}
    return question if any(port in ports for ports in found.values()) else None


def binds(config: str) -> Iterator[tuple[str, re.Match[str]]]:
    """(frontend, its `bind`)."""
    name = ""
    for line in config.splitlines():
        if section := SECTION.match(line):
            name = section[2] or ""
        elif bind := BIND.fullmatch(line):
            yield name, bind


def reaches(bound: str, address: str) -> bool:
    """Whether what listens there is reached at the address. A variable stands for the host's own address."""
    if bound.startswith("$"):
        return address not in ("127.0.0.1", "::1")
    every = ("[::]",) if ":" in address else ("", "*", "0.0.0.0")
    return bound in every or bound.strip("[]") == address
