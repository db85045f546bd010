"""`inv security-group`: who may reach the hosts, and what is done about more."""

from __future__ import annotations

import pytest

from lbkit import errors, plan_shown
from lbkit.aws import account as engine
from lbkit.aws import security_group
from lbkit.aws.api import Api
from lbkit.lab import aws

TABLE = '[aws.security_group]\nadmins = ["198.51.100.0/24"]'
BOTH = f"[aws.ipv6]\n{TABLE}"
STEP = ("security-group",)


def group(account, name="lbkit-lab"):
    (found,) = [
        one
        for one in account.world()["groups"].values()
        if (one["GroupName"], one["VpcId"]) == (name, aws.VPC_ID)
    ]
    return found


def rules(account, name="lbkit-lab"):
    return sorted(str(rule) for rule, _ in security_group.rules_of(group(account, name)["IpPermissions"]))


def look(cluster):
    return engine.look(Api(cluster), cluster, STEP)


PEERS = ("10.77.1.11/32", "10.77.2.12/32")
EXPECTED = sorted(
    [
        "tcp 80 from 0.0.0.0/0",
        "tcp 443 from 0.0.0.0/0",
        "tcp 22 from 198.51.100.0/24",
        "tcp 8404 from 198.51.100.0/24",
        *(f"VRRP (protocol 112) from {peer}" for peer in PEERS),
        *(f"tcp {port} from {peer}" for port in (22, 9090) for peer in PEERS),
    ]
)


def test_group_of_ours_lets_in_clients_admins_and_the_peer_and_nobody_else(account, cluster, bring):
    one = cluster(TABLE)
    assert bring(one) == [
        "security group lbkit-lab: create",
        "security group lbkit-lab: allow",
        "security group lbkit-lab on lb-1: attach",
        "security group lbkit-lab on lb-2: attach",
    ]
    assert rules(account) == EXPECTED
    ours = group(account)
    assert {"Key": "lbkit:cluster", "Value": "lab"} in ours["Tags"]
    for interface_id in aws.INTERFACE_IDS.values():
        groups = {one["GroupId"] for one in account.world()["interfaces"][interface_id]["Groups"]}
        assert groups == {aws.SECURITY_GROUP_ID, ours["GroupId"]}
    account.front.calls.clear()
    assert bring(one) == []
    assert account.writes() == []


@pytest.mark.parametrize(
    ("edits", "more", "without"),
    [
        ({}, (), ()),
        ({TABLE: f"{TABLE}\nipv6_clients = true"}, ("tcp 80 from ::/0", "tcp 443 from ::/0"), ()),
        ({'default_backend = "apps"\n': 'default_backend = "apps"\nhttp_port = 8080\n'},
         ("tcp 8080 from 0.0.0.0/0",), ("tcp 80 from 0.0.0.0/0",)),
        ({"[keepalived]": '[certificate]\nissuer = "own"\n[keepalived]'}, (), tuple(f"tcp 9090 from {p}" for p in PEERS)),
        ({'user = "ubuntu"\n': 'user = "ubuntu"\nport = 2222\n'},
         ("tcp 2222 from 198.51.100.0/24",), ("tcp 22 from 198.51.100.0/24",)),
        ({"[keepalived]": "[sync]\nport = 2222\n[keepalived]"},
         tuple(f"tcp 2222 from {p}" for p in PEERS), tuple(f"tcp 22 from {p}" for p in PEERS)),
        ({'password = { env': 'port = 9000\npassword = { env'}, ("tcp 9000 from 198.51.100.0/24",), ("tcp 8404 from 198.51.100.0/24",)),
        ({'["198.51.100.0/24"]': '[]'}, (), ("tcp 22 from 198.51.100.0/24", "tcp 8404 from 198.51.100.0/24")),
        ({'["198.51.100.0/24"]': '["2001:db8::/32"]'},
         ("tcp 22 from 2001:db8::/32", "tcp 8404 from 2001:db8::/32"), ("tcp 22 from 198.51.100.0/24", "tcp 8404 from 198.51.100.0/24")),
        # Where no HTTP frontend is on all of IPv4, the hosts ask each other's stats page.
        ({'default_backend = "apps"\n': 'default_backend = "apps"\naddresses = ["10.77.1.11"]\n',
          'password = { env': 'address = "*"\npassword = { env'}, tuple(f"tcp 8404 from {p}" for p in PEERS), ()),
    ],
)  # fmt: skip
def test_rules_follow_the_inventory(account, cluster, edits, more, without):
    one = cluster(TABLE, edits=edits)
    assert sorted(map(str, security_group.rules(one))) == sorted({*EXPECTED, *more} - {*without})


