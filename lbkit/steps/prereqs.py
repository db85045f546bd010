"""Step 1: time zone, packages, directories, and what the kernel must allow."""

from __future__ import annotations

from lbkit.inventory import Cluster, Host
from lbkit.requirements import Clock, Interface, Rivals
from lbkit.resources import (
    Directory,
    File,
    Packages,
    Resource,
    Sysctl,
    Timezone,
    User,
)
from lbkit.steps import logs

# The distribution's own, signed; the AWS client too: the runbook's awscli archive is not, and starts slower.
PACKAGES = (
    "ca-certificates",
    "certbot",
    "haproxy",
    "keepalived",
    "logrotate",
    "nftables",  # failover-test cuts ways with it; no rule and no service of ours stays
    "openssl",
    "python3-boto3",
    "rsyslog",
)
# What may still run where a pair was built by hand.
RIVALS = (
    ("snap.certbot.renew.timer", "renews certificates on every node, beside lbkit-cert-renew.timer"),
    ("pacemaker.service", "moves addresses too"),
    ("ucarp.service", "moves addresses too"),
    ("heartbeat.service", "moves addresses too"),
)
SCRIPT_USER = "lbkit"  # runs keepalived's check and, later, the agent: no shell, no home, no rights


def resources(cluster: Cluster, host: Host) -> list[Resource]:
    return [
        Interface(host.interface, host.private_address),
        Timezone(cluster.timezone),
        Packages(packages(cluster), cluster.packages.proxy),
        Clock(),
        Rivals(RIVALS),
        User(SCRIPT_USER),
        Directory("/usr/local/lib/lbkit"),
        Directory("/var/lib/lbkit"),
        *logs.journal(cluster),
        *nonlocal_bind(cluster),
    ]


def packages(cluster: Cluster) -> tuple[str, ...]:
    """certbot is the distribution's, but where the inventory asks for the snap's, which a person installs."""
    snap = cluster.certificate.certbot == "snap"
    return tuple(name for name in PACKAGES if not (snap and name == "certbot"))


def nonlocal_bind(cluster: Cluster) -> list[Resource]:
    """HAProxy may listen on the virtual address also while the other node has it."""
    if not cluster.binds_moving_address:
        return []
    family = "ipv6" if ":" in (cluster.address.ip or "") else "ipv4"
    name = f"net.{family}.ip_nonlocal_bind"
    return [
        File(
            "/etc/sysctl.d/60-lbkit.conf", content=f"# lbkit: listen on the address that moves\n{name} = 1\n"
        ),
        Sysctl(name, "1"),
    ]
