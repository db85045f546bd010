"""Step 5: the sync. What is saved on the node in charge reaches the others, checked before it counts.

A user of its own, whose key may do one thing: talk to the service. That runs as root, so sudo has no part in
it. docs/sync.md says what is synced, and how.
"""

from __future__ import annotations

import json
from typing import Any

from lbkit import render
from lbkit.hand import keys, ledger, peering
from lbkit.inventory import Cluster, Host
from lbkit.requirements import Rivals
from lbkit.resources import Directory, File, KeyPair, PeerKeys, Resource, Service, User
from lbkit.steps import haproxy, library, ssl

PROGRAM = "/usr/local/lib/lbkit/sync"
CONFIG = "/etc/lbkit/sync.json"
UNIT = "/etc/systemd/system/lbkit-sync.service"
LOGROTATE = "/etc/logrotate.d/lbkit"
LOGS = "/var/log/lbkit"
HOME = "/var/lib/lbkit-sync"
LETSENCRYPT = "/etc/letsencrypt"
SERVICE = "lbkit-sync"
RIVALS = (
    (
        "watch-sync.service",
        "copies haproxy.cfg and site.pem to the other host unchecked (the runbook's sync), beside ours",
    ),
)


def resources(cluster: Cluster, host: Host) -> list[Resource]:
    settings = config(cluster, host)
    log = cluster.sync.log
    return [
        *ssl.configuration(cluster),
        Rivals(RIVALS, block=True),
        # sshd reads the key's file as this user, who cannot write it.
        User(peering.USER, home=HOME, shell="/bin/sh"),
        Directory(HOME),
        Directory(f"{HOME}/.ssh"),
        Directory(keys.PAIR.rpartition("/")[0], mode=0o700),
        KeyPair(keys.PAIR, comment=f"{peering.USER}@{host.name}"),
        known_hosts(cluster, host),
        authorized_keys(cluster, host),
        *library.resources(),
        File(PROGRAM, content=render.plain(PROGRAM[1:]), mode=0o755),
        Directory("/var/lib/lbkit"),
        Directory(ledger.DIRECTORY, mode=0o700),
        *([Directory(LOGS)] if log.startswith(f"{LOGS}/") else []),
        File(LOGROTATE, content=render.render(f"{LOGROTATE[1:]}.j2", log=log)),
        File(CONFIG, content=json.dumps(settings, indent=2) + "\n"),
        File(UNIT, content=render.render(f"{UNIT[1:]}.j2", log=log, writes=writes(cluster))),
        Service(
            SERVICE,
            restart_on=(PROGRAM, CONFIG, ssl.CONFIG, UNIT, *library.paths()),
            unit_files=(UNIT,),
        ),
    ]


def known_hosts(cluster: Cluster, host: Host) -> PeerKeys:
    """The peers by their names, whatever their addresses and ports."""
    peers = tuple((peer.name, peer.name) for peer in cluster.peers(host))
    return PeerKeys(peering.KNOWN_HOSTS, which="host_keys", peers=peers)


def authorized_keys(cluster: Cluster, host: Host) -> PeerKeys:
    """A peer's key, from its address alone, may start one command, and gets no terminal and no forwarding."""
    peers = tuple(
        (peer.name, f'restrict,from="{peer.private_address}",command="{PROGRAM} receive {peer.name}"')
        for peer in cluster.peers(host)
    )
    return PeerKeys(f"{HOME}/.ssh/authorized_keys", which="public", peers=peers)


def config(cluster: Cluster, host: Host) -> dict[str, Any]:
    """What the program reads. The certificates stand in certificates.json, for all programs."""
    asked = {one.label: one for one in haproxy.resources(cluster, host)}
    service, cfg = asked["haproxy.service"], asked[haproxy.CONFIG]
    assert isinstance(service, Service)
    assert isinstance(cfg, File)
    return {
        "node": host.name,
        "private_address": host.private_address,
        "port": cluster.sync.port,
        "interval_s": cluster.sync.interval,
        "log": cluster.sync.log,
        "directory": ledger.DIRECTORY,
        "config": haproxy.CONFIG,
        "letsencrypt": LETSENCRYPT,
        "pages": haproxy.PAGES if haproxy.error_pages(cluster) else None,
        "peers": [{"name": peer.name, "address": peer.private_address} for peer in cluster.peers(host)],
        "haproxy": {
            "environment": dict(cfg.check_env),
            "group": cfg.group,
            "reload_on": service.reload_on,
            "restart_on": service.restart_on,
            "stats_socket": service.stats_socket,
            "health_port": cluster.haproxy.health_port,
        },
    }


def writes(cluster: Cluster) -> list[str]:
    """The directories that the service writes to."""
    certificates = {path.rpartition("/")[0] for path in haproxy.certificate_paths(cluster)}
    log = cluster.sync.log.rpartition("/")[0]
    return sorted({"/etc/haproxy", LETSENCRYPT, "/var/lib/lbkit", "/run", log, *certificates})


def request(op: str, within_s: int = 60, **more: Any) -> dict[str, Any]:
    """What the hand is asked, to ask the service on its host."""
    return {"request": {"op": op, **more}, "within_s": within_s}
