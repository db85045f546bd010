"""The runbook's steps, each a list of resources, in the runbook's order. Pure.

`TABLE` is the runbook: the README's table of steps is made from it, and `inv setup` runs it top down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lbkit import plan
from lbkit.inventory import Cluster, Host
from lbkit.steps import haproxy, keepalived, prereqs

TABLE = {
    "prereqs": prereqs,
    "haproxy": haproxy,
    "keepalived": keepalived,
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
    return {
        "connect": ("127.0.0.1", cluster.haproxy.health_port),
        "name": "localhost",
        "path": "/health",
        "tls": False,
    }


def endpoint_question(cluster: Cluster, address: str, **more: Any) -> dict[str, Any] | None:
    """Asks the first HTTP frontend at an address for its front page, by the cluster's name.

    None where no frontend speaks HTTP.
    """
    for frontend in cluster.haproxy.frontends:
        if frontend.mode == "http":
            port = frontend.https_port or frontend.http_port
            name = cluster.domains[0].replace("*.", "www.")
            return {"connect": (address, port), "name": name, "tls": bool(frontend.https_port), **more}
    return None
