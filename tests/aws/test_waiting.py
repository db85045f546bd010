"""What AWS does in its own time: judged from what it describes, without an API."""

from __future__ import annotations

import pytest

from lbkit.aws import ipv6
from lbkit.aws.network import Network
from lbkit.aws.resource import Seen


def block(cidr: str, state: str, message: str = "") -> dict:
    return {"Ipv6CidrBlock": cidr, "Ipv6CidrBlockState": {"State": state, "StatusMessage": message}}


def seen(*vpc_blocks: dict, subnet: tuple[dict, ...] = (), **more) -> Seen:
    vpc = {"VpcId": "vpc-1", "Ipv6CidrBlockAssociationSet": list(vpc_blocks)}
    subnets = ({"SubnetId": "subnet-1", "Ipv6CidrBlockAssociationSet": list(subnet)},)
    return Seen(Network({}, vpc, subnets=subnets, **more))


THERE = block("2001:db8:0:100::/56", "associated")


@pytest.mark.parametrize(
    ("blocks", "action", "verdict"),
    [
        ([], "associate", "change"),
        ([THERE], None, None),
        ([block("2001:db8::/56", "associating")], "wait", "change"),
        ([block("2001:db8::/56", "disassociated")], "associate", "change"),
        ([block("2001:db8::/56", "failed", "no room")], "blocked", "blocked"),
        ([block("2001:db8::/56", "failed", "no room"), THERE], None, None),
    ],
)
def test_block_of_the_vpc(blocks, action, verdict):
    found = ipv6.VpcBlock().diff(seen(*blocks))
    assert [(one.action, one.verdict) for one in found] == ([(action, verdict)] if action else [])
    if action == "wait":
        assert not found[0].request
    if action == "blocked":
        assert "no room" in found[0].reason


def test_block_of_a_subnet_waits_for_that_of_the_vpc():
    (change,) = ipv6.SubnetBlock("subnet-1").diff(seen(block("2001:db8::/56", "associating")))
    assert (change.action, change.request) == ("associate", {})


def test_block_whose_every_64_is_taken_blocks():
    full = block("2001:db8:0:100::/64", "associated")
    others = ({"SubnetId": "s", "Ipv6CidrBlockAssociationSet": [block("2001:db8:0:100::/64", "associated")]},)
    state = seen(full)
    state = Seen(Network({}, state.network.vpc, subnets=(*state.network.subnets, *others)))
    (change,) = ipv6.SubnetBlock("subnet-1").diff(state)
    assert (change.verdict, change.reason) == (
        "blocked",
        "every /64 of the VPC's 2001:db8:0:100::/64 is taken",
    )


def test_block_that_is_just_being_given_up_is_not_free():
    going = block("2001:db8:0:100::/64", "disassociating")
    (change,) = ipv6.SubnetBlock("subnet-1").diff(seen(THERE, subnet=(going,)))
    assert change.request["arguments"]["Ipv6CidrBlock"] == "2001:db8:0:101::/64"


@pytest.mark.parametrize(
    ("route", "kind", "expected"),
    [
        ({"GatewayId": "igw-1"}, "internet", None),
        ({"EgressOnlyInternetGatewayId": "eigw-1"}, "egress-only", None),
        ({"EgressOnlyInternetGatewayId": "eigw-1"}, "internet", 'set `aws.ipv6.gateway = "egress-only"`'),
        ({"GatewayId": "igw-1"}, "egress-only", 'set `aws.ipv6.gateway = "internet"`'),
        ({"TransitGatewayId": "tgw-1"}, "internet", "leave out `[aws.ipv6]`, or mend the route"),
        ({"NatGatewayId": "nat-1"}, "internet", "leave out `[aws.ipv6]`, or mend the route"),
        ({"GatewayId": "igw-1", "State": "blackhole"}, "internet", "aws ec2 delete-route on rtb-1, then run it again"),
    ],
)  # fmt: skip
def test_route_that_is_there_is_right_or_named_and_never_replaced(route, kind, expected):
    table = {"RouteTableId": "rtb-1", "Routes": [{"DestinationIpv6CidrBlock": "::/0", **route}]}
    found = ipv6.Route("rtb-1", kind).diff(seen(THERE, route_tables=(table,)))
    assert [(one.verdict, one.next_step) for one in found] == ([("blocked", expected)] if expected else [])
