"""Which IPv6 the hosts have and how far it takes them, by the API's word."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ANYWHERE = "::/0"
PORTS = (80, 443)  # what there is outside over IPv6: packages, the API


@dataclass(frozen=True)
class Reach:
    """addresses: on the host's interface. ports: TCP ports that it may reach outside the VPC."""

    addresses: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()


def reach(ec2: Any, interface_ids: Mapping[str, str]) -> dict[str, Reach]:
    """Each host's, as moto describes VPC, subnet, interface, routes and security groups now.

    interface_ids: host → network interface.
    """
    found = {}
    for name, interface_id in interface_ids.items():
        interface = ec2.enis.get(interface_id)
        found[name] = _of(ec2, interface) if interface else Reach()
    return found


def _of(ec2: Any, interface: Any) -> Reach:
    subnet = interface.subnet
    vpc = ec2.vpcs[subnet.vpc_id]
    blocks = [
        one["cidr_block"]
        for one in vpc.get_cidr_block_association_set(ipv6=True)
        if one["cidr_block_state"]["state"] == "associated"
    ]
    blocks_here = [one["ipv6CidrBlock"] for one in subnet.ipv6_cidr_block_association_set]
    addresses = tuple(
        str(ipaddress.ip_address(one))
        for one in interface.ipv6_addresses
        if _within(one, blocks) and _within(one, blocks_here)
    )
    if not addresses or not _routed(ec2, subnet):
        return Reach(addresses)
    groups = [list(group.egress_rules) for group in interface.group_set]
    return Reach(addresses, tuple(port for port in PORTS if any(lets_out(rules, port) for rules in groups)))


def _within(address: str, networks: Iterable[str]) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(one) for one in networks)


def _routed(ec2: Any, subnet: Any) -> bool:
    """Whether the subnet's route table has a way for ::/0 through a gateway that is attached."""
    tables = [one for one in ec2.route_tables.values() if one.vpc_id == subnet.vpc_id]
    own = [one for one in tables if subnet.id in one._associations.values()]
    for table in own or [one for one in tables if one.main_association_id]:
        for route in table.routes:
            if route.destination_ipv6_cidr_block == ANYWHERE:
                egress_only, gateway = route.egress_only_igw, route.gateway
                if egress_only and egress_only.vpc_id == subnet.vpc_id:
                    return True
                if gateway and getattr(gateway, "vpc", None) and gateway.vpc.id == subnet.vpc_id:
                    return True
    return False


def lets_out(rules: Iterable[Any], port: int) -> bool:
    """Whether a security group's outbound rules let TCP to this port anywhere over IPv6."""
    return any(
        (rule.ip_range or {}).get("CidrIpv6") == ANYWHERE
        and (
            rule.ip_protocol == "-1"
            or (rule.ip_protocol in ("tcp", "6") and int(rule.from_port) <= port <= int(rule.to_port))
        )
        for rule in rules
    )
