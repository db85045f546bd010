"""An AWS account on loopback: moto behind the lab's front, seeded as the lab is, anew for each test.

account   the API, and the truth behind it
cluster   makes a Cluster of the lab's pair with an Elastic IP: cluster("[aws.ipv6]\\n…")
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lbkit import errors, inventory
from lbkit.aws import account as engine
from lbkit.aws import api as way
from lbkit.inventory import Cluster
from lbkit.lab import aws, front
from tests import moto_api

HOSTS = """
[cluster]
name = "lab"
domains = ["api.lab.test"]
email = "ops@lab.test"

[address]
kind = "eip"
allocation_id = "{allocation}"
region = "{region}"

[ssh]
user = "ubuntu"

[[hosts]]
name = "lb-1"
role = "active"
ssh = "10.77.1.11"
private_address = "10.77.1.11"
interface = "ens5"

[[hosts]]
name = "lb-2"
role = "passive"
ssh = "10.77.2.12"
private_address = "10.77.2.12"
interface = "ens5"

[haproxy.frontends.web]
default_backend = "apps"

[haproxy.backends.apps]
servers = [{{ name = "app-1", address = "10.77.11.11", port = 8080 }}]

[keepalived]
virtual_router_id = 50

[haproxy.stats]
password = {{ env = "LBKIT_STATS_PASSWORD" }}

[aws]
endpoint = "{url}"
"""


class Account:
    """The API on loopback. url: where it answers; front: its log of calls and its faults."""

    def __init__(self, application: front.Front, port: int) -> None:
        self.front, self.url = application, f"http://127.0.0.1:{port}"

    def client(self, service: str = "ec2") -> Any:
        import boto3

        key = {"aws_access_key_id": "lab", "aws_secret_access_key": "lab"}
        return boto3.client(service, endpoint_url=self.url, region_name=aws.REGION, **key)

    def writes(self) -> list[str]:
        """The actions that were called and do more than read, in order."""
        reads = ("Describe", "Get", "List")
        return [one["action"] for one in self.front.calls if not one["action"].startswith(reads)]

    def world(self) -> dict[str, Any]:
        """All of the VPC that can be described, for before and after."""
        ec2 = self.client()
        return {
            "addresses": ec2.describe_addresses()["Addresses"],
            "gateways": ec2.describe_internet_gateways()["InternetGateways"],
            "egress": ec2.describe_egress_only_internet_gateways()["EgressOnlyInternetGateways"],
            "groups": {one["GroupId"]: one for one in ec2.describe_security_groups()["SecurityGroups"]},
            "interfaces": {
                one["NetworkInterfaceId"]: one
                for one in ec2.describe_network_interfaces()["NetworkInterfaces"]
            },
            "subnets": {one["SubnetId"]: one for one in ec2.describe_subnets()["Subnets"]},
            "tables": {one["RouteTableId"]: one for one in ec2.describe_route_tables()["RouteTables"]},
            "vpcs": {one["VpcId"]: one for one in ec2.describe_vpcs()["Vpcs"]},
        }


def furnish(ec2: Any) -> None:
    """What a VPC with an Elastic IP has, and what stands beside ours and must stay as it is."""
    if not ec2.describe_internet_gateways()["InternetGateways"]:
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=aws.VPC_ID)
    table = ec2.create_route_table(VpcId=aws.VPC_ID)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=aws.SUBNETS["apps"][0])
    ec2.create_security_group(GroupName="lbkit-other", Description="another pair's", VpcId=aws.VPC_ID)
    other = ec2.create_vpc(CidrBlock="10.99.0.0/16")["Vpc"]["VpcId"]
    ec2.create_security_group(GroupName="lbkit-lab", Description="in another VPC", VpcId=other)
    ec2.create_egress_only_internet_gateway(VpcId=aws.VPC_ID)
    ec2.allocate_address(Domain="vpc")


@pytest.fixture(scope="session")
def application() -> Iterator[tuple[front.Front, int]]:
    os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    with moto_api.answering({}) as found:
        yield found


@pytest.fixture
def account(application: tuple[front.Front, int], monkeypatch: pytest.MonkeyPatch) -> Account:
    """The lab's VPC as a pair with an Elastic IP has it: an internet gateway, and no IPv6."""
    from moto.moto_api._internal.models import moto_api_backend

    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "lab")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "lab")
    monkeypatch.setattr(engine, "DEADLINE_S", 10)
    moto_api_backend.reset()
    aws.seed()
    found = Account(*application)
    found.front.fault = {}
    furnish(found.client())
    found.front.calls.clear()
    return found


@pytest.fixture
def cluster(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Cluster]:
    monkeypatch.setenv("LBKIT_STATS_PASSWORD", "correct#horse")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def made(*tables: str, edits: dict[str, str] | None = None) -> Cluster:
        text = HOSTS.format(allocation=aws.ALLOCATION_ID, region=aws.REGION, url=account.url)
        text += "\n".join(("", *tables))
        for old, new in (edits or {}).items():
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path / "hosts.toml"
        path.write_text(text)
        return inventory.load(path)

    return made


@pytest.fixture
def cut(bring: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> Callable[[Cluster], int]:
    """Runs that are cut after every write, until one comes through; returns how many were cut."""
    real = way.Api.write

    class Cut(Exception):
        pass

    def write(self: way.Api, request: dict[str, Any]) -> None:
        real(self, request)
        raise Cut

    def done(cluster: Cluster) -> int:
        count = 0
        with monkeypatch.context() as patch:
            patch.setattr(way.Api, "write", write)
            while True:
                try:
                    assert bring(cluster) == []
                    return count
                except Cut:
                    count += 1

    return done


@pytest.fixture
def bring() -> Callable[..., list[str]]:
    """Makes the account as the inventory says; returns what was changed, as `label: action`."""

    def done(cluster: Cluster, only: tuple[str, ...] = ()) -> list[str]:
        api, steps = way.of(cluster), only or tuple(engine.TABLE)
        place = engine.look(api, cluster, steps)
        engine.refuse_stops(place.changes)
        made = engine.bring(api, cluster, steps, lambda _name, _line: None)
        return [f"{change.label}: {change.action}" for change in made]

    return done


@pytest.fixture
def known_late(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A mock: moto knows at once what it made. Here the first call of each operation that `asks_for` says yes
    to (of its name and arguments) is refused with the code; the list that is returned has their names."""
    monkeypatch.setattr(way, "AGAIN_EVERY_S", 0)
    real = way.Api._do

    def late(code: str, asks_for: Callable[[str, dict[str, Any]], bool]) -> list[str]:
        refused: list[str] = []

        def not_yet(self: way.Api, service: str, operation: str, arguments: dict[str, Any], work: Any) -> Any:
            if operation not in refused and asks_for(operation, arguments):
                refused.append(operation)
                raise errors.AwsFailed("AWS: it does not exist", code)
            return real(self, service, operation, arguments, work)

        monkeypatch.setattr(way.Api, "_do", not_yet)
        return refused

    return late
