"""`inv ipv6` in an account: from nothing to a way over IPv6, whatever cuts it, and nothing else touched."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from lbkit import errors
from lbkit.aws import account as engine
from lbkit.aws.api import Api
from lbkit.lab import aws

IPV6 = "[aws.ipv6]"
EGRESS_ONLY = '[aws.ipv6]\ngateway = "egress-only"'
HOST_SUBNETS = [aws.SUBNETS["lb-a"][0], aws.SUBNETS["lb-b"][0]]


def route(world: dict[str, Any]) -> dict[str, Any]:
    """::/0 of the main route table, which the hosts' subnets use."""
    (main,) = [
        table
        for table in world["tables"].values()
        if table["VpcId"] == aws.VPC_ID and any(one["Main"] for one in table["Associations"])
    ]
    return next((one for one in main["Routes"] if one.get("DestinationIpv6CidrBlock") == "::/0"), {})


def stops(cluster) -> list[str]:
    place = engine.look(Api(cluster), cluster, ("ipv6",))
    return [f"{one.verdict}: {one.label}: {one.reason}" for one in place.changes if one.verdict != "change"]


def test_from_nothing_to_a_way_over_ipv6_and_the_second_run_is_empty(account, cluster, bring):
    one = cluster(IPV6)
    made = bring(one)
    assert made == [
        "the VPC's IPv6 block: associate",
        *(f"the IPv6 block of {subnet}: associate" for subnet in HOST_SUBNETS),
        f"the route ::/0 of {main_table(account)}: create",
        "the IPv6 address of lb-1: assign",
        "the IPv6 address of lb-2: assign",
    ]
    world = account.world()
    (vpc_block,) = [b["Ipv6CidrBlock"] for b in world["vpcs"][aws.VPC_ID]["Ipv6CidrBlockAssociationSet"]]
    for name, subnet in zip(("lb-1", "lb-2"), HOST_SUBNETS, strict=True):
        (block,) = [b["Ipv6CidrBlock"] for b in world["subnets"][subnet]["Ipv6CidrBlockAssociationSet"]]
        assert ipaddress.ip_network(block).subnet_of(ipaddress.ip_network(vpc_block))
        (address,) = world["interfaces"][aws.INTERFACE_IDS[name]]["Ipv6Addresses"]
        assert ipaddress.ip_address(address["Ipv6Address"]) in ipaddress.ip_network(block)
    assert route(world)["GatewayId"].startswith("igw-")
    account.front.calls.clear()
    assert bring(one) == []
    assert account.writes() == []


def main_table(account) -> str:
    tables = account.world()["tables"].values()
    (found,) = [
        t["RouteTableId"]
        for t in tables
        if t["VpcId"] == aws.VPC_ID and any(one["Main"] for one in t["Associations"])
    ]
    return found


def test_egress_only_gateway_of_ours_is_made_and_used_and_a_strangers_is_not(account, cluster, bring):
    one = cluster(EGRESS_ONLY)
    (stranger,) = account.world()["egress"]
    assert "the egress-only gateway: create" in bring(one)
    world = account.world()
    (ours,) = [gateway for gateway in world["egress"] if gateway != stranger]
    assert {"Key": "lbkit:cluster", "Value": "lab"} in ours["Tags"]
    assert route(world)["EgressOnlyInternetGatewayId"] == ours["EgressOnlyInternetGatewayId"]
    assert stranger in world["egress"]
    assert bring(one) == []


@pytest.mark.parametrize("tables", [IPV6, EGRESS_ONLY])
def test_run_that_is_cut_after_any_write_is_finished_by_the_next(
    account, cluster, bring, tables, monkeypatch
):
    one, count = cluster(tables), 0
    real = Api.write

    class Cut(Exception):
        pass

    def cut(self, request):
        real(self, request)
        raise Cut

    monkeypatch.setattr(Api, "write", cut)
    while True:
        try:
            assert bring(one) == []
            break
        except Cut:
            count += 1
    assert count == (6 if tables == IPV6 else 7)
    assert len(account.writes()) == count


def test_what_stands_beside_ours_is_unchanged(account, cluster, bring):
    # Its first block alone changes more in a VPC, and that is AWS's doing: local routes, egress rules.
    account.client().associate_vpc_cidr_block(VpcId=aws.VPC_ID, AmazonProvidedIpv6CidrBlock=True)
    before = account.world()
    bring(cluster(IPV6))
    after = account.world()
    ours = {"interfaces": set(aws.INTERFACE_IDS.values()), "subnets": set(HOST_SUBNETS),
            "tables": {main_table(account)}}  # fmt: skip
    for kind, was in before.items():
        if isinstance(was, dict):
            for key, value in was.items():
                assert key in ours.get(kind, ()) or after[kind][key] == value, key
        else:
            assert after[kind] == was


