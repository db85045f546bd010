"""All checks, host by host, then between them, then outside."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from lbkit import errors, remote
from lbkit.check import split
from lbkit.doctor import capacity, host, outside, reach
from lbkit.doctor.finding import Finding, graded
from lbkit.inventory import Cluster, Eip, Host
from lbkit.requirements import Clock, Ports
from lbkit.steps import haproxy

CLOCKS_APART_S = 1.0


def run(cluster: Cluster) -> list[Finding]:
    """The inventory was read already: what is wrong with it has been said."""
    hosts = f"{len(cluster.hosts)} hosts, {', '.join(one.name for one in cluster.hosts)}"
    found = [Finding("inventory", "ok", f"{cluster.path.name}: {hosts}")]
    with remote.sessions(cluster.hosts) as opened:
        found += [access(cluster.host(name), one) for name, one in opened.items()]
        alive = reach.open_sessions(opened)
        for name, findings in zip(
            alive,
            remote.in_parallel(lambda name: of_host(cluster, name, alive[name]), list(alive)),
            strict=True,
        ):
            found += findings or [Finding(f"survey of {name}", "?", "nothing was found")]
        found += clocks(cluster, alive)
        found += reach.judge(cluster, alive)
    return [*found, *outside.aws(cluster), *outside.dns(cluster)]


def access(one: Host, session: remote.Session | errors.LbkitError) -> Finding:
    """ssh, host key, sudo and python3 in one: the hand came up as root, or why not."""
    name = f"{one.name} answers over ssh, with a known key and sudo"
    if not isinstance(session, errors.LbkitError):
        try:
            session.call("clock")
            return Finding(name, "ok", f"{one.user}@{one.ssh} port {one.port}")
        except errors.LbkitError as error:
            session = error
    what, fix = split(str(session))
    return Finding(name, "FAIL", what, fix)


def of_host(cluster: Cluster, name: str, session: remote.Session) -> list[Finding]:
    one = cluster.host(name)
    wanted = Ports("haproxy", tuple(haproxy.binds(cluster, one)), moving=cluster.address.ip)  # as the plan
    try:
        survey = session.call("survey", metadata=isinstance(cluster.address, Eip))
        read = session.call("read", items=[Clock().spec(), wanted.spec()])
    except errors.LbkitError as error:
        what, fix = split(str(error))
        return [Finding(f"survey of {name}", "?", what, fix)]
    return [
        *host.judge(cluster, one, survey, read),
        host.ports(one, wanted, read["items"][1]),
        *capacity.judge(cluster, one, survey),
        *outside.instance(cluster, one, survey),
    ]


def clocks(cluster: Cluster, alive: Mapping[str, Any]) -> Iterator[Finding]:
    """The hosts' clocks against this machine's, all by the same measure."""
    ahead: dict[str, float] = {}
    for name, session in alive.items():
        try:
            asked = time.time()
            there = session.call("clock")
            ahead[name] = there - (asked + time.time()) / 2
        except errors.LbkitError:
            continue  # told already
    if len(ahead) < 2:
        return
    apart = max(ahead.values()) - min(ahead.values())
    slowest, fastest = min(ahead, key=lambda n: ahead[n]), max(ahead, key=lambda n: ahead[n])
    detail = f"{fastest} is {apart:.2f} s ahead of {slowest}"
    fix = "on both: timedatectl set-ntp true (AWS refuses calls minutes off; logs are in no order)"
    yield graded("the clocks agree", apart < CLOCKS_APART_S, detail, fix)
    here = max(map(abs, ahead.values()))
    if here > 60:
        yield Finding("this machine's clock", "warn", f"{here:.0f} s from the hosts'", "timedatectl")
