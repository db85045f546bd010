"""The runbook's steps, each a list of resources, in the runbook's order. Pure.

`TABLE` is what the steps ask of hosts, and `inv setup` runs it top down; `IN_ACCOUNT` are those in AWS, whose
resources are in lbkit/aws/: the way to the API and the permissions come before the agent that needs them. A
certificate comes after the agent, by whose word it is issued on the node in charge alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lbkit import front, plan, resources
from lbkit.inventory import Cluster, Host
from lbkit.steps import agent, haproxy, keepalived, prereqs, ssl, sync

TABLE = {
    "prereqs": prereqs,
    "haproxy": haproxy,
    "keepalived": keepalived,
    "agent": agent,
    "ssl": ssl,
    "sync": sync,
}
IN_ACCOUNT = ("ipv6", "security-group", "iam", "sns")
ALL = (*IN_ACCOUNT, *TABLE)


def in_account(cluster: Cluster, only: Sequence[str] = ALL) -> tuple[str, ...]:
    """Those of the named steps for which the inventory has a table below `[aws]`."""
    return tuple(
        name for name in IN_ACCOUNT if name in only and getattr(cluster.aws, name.replace("-", "_"), None)
    )


def desired(cluster: Cluster, host: Host, only: Sequence[str] = ALL) -> tuple[plan.Desired, ...]:
    """What the named steps ask of the host, in the runbook's order. What several ask for stands once, with
    the first of them."""
    found: dict[resources.Resource, str] = {}
    for name, step in TABLE.items():
        if name in only:
            for resource in step.resources(cluster, host):
                found.setdefault(resource, name)
    return tuple(plan.Desired(name, resource) for resource, name in found.items())


def health_question(cluster: Cluster) -> dict[str, Any]:
    """Asks HAProxy itself, on the host, whether it serves."""
    connect = ("127.0.0.1", cluster.haproxy.health_port)
    return {"connect": connect, "name": "localhost", "path": "/health", "http": True, "tls": False}


def check_question(cluster: Cluster) -> dict[str, Any]:
    """Runs keepalived's check on the host, as keepalived does: as its user, and not as root, who may all."""
    timeout_s = cluster.keepalived.check.timeout
    argv = [keepalived.CHECK, str(cluster.haproxy.health_port), f"{timeout_s * 0.8:g}"]
    return {"argv": argv, "user": prereqs.SCRIPT_USER, "within_s": timeout_s + 1}


def prove_question(cluster: Cluster) -> dict[str, Any]:
    """Runs the agent's proof on the host, as its user: would AWS let it move the address? Asked once."""
    argv = [agent.PROGRAM, "--prove", "0", agent.CONFIG]
    return {"argv": argv, "user": agent.USER, "within_s": 30}


def hears_question(cluster: Cluster, host: Host) -> dict[str, Any]:
    """Asks on the host whether a MASTER's adverts reach it."""
    vrrp = cluster.keepalived
    unicast = cluster.address.transport == "unicast"
    return {
        "peers": [peer.private_address for peer in cluster.peers(host)] if unicast else None,
        "version": 6 if ":" in host.private_address else 4,
        "interface": host.interface,
        "router_id": vrrp.virtual_router_id,
        "within_s": 3 * vrrp.advert_int + 1,
    }


def own_page(cluster: Cluster, host: Host) -> front.Page | None:
    """What the host itself answers, whoever has the address; None where HAProxy listens on that alone."""
    return front.page(cluster, host.private_address, "127.0.0.1", "::1")
