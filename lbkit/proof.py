"""What only a host itself can show: that it reaches the AWS API over IPv6, and that it may move the address.

Without the Elastic IP a host has no other way there, and a permission is known to hold where it is asked for.
"""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from lbkit import errors, remote, steps
from lbkit.inventory import Cluster, Eip, Host

DEADLINE_S = 60  # until a host has taken an address that AWS has just given it
EVERY_S = 1.0

# Stage at which the way ended (see the hand's `reach`) → what to do about it.
WAYS_ON = {
    "address": "on {host}, have {interface} ask for one (netplan: `dhcp6: true`, then netplan apply)",
    "name": "on {host}: resolvectl query {name}; is `agent.endpoint` in the inventory right?",
    "route": "on {host}: ip -6 route; {interface} must take router advertisements (netplan: `accept-ra`)",
    "connect": "inv ipv6 --plan; a network ACL of the subnet may stand in the way too",
    "tls": "on {host}: curl -6 https://{name}/; are its clock and its CA certificates right?",
}


def api_url(cluster: Cluster) -> str:
    """Where the hosts call EC2: the inventory's endpoint, or the region's dual-stack one."""
    assert isinstance(cluster.address, Eip), "only an Elastic IP is moved by an API"
    region = cluster.address.region
    domain = "api.amazonwebservices.com.cn" if region.startswith("cn-") else "api.aws"
    return cluster.agent.endpoint or f"https://ec2.{region}.{domain}"


def reach_question(cluster: Cluster, host: Host) -> dict[str, Any]:
    """Asks on the host how far it gets towards the API over IPv6."""
    url = urllib.parse.urlsplit(api_url(cluster))
    tls = url.scheme == "https"
    port = url.port or (443 if tls else 80)
    return {"interface": host.interface, "name": url.hostname, "port": port, "tls": tls}


def reach(cluster: Cluster, host: Host, session: remote.Session) -> tuple[bool, str, str]:
    """(whether the API answers the host over IPv6, what was seen, what to do)."""
    question = reach_question(cluster, host)
    answer = session.call("reach", **question)
    if answer["stage"] == "there":
        return True, f"{question['name']} answers at {answer['said']}", ""
    fix = WAYS_ON[answer["stage"]].format(host=host.name, **question)
    return False, answer["said"], fix


def refuse_no_way(cluster: Cluster, opened: dict[str, Any], tell: Callable[[str, str], None]) -> None:
    """Every host reaches the API over IPv6, or becomes able to while we wait; else CommandFailed."""

    def proven(name: str) -> str | None:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            good, seen, fix = reach(cluster, cluster.host(name), opened[name])
            if good:
                tell(name, f"ipv6: {seen}")
                return None
            if time.monotonic() > deadline:
                return f"{name} does not reach the AWS API over IPv6: {seen}.\nNext: {fix}"
            time.sleep(EVERY_S)

    if found := [why for why in remote.in_parallel(proven, list(opened)) if why]:
        raise errors.CommandFailed("\n".join(found))


def may_move(cluster: Cluster, session: remote.Session) -> tuple[bool | None, str, str]:
    """(whether AWS lets the host move the address, what it said, what to do). Moves nothing."""
    answer = session.call("check", **steps.prove_question(cluster))
    said, _, fix = answer["said"].partition("\nNext: ")
    if answer["code"] not in (0, 1):
        return None, said, "inv plan (the agent's program and configuration)"
    return answer["code"] == 0, said, fix
