"""maintenance: a host is kept out of service, also over its reboots, until somebody ends it. A procedure.

The host's agent finds /var/lib/lbkit/maintenance and says unfit to keepalived, for as long as another node
serves. What is refused here is what would leave the pair without a host that may serve.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lbkit import converge, errors, pair, remote, startable, status, switchover, verdict
from lbkit.inventory import Cluster
from lbkit.roll import Tell
from lbkit.since import stamp

OBEYED_WITHIN_S = 15


@dataclass(frozen=True)
class Done:
    """state: on or off. text: since when, by whom and why, while it is on. serves: who has the address now.
    changed: it was otherwise before."""

    host: str
    state: str
    changed: bool
    serves: str | None
    text: str = ""


def on(cluster: Cluster, name: str, reason: str, command: str, tell: Tell) -> Done:
    """The host of that name is kept out; if it has service, that moves first. Raises an LbkitError."""
    with remote.sessions(cluster.hosts) as opened:
        now = status.of(cluster, opened)
        row = next(one for one in now.rows if one.host == name)
        if row.maintenance:
            return Done(name, "on", False, serving(now), row.maintenance)
        to = stand_in(cluster, now, name)
        alive: dict[str, Any] = refuse_missing(opened)
        startable.refuse_unless(cluster, alive, [to])
        with converge.locked(alive, command):
            entry = {
                "who": f"{converge.who()}@{socket.gethostname()}",
                "since": stamp(cluster.timezone),
                "reason": reason,
            }

            def keep_out() -> None:
                alive[name].call("maintain", maintenance=entry)

            if row.holds or row.vrrp == "MASTER":
                switchover.move(cluster, alive, to, tell, before_return=keep_out)
            else:
                keep_out()
            now = wait(cluster, alive, name, out=True)
    text = next(one.maintenance for one in now.rows if one.host == name)
    return Done(name, "on", True, serving(now), text)


def off(cluster: Cluster, name: str, command: str, tell: Tell) -> Done:
    """The host may serve again; nothing moves back because of it, unless `preempt` wants that."""
    with remote.sessions(cluster.hosts) as opened:
        alive: dict[str, Any] = refuse_missing(opened, only=name)
        now = status.of(cluster, opened)
        if not next(one.maintenance for one in now.rows if one.host == name):
            return Done(name, "off", False, serving(now))
        with converge.locked(alive, command):
            alive[name].call("maintain", maintenance=None)
            now = wait(cluster, dict(opened), name, out=False)
    if (
        cluster.keepalived.preempt
        and serving(now) != name
        and cluster.host(name).priority == highest(cluster)
    ):
        tell(name, "takes service back by its priority (`keepalived.preempt`)")
    return Done(name, "off", True, serving(now))


def refuse_missing(opened: Mapping[str, object], only: str | None = None) -> dict[str, Any]:
    """The sessions that are open. Raises why one of them is not; only: where just this one must be."""
    for name, session in opened.items():
        if isinstance(session, errors.LbkitError) and only in (None, name):
            raise session
    return {name: session for name, session in opened.items() if not isinstance(session, errors.LbkitError)}


def highest(cluster: Cluster) -> int:
    return max(host.priority for host in cluster.hosts)


def serving(now: verdict.Status) -> str | None:
    return next((row.host for row in now.rows if row.holds), None)


def stand_in(cluster: Cluster, now: verdict.Status, name: str) -> str:
    """The best other host that can serve. Raises Refused where there is none, where it is not clear who is
    MASTER now, and where a failover test broke something on purpose."""
    if any(row.broken for row in now.rows):
        raise errors.Refused(f"{now.verdict}\nNothing was touched.\nNext: {now.next_step}")
    masters = [row.host for row in now.rows if row.vrrp == "MASTER"]
    able = [row.host for row in now.rows if row.host != name and can_serve(row)]
    if len(masters) != 1 or not able:
        others = ", ".join(row.host for row in now.rows if row.host != name)
        raise errors.Refused(
            f"{name} stays in service: {others} could not serve without it ({now.verdict.rstrip('.')}); "
            f"nothing was touched.\nNext: {now.next_step or 'inv verify'}"
        )
    best: Sequence[str] = sorted(able, key=lambda one: -cluster.host(one).priority)
    return next((one for one in best if one in masters), best[0])


def can_serve(row: verdict.Row) -> bool:
    """It may be MASTER, and serves."""
    runs = {row.haproxy, row.keepalived} <= set(pair.RUNNING)
    servers = bool(row.servers and row.servers[0])
    return (
        runs and servers and row.vrrp in ("MASTER", "BACKUP") and row.agent != "unfit" and not row.maintenance
    )


def wait(cluster: Cluster, opened: dict[str, Any], name: str, *, out: bool) -> verdict.Status:
    """The agent there has said so to keepalived: as it is then. Raises CommandFailed."""
    deadline = time.monotonic() + OBEYED_WITHIN_S
    while True:
        now = status.of(cluster, opened)
        row = next(one for one in now.rows if one.host == name)
        unfit, fault = row.agent == "unfit", row.vrrp == "FAULT"
        if (unfit and row.vrrp not in ("MASTER", "BACKUP")) if out else not (unfit or fault):
            return now
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    state = "on" if out else "off"
    raise errors.CommandFailed(
        f"Maintenance of {name} is {state}, but {OBEYED_WITHIN_S} s later it is {row.vrrp}, and its agent "
        f"says {row.agent}.\nNext: on {name}: journalctl -u lbkit-agent -n 20; inv status"
    )
