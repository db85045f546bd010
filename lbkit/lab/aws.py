"""The lab's AWS account: moto with the pair's network, every id fixed so that an inventory can name it."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from typing import Any
from unittest import mock

from lbkit.aws import api
from lbkit.lab import moto_mended, nodes

REGION = nodes.REGION
ACCOUNT = "123456789012"
VPC_ID = "vpc-0123456789abcdef0"
SECURITY_GROUP_ID = "sg-0123456789abcdef0"
ALLOCATION_ID = "eipalloc-0123456789abcdef0"
ASSOCIATION_ID = "eipassoc-0123456789abcdef0"
INTERNET_GATEWAY_ID = "igw-0123456789abcdef0"
ROUTE_TABLE_ID = "rtb-0123456789abcdef0"
INSTANCE_IDS = {"lb-1": "i-0123456789abcde01", "lb-2": "i-0123456789abcde02"}
INTERFACE_IDS = {"lb-1": "eni-0123456789abcde01", "lb-2": "eni-0123456789abcde02"}
SUBNETS = {  # name: (id, network, zone)
    "lb-a": ("subnet-0123456789abcde01", "10.77.1.0/24", REGION + "a"),
    "lb-b": ("subnet-0123456789abcde02", "10.77.2.0/24", REGION + "b"),
    "apps": ("subnet-0123456789abcde11", "10.77.11.0/24", REGION + "a"),
}
_SUBNET_OF = {"lb-1": "lb-a", "lb-2": "lb-b"}
DECOY = "decoy"  # the name of what is in the account and none of ours


def seed() -> Any:
    """moto has the lab's VPC and nothing else but decoys: lb-1 holds the Elastic IP, no host has a role,
    nothing has IPv6. Whatever was there before is gone. Returns the EC2 backend of the region."""
    # Thousands of machine images that nobody asks for would cost a second.
    os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    from moto.ec2.models import ec2_backends

    ec2: Any = ec2_backends[ACCOUNT][REGION]
    for backend in (ec2, iam(), _sns()):
        backend.reset()
    moto_mended.mend(ec2)
    with _ids(VPC_ID, "vpcs.random_vpc_id"), _ids(ROUTE_TABLE_ID, "route_tables.random_route_table_id"):
        ec2.create_vpc(nodes.VPC, tags=[{"Key": "Name", "Value": "lab"}])
    with _ids(INTERNET_GATEWAY_ID, "internet_gateways.random_internet_gateway_id"):
        ec2.create_internet_gateway(tags=[{"Key": "Name", "Value": "lab"}])
    ec2.attach_internet_gateway(INTERNET_GATEWAY_ID, VPC_ID)
    ec2.create_route(ROUTE_TABLE_ID, "0.0.0.0/0", gateway_id=INTERNET_GATEWAY_ID)
    with _ids(SECURITY_GROUP_ID, "security_groups.random_security_group_id"):
        ec2.create_security_group("lab", "the pair", vpc_id=VPC_ID, tags={"Name": "lab"})
    for name, (subnet_id, cidr, zone) in SUBNETS.items():
        with _ids(subnet_id, "subnets.random_subnet_id"):
            ec2.create_subnet(VPC_ID, cidr, availability_zone=zone, tags={"Name": name})
    for name in nodes.BALANCERS:
        _add_instance(ec2, name)
    with _ids(ALLOCATION_ID, "elastic_ip_addresses.random_eip_allocation_id"):
        ec2.allocate_address("vpc", address=nodes.ELASTIC_IP, tags={"Name": "lab"})
    with _ids(ASSOCIATION_ID, "elastic_ip_addresses.random_eip_association_id"):
        ec2.associate_address(eni=ec2.enis[INTERFACE_IDS["lb-1"]], allocation_id=ALLOCATION_ID)
    _add_decoys(ec2)
    return ec2


def iam() -> Any:
    """moto's IAM backend."""
    from moto.iam.models import iam_backends

    return iam_backends[ACCOUNT]["aws"]


def _sns() -> Any:
    from moto.sns.models import sns_backends

    return sns_backends[ACCOUNT][REGION]


def _add_decoys(ec2: Any) -> None:
    """What another team has in the same account and VPC: an address, a group, routes, a role, a topic."""
    named = [{"Key": "Name", "Value": DECOY}]
    ec2.allocate_address("vpc", address="198.51.100.77", tags={"Name": DECOY})
    group = ec2.create_security_group(DECOY, "another team's", vpc_id=VPC_ID, tags={"Name": DECOY})
    ec2.authorize_security_group_ingress(group.id, "tcp", "5432", "5432", [{"CidrIp": nodes.VPC}])
    table = ec2.create_route_table(VPC_ID, tags=named)
    ec2.create_route(table.id, "192.168.0.0/16", gateway_id=INTERNET_GATEWAY_ID)
    ec2.associate_route_table(table.id, subnet_id=SUBNETS["apps"][0])
    iam().create_role(DECOY, json.dumps(TRUST), "/", None, "", named, "3600", None)
    _sns().create_topic(DECOY)


# Who may take a role: instances.
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}


def subnet_id(name: str) -> str:
    """The subnet of a balancer."""
    return SUBNETS[_SUBNET_OF[name]][0]


def zone(name: str) -> str:
    """The availability zone of a balancer."""
    return SUBNETS[_SUBNET_OF[name]][2]


def _add_instance(ec2: Any, name: str) -> None:
    with (
        _ids(INSTANCE_IDS[name], "instances.random_instance_id"),
        _ids(INTERFACE_IDS[name], "elastic_network_interfaces.random_eni_id"),
    ):
        ec2.run_instances(
            "ami-0123456789abcdef0",
            1,
            None,
            [],
            security_group_ids=[SECURITY_GROUP_ID],
            subnet_id=SUBNETS[_SUBNET_OF[name]][0],
            private_ip=nodes.NODES[name].address,
            instance_type="t3.small",
            is_instance_type_default=False,
            region_name=REGION,
            tags={"instance": {"Name": name}},
        )


def _ids(value: str, *generators: str) -> ExitStack:
    """moto's generators of ids yield this one while the context lasts."""
    stack = ExitStack()
    for generator in generators:
        stack.enter_context(mock.patch(f"moto.ec2.models.{generator}", return_value=value))
    return stack


def client(url: str, service: str = "ec2", key: str = "lab") -> Any:
    """A client for the lab's API, by default the operator's; its keys open nothing else. key: the id of an
    access key (the lab checks no signature)."""
    return api.client_at(url, service, REGION, key, "lab")


def holders(ec2: Any) -> dict[str, str]:
    """Who holds each Elastic IP, by moto's word: public address → private one."""
    found = {}
    for address in ec2.addresses:
        interface = address.eni or (address.instance and address.instance.nics[0])
        if interface and interface.private_ip_address:
            found[address.public_ip] = interface.private_ip_address
    return found
