"""HAProxy on one host in figures, and when and why service moved last."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lbkit import certificate, errors, servers, steps
from lbkit.inventory import Cluster, Host

# keepalived's own check, beside the agent; the hand tells only how it failed.
CHECKED = "VRRP_Script(check_haproxy) "
MASTER, UNKNOWN = "keepalived: MASTER", "keepalived: UNKNOWN"
# A fault of the old MASTER is in its log so long before the other takes over. That its keepalived ended
# or gave the role up is the failover itself, and is noticed up to a moment after.
BEFORE_S, NOTICED_S = 30, 3
# An agent of a busy machine, or one that systemd had to start anew, says why later, and all in one breath.
LATE_S, TOGETHER_S = 30, 5


@dataclass(frozen=True)
class HaProxy:
    """since_s: for how long this worker serves. workers: it and older ones that still have connections.

    requests, errors: since then; errors are answers of 500 and above. requests_per_s: in the last second.
    """

    version: str
    since_s: int
    workers: int | None
    connections: int
    requests: int
    errors: int
    requests_per_s: int


@dataclass(frozen=True)
class Overview:
    """haproxy, servers: None where HAProxy does not answer. roles: (s since 1970, the words of the agent
    and of keepalived, as the hand looks for them).
    booted: when the host was started, s since 1970; None: unknown.

    certificate_hours: until the served one of the front page ends, None where none is served. sync:
    `sends`, `level`, or what is wrong with it, in a word. syncing: what its service says of itself, None
    where it does not answer.
    """

    haproxy: HaProxy | None
    servers: Mapping[str, servers.View] | None
    roles: tuple[tuple[float, str], ...]
    booted: float | None = None
    certificate_hours: float | None = None
    sync: str = "unknown"
    syncing: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Failover:
    """at: s since 1970. to: who serves since. source: who did before."""

    at: float
    source: str
    to: str
    why: str


def read(cluster: Cluster, host: Host, session: Any) -> Overview | None:
    """None where the host could not tell. Raises Unreachable."""
    page = steps.own_page(cluster, host)
    question = page.question() if page else None
    try:
        return of(session.call("overview", page=question if question and question["tls"] else None))
    except errors.CommandFailed:
        return None


def sync_word(said: Mapping[str, Any] | None) -> str:
    """said: by the service of itself, None where it does not answer."""
    if said is None:
        return "unknown"
    for name in ("conflicts", "complaints"):
        if said[name]:
            return {"conflicts": "conflict", "complaints": "refused"}[name]
    if not said["in_charge"]:
        return "receives"
    return "behind" if any(peer["behind"] for peer in said["peers"].values()) else "sends"


def of(answer: Mapping[str, Any]) -> Overview:
    """Of the hand's answer. Pure."""
    roles = tuple((at / 1e6, text) for at, _, _, text in answer["roles"])
    hours = certificate.read(answer["served"]).hours_left if answer["served"] else None
    found = servers.host_view(answer["servers"]).views
    said = answer["sync"]
    return Overview(haproxy(answer), found, roles, answer["booted"], hours, sync_word(said), said)


def views(found: Overview | None) -> Mapping[str, servers.View] | None:
    return found.servers if found else None


def haproxy(answer: Mapping[str, Any]) -> HaProxy | None:
    if answer["info"] is None or answer["frontends"] is None:
        return None
    info = dict(line.split(": ", 1) for line in answer["info"].splitlines() if ": " in line)
    rows = [
        row
        for row in csv.DictReader(io.StringIO(answer["frontends"].removeprefix("# ")))
        if not row["pxname"].startswith("lbkit-")
    ]

    def total(*fields: str) -> int:
        return sum(int(row.get(field) or 0) for row in rows for field in fields)

    return HaProxy(
        info["Version"].partition("-")[0],
        int(info["Uptime_sec"]),
        answer["workers"],
        total("scur"),
        total("req_tot"),
        total("hrsp_5xx"),
        total("req_rate"),
    )