def test_rules_too_many_in_our_group_are_taken_away_after_the_missing_were_added(account, cluster, bring):
    one = cluster(TABLE)
    bring(one)
    ec2, ours = account.client(), group(account)["GroupId"]
    ec2.authorize_security_group_ingress(
        GroupId=ours,
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
            {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": aws.SECURITY_GROUP_ID}]},
            {"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        ],
    )
    ec2.revoke_security_group_ingress(
        GroupId=ours,
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        ],
    )
    changes = look(one).todo
    assert [change.action for change in changes] == ["allow", "revoke"]
    assert changes[0].diff == "+tcp 443 from 0.0.0.0/0"
    assert changes[1].diff.splitlines() == [
        f"-everything from {aws.SECURITY_GROUP_ID}",
        "-icmp 8--1 from 0.0.0.0/0",
        "-tcp 22 from 0.0.0.0/0",
    ]
    assert bring(one) == ["security group lbkit-lab: allow", "security group lbkit-lab: revoke"]
    assert rules(account) == EXPECTED


def test_group_that_the_inventory_names_gets_what_is_missing_and_loses_nothing(account, cluster, bring):
    ec2 = account.client()
    theirs = ec2.create_security_group(GroupName="web", Description="theirs", VpcId=aws.VPC_ID)["GroupId"]
    ec2.authorize_security_group_ingress(
        GroupId=theirs,
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 3306, "ToPort": 3306, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
        ],
    )
    one = cluster(f'{TABLE}\nid = "{theirs}"')
    assert bring(one)[0] == f"security group {theirs}: allow"
    assert rules(account, "web") == sorted([*EXPECTED, "tcp 3306 from 10.0.0.0/8"])
    (warning,) = look(one).changes
    assert (warning.verdict, warning.reason) == ("warning", "also lets in tcp 3306 from 10.0.0.0/8")


def test_group_of_our_name_without_our_tag_blocks_and_stays_as_it_is(account, cluster, bring):
    account.client().create_security_group(GroupName="lbkit-lab", Description="x", VpcId=aws.VPC_ID)
    before = account.world()
    with pytest.raises(
        errors.Refused, match="has that name and not our tag: it is somebody else's"
    ) as refusal:
        bring(cluster(TABLE))
    assert f'aws.security_group.id = "{group(account)["GroupId"]}"' in str(refusal.value)
    assert account.world() == before


def test_named_group_that_is_not_there_blocks(account, cluster, bring):
    with pytest.raises(errors.Refused, match=f"security group sg-0123456789abcdeff: is not in {aws.VPC_ID}"):
        bring(cluster(f'{TABLE}\nid = "sg-0123456789abcdeff"'))


def test_other_group_that_lets_the_world_in_is_told_and_left_alone(account, cluster, bring):
    permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    account.client().authorize_security_group_ingress(
        GroupId=aws.SECURITY_GROUP_ID, IpPermissions=[permission]
    )
    before = account.world()["groups"][aws.SECURITY_GROUP_ID]
    one = cluster(TABLE)
    bring(one)
    warnings = [c for c in look(one).changes if c.verdict == "warning"]
    assert [w.label for w in warnings] == [f"other security groups of {n}" for n in ("lb-1", "lb-2")]
    assert warnings[0].reason == f"{aws.SECURITY_GROUP_ID} also lets in tcp 22 from 0.0.0.0/0"
    assert account.world()["groups"][aws.SECURITY_GROUP_ID] == before


