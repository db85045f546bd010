"""When a failover test does not begin."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lbkit import errors, observe, pair, status
from lbkit.drill.cases import Case
from lbkit.inventory import ROOT, Cluster

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def is_rehearsal(cluster: Cluster) -> bool:
    """Whether these are the lab's hosts, whatever the cluster is called: on this machine, and known by the
    very keys that `inv lab.up` made in this checkout."""
    ours = ROOT / ".lab"

    def made_here(path: Path | None) -> bool:
        return path is not None and path.resolve().is_relative_to(ours.resolve())

    return all(
        host.ssh in LOOPBACK and not host.jump and made_here(host.known_hosts) and made_here(host.key)
        for host in cluster.hosts
    )


def without_power_cuts(cases: tuple[Case, ...], named: bool, rehearsal: bool) -> tuple[tuple[Case, ...], str]:
    """(what runs, what to say of what does not): outside the lab a machine is reset only by name."""
    if named or rehearsal:
        return cases, ""
    return (
        tuple(one for one in cases if not one.reboots),
        "The case host is left out: it resets the machine. To run it: --case host",
    )


def warning(victim: str | None, instance: str | None) -> str:
    """What the confirmation says beyond the seconds' outage. victim: the host that loses its power."""
    if instance:
        return f" It stops the instance of {instance}, and only this machine starts it again."
    return f" It resets {victim} as a power cut would." if victim else ""


def confirm(
    cluster: Cluster, given: str | None, cases: Sequence[Case] = (), instance: str | None = None
) -> str | None:
    """What breaks on purpose wants the cluster's name typed; the lab's pair is there to be broken.

    Returns the name of the host whose reset was agreed to, where a person was asked about one.
    """
    name = cluster.name
    if given == name or (given is None and is_rehearsal(cluster)):
        return None
    victim = None
    if given is None and sys.stdin.isatty():
        if not instance and any(one.reboots for one in cases):
            victim = in_charge(cluster)
        asking = (
            f"This cuts clients of {name} off for seconds.{warning(victim, instance)}\nType {name} to go on: "
        )
        print(asking, end="", file=sys.stderr, flush=True)
        given = sys.stdin.readline().strip()
    if given != name:
        raise errors.Refused(f"Not confirmed; nothing was touched.\nNext: --yes-really {name}")
    return victim


def in_charge(cluster: Cluster) -> str:
    """Name of the host that holds the address. Raises Refused where that is nobody's, or unknown."""
    now = status.read(cluster)
    for row in now.rows:
        if row.holds:
            return row.host
    raise errors.Refused(f"{now.verdict}\nNothing was touched.\nNext: {now.next_step or 'inv status'}")


def refuse_missing(opened: dict[str, Any]) -> None:
    """Every host answers."""
    for session in opened.values():
        if isinstance(session, errors.LbkitError):
            raise errors.Unreachable(
                f"{str(session).partition(chr(10) + 'Next: ')[0]}\n"
                f"A failover test starts from a whole pair; nothing was touched.\nNext: inv status"
            )


def refuse_without_agent(cluster: Cluster, opened: dict[str, Any]) -> None:
    """The agents move an Elastic IP, and send either kind of address home: without them the test would only
    cut clients off.
    """
    for node in observe.read(cluster, (), opened).nodes:
        state = node.seen.facts["units"]["lbkit-agent.service"]
        if state not in pair.RUNNING:
            raise errors.Refused(
                f"The failover agent does not run on {node.host.name} ({state or 'unknown'}); "
                f"nothing was touched.\nNext: inv setup, then inv failover-test"
            )


def refuse_unless_whole(cluster: Cluster, opened: dict[str, Any]) -> str:
    """Name of the host in charge of a pair that has nothing wrong with it."""
    now = status.of(cluster, opened)
    if not now.whole:
        next_step = now.next_step or "inv verify"
        raise errors.Refused(
            f"{now.verdict}\nA failover test starts from a whole pair; nothing was touched.\n"
            f"Next: {next_step}"
        )
    return next(row.host for row in now.rows if row.holds)


def refuse_armed(opened: dict[str, Any]) -> None:
    """What a drill that was cut off has broken is mended by the host itself, and not yet."""
    for name, session in opened.items():
        if session.call("armed"):
            raise errors.Refused(
                f"{name} still mends what an earlier drill broke, which was cut off; nothing was touched.\n"
                f"Next: wait a minute, then run it again."
            )


def refuse_without_tools(cases: Sequence[Case], opened: dict[str, Any]) -> None:
    """What a case calls on the hosts is there before any is broken."""
    needed = {"nft" for one in cases if "{cut_" in one.do + one.first}
    for name, session in opened.items():
        missing = session.call("missing", programs=sorted(needed))
        if missing:
            raise errors.Refused(
                f"{name} has no {', '.join(missing)}, with which the drill cuts ways; nothing was touched.\n"
                f"Next: inv prereqs"
            )


def refuse_ways_through(cluster: Cluster, victim: str, cases: Sequence[Case]) -> None:
    """A host by way of which others are reached keeps its power: their management path would go with it."""
    host = cluster.host(victim)
    mine = ((host.ssh, host.port), (host.private_address, host.port))
    logins = [*cluster.peers(host), *([cluster.client] if cluster.client else [])]
    others = [one.name for one in logins if one.jump and (one.jump.ssh, one.jump.port) in mine]
    if others and any(one.reboots for one in cases):
        rest = ",".join(one.name for one in cases if not one.reboots)
        raise errors.Refused(
            f"{', '.join(others)} is reached by way of {victim}, whose power the case host would cut; "
            f"nothing was touched.\n"
            f"Next: --case {rest or 'haproxy'}, or reach {others[0]} another way (`jump`)."
        )


def refuse_moved(home: str, agreed: str | None) -> None:
    """Who agreed to the reset of one host has not agreed to that of another."""
    if agreed not in (None, home):
        raise errors.Refused(
            f"{home} is in charge by now, and not {agreed}, whose reset was agreed to; nothing was touched.\n"
            f"Next: run it again."
        )


def refuse_other_instance(home: str, instance: str | None) -> None:
    """It is the node in charge that is broken."""
    if instance not in (None, home):
        raise errors.Refused(
            f"{home} is in charge, and not {instance}; nothing was touched.\n"
            f"Next: --stop-instance {home}, or inv switchover --to {instance} first."
        )


def refuse_unwritable(path: Path) -> None:
    """The report could not be written afterwards."""
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise errors.Refused(
            f"{path} cannot be written; nothing was touched.\n"
            f"Next: name a file in a directory that is there: --report report.html"
        )
