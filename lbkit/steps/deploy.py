"""How certificates come to be served on a host: one program, and a watch over their files. Part of `ssl`."""

from __future__ import annotations

from lbkit import render
from lbkit.resources import File, Resource, Service
from lbkit.steps import library

PROGRAM = "/usr/local/lib/lbkit/cert-deploy"
UNIT = "/etc/systemd/system/lbkit-cert-watch.service"


def resources(config: str) -> list[Resource]:
    """config: path of what the program reads, which must be there before (ssl.configuration)."""
    return [
        *library.resources(),
        File(PROGRAM, content=render.plain(PROGRAM[1:]), mode=0o755),
        File(UNIT, content=render.plain(UNIT[1:])),
        Service(
            "lbkit-cert-watch",
            # Its work is done by a fresh process each time: only what itself runs with counts.
            restart_on=(PROGRAM, config, UNIT, library.path("inotify"), library.path("deploying")),
            unit_files=(UNIT,),
        ),
    ]
