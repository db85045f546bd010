"""Checks of `inv verify` that ask as clients do, of names, redirects and cookies, and what the logs say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lbkit import errors, front, logcheck, logs, names
from lbkit.check import Check, split, told
from lbkit.inventory import Cluster, HttpFrontend
from lbkit.inventory.backends import Cookie
from lbkit.since import Since

FOLLOWS = 4  # requests with the cookie
REDIRECTS = (301, 302, 303, 307, 308)


def of_clients(cluster: Cluster, address: str, ask: Any) -> list[Check]:
    """address: the one that clients use. ask: as of remote.outside."""
    # An Elastic IP arrives at a host's private address.
    places = (address, *(host.private_address for host in cluster.hosts))
    found = [*ports(cluster, "every port answers through the address", address, places, ask)]
    found += [*redirects(cluster, address, ask), *cookies(cluster, address, ask)]
    for one in names.look(cluster, address, ask):
        found.append(Check(f"DNS name {one.name}", one.good, one.detail, one.fix))
    return found


def frontends(cluster: Cluster, address: str) -> Iterator[HttpFrontend]:
    """Those that clients reach; an Elastic IP arrives at a host's private address."""
    places = (address, *(host.private_address for host in cluster.hosts))
    for frontend in cluster.haproxy.frontends:
        if isinstance(frontend, HttpFrontend) and any(front.listens(frontend, place) for place in places):
            yield frontend


CONNECT_S = 2.0


def ports(cluster: Cluster, title: str, address: str, places: Sequence[str], ask: Any) -> Iterator[Check]:
    """Each port of each frontend that listens at one of the places takes a connection at the address."""
    wanted = {
        port: frontend.name
        for frontend in cluster.haproxy.frontends
        if any(front.listens(frontend, place) for place in places)
        for _, port in frontend.ports
    }
    shut = []
    for port, name in wanted.items():
        question = {"connect": (address, port), "http": False, "timeout_s": CONNECT_S}
        if error := ask("ask", **question)[0]["error"]:
            shut.append(f"{address} port {port} ({name}): {error}")
    if wanted:
        detail = "; ".join(shut) or ", ".join(map(str, wanted))
        yield Check(
            title, not shut, detail, "inv status; inv plan; a firewall or a security group before it?"
        )


def redirects(cluster: Cluster, address: str, ask: Any) -> Iterator[Check]:
    """Where the inventory sends HTTP to HTTPS."""
    for frontend in frontends(cluster, address):
        if not frontend.redirects:
            continue
        port, name = frontend.http_port, cluster.front_name
        question = {"connect": (address, port), "name": name, "path": "/", "http": True, "tls": False}
        answer = ask("ask", **question)[0]
        sent = answer["status"] in REDIRECTS and str(answer.get("location")).startswith("https://")
        where = f" to {answer['location']}" if answer.get("location") else ""
        detail = answer["error"] or f"status {answer['status']}{where}"
        fix = f"inv plan; is it HAProxy that answers on port {port}? inv status"
        yield Check(f"port {port} leads to HTTPS", sent, detail, fix)


def cookies(cluster: Cluster, address: str, ask: Any) -> Iterator[Check]:
    """A client with the cookie stays with its server: HAProxy, which took it, gives no new one.

    Where the application itself sets the cookie (`prefix`, `rewrite`), and sets none on this page,
    nothing can be seen from here, and nothing is said.
    """
    seen = set()
    for frontend in frontends(cluster, address):
        for name, path, backend_name in front.candidates(cluster, frontend):
            cookie = cluster.haproxy.backend(backend_name).cookie
            if cookie is None or backend_name in seen:
                continue
            seen.add(backend_name)
            question = front.Page(frontend, address, name, path, backend_name).question()
            found = persistence(backend_name, cookie, question, ask)
            if found:
                yield found


def persistence(backend: str, cookie: Cookie, question: dict[str, Any], ask: Any) -> Check | None:
    title = f"clients of {backend} stay with their server"
    fix = f"inv backend; is a server of {backend} up? inv plan"
    first = ask("ask", **question)[0]
    value = given(first, cookie.name)
    if value is None:
        if cookie.mode != "insert" and first["good"]:
            return None
        said = first["error"] or f"status {first['status']}, and no cookie {cookie.name}"
        return Check(title, False, said, fix)
    headers = {"Cookie": f"{cookie.name}={value}"}
    answers = ask("ask", **question, count=FOLLOWS, headers=headers)
    bad = [one for one in answers if not one["good"]]
    others = {given(one, cookie.name) for one in answers} - {None, value}
    if bad:
        said = bad[0]["error"] or f"status {bad[0]['status']}"
        return Check(title, False, f"with the cookie: {said}", fix)
    stays = f"{FOLLOWS} requests with {cookie.name}={value} stayed"
    moved = f"sent on from {value} to {', '.join(sorted(map(str, others)))}"
    return Check(title, not others, moved if others else stays, fix)


def given(answer: dict[str, Any], name: str) -> str | None:
    """The cookie's value, where the answer sets it."""
    for text in answer.get("set_cookie") or ():
        key, _, value = text.partition(";")[0].partition("=")
        if key.strip() == name:
            return str(value.strip())
    return None


def of_logs(alive: dict[str, Any], since: Since | None) -> list[Check]:
    """since: None for the last change that lbkit made there."""
    found = []
    for name, session in alive.items():
        try:
            moment = since or logcheck.last_change(session)
        except errors.LbkitError as error:
            found.append(Check(f"logs of {name}", None, *split(str(error))))
            continue
        for unit in logcheck.EXPECTED:
            found += told(f"log of {unit} on {name}", of_log, name, session, unit, moment)
    return found


def of_log(name: str, session: Any, unit: str, since: Since) -> list[Check]:
    title, fix = f"log of {unit} on {name}", f"inv logs --host {name} --unit {unit} --since 1h"
    judged = logcheck.read(name, session, unit, since)
    if judged is None:
        systemd = logs.UNITS[unit][0].partition(".")[0].rstrip("*")
        return [Check(title, None, "no line of it can be read", f"on {name}: journalctl -u {systemd}")]
    return [Check(title, not judged.errors, logcheck.sentence(judged), fix)]
