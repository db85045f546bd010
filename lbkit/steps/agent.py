"""Step 6: the failover agent. The address follows the MASTER, and the MASTER is a node that serves."""

from __future__ import annotations

import json
from typing import Any

from lbkit import render
from lbkit.inventory import Cluster, Eip, Host, HttpFrontend
from lbkit.resources import Directory, File, Resource, Service
from lbkit.steps import library, metrics

PROGRAM = "/usr/local/lib/lbkit/failover-agent"
UNIT = "/etc/systemd/system/lbkit-agent.service"
CONFIG = "/etc/lbkit/agent.json"
CREDENTIALS = "/etc/lbkit/aws-credentials"
USER = "lbkit"
SERVICE = "lbkit-agent"
PROVE = "/usr/local/lib/lbkit/prove-address"
PROVE_UNIT = "/etc/systemd/system/lbkit-prove.service"
PROVE_TIMER = "/etc/systemd/system/lbkit-prove.timer"
PROVE_S = 60  # an instance profile that was just attached takes a while to be known everywhere


def resources(cluster: Cluster, host: Host) -> list[Resource]:
    keys = credentials(cluster)
    return [
        *library.resources(),
        File(PROGRAM, content=render.plain(PROGRAM[1:]), mode=0o755),
        Directory("/etc/lbkit"),
        *keys,
        File(CONFIG, content=json.dumps(config(cluster, host), indent=2) + "\n"),
        File(UNIT, content=render.render(f"{UNIT[1:]}.j2", textfile=cluster.agent.textfile)),
        Service(
            SERVICE,
            # Its restart moves nothing: what it knew is in /run, and keepalived keeps what it was told.
            restart_on=(PROGRAM, CONFIG, UNIT, library.path("duty"), *(key.label for key in keys)),
            unit_files=(UNIT,),
            prove=(PROGRAM, "--prove", str(PROVE_S), CONFIG) if isinstance(cluster.address, Eip) else (),
            prove_as=USER,
        ),
        *proof(cluster),
        *metrics.resources(),
    ]


def proof(cluster: Cluster) -> list[Resource]:
    """Whether a host may move the address is asked again every hour: a failover is too late to learn it."""
    if not isinstance(cluster.address, Eip):
        return []
    command = [USER, PROGRAM, "--prove", str(PROVE_S), CONFIG]
    return [
        File(PROVE, content=render.plain(PROVE[1:]), mode=0o755),
        File(PROVE_UNIT, content=render.render(f"{PROVE_UNIT[1:]}.j2", command=command)),
        File(PROVE_TIMER, content=render.plain(PROVE_TIMER[1:])),
        Service("lbkit-prove.timer", restart_on=(PROVE_TIMER,), unit_files=(PROVE_UNIT, PROVE_TIMER)),
    ]


def credentials(cluster: Cluster) -> list[Resource]:
    """The access key, where there is no instance profile: for the agent's user alone."""
    agent = cluster.agent
    if not (agent.access_key_id and agent.secret_access_key):
        return []
    secret = agent.secret_access_key.reveal()
    content = f"[default]\naws_access_key_id = {agent.access_key_id}\naws_secret_access_key = {secret}\n"
    return [File(CREDENTIALS, owner=USER, group=USER, mode=0o600, content=content, secrets=(secret,))]


def config(cluster: Cluster, host: Host) -> dict[str, Any]:
    """What the agent reads; `Config` in the program says what each means. No secret is in it."""
    agent, vrrp = cluster.agent, cluster.keepalived
    interface, marked = mark(cluster, host)
    return {
        "cluster": cluster.name,
        "host": host.name,
        "private_address": host.private_address,
        "priority": host.priority,
        "interface": interface,
        "address": marked.split("/")[0],
        "advert_s": vrrp.advert_int,
        "script_s": vrrp.check.interval,
        "health_port": cluster.haproxy.health_port,
        "check_interval_s": agent.check_interval,
        "check_timeout_s": agent.check_timeout,
        "ask": ask(cluster),
        "peers": [
            {
                "name": peer.name,
                "address": peer.private_address,
                "priority": peer.priority,
                "interface_id": peer.network_interface_id,
            }
            for peer in cluster.peers(host)
        ],
        "rules": {
            "fails": agent.fails,
            "grace_s": agent.grace,
            "rise_s": agent.rise,
            "interval_s": agent.interval,
        },
        "aws": aws(cluster, host),
        "notify": notify(cluster, host),
        "textfile": agent.textfile,
    }


def mark(cluster: Cluster, host: Host) -> tuple[str, str]:
    """(interface, address with prefix) that keepalived adds where this host is MASTER."""
    address = cluster.address
    if isinstance(address, Eip):
        return "lo", cluster.keepalived.token_address
    return address.interface or host.interface, address.address


def ask(cluster: Cluster) -> dict[str, Any]:
    """How a node's HAProxy is asked on its private address whether it answers: {port, http, tls}.

    A plain HTTP port first: a redirect is an answer too. A TCP frontend only shows that it accepts
    connections. The inventory sees to it that there is one.
    """
    every = cluster.every_address
    frontends = [f for f in cluster.haproxy.frontends if every in f.addresses]
    for frontend in frontends:
        if isinstance(frontend, HttpFrontend):
            return {
                "port": frontend.http_port or frontend.https_port,
                "http": True,
                "tls": not frontend.http_port,
            }
    stats = cluster.haproxy.stats
    if stats.enabled and stats.address in (None, every):
        return {"port": stats.port, "http": True, "tls": False}
    return {"port": frontends[0].port, "http": False, "tls": False}  # type: ignore[union-attr]


def aws(cluster: Cluster, host: Host) -> dict[str, Any] | None:
    """How the Elastic IP is moved; None where keepalived itself moves the address."""
    address = cluster.address
    if not isinstance(address, Eip):
        return None
    return {
        "region": address.region,
        "allocation_id": address.allocation_id,
        "endpoint": cluster.agent.endpoint,
        "interface_id": host.network_interface_id,
        "credentials_file": CREDENTIALS if cluster.agent.access_key_id else None,
        "reconcile_s": cluster.agent.reconcile,
        "public_ip": address.public_ip,
    }


def notify(cluster: Cluster, host: Host) -> dict[str, Any]:
    told = cluster.notify
    return {
        "events": told.active if host.role == "active" else told.passive,
        "topic": told.topic,
        "endpoint": told.endpoint,
        "command": told.command,
    }
