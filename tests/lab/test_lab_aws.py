"""The lab's AWS is as strict as the real one: names and TLS, IPv6 that must be made, permissions that count."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from lbkit.lab import api, aws, nodes
from lbkit.lab.machine import Machine

pytestmark = pytest.mark.lab

# Runs on a host: each call as an agent makes it, under the API's real name, with the host's own credentials.
CALLS = f"""
import json, sys, boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

config = Config(use_dualstack_endpoint=True, connect_timeout=3, read_timeout=5, retries={{"total_max_attempts": 1}})
said = {{}}
for service, action, words in json.load(sys.stdin):
    client = boto3.Session().client(service, region_name="{aws.REGION}", config=config)
    try:
        getattr(client, action)(**words)
        said[action] = "done"
    except ClientError as error:
        said[action] = error.response["Error"]["Code"]
    except BotoCoreError as error:
        said[action] = type(error).__name__
print(json.dumps(said))
"""
MOVE = {
    "AllocationId": aws.ALLOCATION_ID,
    "NetworkInterfaceId": aws.INTERFACE_IDS["lb-2"],
    "DryRun": True,
}


@pytest.fixture
def bare(selftest: api.Lab) -> api.Lab:
    """Both balancers and the account as in a fresh lab."""
    selftest.reset()
    return selftest


def curl(machine: Machine, url: str) -> bool:
    return machine.exec(["curl", "-sf", "-m", "2", "-o", "/dev/null", url], check=False).returncode == 0


def reaches_api(machine: Machine) -> bool:
    return curl(machine, f"https://ec2.{aws.REGION}.api.aws/lab/addresses")


def asked(machine: Machine, *calls: tuple[str, str, dict]) -> dict[str, str]:
    """Action → how it ended, from the host."""
    return json.loads(machine.exec(["python3", "-c", CALLS], input=json.dumps(calls)).stdout)


def install(machine: Machine, package: str) -> None:
    machine.exec(["apt-get", "-q", "update"])
    machine.exec(["apt-get", "-qy", "install", "--no-install-recommends", package])


def test_the_api_is_reached_over_ipv6_only_when_all_that_it_takes_is_there(bare: api.Lab) -> None:
    ec2 = bare.aws_client()
    active, passive = bare.balancers()
    assert (reaches_api(active), reaches_api(passive)) == (False, False)
    bare.give_ipv6()
    assert (reaches_api(active), reaches_api(passive)) == (True, True)

    route = {"RouteTableId": aws.ROUTE_TABLE_ID, "DestinationIpv6CidrBlock": "::/0"}
    ec2.delete_route(**route)
    assert not reaches_api(passive)
    egress = ec2.create_egress_only_internet_gateway(VpcId=aws.VPC_ID)["EgressOnlyInternetGateway"]
    ec2.create_route(**route, EgressOnlyInternetGatewayId=egress["EgressOnlyInternetGatewayId"])
    assert reaches_api(passive)

    everything = [{"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}]
    https = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
    ec2.revoke_security_group_egress(GroupId=aws.SECURITY_GROUP_ID, IpPermissions=everything)
    assert not reaches_api(passive)
    ec2.authorize_security_group_egress(GroupId=aws.SECURITY_GROUP_ID, IpPermissions=[https])
    assert reaches_api(passive)
    assert not curl(passive, f"http://[{nodes.REPOSITORY6}]/Packages")  # port 80 is let out no more

    interface_id = aws.INTERFACE_IDS["lb-2"]
    (address,) = shown6(bare, "lb-2")
    ec2.unassign_ipv6_addresses(NetworkInterfaceId=interface_id, Ipv6Addresses=[address])
    assert not reaches_api(passive)
    assert address not in passive.exec(["ip", "-6", "addr"]).stdout
    assert reaches_api(active)


def shown6(lab: api.Lab, name: str) -> list[str]:
    wanted = [aws.INTERFACE_IDS[name]]
    (found,) = lab.aws_client().describe_network_interfaces(NetworkInterfaceIds=wanted)["NetworkInterfaces"]
    return [one["Ipv6Address"] for one in found["Ipv6Addresses"]]


def test_ipv6_is_there_again_after_a_power_cut_and_gone_after_a_reset(bare: api.Lab) -> None:
    bare.give_ipv6()
    machine, _ = bare.balancers()
    machine.power_off()
    machine.power_on()
    machine.wait_ready()
    assert shown6(bare, "lb-1")[0] in machine.exec(["ip", "-6", "addr", "show", "ens5"]).stdout
    assert reaches_api(machine)
    bare.reset()
    assert "2400:" not in machine.exec(["ip", "-6", "addr"]).stdout
    assert not reaches_api(machine)


def test_a_partition_cuts_ipv6_too(bare: api.Lab) -> None:
    bare.give_ipv6()
    one, _ = bare.balancers()
    ping = ["ping", "-6", "-c1", "-W1", shown6(bare, "lb-2")[0]]
    assert one.exec(ping, check=False).returncode == 0
    with bare.partition():
        assert one.exec(ping, check=False).returncode == 1


def test_a_name_with_ipv4_alone_is_out_of_reach_without_the_elastic_ip(bare: api.Lab) -> None:
    one, two = bare.balancers()
    url = f"https://ec2.{aws.REGION}.amazonaws.com/lab/addresses"
    assert (curl(one, url), curl(two, url)) == (True, False)
    bare.give_elastic_ip("lb-2")
    assert (curl(one, url), curl(two, url)) == (False, True)


@pytest.mark.parametrize("way", ["ipv6", "proxy"])
def test_packages_come_by_the_one_way_that_is_open(bare: api.Lab, way: str) -> None:
    machine = bare.host("lb-2")
    direct, proxied = (
        [f"http://{nodes.REPOSITORY_NAME}/Packages"],
        ["-x", f"http://{nodes.REPOSITORY_NAME}:3128"],
    )
    bare.give_ipv6()
    bare.packages_over(way)
    curl = ["curl", "-sf", "-m", "2", "-o", "/dev/null"]
    ways = {
        "ipv4": [*curl, "-4", *direct],
        "ipv6": [*curl, "-6", *direct],
        "proxy": [*curl, "-4", *proxied, *direct],
    }
    open_ways = [name for name, argv in ways.items() if machine.exec(argv, check=False).returncode == 0]
    assert open_ways == [way]
    elsewhere = ["curl", "-s", "-m", "2", *proxied, "http://elsewhere.test/"]
    assert (machine.exec(elsewhere, check=False).returncode == 0) is (way == "proxy")


def test_a_host_may_do_what_its_role_says_under_the_apis_real_names(bare: api.Lab) -> None:
    machine = bare.host("lb-2")
    bare.give_ipv6()
    bare.packages_over("ipv6")  # it has no other way
    install(machine, "python3-boto3")
    arn = bare.aws_client("sns").create_topic(Name="failover")["TopicArn"]
    look = ("ec2", "describe_addresses", {})
    assert asked(machine, look) == {"describe_addresses": "NoCredentialsError"}
    bare.give_role()
    assert asked(
        machine,
        look,
        ("ec2", "associate_address", MOVE),
        ("ec2", "terminate_instances", {"InstanceIds": [aws.INSTANCE_IDS["lb-1"]]}),
        ("sns", "publish", {"TopicArn": arn, "Message": "x"}),
        ("sns", "delete_topic", {"TopicArn": arn}),
    ) == {
        "describe_addresses": "done",
        "associate_address": "DryRunOperation",
        "terminate_instances": "UnauthorizedOperation",
        "publish": "done",
        "delete_topic": "AuthorizationError",
    }
    seen = {(call["service"], call["action"]) for call in bare.aws_calls() if call["by"] == "lb-2"}
    assert {("ec2", "AssociateAddress"), ("sns", "Publish")} <= seen


def test_a_role_is_held_to_its_resources_and_a_user_to_its_policy(bare: api.Lab) -> None:
    iam = bare.aws_client("iam")
    arn = f"arn:aws:ec2:{aws.REGION}:{aws.ACCOUNT}"
    own = [f"{arn}:elastic-ip/{aws.ALLOCATION_ID}", f"{arn}:instance/*", f"{arn}:network-interface/*"]
    statement = {"Effect": "Allow", "Action": "ec2:AssociateAddress", "Resource": own}
    policy = {"Version": "2012-10-17", "Statement": statement}
    iam.create_user(UserName="pair")
    key = iam.create_access_key(UserName="pair")["AccessKey"]
    ec2 = aws.client(bare.settings.aws_url, "ec2", key["AccessKeyId"])

    def code(**words: object) -> str:
        with pytest.raises(ClientError) as caught:
            ec2.associate_address(**{**MOVE, **words})
        return caught.value.response["Error"]["Code"]

    assert code() == "UnauthorizedOperation"
    iam.put_user_policy(UserName="pair", PolicyName="move", PolicyDocument=json.dumps(policy))
    assert code() == "DryRunOperation"
    assert code(AllocationId="eipalloc-0123456789abcdeff") == "UnauthorizedOperation"


def test_a_fresh_account_has_another_teams_things_and_none_of_ours(bare: api.Lab) -> None:
    bare.give_ipv6()
    bare.give_role()
    before = account(bare)
    bare.reset()
    after = account(bare)
    assert before != after
    assert after["roles"] == [aws.DECOY]
    assert after["blocks"] == []
    assert [aws.DECOY in text for text in (after["groups"], after["topics"], after["addresses"])] == [
        True
    ] * 3


def account(lab: api.Lab) -> dict:
    ec2, iam, sns = (lab.aws_client(service) for service in ("ec2", "iam", "sns"))
    (vpc,) = ec2.describe_vpcs(VpcIds=[aws.VPC_ID])["Vpcs"]
    return {
        "roles": [role["RoleName"] for role in iam.list_roles()["Roles"]],
        "blocks": vpc.get("Ipv6CidrBlockAssociationSet", []),
        "groups": str(ec2.describe_security_groups()["SecurityGroups"]),
        "topics": str(sns.list_topics()["Topics"]),
        "addresses": str(ec2.describe_addresses()["Addresses"]),
    }
