"""IPv6 for the hosts: blocks for VPC and subnets, the way out, an address on each interface. Pure.

An Elastic IP is with one host at a time: the other has no IPv4 way out, and reaches the API over IPv6.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from lbkit.aws.api import call
from lbkit.aws.network import Network
from lbkit.aws.resource import WAIT, Resource, Seen, tags
from lbkit.inventory import Cluster
from lbkit.plan import Change

EVERYWHERE = "::/0"
# What a gateway made a moment ago may be answered with.
NOT_YET = ("InvalidGatewayID.NotFound", "InvalidEgressOnlyInternetGatewayId.NotFound")
# Where a route can lead.
TARGETS = ("GatewayId", "EgressOnlyInternetGatewayId", "NatGatewayId", "TransitGatewayId", "InstanceId",
           "NetworkInterfaceId", "VpcPeeringConnectionId", "LocalGatewayId", "CarrierGatewayId")  # fmt: skip


def resources(cluster: Cluster, seen: Seen) -> list[Resource]:
    """In the order in which one needs the other; none where the inventory has no `[aws.ipv6]`."""
    if cluster.aws.ipv6 is None:
        return []
    network = seen.network
    found: list[Resource] = [VpcBlock(), *(SubnetBlock(subnet_id) for subnet_id in network.subnet_ids)]
    kind = cluster.aws.ipv6.gateway
    found.append(InternetGateway() if kind == "internet" else EgressGateway(cluster))
    tables = {subnet_id: network.table_of(subnet_id) for subnet_id in network.subnet_ids}
    for table_id in dict.fromkeys(table["RouteTableId"] for table in tables.values() if table):
        found.append(Route(table_id, kind))
    found += [Address(host.name) for host in cluster.hosts]
    if cluster.aws.security_group is None:  # ours lets everything out
        found += [Egress(host.name) for host in cluster.hosts]
    return found


@dataclass(frozen=True)
class VpcBlock(Resource):
    """The VPC has an IPv6 block; without one it gets one of Amazon's."""

    label = "the VPC's IPv6 block"

    def diff(self, seen: Seen) -> list[Change]:
        vpc_id = seen.network.vpc["VpcId"]
        arguments = {"VpcId": vpc_id, "AmazonProvidedIpv6CidrBlock": True}
        request = call("ec2", "associate_vpc_cidr_block", arguments)
        return block_diff(self, seen.network.vpc, f"{vpc_id} has none: a /56 of Amazon's", request)


@dataclass(frozen=True)
class SubnetBlock(Resource):
    """The subnet has a /64 of the VPC's block: the first that no other has."""

    subnet_id: str

    @property
    def label(self) -> str:
        return f"the IPv6 block of {self.subnet_id}"

    def diff(self, seen: Seen) -> list[Change]:
        blocks = associated(seen.network.vpc)
        free = first_free(blocks, seen.network)
        if blocks and free is None:
            reason = f"every /64 of the VPC's {', '.join(blocks)} is taken"
            next_step = "aws ec2 associate-vpc-cidr-block (one more block), or free a subnet"
            return [] if associated(self.subnet(seen)) else [self.stop("blocked", reason, next_step)]
        arguments = {"SubnetId": self.subnet_id, "Ipv6CidrBlock": free}
        request = call("ec2", "associate_subnet_cidr_block", arguments) if free else None
        return block_diff(self, self.subnet(seen), "has none: a free /64 of the VPC's", request)

    def subnet(self, seen: Seen) -> dict[str, Any]:
        return seen.network.subnet(self.subnet_id)


def block_diff(
    wanted: Resource, thing: dict[str, Any], why: str, request: dict[str, Any] | None
) -> list[Change]:
    """What a VPC or a subnet without an IPv6 block needs; where AWS failed at it, a person."""
    states = [one["Ipv6CidrBlockState"] for one in thing.get("Ipv6CidrBlockAssociationSet", ())]
    if associated(thing):
        return []
    if any(state["State"] == "associating" for state in states):
        return [wanted.change(WAIT, "AWS is associating it")]
    for state in states:
        if state["State"] in ("failing", "failed"):
            reason = f"AWS could not associate it: {state.get('StatusMessage') or state['State']}"
            return [wanted.stop("blocked", reason, "disassociate the failed block, then run it again")]
    return [wanted.change("associate", why, request)]


def associated(thing: dict[str, Any]) -> list[str]:
    """The IPv6 blocks that a VPC or subnet has now."""
    return [
        one["Ipv6CidrBlock"]
        for one in thing.get("Ipv6CidrBlockAssociationSet", ())
        if one["Ipv6CidrBlockState"]["State"] == "associated"
    ]


def first_free(blocks: list[str], network: Network) -> str | None:
    """The first /64 of the blocks that overlaps no subnet's (one that is just being given up counts)."""
    taken = [
        ipaddress.ip_network(one["Ipv6CidrBlock"])
        for subnet in network.subnets
        for one in subnet.get("Ipv6CidrBlockAssociationSet", ())
    ]
    for block in blocks:
        for free in ipaddress.ip_network(block).subnets(new_prefix=64):
            if not any(free.overlaps(other) for other in taken):
                return str(free)
    return None


@dataclass(frozen=True)
class InternetGateway(Resource):
    """Requirement: the VPC has its internet gateway. (An Elastic IP is of no use without one.)"""

    label = "the internet gateway"

    def diff(self, seen: Seen) -> list[Change]:
        if seen.network.internet_gateways:
            return []
        reason = f"{seen.network.vpc['VpcId']} has none, so no Elastic IP reaches it either"
        return [self.stop("blocked", reason, "aws ec2 create-internet-gateway, then attach-internet-gateway")]


