"""What certificates and sync say, as metrics beside the agent's own. Part of the agent's step."""

from __future__ import annotations

from lbkit import render
from lbkit.resources import Directory, File, Resource, Service
from lbkit.steps import library

PROGRAM = "/usr/local/lib/lbkit/host-metrics"
UNIT = "/etc/systemd/system/lbkit-metrics.service"
TIMER = "/etc/systemd/system/lbkit-metrics.timer"


def resources() -> list[Resource]:
    return [
        *library.resources(),
        Directory("/var/lib/lbkit"),
        File(PROGRAM, content=render.plain(PROGRAM[1:]), mode=0o755),
        File(UNIT, content=render.plain(UNIT[1:])),
        File(TIMER, content=render.plain(TIMER[1:])),
        Service("lbkit-metrics.timer", restart_on=(TIMER,), unit_files=(UNIT, TIMER)),
    ]
