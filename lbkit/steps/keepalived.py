"""Step 3: keepalived elects one MASTER among the nodes whose HAProxy serves."""

from __future__ import annotations

from lbkit import render
from lbkit.inventory import Cluster, Host
from lbkit.requirements import Interface, TrustedPath
from lbkit.resources import Directory, File, KeptAddresses, Resource, Service
from lbkit.steps import agent, prereqs

CONFIG = "/etc/keepalived/keepalived.conf"
CHECK = "/usr/local/lib/lbkit/check-haproxy"
RUN = "/etc/tmpfiles.d/lbkit.conf"
DROP_IN = "/etc/systemd/system/keepalived.service.d/lbkit.conf"
# Where the file names a script, `keepalived -t` ends by sending SIGTERM to its own process group, and its
# verdict (0 good, 5 not) is lost in exit code 143; with the signal ignored it comes through (tried on 2.2.7).
VALID = ("env", "--ignore-signal=TERM", "keepalived", "-t", "-f", "{}")


def resources(cluster: Cluster, host: Host) -> list[Resource]:
    return [
        Interface(host.interface, host.private_address),
        TrustedPath("/usr/local/lib", user=prereqs.SCRIPT_USER),  # what lies below is ours and put right
        Directory("/usr/local/lib/lbkit"),
        File(CHECK, content=render.plain(CHECK[1:]), mode=0o755),
        Directory("/etc/systemd/system/keepalived.service.d"),
        # keepalived watches a file in /run/lbkit from its first moment, at every boot.
        File(RUN, content=render.plain(RUN[1:])),
        Directory("/run/lbkit", owner=agent.USER, group=agent.USER),
        File(DROP_IN, content=render.plain(DROP_IN[1:])),
        File(
            CONFIG,
            content=render.render(f"{CONFIG[1:]}.j2", cluster=cluster, host=host, ask=agent.ask(cluster)),
            mode=0o600 if cluster.keepalived.auth_pass else 0o644,
            check=VALID,
            secrets=tuple(secret.reveal() for secret in cluster.secrets),
            wire=True,
        ),
        KeptAddresses(agent.mark(cluster, host)[0]),
        Service("keepalived", reload_on=(CONFIG, CHECK), unit_files=(DROP_IN,), elects=True),
    ]
