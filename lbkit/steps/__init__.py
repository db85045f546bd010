"""The runbook's steps, each a list of resources, in the runbook's order. Pure.

`TABLE` is the runbook: the README's table of steps is made from it, and `inv setup` runs it top down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lbkit import plan
from lbkit.inventory import Cluster, Host, HttpFrontend
from lbkit.steps import agent, haproxy, keepalived, prereqs

TABLE = {
    "prereqs": prereqs,
    "haproxy": haproxy,
    "keepalived": keepalived,
    "agent": agent,
}
ALL = tuple(TABLE)


def desired(cluster: Cluster, host: Host, only: Sequence[str] = ALL) -> tuple[plan.Desired, ...]:
    """What the named steps ask of the host, in the runbook's order."""
    return tuple(
        plan.Desired(name, resource)
        for name, step in TABLE.items()
        if name in only
        for resource in step.resources(cluster, host)
    )


def health_question(cluster: Cluster) -> dict[str, Any]:
    """Asks HAProxy itself, on the host, whether it serves."""
    connect = ("127.0.0.1", cluster.haproxy.health_port)
    return {"connect": connect, "name": "localhost", "path": "/health", "http": True, "tls": False}


def endpoint_question(cluster: Cluster, address: str, **more: Any) -> dict[str, Any]:
    """Asks the first frontend at an address: HTTP for its front page, by the cluster's name; TCP for a
    connection."""
    frontends = cluster.haproxy.frontends
    frontend = next((one for one in frontends if isinstance(one, HttpFrontend)), frontends[0])
    question = {"frontend": frontend.name, "name": cluster.domains[0].replace("*.", "www."), **more}
    if isinstance(frontend, HttpFrontend):
        port = frontend.https_port or frontend.http_port
        return {**question, "connect": (address, port), "http": True, "tls": bool(frontend.https_port)}
    return {**question, "connect": (address, frontend.port), "http": False, "tls": False}