def test_with_ipv6_the_group_lets_the_hosts_out_over_it(account, cluster, bring):
    bring(cluster(TABLE))  # made before the VPC has IPv6, so without that rule
    permission = {"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
    one = cluster(BOTH)
    bring(one)
    ours = group(account)
    account.client().revoke_security_group_egress(GroupId=ours["GroupId"], IpPermissions=[permission])
    assert bring(one) == ["security group lbkit-lab: allow"]
    assert any(security_group.lets_out(rule) for rule in group(account)["IpPermissionsEgress"])


def test_run_that_is_cut_after_any_write_is_finished_by_the_next(account, cluster, cut):
    assert cut(cluster(BOTH)) == 6 + 4
    assert rules(account) == EXPECTED
    assert len(account.writes()) == 6 + 4


def test_what_stands_beside_ours_is_unchanged(account, cluster, bring):
    before = account.world()
    bring(cluster(TABLE))
    after = account.world()
    for kind, was in before.items():
        if isinstance(was, dict):
            for key, value in was.items():
                assert key in aws.INTERFACE_IDS.values() or after[kind][key] == value, key
        else:
            assert after[kind] == was


def test_plan_shows_the_whole_way_before_anything_is_there(account, cluster):
    one = cluster(BOTH)
    place = engine.look(Api(one), one, ("ipv6", "security-group"))
    text = " ".join(" ".join(plan_shown.place_lines(place)).split())  # as wide as it may be
    for part in (
        f"aws ({aws.VPC_ID}) ipv6 associate the VPC's IPv6 block: {aws.VPC_ID} has none: a /56 of Amazon's",
        "| +tcp 443 from 0.0.0.0/0",
        "security-group attach security group lbkit-lab on lb-2: ",
    ):
        assert part in text


def test_a_group_that_aws_does_not_know_everywhere_yet_is_tried_again(account, cluster, bring, known_late):
    refused = known_late("InvalidGroup.NotFound", lambda _, named: bool({"GroupId", "Groups"} & set(named)))
    assert len(bring(cluster(TABLE))) == 4
    assert refused == ["authorize_security_group_ingress", "modify_network_interface_attribute"]


def test_the_group_of_another_pair_of_the_same_name_is_left_alone(account, cluster, bring):
    """Its members would no longer hear each other, and both be MASTER."""
    bring(cluster(TABLE))
    client, group_id = account.client(), group(account)["GroupId"]
    theirs = {"IpProtocol": "112", "IpRanges": [{"CidrIp": f"10.77.1.{n}/32"} for n in (51, 52)]}
    ours = {"IpProtocol": "112", "IpRanges": [{"CidrIp": peer} for peer in PEERS]}
    client.revoke_security_group_ingress(GroupId=group_id, IpPermissions=[ours])
    client.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[theirs])
    before = rules(account)
    with pytest.raises(errors.Refused, match="another pair called lab"):
        bring(cluster(TABLE))
    assert rules(account) == before


def test_a_group_that_somebody_attached_since_the_plan_stays(account, cluster, bring):
    """An interface's groups are written as a whole."""
    one = cluster(TABLE)
    bring(one)
    client, ours, interface = account.client(), group(account)["GroupId"], aws.INTERFACE_IDS["lb-2"]

    def attach(*groups):
        client.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=list(groups))

    def attached():
        return {one["GroupId"] for one in account.world()["interfaces"][interface]["Groups"]}

    (default,) = attached() - {ours}
    theirs = client.create_security_group(GroupName="theirs", Description="x", VpcId=aws.VPC_ID)["GroupId"]
    attach(default)
    assert look(one).todo
    attach(default, theirs)
    engine.bring(Api(one), one, STEP, lambda *_: None)
    assert attached() == {default, theirs, ours}
