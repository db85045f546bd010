"""`inv cert.renew`: the node in charge renews now what is due, or all of it, as its timer would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lbkit import arrival, converge, errors, remote
from lbkit.inventory import Cluster
from lbkit.resources import Certificate
from lbkit.steps import ssl
from lbkit.terminal import wrapped

Tell = Callable[[str, str], None]


@dataclass(frozen=True)
class Renewed:
    """One certificate: renewed now or not. until, due: ISO 8601, UTC; from `due` on the timer renews it."""

    name: str
    host: str
    renewed: bool
    until: str
    due: str


def run(cluster: Cluster, name: str | None, force: bool, command: str, tell: Tell) -> list[Renewed]:
    """What became of each certificate, in the inventory's order.

    name: this one alone. force: also what is not due. A host that is down is no obstacle: what it misses
    comes to it later. Raises Refused where there is nothing to renew or nobody is in charge, CommandFailed
    with the issuer's reason.
    """
    wanted = chosen(cluster, name)
    with remote.sessions(cluster.hosts) as opened:
        alive = {one: found for one, found in opened.items() if not isinstance(found, errors.LbkitError)}
        host = in_charge(opened, alive)
        resources = [one for one in ssl.certificates(cluster, cluster.host(host)) if one.name in wanted]
        with converge.locked(alive, command):
            before = look(alive[host], resources)
            tell(host, f"certbot: {', '.join(wanted)}")
            alive[host].call(
                "write",
                say=lambda at, line: tell(at, f"  {line}"),
                kind=Certificate.kind,
                names=wanted,
                force=force,
            )
            after = look(alive[host], resources)
    if before != after:
        arrival.wait(cluster, host, tell)
    return [
        Renewed(one.name, host, old["fingerprint"] != new["fingerprint"], new["until"], new["due"])
        for one, old, new in zip(resources, before, after, strict=True)
    ]


def chosen(cluster: Cluster, name: str | None) -> list[str]:
    """The names of those that certbot obtains, or this one. Raises Refused."""
    known = [one.name for one in cluster.issued_certificates]
    if name is not None and name not in known:
        others = ", ".join(known) or "none"
        raise errors.Refused(
            f"certbot has no certificate {name!r} by this inventory, but {others}; nothing was touched.\n"
            f"Next: --name one of them, or `inv cert.install` for one that you bring yourself"
        )
    if not known:
        raise errors.Refused(
            "By this inventory no certificate is certbot's, so none is renewed.\n"
            'Next: `inv cert.install` with the new one, or certificate.issuer = "acme"'
        )
    return [name] if name else known


def in_charge(opened: dict[str, Any], alive: dict[str, Any]) -> str:
    """The host that is confirmed to hold the address. Raises Refused where none says so."""
    for name, session in alive.items():
        if session.call("in_charge"):
            return name
    why = [str(found) for name, found in opened.items() if name not in alive]
    raise errors.Refused(
        "\n".join([*why, "No host says that it is in charge, so none renews.\nNext: inv status"])
    )


def look(session: Any, resources: Sequence[Certificate]) -> list[dict[str, Any]]:
    states: list[dict[str, Any]] = session.call("read", items=[one.spec() for one in resources], facts=False)[
        "items"
    ]
    for one, state in zip(resources, states, strict=True):
        if "unreadable" in state:
            raise errors.CommandFailed(f"certificate {one.name}: {state['unreadable']}\nNext: inv plan")
    return states


def lines(found: Sequence[Renewed]) -> list[str]:
    """What became of them, for a person."""
    said = (
        f"Certificate {one.name} was renewed on {one.host}: it is served, until {moment(one.until)}."
        if one.renewed
        else f"Certificate {one.name} is not due before {moment(one.due)} (good until {moment(one.until)}); "
        f"--force renews it all the same."
        for one in found
    )
    return [line for text in said for line in wrapped("", text)]


def moment(text: str) -> str:
    return text[:16].replace("T", " ") + " UTC"
