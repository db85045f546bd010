"""The front page: what is asked of the pair to see that it serves, and which backend answers. Pure."""

from __future__ import annotations

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
