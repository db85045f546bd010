"""Reads the pair: one round trip to each host, side by side. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lbkit import errors, pair, plan, remote, steps
from lbkit.inventory import Cluster, Host, Vip


@dataclass(frozen=True)
class Picture:
    """The pair as read in one go. missing: hosts that could not be read, with the reason."""

    cluster: Cluster
    nodes: tuple[pair.Node, ...]
    missing: dict[str, str] = field(default_factory=dict)

    def node(self, name: str) -> pair.Node:
        return next(found for found in self.nodes if found.host.name == name)

    def in_scope(self, names: Sequence[str]) -> list[pair.Node]:
        return [found for found in self.nodes if found.host.name in names]


def look(cluster: Cluster, only: Sequence[str], hosts: Sequence[Host] | None = None) -> Picture:
    """The pair as it is, and what the named steps would change. Changes nothing."""
    with remote.sessions(hosts or cluster.hosts, lambda: wanted(cluster, only)) as opened:
        return read(cluster, only, opened)


def wanted(cluster: Cluster, only: Sequence[str]) -> dict[str, tuple[plan.Desired, ...]]:
    """Host name → what the named steps ask of it. The first time it costs what rendering does."""
    return {host.name: steps.desired(cluster, host, only) for host in cluster.hosts}


def read(cluster: Cluster, only: Sequence[str], opened: dict[str, Any]) -> Picture:
    """One round trip to each host, side by side."""
    asked = wanted(cluster, only)

    def seen(name: str) -> plan.Seen | errors.LbkitError:
        session = opened[name]
        if isinstance(session, errors.LbkitError):
            return session
        try:
            answer = session.call("read", items=[one.resource.spec() for one in asked[name]])
        except errors.LbkitError as error:
            return error
        return plan.Seen(tuple(answer["items"]), answer["facts"])

    found = dict(zip(opened, remote.in_parallel(seen, list(opened)), strict=True))
    nodes = [
        pair.node(cluster, cluster.host(name), asked[name], state)
        for name, state in found.items()
        if isinstance(state, plan.Seen)
    ]
    missing = {name: str(state) for name, state in found.items() if isinstance(state, errors.LbkitError)}
    return Picture(cluster, tuple(nodes), missing)


def holder_of(picture: Picture) -> str | None:
    """Name of the host that holds the address, None where nobody does; Undecided where it cannot be told."""
    if isinstance(picture.cluster.address, Vip):
        return pair.vip_holder(picture.nodes, list(picture.missing))
    from lbkit.aws import holder  # boto3 costs 150 ms: only where it is asked

    return holder.read(picture.cluster).holder
