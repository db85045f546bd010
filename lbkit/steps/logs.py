"""Logs that fill no disk: HAProxy's through rsyslog into a file of their own, the journal within bounds.

Parts of two steps: the journal's of `prereqs`, for every unit writes there; the rest of `haproxy`.
"""

from __future__ import annotations

from lbkit import render
from lbkit.inventory import Cluster
from lbkit.inventory.logs import mebibytes
from lbkit.resources import Directory, File, Resource, Service

JOURNAL = "/etc/systemd/journald.conf.d/lbkit.conf"
RSYSLOG = "/etc/rsyslog.d/49-haproxy.conf"  # in place of the package's
OF_HAPROXY = "/etc/logrotate.d/haproxy"  # in place of the package's
ROTATION = "/etc/lbkit/logrotate.conf"
UNIT = "/etc/systemd/system/lbkit-logrotate.service"
TIMER = "/etc/systemd/system/lbkit-logrotate.timer"


def journal(cluster: Cluster) -> list[Resource]:
    return [
        Directory(JOURNAL.rpartition("/")[0]),
        File(JOURNAL, content=render.render(f"{JOURNAL[1:]}.j2", journal=cluster.logs.journal)),
        # Nobody waits for it: systemd keeps its sockets and, for it, everybody's streams.
        Service("systemd-journald", restart_on=(JOURNAL,)),
    ]


def of_haproxy(cluster: Cluster) -> list[Resource]:
    """The socket must be there before HAProxy is told of it."""
    room_mib = mebibytes(cluster.logs.haproxy)
    older = min(cluster.logs.haproxy_days, room_mib - 1)  # files, beside the one that is written to
    snap = cluster.certificate.certbot == "snap"  # certbot itself drops old ones there
    names = ("rsyslog", "haproxy", *(() if snap else ("certbot",)))
    rotated = [f"/etc/logrotate.d/{name}" for name in names]
    return [
        File(RSYSLOG, content=render.plain(RSYSLOG[1:])),
        Service("rsyslog", restart_on=(RSYSLOG,)),
        File(
            OF_HAPROXY,
            content=render.render(f"{OF_HAPROXY[1:]}.j2", older=older, part_mib=room_mib // (older + 1)),
            check=("logrotate", "--debug", "{}"),
        ),
        Directory("/etc/lbkit"),
        File(ROTATION, content=render.render(f"{ROTATION[1:]}.j2", rotated=rotated)),
        File(UNIT, content=render.plain(UNIT[1:])),
        File(TIMER, content=render.plain(TIMER[1:])),
        Service("lbkit-logrotate.timer", restart_on=(TIMER,), unit_files=(UNIT, TIMER)),
    ]
