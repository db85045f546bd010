"""Reads the pair: one round trip to each host, side by side, and beside them AWS. Changes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lbkit import errors, pair, plan, remote, since, steps
from lbkit.inventory import Cluster, Eip, Host, Vip

if TYPE_CHECKING:
    from lbkit.aws.account import Place


@dataclass(frozen=True)
class Picture:
    """The pair as read in one go. missing: hosts that could not be read, with the reason. account: the AWS
    side, where steps in it were asked for; an error where it could not be read."""

    cluster: Cluster
    nodes: tuple[pair.Node, ...]
    missing: dict[str, str] = field(default_factory=dict)
    account: Place | errors.LbkitError | None = None

    def node(self, name: str) -> pair.Node:
        return next(found for found in self.nodes if found.host.name == name)

    @property
    def place(self) -> Place | None:
        """The AWS side, where it was asked for and read."""
        return None if isinstance(self.account, errors.LbkitError) else self.account

    @property
    def unread_account(self) -> str:
        """Why the AWS side could not be read; empty where it was, or nobody asked."""
        return str(self.account) if isinstance(self.account, errors.LbkitError) else ""

    def in_scope(self, names: Sequence[str]) -> list[pair.Node]:
        return [found for found in self.nodes if found.host.name in names]


def look(cluster: Cluster, only: Sequence[str], hosts: Sequence[Host] | None = None) -> Picture:
    """The pair as it is, and what the named steps would change. Changes nothing."""
    with remote.sessions(hosts or cluster.hosts, lambda: wanted(cluster, only)) as opened:
        return read(cluster, only, opened)


def wanted(cluster: Cluster, only: Sequence[str]) -> dict[str, tuple[plan.Desired, ...]]:
    """Host name → what the named steps ask of it. The first time it costs what rendering does, and, where a
    step in AWS is among them, making the clients."""
    if steps.in_account(cluster, only):
        from lbkit.aws import api

        api.of(cluster).warm()
    return {host.name: steps.desired(cluster, host, only) for host in cluster.hosts}


def hurried(cluster: Cluster) -> contextlib.AbstractContextManager[None]:
    """Meanwhile AWS, where it is asked at all, is asked once and not waited for."""
    if not isinstance(cluster.address, Eip):
        return contextlib.nullcontext()
    from lbkit.aws import api

    return api.of(cluster).hurried()


def prepare(cluster: Cluster) -> None:
    """What `holder_of` needs is made, while there is time."""
    if isinstance(cluster.address, Eip):
        from lbkit.aws import api

        api.of(cluster).warm("ec2")


Asked = Mapping[str, tuple[plan.Desired, ...]]  # host name → what must be true of it


def read(
    cluster: Cluster, only: Sequence[str], opened: dict[str, Any], asked: Asked | None = None
) -> Picture:
    """One round trip to each host, side by side. asked: of the hosts, in place of what the steps ask."""
    asked = asked or wanted(cluster, only)

    def seen(name: str | None) -> Any:
        if name is None:
            return read_account(cluster, only)
        session = opened[name]
        if isinstance(session, errors.LbkitError):
            return session
        try:
            answer = session.call("read", items=[one.resource.spec() for one in asked[name]])
        except errors.LbkitError as error:
            return error
        return plan.Seen(tuple(answer["items"]), in_zone(answer["facts"], cluster.timezone))

    *states, account = remote.in_parallel(seen, [*opened, None])
    found = dict(zip(opened, states, strict=True))
    answered = {name: state for name, state in found.items() if isinstance(state, plan.Seen)}
    told = {name: state.facts["keys"] for name, state in answered.items()}
    nodes = [
        pair.node(cluster, cluster.host(name), asked[name], state, told) for name, state in answered.items()
    ]
    missing = {
        name: unreachable(cluster, name, state)
        for name, state in found.items()
        if isinstance(state, errors.LbkitError)
    }
    return Picture(cluster, tuple(nodes), missing, account)


def by_own_word(picture: Picture, opened: Mapping[str, Any]) -> Picture:
    """The same, with what keepalived itself says where several hosts have the address."""
    nodes = pair.by_own_word(picture.nodes, lambda name: opened[name].call("vrrp_state"))
    return replace(picture, nodes=nodes)


def in_zone(facts: Mapping[str, Any], zone: str) -> dict[str, Any]:
    """The same with the recorded moments, each in the zone of whoever typed, in the pair's. Pure."""

    def told(entry: Any) -> Any:
        return {**entry, "since": since.in_zone(entry["since"], zone)} if entry else entry

    entries = {name: told(facts[name]) for name in ("maintenance", "lock") if name in facts}
    if "servers" in facts:
        entries["servers"] = {name: told(entry) for name, entry in facts["servers"].items()}
    return {**facts, **entries}


def unreachable(cluster: Cluster, name: str, error: errors.LbkitError) -> str:
    """Why a host could not be read; where nothing answers since its instance is stopped, that too."""
    text = str(error)
    if not (isinstance(cluster.address, Eip) and isinstance(error, errors.Unreachable) and error.down):
        return text
    from lbkit.aws import instances  # botocore costs 150 ms: only where it is asked

    if off := instances.switched_off(cluster, name):
        return f"{text.partition(chr(10) + 'Next: ')[0].rstrip('.')}. {off[0]}\nNext: {off[1]}"
    return text


def keys(picture: Picture) -> dict[str, Any]:
    """Host name → the public keys that it told."""
    return {node.host.name: node.seen.facts["keys"] for node in picture.nodes}


def read_account(cluster: Cluster, only: Sequence[str]) -> Place | errors.LbkitError | None:
    """The AWS side as the named steps see it, or why it could not be read; None where none is there."""
    if not steps.in_account(cluster, only):
        return None
    from lbkit.aws import account, api  # botocore costs 150 ms: only where it is asked

    try:
        return account.look(api.of(cluster), cluster, only)
    except errors.LbkitError as error:
        return error


def holder_of(picture: Picture) -> str | None:
    """Name of the host that holds the address, None where nobody does; Undecided where it cannot be told."""
    if isinstance(picture.cluster.address, Vip):
        return pair.vip_holder(picture.nodes, list(picture.missing))
    from lbkit.aws import holder  # botocore costs 150 ms: only where it is asked

    return holder.read(picture.cluster).holder
