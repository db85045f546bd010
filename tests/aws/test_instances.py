"""The instance that the drill stops is the host's own, whichever address it is known by."""

from __future__ import annotations

from typing import Any

import pytest

from lbkit import errors, observe
from lbkit.aws import instances
from lbkit.aws.instances import Power
from lbkit.lab import aws

SECONDARY = "10.77.1.99"


@pytest.fixture
def client(account) -> Any:
    return account.client()


@pytest.fixture
def stranger(client) -> str:
    """An instance in another VPC of the region, with the very address that lb-1 has beside its first one."""
    vpc = client.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    subnet = client.create_subnet(VpcId=vpc, CidrBlock="10.77.1.0/24")["Subnet"]["SubnetId"]
    answer = client.run_instances(
        ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1, SubnetId=subnet, PrivateIpAddress=SECONDARY
    )
    return answer["Instances"][0]["InstanceId"]


def test_an_instance_of_another_vpc_with_the_same_address_is_not_stopped(client, cluster, stranger):
    client.assign_private_ip_addresses(
        NetworkInterfaceId=aws.INTERFACE_IDS["lb-1"], PrivateIpAddresses=[SECONDARY]
    )
    named = f'private_address = "{SECONDARY}"\nnetwork_interface_id = "{aws.INTERFACE_IDS["lb-1"]}"'
    power = Power(cluster(edits={'private_address = "10.77.1.11"': named}))
    assert power.instance("lb-1")["InstanceId"] == aws.INSTANCE_IDS["lb-1"] != stranger


def test_two_interfaces_with_the_address_stop_nothing(client, cluster, stranger):
    client.assign_private_ip_addresses(
        NetworkInterfaceId=aws.INTERFACE_IDS["lb-1"], PrivateIpAddresses=[SECONDARY]
    )
    found = cluster(edits={'private_address = "10.77.1.11"': f'private_address = "{SECONDARY}"'})
    with pytest.raises(errors.Refused, match="network_interface_id"):
        Power(found).instance("lb-1")


def test_a_host_that_is_out_of_reach_since_its_instance_is_stopped_is_called_that(client, cluster):
    one = cluster()
    out = errors.Unreachable("lb-1: no ssh to 10.77.1.11 port 22 (no answer).\nNext: is it up?", down=True)
    assert observe.unreachable(one, "lb-1", out) == str(out)
    client.stop_instances(InstanceIds=[aws.INSTANCE_IDS["lb-1"]])
    instances.switched_off.cache_clear()  # asked once in a command
    assert observe.unreachable(one, "lb-1", out) == (
        f"lb-1: no ssh to 10.77.1.11 port 22 (no answer). Its instance {aws.INSTANCE_IDS['lb-1']} is stopped.\n"
        f"Next: aws ec2 start-instances --region {aws.REGION} --instance-ids {aws.INSTANCE_IDS['lb-1']}"
    )
    wrong_key = errors.Unreachable("lb-1: the host key is not known.\nNext: accept it.")
    assert observe.unreachable(one, "lb-1", wrong_key) == str(wrong_key), (
        "one that answers is not switched off"
    )


def test_where_aws_does_not_say_whether_it_is_stopped_only_the_silence_is_told(account, cluster):
    account.front.fault = {"mode": "refuse", "actions": ["DescribeInstances"]}
    out = errors.Unreachable("lb-1: no ssh (no answer).\nNext: is it up?", down=True)
    assert observe.unreachable(cluster(), "lb-1", out) == str(out)
