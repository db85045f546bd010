"""Step 3: keepalived elects one MASTER among the nodes whose HAProxy serves."""

from __future__ import annotations

from lbkit import render
from lbkit.inventory import Cluster, Host
from lbkit.resources import Directory, File, Interface, Resource, Service, TrustedPath

CONFIG = "/etc/keepalived/keepalived.conf"
CHECK = "/usr/local/lib/lbkit/check-haproxy"
DROP_IN = "/etc/systemd/system/keepalived.service.d/lbkit.conf"


def resources(cluster: Cluster, host: Host) -> list[Resource]:
    return [
        Interface(host.interface, host.private_address),
        File(CHECK, content=render.plain("usr/local/lib/lbkit/check-haproxy"), mode=0o755),
        TrustedPath(CHECK),
        Directory("/etc/systemd/system/keepalived.service.d"),
        File(DROP_IN, content=render.plain("etc/systemd/system/keepalived.service.d/lbkit.conf")),
        File(
            CONFIG,
            content=render.render("etc/keepalived/keepalived.conf.j2", cluster=cluster, host=host),
            mode=0o600 if cluster.keepalived.auth_pass else 0o644,
            check=("keepalived", "-t", "-f", "{}"),
            secrets=tuple(secret.reveal() for secret in cluster.secrets),
            wire=True,
        ),
        Service("keepalived", reload_on=(CONFIG,), elects=True),
    ]
