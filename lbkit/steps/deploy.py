"""How certificates come to be served on a host: one program, and a watch over their files. Part of `ssl`."""

from __future__ import annotations

from lbkit import render
from lbkit.inventory import Cluster
from lbkit.resources import File, Resource, Service
from lbkit.steps import library

PROGRAM = "/usr/local/lib/lbkit/cert-deploy"
WATCH = "/etc/systemd/system/lbkit-cert-watch.path"
WORK = "/etc/systemd/system/lbkit-cert-watch.service"


def resources(cluster: Cluster) -> list[Resource]:
    """After the configuration that the program reads (ssl.configuration)."""
    watch = render.render(f"{WATCH[1:]}.j2", certificates=cluster.certificates)
    return [
        *library.resources(),
        File(PROGRAM, content=render.plain(PROGRAM[1:]), mode=0o755),
        File(WORK, content=render.plain(WORK[1:])),
        File(WATCH, content=watch),
        Service("lbkit-cert-watch.path", restart_on=(WATCH,), unit_files=(WATCH, WORK)),
    ]
