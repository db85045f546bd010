"""`[aws]` on bare hosts: the real names of the API over IPv6 and TLS, and a passive with no IPv4 way out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbkit.lab import aws, nodes
from lbkit.lab import inventory as described
from tests.lab.elastic import Elastic
from tests.lab.rehearsal import NAMES, Edit, Rehearsal, until

pytestmark = pytest.mark.lab

SUBSCRIBED: Edit = (
    "[aws.sns]\n",
    '[aws.sns]\nsubscriptions = [{ protocol = "email", endpoint = "ops@lab.test" }]\n',
)


class Owner(Elastic):
    """The operator of a pair whose account is lbkit's to put right."""

    def hosts(self, *edits: Edit, more: str = "") -> Path:
        text = described.text(self.lab.settings, eip=True).replace("[agent]\n", f"{more}\n[agent]\n")
        for old, new in (SUBSCRIBED, *edits):
            assert old in text, old
            text = text.replace(old, new)
        return self.written(text)

    def proof_fails(self) -> bool:
        return "FAIL lb-2 may move the address: AWS refuses DescribeAddresses" in self.inv("verify").flat


def decoys(owner: Owner) -> dict[str, Any]:
    """What another team has in the account."""
    ec2, iam, sns = (owner.lab.aws_client(service) for service in ("ec2", "iam", "sns"))
    mine = {"Name": "tag:Name", "Values": [aws.DECOY]}
    return {
        "addresses": ec2.describe_addresses(Filters=[mine])["Addresses"],
        "group": ec2.describe_security_groups(GroupNames=[aws.DECOY])["SecurityGroups"][0]["IpPermissions"],
        "routes": [
            [route for route in table["Routes"] if route.get("GatewayId") != "local"]
            for table in ec2.describe_route_tables(Filters=[mine])["RouteTables"]
        ],
        "role": iam.get_role(RoleName=aws.DECOY)["Role"],
        "policies": iam.list_role_policies(RoleName=aws.DECOY)["PolicyNames"],
        "topics": [
            one["TopicArn"] for one in sns.list_topics()["Topics"] if one["TopicArn"].endswith(aws.DECOY)
        ],
    }


@pytest.fixture(scope="module")
def owner(rehearsal: Rehearsal) -> Iterator[Owner]:
    """Set up from nothing, with packages over IPv6 alone."""
    one = Owner(rehearsal.lab, rehearsal.directory, 2000)
    one.lab.reset()
    one.lab.packages_over("ipv6")
    one.before = decoys(one)
    plan = one.inv("plan")
    assert plan.code == 2, plan.text
    assert plan.out.startswith(f"aws ({aws.VPC_ID})\n")
    one.first = one.done("setup")
    until(one.whole)
    yield one
    one.lab.reset()


def test_setup_from_nothing_with_a_passive_that_has_no_ipv4_way_out(owner: Owner) -> None:
    assert "curl: (" in owner.sh("lb-2", f"curl -4 -sS -m 2 http://{nodes.AWS_OUTSIDE}/ 2>&1", check=False)
    lines = owner.first.err.splitlines()
    in_aws = [number for number, line in enumerate(lines) if line.startswith("aws: ")]
    on_hosts = [number for number, line in enumerate(lines) if ": prereqs: " in line]
    assert max(in_aws) < min(on_hosts)
    for name in NAMES:
        assert f"{name}: ipv6: ec2.{aws.REGION}.api.aws answers at " in owner.first.flat
    again = owner.done("setup")
    assert "Nothing to change on 2 hosts and in AWS" in again.out
    verified = owner.done("verify").flat
    for name in NAMES:
        assert f"ok {name} reaches the AWS API over IPv6" in verified
        assert f"ok {name} may move the address" in verified
    assert "ok AWS is as in the inventory" in verified
    assert decoys(owner) == owner.before


def test_address_moves_by_calls_over_ipv6_alone(owner: Owner) -> None:
    owner.sh("lb-1", "systemctl stop haproxy")
    until(lambda: owner.holders() == ["lb-2"])
    owner.sh("lb-1", "systemctl start haproxy")
    until(owner.whole)
    calls = [one for one in owner.lab.aws_calls("AssociateAddress") if one["by"] == "lb-2"]
    assert calls
    assert all(":" in one["from"] for one in calls)
    owner.home()


def test_agent_is_not_restarted_without_the_permission_and_the_old_one_goes_on(owner: Owner) -> None:
    """What is missing is named, and the command that brings it."""
    owner.lab.aws_client("iam").delete_role_policy(RoleName="lbkit-lab", PolicyName="lbkit-lab")
    until(owner.proof_fails)
    pid = owner.unit("lb-2", "lbkit-agent")
    other = owner.hosts(("[agent]\n", "[agent]\nrise = 2\n"))
    refused = owner.refused("agent", "--host", "lb-2", hosts=other).flat
    assert "lbkit-agent.service is not restarted, for it could not do its work" in refused
    assert "Next: inv iam" in refused
    assert owner.unit("lb-2", "lbkit-agent") == pid
    owner.sh("lb-2", "systemctl start lbkit-prove.service")  # as its timer does every hour
    alarm = "/var/lib/lbkit/alarms/permission"
    assert "this host could not take the address" in owner.read("lb-2", alarm)
    owner.done("iam")
    owner.done("agent", "--host", "lb-2", hosts=other)
    owner.sh("lb-2", "systemctl start lbkit-prove.service")
    owner.sh("lb-2", f"test ! -e {alarm}")
    assert owner.unit("lb-2", "lbkit-agent") != pid
    owner.done("agent")
    until(owner.whole)


def test_packages_come_through_the_proxy_that_the_inventory_names(owner: Owner) -> None:
    owner.lab.packages_over("proxy")
    owner.sh("lb-2", "apt-get remove -y -q logrotate")
    hosts = owner.hosts(more='\n[packages]\nproxy = "http://packages.lab:3128"\n')
    owner.done("prereqs", "--host", "lb-2", hosts=hosts)
    assert "install ok" in owner.sh("lb-2", "dpkg -s logrotate")


def test_host_without_an_ipv6_address_is_named_with_what_to_do(owner: Owner) -> None:
    """As on an image whose network set-up does not ask for one."""
    owner.sh("lb-2", "sysctl -q -w net.ipv6.conf.ens5.disable_ipv6=1")
    try:
        verified = owner.refused("verify").flat
    finally:
        owner.sh("lb-2", "sysctl -q -w net.ipv6.conf.ens5.disable_ipv6=0")
        owner.lab.host("lb-2").power_off()
        owner.lab.host("lb-2").power_on()
        owner.lab.host("lb-2").wait_ready()
    assert "FAIL lb-2 reaches the AWS API over IPv6: ens5 has no global IPv6 address" in verified
    assert "Next: on lb-2, have ens5 ask for one (netplan: `dhcp6: true`, then netplan apply)" in verified
    until(owner.whole, 60)
