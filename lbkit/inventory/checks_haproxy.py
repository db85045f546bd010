"""What must hold between keys of `[haproxy]`; see checks.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lbkit.inventory import balance, checks_certificates
from lbkit.inventory.backends import Backend
from lbkit.inventory.frontends import HttpFrontend
from lbkit.inventory.haproxy import HaProxy
from lbkit.inventory.read import MISSING, Notes, join

if TYPE_CHECKING:
    from lbkit.inventory.cluster import Document

Faults = Iterator[tuple[str, Any, str]]


def faults(document: Document, notes: Notes) -> Faults:
    """Every fault between keys of `[haproxy]`, and of them with the rest."""
    haproxy = document.haproxy
    yield from _frontends(haproxy, notes)
    yield from _uses(haproxy)
    yield from _backends(haproxy)
    yield from _modes(haproxy)
    yield from _stats(haproxy)
    yield from _ports(document)


def _frontends(haproxy: HaProxy, notes: Notes) -> Faults:
    if haproxy.frontends == ():
        yield "haproxy.frontends", MISSING, "at least one frontend: [haproxy.frontends.NAME]"
    for frontend in haproxy.frontends or ():
        key = join("haproxy.frontends", frontend.name)
        if not frontend.backends:
            yield f"{key}.default_backend", MISSING, "the backend for what no route takes"
        if isinstance(frontend, HttpFrontend):
            if frontend.http_port is False and frontend.https_port is False:
                yield f"{key}.https_port", False, "a port: http_port is off too"
            yield from _routes(key, frontend, notes)


def _routes(key: str, frontend: HttpFrontend, notes: Notes) -> Faults:
    seen: dict[Any, int] = {}
    for index, route in enumerate(frontend.routes or ()):
        condition = (route.host, route.path_prefix, route.path_suffix, route.ignore_case)
        if not any(condition[:3]) and not notes.has_below(f"{key}.routes[{index}]"):
            yield f"{key}.routes[{index}]", "no condition", "host, path_prefix or path_suffix"
        elif seen.setdefault(condition, index) != index:
            yield f"{key}.routes[{index}]", "condition", f"another condition than routes[{seen[condition]}]"


def _uses(haproxy: HaProxy) -> Faults:
    """Frontends send to backends that exist."""
    if haproxy.backends is None:
        return
    known = [b.name for b in haproxy.backends]
    expected = f"one of the backends ({', '.join(known)})" if known else "a backend, and there is none"
    for frontend in haproxy.frontends or ():
        key = join("haproxy.frontends", frontend.name)
        if frontend.default_backend and frontend.default_backend not in known:
            yield f"{key}.default_backend", frontend.default_backend, expected
        for index, route in enumerate(getattr(frontend, "routes", None) or ()):
            if route.backend and route.backend not in known:
                yield f"{key}.routes[{index}].backend", route.backend, expected


def _backends(haproxy: HaProxy) -> Faults:
    for backend in haproxy.backends or ():
        key = join("haproxy.backends", backend.name)
        if backend.servers == ():
            yield f"{key}.servers", MISSING, "at least one server"
        yield from _unique_servers(key, backend)
        if backend.hash_type and backend.balance and not balance.hashes(backend.balance):
            yield f"{key}.hash_type", backend.hash_type, f"none: {backend.balance} does not hash"
        cookie = backend.cookie
        if cookie and cookie.mode and cookie.mode != "insert" and (cookie.maxidle or cookie.maxlife):
            yield f"{key}.cookie.mode", cookie.mode, "insert: maxidle and maxlife have no meaning otherwise"


def _unique_servers(key: str, backend: Backend) -> Faults:
    seen: dict[Any, int] = {}
    for index, server in enumerate(backend.servers or ()):
        for what, value in (
            ("name", server.name),
            ("port", (server.address, server.port)),
            ("cookie", (server.cookie or server.name) if backend.cookie else None),
        ):
            known = value and all(value)  # a part that is None has its own fault
            first = seen.setdefault((what, value), index)
            if known and first != index:
                shown = f"{value[0]}:{value[1]}" if isinstance(value, tuple) else value
                yield f"{key}.servers[{index}].{what}", shown, f"a value that servers[{first}] does not have"


def _modes(haproxy: HaProxy) -> Faults:
    for backend in haproxy.backends or ():
        key = join("haproxy.backends", backend.name)
        modes = {f.mode for f in haproxy.users(backend.name)} if haproxy.frontends else set()
        if len(modes) > 1:
            names = " and ".join(f.name for f in haproxy.users(backend.name))
            yield key, "used for HTTP and TCP", f"frontends of one mode only ({names} differ)"
        if modes != {"tcp"}:
            continue
        if backend.balance and balance.needs_http(backend.balance):
            yield (
                f"{key}.balance",
                backend.balance,
                "an algorithm that needs no HTTP: the frontend is of mode tcp",
            )
        for name in ("cookie", "retry_on"):
            if getattr(backend, name):
                yield f"{key}.{name}", "set", "nothing: the frontend is of mode tcp"


def _stats(haproxy: HaProxy) -> Faults:
    stats = haproxy.stats
    if not (stats and stats.enabled):
        return
    if stats.password is None:
        yield "haproxy.stats.password", MISSING, '{ env = "NAME" } or { file = "path" } (or enabled = false)'
    if stats.metrics and stats.metrics == stats.uri:
        yield "haproxy.stats.metrics", stats.metrics, "another path than haproxy.stats.uri"


def _ports(document: Document) -> Faults:
    """No two of the listeners want one port of one address."""
    taken: list[tuple[str, str | None, int]] = []
    for key, address, port in _listeners(document):
        for other, at, number in taken:
            if port == number and other != key and _overlap(address, at):
                yield key, port, f"a port that {other} does not use"
                break
        taken.append((key, address, port))


def _listeners(document: Document) -> Iterator[tuple[str, str | None, int]]:
    """key, address (None: the host's private one), port."""
    haproxy = document.haproxy
    for frontend in haproxy.frontends or ():
        for name, port in frontend.ports:
            for address in frontend.addresses or ():
                yield f"{join('haproxy.frontends', frontend.name)}.{name}", address, port
    if haproxy.stats and haproxy.stats.enabled and haproxy.stats.port:
        yield "haproxy.stats.port", haproxy.stats.address, haproxy.stats.port
    if haproxy.health_port:
        yield "haproxy.health_port", "127.0.0.1", haproxy.health_port
    certificate = document.certificate
    if certificate and certificate.challenge_port and checks_certificates.is_issued(document):
        yield "certificate.challenge_port", None, certificate.challenge_port


def _overlap(one: str | None, other: str | None) -> bool:
    if one == other or {one, other} == {None, "*"} or {one, other} == {None, "::"}:
        return True
    both = {one, other}
    return ("*" in both and all(a and ":" not in a for a in both)) or (
        "::" in both and all(a and ":" in a for a in both)
    )
