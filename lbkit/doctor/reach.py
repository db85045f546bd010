"""Whether the hosts reach each other on the ports they need, and by VRRP's protocol 112.

Where nothing listens yet, the host itself does for the moment.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from lbkit import errors, pair, remote
from lbkit.check import split
from lbkit.doctor.finding import Finding, graded
from lbkit.inventory import Cluster, Host
from lbkit.steps import agent

SSH = 22


def ports(cluster: Cluster) -> dict[int, str]:
    """Port → what one host asks another there."""
    wanted = {
        agent.ask(cluster)["port"]: "whether its HAProxy answers",
        getattr(getattr(cluster, "sync", None), "port", SSH): "the sync, over ssh",
    }
    if cluster.certificate.issuer == "acme":
        wanted[cluster.certificate.challenge_port] = "challenges of the certificate"
    return wanted


def judge(cluster: Cluster, alive: Mapping[str, Any]) -> Iterator[Finding]:
    """alive: host name → session. What our own security group still closes, `inv setup` opens."""
    for found in judge_ways(cluster, alive):
        if found.grade == "FAIL" and cluster.aws.security_group:
            yield replace(found, grade="warn", fix=f"inv security-group opens our group; else {found.fix}")
        else:
            yield found


def judge_ways(cluster: Cluster, alive: Mapping[str, Any]) -> Iterator[Finding]:
    hosts = [cluster.host(name) for name in alive]
    if len(hosts) < 2:
        return
    asked, multicast = ports(cluster), cluster.address.transport == "multicast"

    def request(host: Host, **more: Any) -> dict[str, Any]:
        version = 6 if ":" in host.private_address else 4
        common = {"version": version, "interface": host.interface, "multicast": multicast}
        return {**common, "ports": list(asked), **more}

    try:
        for host in hosts:
            alive[host.name].call("meet", **request(host, address=host.private_address))
        found = {}
        for source, target in itertools.permutations(hosts, 2):
            ends = {"source": source.private_address, "address": target.private_address}
            found[source.name, target.name] = alive[source.name].call("call_on", **request(source, **ends))
        met = {host.name: alive[host.name].call("met")["met"] for host in hosts}
    except errors.LbkitError as error:
        what, fix = split(str(error))
        fix = fix or "inv doctor again, once the addresses are right"
        yield Finding("the hosts reach each other", "?", what, fix)
        return
    for (source_name, target_name), answers in found.items():
        yield of_ports(source_name, cluster.host(target_name), asked, answers)
        arrived = cluster.host(source_name).private_address in met[target_name]
        detail = "arrives" if arrived else "none of three packets arrives"
        fix = pair.way_for_adverts(cluster, cluster.host(target_name))
        yield graded(f"protocol 112 from {source_name} to {target_name}", arrived, detail, fix)


def of_ports(
    source: str, target: Host, asked: Mapping[int, str], answers: Mapping[str, str | None]
) -> Finding:
    """answers: port (JSON makes it text) → None, or why no connection."""
    failed = {int(port): why for port, why in answers.items() if why}
    detail = ", ".join(f"{port} ({asked[port]}): {why}" for port, why in failed.items())
    numbers = ", ".join(map(str, asked))
    fix = f"let {source} in on {target.name}, TCP {', '.join(map(str, failed))}: security group, nft, ufw"
    name = f"TCP from {source} to {target.name}"
    return graded(name, not failed, detail or f"ports {numbers} of {target.private_address}", fix)


def open_sessions(opened: Mapping[str, remote.Session | errors.LbkitError]) -> dict[str, Any]:
    return {name: one for name, one in opened.items() if not isinstance(one, errors.LbkitError)}
