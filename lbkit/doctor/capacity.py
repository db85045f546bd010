"""Whether a host has room for the connections that the inventory allows. Pure.

Every connection of a client has two sockets: his, and the server's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lbkit.doctor.finding import Finding, graded
from lbkit.hand import room
from lbkit.inventory import Cluster, Host
from lbkit.inventory.logs import mebibytes

# An estimate: two buffers of 16 KiB (tune.bufsize), and as much again for TLS, headers and the kernel's
# sockets.
CONNECTION_KIB = 64
MEMORY_SHARE = 0.75
BURSTABLE = ("t2.", "t3.", "t3a.", "t4g.")


def judge(cluster: Cluster, host: Host, survey: Mapping[str, Any]) -> Iterator[Finding]:
    """survey: the hand's answer to `survey`."""
    connections = cluster.haproxy.all_maxconn
    yield open_files(host, connections, survey)
    yield from memory(host, connections, survey["memory_kib"])
    yield from queue(cluster, host, survey["somaxconn"])
    yield from conntrack(host, connections, survey["conntrack_max"])
    yield from ports(cluster, host, survey["ports"])
    yield from disks(cluster, host, survey["disks"])


def open_files(host: Host, connections: int, survey: Mapping[str, Any]) -> Finding:
    """HAProxy does not start without them."""
    name, needed = f"open files of {host.name}", connections * 2 + 1024
    limits = {"fs.nr_open": survey["nr_open"], "fs.file-max": survey["file_max"]}
    if survey["container"]:
        limits["the container's limit"] = survey["hard_files"]
    known = {limit: value for limit, value in limits.items() if value is not None}
    if not known:
        return Finding(name, "?", "the limits cannot be read", f"on {host.name}: sysctl fs.nr_open")
    least = min(known, key=lambda limit: known[limit])
    detail = f"{needed:,} for {connections:,} connections; {least} is {known[least]:,}"
    return graded(name, known[least] >= needed, detail, f"raise {least}, or lower `haproxy.maxconn`")


def memory(host: Host, connections: int, memory_kib: int | None) -> Iterator[Finding]:
    if memory_kib is None:
        return
    needed = connections * CONNECTION_KIB
    detail = f"about {needed // 1024:,} MiB for {connections:,} connections, of {memory_kib // 1024:,} MiB"
    good = needed <= memory_kib * MEMORY_SHARE
    yield graded(
        f"memory of {host.name}", good, detail, "a larger machine, or lower `haproxy.maxconn`", "warn"
    )


def queue(cluster: Cluster, host: Host, somaxconn: int | None) -> Iterator[Finding]:
    """A burst waits in a queue as long as the frontend's maxconn, or as the kernel allows."""
    if somaxconn is None:
        return
    most = max(one.maxconn or cluster.haproxy.maxconn for one in cluster.haproxy.frontends)
    detail = f"net.core.somaxconn is {somaxconn:,}; a frontend takes {most:,} connections"
    fix = f"on {host.name}: net.core.somaxconn = {most} in /etc/sysctl.d/, then sysctl --system"
    yield graded(f"accept queue of {host.name}", somaxconn >= min(most, 4096), detail, fix, "warn")


def conntrack(host: Host, connections: int, most: int | None) -> Iterator[Finding]:
    """Where a firewall keeps track of connections, and its table is full, new ones are dropped."""
    if most is None:
        return
    needed = connections * 2
    detail = f"net.netfilter.nf_conntrack_max is {most:,}; {connections:,} connections take {needed:,}"
    fix = f"on {host.name}: net.netfilter.nf_conntrack_max = {needed * 2} in /etc/sysctl.d/"
    yield graded(f"conntrack of {host.name}", most >= needed, detail, fix, "warn")


def ports(cluster: Cluster, host: Host, span: tuple[int, int] | None) -> Iterator[Finding]:
    """To each server HAProxy can have as many connections as there are ephemeral ports."""
    if span is None:
        return
    each = span[1] - span[0] + 1
    for backend in cluster.haproxy.backends:
        servers = {(one.address, one.port) for one in backend.servers}
        most = sum(one.maxconn or cluster.haproxy.maxconn for one in cluster.haproxy.users(backend.name))
        if most > each * len(servers):
            detail = f"{each:,} to each server: too few for {most:,} connections to {backend.name}"
            fix = f"on {host.name}: net.ipv4.ip_local_port_range = 1024 65000; or more servers"
            yield Finding(f"ephemeral ports of {host.name}", "warn", detail, fix)
            return
    yield Finding(f"ephemeral ports of {host.name}", "ok", f"{each:,} for each server")


def disks(cluster: Cluster, host: Host, found: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Each has room now, and the one with the logs for as much as these may take."""
    for disk in found:
        if what := room.lacking(disk):
            fix = room.fix(disk["path"]).replace("this host", host.name)
            yield Finding(f"disk {disk['path']} of {host.name}", "warn", what, fix)
    above = [disk for disk in found if disk["path"] in ("/", "/var", "/var/log")]
    if above:
        disk = max(above, key=lambda one: len(one["path"]))
        most = (mebibytes(cluster.logs.haproxy) + mebibytes(cluster.logs.journal)) << 20
        detail = f"at most {room.amount(most)}, and {room.amount(disk['free'])} are free on {disk['path']}"
        good = most < disk["free"]
        yield graded(f"logs of {host.name}", good, detail, "a larger disk, or less in [logs]", "warn")


def credits(host: Host, instance_type: str | None, mode: str | None) -> Iterator[Finding]:
    """Of an EC2 instance. mode: `standard` or `unlimited`, None where AWS did not say."""
    if not instance_type:
        return
    name = f"CPU credits of {host.name}"
    if not instance_type.startswith(BURSTABLE):
        yield Finding(name, "ok", f"{instance_type} needs none")
    elif mode == "unlimited":
        yield Finding(name, "ok", f"{instance_type}, unlimited: what is over its share is billed")
    else:
        detail = f"{instance_type}{f', {mode}' if mode else ''}: with its credits used up it is slowed down"
        yield Finding(name, "warn", detail, "watch CPUCreditBalance, or credit specification `unlimited`")