def test_free_block_is_the_first_that_no_subnet_has(account, cluster, bring):
    ec2 = account.client()
    ec2.associate_vpc_cidr_block(VpcId=aws.VPC_ID, AmazonProvidedIpv6CidrBlock=True)
    (vpc,) = ec2.describe_vpcs(VpcIds=[aws.VPC_ID])["Vpcs"]
    block = ipaddress.ip_network(vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"])
    free = [str(one) for _, one in zip(range(4), block.subnets(new_prefix=64), strict=False)]
    ec2.associate_subnet_cidr_block(SubnetId=aws.SUBNETS["apps"][0], Ipv6CidrBlock=free[1])
    bring(cluster(IPV6))
    subnets = account.world()["subnets"]
    given = [subnets[one]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"] for one in HOST_SUBNETS]
    assert given == [free[0], free[2]]


def test_route_to_elsewhere_is_named_and_blocks_before_anything_is_changed(account, cluster, bring):
    ec2 = account.client()
    ec2.associate_vpc_cidr_block(VpcId=aws.VPC_ID, AmazonProvidedIpv6CidrBlock=True)
    interface = aws.INTERFACE_IDS["lb-2"]
    ec2.create_route(
        RouteTableId=main_table(account), DestinationIpv6CidrBlock="::/0", NetworkInterfaceId=interface
    )
    account.front.calls.clear()
    with pytest.raises(errors.Refused, match=f"::/0 of rtb-.*goes to {interface} already") as refusal:
        bring(cluster(IPV6))
    assert "Next: leave out `[aws.ipv6]`, or mend the route." in str(refusal.value)
    assert account.writes() == []


def test_route_to_the_other_kind_of_gateway_says_which_setting_is_meant(account, cluster, bring):
    bring(cluster(IPV6))
    with pytest.raises(errors.Refused, match=r'set `aws\.ipv6\.gateway = "internet"`'):
        bring(cluster(EGRESS_ONLY))


def test_vpc_without_internet_gateway_blocks(account, cluster):
    ec2 = account.client()
    for gateway in account.world()["gateways"]:
        ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=aws.VPC_ID)
    assert stops(cluster(IPV6)) == [
        f"blocked: the internet gateway: {aws.VPC_ID} has none, so no Elastic IP reaches it either"
    ]


def test_groups_that_let_nothing_out_over_ipv6_block_and_are_left_alone(account, cluster, bring):
    ec2 = account.client()
    ec2.associate_vpc_cidr_block(VpcId=aws.VPC_ID, AmazonProvidedIpv6CidrBlock=True)
    for rule in account.world()["groups"][aws.SECURITY_GROUP_ID]["IpPermissionsEgress"]:
        ec2.revoke_security_group_egress(GroupId=aws.SECURITY_GROUP_ID, IpPermissions=[rule])
    with pytest.raises(errors.Refused, match=f"none of {aws.SECURITY_GROUP_ID} lets it out to ::/0 port 443"):
        bring(cluster(IPV6))
    ec2.authorize_security_group_egress(
        GroupId=aws.SECURITY_GROUP_ID,
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
        ],
    )
    bring(cluster(IPV6))


def test_interface_is_found_by_the_private_address_or_named(account, cluster, bring):
    named = {f'private_address = "10.77.{n}.1{n}"': f'private_address = "10.77.{n}.1{n}"\nnetwork_interface_id = "{aws.INTERFACE_IDS[name]}"'
             for n, name in ((1, "lb-1"), (2, "lb-2"))}  # fmt: skip
    for edits in ({}, named):
        one = cluster(IPV6, edits=edits)
        place = engine.look(Api(one), one, ("ipv6",))
        found = {name: i["NetworkInterfaceId"] for name, i in place.seen.network.interfaces.items()}
        assert found == aws.INTERFACE_IDS


def test_unknown_interface_is_refused_by_name(account, cluster, bring):
    with pytest.raises(
        errors.Refused, match=r"lb-2: its interface cannot be told: .*10\.77\.2\.13, found none"
    ):
        bring(cluster(IPV6, edits={'private_address = "10.77.2.12"': 'private_address = "10.77.2.13"'}))


def test_without_the_table_nothing_is_asked(account, cluster):
    one = cluster()
    assert engine.look(Api(one), one, ("ipv6",)).changes == ()
