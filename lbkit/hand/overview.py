"""What `inv status` shows of HAProxy beyond whether it runs, of the sync, and the words of the agent and of
keepalived on who was MASTER: one look."""

import os
import time

from lbkit.hand import framing, journal, looking, servers, sockets
from lbkit.hand.core import Failed, run

ROLES = r"^(keepalived: [A-Z]|unfit: |VRRP_Script\(check_haproxy\) (failed|timed_out))"
UNITS = ["lbkit-agent.service", "keepalived.service"]
LINES = 40  # of those, the newest; among so many of all
AMONG = 3000
SYNC_S = 2


def overview(page):
    """{served, servers, info, frontends, workers, roles, sync, booted}.

    served: PEM of the certificate that `page` (as of `handshake`) shows, None where none is asked for or
    served. servers: as of `servers`. info, frontends: `show info` and `show stat` of the frontends, None
    where HAProxy does not answer, and then nothing more is asked of it; asked for before our own handshake,
    which it counts as a request. workers: its processes without the master; old ones still have connections.
    roles: lines as of `logs`. sync: the status of its service, None where it does not answer. booted: when
    systemd began here, s since 1970.
    """
    try:
        info, frontends = (looking.stats(servers.SOCKET, text) for text in ("show info", "show stat -1 1 -1"))
    except OSError:
        info = frontends = page = None  # a HAProxy that hangs is waited for once
    asked = {"units": UNITS, "since": {}, "grep": ROLES, "limit": LINES, "newest": AMONG}
    return {
        "served": looking.handshake(page) if page else None,  # after `frontends`, which would count it
        "sync": sync(),
        "servers": {"record": {}, "stat": None, "state": None} if info is None else servers.servers(),
        "info": info,
        "frontends": frontends,
        "workers": workers(),
        "roles": journal.logs(asked)["lines"],
        "booted": booted(),
    }


def sync():
    try:
        return framing.ask_service({"op": "status"}, SYNC_S)
    except Failed:
        return None


def booted():
    """By the age of process 1: a container's own, as a machine's."""
    with open("/proc/1/stat") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def workers():
    """None where systemd does not say."""
    try:
        group = run(["systemctl", "show", "-p", "ControlGroup", "--value", "haproxy.service"]).strip()
    except Failed:
        return None
    return max(0, len(sockets.group_pids(group)) - 1)