@dataclass(frozen=True)
class EgressGateway(Resource):
    """An egress-only internet gateway of ours is there."""

    cluster: Cluster
    label = "the egress-only gateway"

    def diff(self, seen: Seen) -> list[Change]:
        if gateway_id(seen.network, "egress-only"):
            return []
        vpc_id = seen.network.vpc["VpcId"]
        marks = tags(self.cluster, "egress-only-internet-gateway", f"lbkit-{self.cluster.name}")
        arguments = {"VpcId": vpc_id, "TagSpecifications": marks}
        request = call("ec2", "create_egress_only_internet_gateway", arguments)
        return [self.change("create", f"{vpc_id} has none of ours", request)]


def gateway_id(network: Network, kind: str) -> str | None:
    """The gateway by which the hosts reach the world."""
    if kind == "internet":
        return next((str(one["InternetGatewayId"]) for one in network.internet_gateways), None)
    for gateway in network.egress_gateways:
        states = {one["VpcId"]: one["State"] for one in gateway.get("Attachments", ())}
        if states.get(network.vpc["VpcId"]) in ("attached", "available"):
            return str(gateway["EgressOnlyInternetGatewayId"])
    return None


@dataclass(frozen=True)
class Route(Resource):
    """The route table sends ::/0 to a gateway of this kind. Another target is somebody's will."""

    table_id: str
    kind: str

    @property
    def label(self) -> str:
        return f"the route {EVERYWHERE} of {self.table_id}"

    def diff(self, seen: Seen) -> list[Change]:
        table = next(one for one in seen.network.route_tables if one["RouteTableId"] == self.table_id)
        for route in table["Routes"]:
            if route.get("DestinationIpv6CidrBlock") == EVERYWHERE:
                return self.judged(route)
        gateway = gateway_id(seen.network, self.kind)
        key = "GatewayId" if self.kind == "internet" else "EgressOnlyInternetGatewayId"
        arguments = {"RouteTableId": self.table_id, "DestinationIpv6CidrBlock": EVERYWHERE, key: gateway}
        done = ("RouteAlreadyExists",)  # an answer that got lost; what it leads to is read back
        request = call("ec2", "create_route", arguments, again_on=NOT_YET, done_on=done) if gateway else None
        return [self.change("create", f"to {gateway or 'the new gateway'}", request)]

    def judged(self, route: dict[str, Any]) -> list[Change]:
        """A gateway of the wanted kind is right, whichever it is."""
        target = next((str(route[name]) for name in TARGETS if route.get(name)), "something unknown")
        state = route.get("State", "active")
        if state != "active":
            reason = f"goes to {target}, which is gone ({state})"
            fix = f"aws ec2 delete-route on {self.table_id}, then run it again"
            return [self.stop("blocked", reason, fix)]
        if target.startswith("igw-" if self.kind == "internet" else "eigw-"):
            return []
        reason = f"goes to {target} already, and not to the {self.kind} gateway"
        other = {"igw": "internet", "eig": "egress-only"}.get(target[:3])
        fix = f'set `aws.ipv6.gateway = "{other}"`' if other else "leave out `[aws.ipv6]`, or mend the route"
        return [self.stop("blocked", reason, fix)]


@dataclass(frozen=True)
class Address(Resource):
    """The host's interface has an IPv6 address."""

    host: str

    @property
    def label(self) -> str:
        return f"the IPv6 address of {self.host}"

    def diff(self, seen: Seen) -> list[Change]:
        interface = seen.network.interfaces[self.host]
        if interface.get("Ipv6Addresses"):
            return []
        interface_id = interface["NetworkInterfaceId"]
        arguments = {"NetworkInterfaceId": interface_id, "Ipv6AddressCount": 1}
        request = call("ec2", "assign_ipv6_addresses", arguments)
        ready = associated(seen.network.subnet(interface["SubnetId"]))
        reason = f"{interface_id} has none: one of {ready[0] if ready else 'its subnet'}"
        return [self.change("assign", reason, request if ready else None)]


@dataclass(frozen=True)
class Egress(Resource):
    """Requirement: the groups of the interface let it reach the API over IPv6. They are somebody else's."""

    host: str

    @property
    def label(self) -> str:
        return f"the security groups of {self.host}"

    def diff(self, seen: Seen) -> list[Change]:
        interface = seen.network.interfaces[self.host]
        mine = {group["GroupId"] for group in interface["Groups"]}
        groups = [one for one in seen.network.groups if one["GroupId"] in mine]
        if any(lets_out(rule) for group in groups for rule in group["IpPermissionsEgress"]):
            return []
        if seen.network.vpc.get("Ipv6CidrBlockAssociationSet"):
            names = ", ".join(sorted(mine))
            reason = f"none of {names} lets it out to {EVERYWHERE} port 443"
            fix = f"allow that as egress in {names}, or have a group of ours (`[aws.security_group]`)"
            return [self.stop("blocked", reason, fix)]
        return []  # AWS adds the rule itself, with the VPC's first block, to groups with default egress


def lets_out(rule: dict[str, Any]) -> bool:
    """Whether an egress rule covers HTTPS to everywhere over IPv6."""
    if EVERYWHERE not in [one["CidrIpv6"] for one in rule.get("Ipv6Ranges", ())]:
        return False
    if rule["IpProtocol"] == "-1":
        return True
    return rule["IpProtocol"] == "tcp" and rule["FromPort"] <= 443 <= rule["ToPort"]
