"""Where the hosts are in their VPC: read in few calls, side by side, and kept in AWS's own words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lbkit import errors
from lbkit.aws.api import Api, together
from lbkit.inventory import Cluster

TAG = "lbkit:cluster"  # what carries it, with the cluster's name as value, is ours


@dataclass(frozen=True)
class Network:
    """interfaces: host name → its network interface. The rest is of their VPC: all subnets and route tables,
    the internet gateways attached to it, the egress-only gateways that are ours, and the security groups of
    the interfaces and the one that is to be. Each as its Describe call gives it."""

    interfaces: dict[str, dict[str, Any]]
    vpc: dict[str, Any]
    subnets: tuple[dict[str, Any], ...] = ()
    route_tables: tuple[dict[str, Any], ...] = ()
    internet_gateways: tuple[dict[str, Any], ...] = ()
    egress_gateways: tuple[dict[str, Any], ...] = ()
    groups: tuple[dict[str, Any], ...] = ()

    @property
    def account(self) -> str:
        """The number of the account that the interfaces belong to."""
        return str(next(iter(self.interfaces.values()))["OwnerId"])

    def instance_id(self, host: str) -> str | None:
        """The instance that the host's interface is attached to."""
        found: str | None = self.interfaces[host].get("Attachment", {}).get("InstanceId")
        return found

    def subnet(self, subnet_id: str) -> dict[str, Any]:
        return next(one for one in self.subnets if one["SubnetId"] == subnet_id)

    @property
    def subnet_ids(self) -> list[str]:
        """Of the hosts, each once, in the inventory's order."""
        return list(dict.fromkeys(one["SubnetId"] for one in self.interfaces.values()))

    def table_of(self, subnet_id: str) -> dict[str, Any] | None:
        """The route table that the subnet uses: the one associated with it, else the VPC's main one."""
        for wanted in ({"SubnetId": subnet_id}, {"Main": True}):
            for table in self.route_tables:
                if any(wanted.items() <= one.items() for one in table.get("Associations", ())):
                    return table
        return None


def read(api: Api, cluster: Cluster) -> Network:
    """Raises AwsFailed where a call fails, Refused where the hosts' interfaces cannot be told."""
    interfaces = interfaces_of(api, cluster)
    vpc_id = next(iter(interfaces.values()))["VpcId"]
    in_vpc = {"vpc-id": vpc_id}
    attached = sorted({group["GroupId"] for one in interfaces.values() for group in one["Groups"]})
    wanted = cluster.aws.security_group
    ours = {"group-id": wanted.id} if wanted and wanted.id else {"group-name": group_name(cluster)}

    def ask(operation: str, key: str, where: dict[str, Any]) -> Callable[[], tuple[dict[str, Any], ...]]:
        return lambda: tuple(api.read("ec2", operation, Filters=_filters(where))[key])

    questions = {
        "vpcs": ask("describe_vpcs", "Vpcs", in_vpc),
        "subnets": ask("describe_subnets", "Subnets", in_vpc),
        "route_tables": ask("describe_route_tables", "RouteTables", in_vpc),
        "internet_gateways": ask(
            "describe_internet_gateways", "InternetGateways", {"attachment.vpc-id": vpc_id}
        ),
        "egress_gateways": ask(
            "describe_egress_only_internet_gateways",
            "EgressOnlyInternetGateways",
            {f"tag:{TAG}": cluster.name},
        ),
        "attached": ask("describe_security_groups", "SecurityGroups", {"group-id": attached}),
        "ours": ask("describe_security_groups", "SecurityGroups", {"vpc-id": vpc_id, **ours}),
    }
    found = together(questions)
    groups = {one["GroupId"]: one for one in (*found.pop("attached"), *found.pop("ours"))}
    (vpc,) = found.pop("vpcs")
    mark = {"Key": TAG, "Value": cluster.name}
    found["egress_gateways"] = tuple(one for one in found["egress_gateways"] if mark in one.get("Tags", ()))
    return Network(interfaces, vpc, groups=tuple(groups.values()), **found)


def group_name(cluster: Cluster) -> str:
    """The name of the security group that is ours."""
    return f"lbkit-{cluster.name}"


def _filters(where: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"Name": name, "Values": [value] if isinstance(value, str) else list(value)}
        for name, value in where.items()
    ]


def interfaces_of(api: Api, cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Host name → its interface: the one that the inventory names, else the one with its private address.
    Raises AwsFailed, and Refused where it cannot be told: another VPC may have the same addresses."""
    found: list[dict[str, Any]] = []
    named = [host.network_interface_id for host in cluster.hosts if host.network_interface_id]
    rest = [host.private_address for host in cluster.hosts if not host.network_interface_id]
    for name, values in (("network-interface-id", named), ("addresses.private-ip-address", rest)):
        if values:
            answer = api.read("ec2", "describe_network_interfaces", Filters=_filters({name: values}))
            found += answer["NetworkInterfaces"]
    interfaces = {}
    for host in cluster.hosts:
        wanted = host.network_interface_id
        here = [
            one
            for one in found
            if (one["NetworkInterfaceId"] == wanted if wanted else host.private_address in _addresses(one))
        ]
        if len(here) != 1:
            ids = ", ".join(one["NetworkInterfaceId"] for one in here) or "none"
            what = wanted or f"an interface with {host.private_address}"
            raise errors.Refused(
                f"AWS: {host.name}: its interface cannot be told: asked for {what}, found {ids}.\n"
                f"Next: set `network_interface_id` of {host.name} in the inventory, or mend `address.region`."
            )
        (interfaces[host.name],) = here
    vpcs = {one["VpcId"] for one in interfaces.values()}
    if len(vpcs) > 1:
        raise errors.Refused(
            f"AWS: the hosts' interfaces are in different VPCs ({', '.join(sorted(vpcs))}).\n"
            f"Next: mend `network_interface_id` of the hosts in the inventory."
        )
    return interfaces


def _addresses(interface: dict[str, Any]) -> list[str]:
    return [one["PrivateIpAddress"] for one in interface["PrivateIpAddresses"]]
