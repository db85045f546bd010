"""The AWS account as `inv setup` leaves it, made by the same calls; what is there already stays."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

from lbkit.lab import aws

ROLE = "lab-pair"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "ec2:AssociateAddress",
                "ec2:DescribeAddresses",
                "ec2:DescribeInstances",
                "sns:Publish",
            ],
            "Resource": "*",
        }
    ],
}


def give_ipv6(url: str) -> None:
    """The balancers have IPv6 and a way out by it. url: the API."""
    ec2 = aws.client(url)
    block = _vpc_block(ec2)
    for number, name in enumerate(aws.INTERFACE_IDS):
        _subnet_block(ec2, aws.subnet_id(name), str(list(block.subnets(new_prefix=64))[number]))
        (interface,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[aws.INTERFACE_IDS[name]])[
            "NetworkInterfaces"
        ]
        if not interface["Ipv6Addresses"]:
            ec2.assign_ipv6_addresses(NetworkInterfaceId=aws.INTERFACE_IDS[name], Ipv6AddressCount=1)
    (table,) = ec2.describe_route_tables(RouteTableIds=[aws.ROUTE_TABLE_ID])["RouteTables"]
    if not any(route.get("DestinationIpv6CidrBlock") == "::/0" for route in table["Routes"]):
        ec2.create_route(
            RouteTableId=aws.ROUTE_TABLE_ID,
            DestinationIpv6CidrBlock="::/0",
            GatewayId=aws.INTERNET_GATEWAY_ID,
        )


def _vpc_block(ec2: Any) -> ipaddress.IPv6Network:
    def blocks() -> list[str]:
        (vpc,) = ec2.describe_vpcs(VpcIds=[aws.VPC_ID])["Vpcs"]
        return [one["Ipv6CidrBlock"] for one in vpc.get("Ipv6CidrBlockAssociationSet", [])]

    if not blocks():
        ec2.associate_vpc_cidr_block(VpcId=aws.VPC_ID, AmazonProvidedIpv6CidrBlock=True)
    return ipaddress.IPv6Network(blocks()[0])


def _subnet_block(ec2: Any, subnet_id: str, block: str) -> None:
    (subnet,) = ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"]
    if not subnet.get("Ipv6CidrBlockAssociationSet"):
        ec2.associate_subnet_cidr_block(SubnetId=subnet_id, Ipv6CidrBlock=block)


def give_role(url: str) -> None:
    """The balancers have a role that may do what a failover takes. url: the API."""
    iam, ec2 = aws.client(url, "iam"), aws.client(url)
    if ROLE not in [role["RoleName"] for role in iam.list_roles()["Roles"]]:
        iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(aws.TRUST))
        iam.put_role_policy(RoleName=ROLE, PolicyName=ROLE, PolicyDocument=json.dumps(POLICY))
        iam.create_instance_profile(InstanceProfileName=ROLE)
        iam.add_role_to_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)
    seen = ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]
    for instance_id in aws.INSTANCE_IDS.values():
        if instance_id not in [one["InstanceId"] for one in seen]:
            ec2.associate_iam_instance_profile(IamInstanceProfile={"Name": ROLE}, InstanceId=instance_id)