def last_failover(found: Mapping[str, Overview | None]) -> Failover | None:
    """The last time that service went to another host, by the agents' logs; None where they tell of none.
    Pure.

    An agent that is restarted says again what it is: that is no change. Of several that are MASTER at once,
    the last to become so serves, until it yields.
    """
    known = {host: one for host, one in found.items() if one}
    said = sorted((at, host, text) for host, one in known.items() for at, text in one.roles)
    masters: list[str] = []
    last = serving = None
    for at, host, text in said:
        if text == MASTER and host not in masters:
            masters.append(host)
        elif text.startswith("keepalived: ") and text not in (MASTER, UNKNOWN) and host in masters:
            masters.remove(host)
        if masters and masters[-1] != serving:
            last, serving = serving and (at, serving, masters[-1]), masters[-1]
    if not last:
        return None
    at, source, to = last
    return Failover(at, source, to, reason(source, at, known[source]))


def reason(source: str, at: float, old: Overview) -> str:
    """What the old MASTER's agent said, else its keepalived. What the agent finds unfit well afterwards is
    another fault, or comes of this, as all that a machine says that was started again."""
    begun = max((when for when, text in old.roles if text == MASTER and when <= at), default=at)
    since = max(at - BEFORE_S, begun)  # what ailed it before it was elected is over
    near = [(when, text) for when, text in old.roles if since <= when <= at + NOTICED_S]
    unfit = [text.removeprefix("unfit: ") for when, text in near if when <= at and text.startswith("unfit: ")]
    if unfit:
        return f"{source}: {unfit[-1]}"
    ended = [match[1].lower() for _, text in near if (match := re.match(r"keepalived: (STOPPED|HUNG)", text))]
    if ended:
        return f"{source}: its keepalived was {ended[-1]}"
    if old.booted is None or old.booted < at:
        after = [(when, text) for when, text in old.roles if at < when <= at + LATE_S]
        left = next((when for when, text in after if text.startswith("keepalived: ")), at)
        for when, text in after:
            if text.startswith("unfit: ") and when - left <= TOGETHER_S:
                return f"{source}: {text.removeprefix('unfit: ')}"
    checked = [text.removeprefix(CHECKED).split()[0] for _, text in near if text.startswith(CHECKED)]
    if checked:
        return f"{source}: HAProxy's check by keepalived {checked[-1].replace('_', ' ')}"
    if any(text.startswith("keepalived: ") and text not in (MASTER, UNKNOWN) for _, text in near):
        return f"{source}: keepalived gave the role up"
    return f"{source} said nothing: its machine or its network was gone"


# ── as an operator reads it ──────────────────────────────────────────────────────────────────────────────


def haproxy_rows(found: Mapping[str, Overview | None]) -> list[tuple[str, ...]]:
    """A table with its heading; empty where nobody answered."""
    from lbkit.servers_shown import lasting

    heads = ("HAProxy", "version", "for", "workers", "open", "req/s", "5xx", "certificate", "sync")
    rows: list[tuple[str, ...]] = [heads]
    for host, one in found.items():
        if one is None:
            continue
        hours = one.certificate_hours
        ends = "none" if hours is None else "expired" if hours < 0 else certificate.span(hours)
        figures: tuple[str, ...] = ("?",) * 6
        if its := one.haproxy:
            share = f"{its.errors:,} of {its.requests:,}"
            numbers = (its.workers or "?", its.connections, its.requests_per_s, share)
            figures = (its.version, lasting(its.since_s), *map(str, numbers))
        rows.append((host, *figures, ends, one.sync))
    return rows if len(rows) > 1 else []


def server_rows(found: Mapping[str, Overview | None]) -> list[tuple[str, ...]]:
    """Each server, as each host sees it."""
    from lbkit.servers_shown import lasting

    seen = {host: one.servers for host, one in found.items() if one and one.servers is not None}
    rows: list[tuple[str, ...]] = [("server", *seen, "last check")]
    for name in sorted({name for views in seen.values() for name in views}):
        views = [views.get(name) for views in seen.values()]
        cells = [f"{one.status} {lasting(one.since_s)}" if one else "-" for one in views]
        said = next((one.said for one in views if one and one.status.startswith("DOWN")), None)
        rows.append((name, *cells, said or next((one.said for one in views if one), "") or "no check"))
    return rows if len(rows) > 1 else []
