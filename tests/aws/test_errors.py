"""What the operator reads where AWS does not do what it was asked: what, on which resource, why, and what next."""

from __future__ import annotations

import re
import socket

import pytest
from botocore.exceptions import ClientError

from lbkit import errors, observe, steps
from lbkit.aws import account as engine
from lbkit.aws import holder
from lbkit.aws.api import Api, about, action
from lbkit.lab import aws

IPV6 = "[aws.ipv6]"


def fails(cluster) -> errors.AwsFailed:
    with pytest.raises(errors.AwsFailed) as failure:
        engine.look(Api(cluster), cluster, ("ipv6",))
    return failure.value


@pytest.mark.parametrize(
    ("mode", "code", "next_step"),
    [
        ("refuse", "UnauthorizedOperation", "allow ec2:DescribeVpcs to whoever runs lbkit (aws sts get-caller-identity"),
        ("throttle", "RequestLimitExceeded", "wait a minute, then run it again; it goes on from there"),
        ("error", "InternalError", "wait a minute, then run it again; it goes on from there"),
    ],
)  # fmt: skip
def test_refusal_says_what_was_tried_on_what_with_awss_code(account, cluster, mode, code, next_step):
    account.front.fault = {"mode": mode, "actions": ["DescribeVpcs"]}
    failure = fails(cluster(IPV6))
    assert failure.code == code
    first, second = str(failure).splitlines()
    assert first.startswith(f"AWS: ec2:DescribeVpcs of {aws.VPC_ID} in {aws.REGION} failed ({code}: ")
    assert second.startswith(f"Next: {next_step}")


def test_api_that_does_not_answer_is_named_with_its_address(account, cluster):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    one = cluster(IPV6, edits={account.url: f"http://127.0.0.1:{port}"})
    text = str(fails(one))
    assert "EndpointConnectionError" in text
    assert f"Next: does this machine reach http://127.0.0.1:{port}?" in text


def test_missing_credentials_say_where_they_belong(account, cluster, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    text = str(fails(cluster(IPV6)))
    assert "NoCredentialsError" in text
    assert "Next: give this machine credentials (`aws.profile`, `aws.credentials_file`)" in text


def test_credentials_of_the_inventory_are_used(account, cluster, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / "keys").write_text("[pair]\naws_access_key_id = lab\naws_secret_access_key = lab\n")
    edits = {"[aws]\n": '[aws]\ncredentials_file = "keys"\nprofile = "pair"\n'}
    one = cluster(IPV6, edits=edits)
    assert engine.look(Api(one), one, ("ipv6",)).todo


def test_credentials_file_without_the_credentials_is_named(account, cluster, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / "keys").write_text("")
    text = str(fails(cluster(IPV6, edits={"[aws]\n": '[aws]\ncredentials_file = "keys"\n'})))
    assert f"Next: put credentials into {tmp_path / 'keys'} (" in text


def test_unknown_profile_is_named(account, cluster):
    text = str(fails(cluster(IPV6, edits={"[aws]\n": '[aws]\nprofile = "nobody"\n'})))
    assert re.search(r"ProfileNotFound: .*nobody", text)
    assert "try: aws sts get-caller-identity --profile nobody" in text


def test_wrong_allocation_leaves_the_holder_unknown(account, cluster):
    one = cluster(edits={aws.ALLOCATION_ID: "eipalloc-0123456789abcdeff"})
    with pytest.raises(errors.Undecided) as failure:
        holder.read(one)
    lines = str(failure.value).splitlines()
    assert lines[0] == "who holds eipalloc-0123456789abcdeff is unknown."
    assert "ec2:DescribeAddresses of eipalloc-0123456789abcdeff" in lines[1]
    assert lines[2] == "Next: mend the id in the inventory, or `address.region`; then inv plan."


def test_failure_half_way_says_what_was_made_before_it(account, cluster, bring):
    account.front.fault = {"mode": "refuse", "actions": ["CreateRoute"]}
    with pytest.raises(errors.AwsFailed) as failure:
        bring(cluster(IPV6))
    lines = str(failure.value).splitlines()
    assert lines[0].startswith("AWS: ec2:CreateRoute of rtb-")
    assert lines[1] == "3 changes were made in AWS before it, and complete."
    assert lines[2].startswith("Next: allow ec2:CreateRoute")
    account.front.fault = {}
    assert bring(cluster(IPV6))[0].endswith(": create")


def test_account_that_cannot_be_read_is_unknown_and_not_empty(account, cluster):
    account.front.fault = {"mode": "refuse", "actions": ["DescribeRouteTables"]}
    one = cluster(IPV6)
    picture = observe.Picture(one, (), account=observe.read_account(one, steps.ALL))
    assert picture.place is None
    assert "ec2:DescribeRouteTables" in picture.unread_account


def test_change_that_aws_accepts_and_does_not_show_is_told_and_not_repeated(
    account, cluster, bring, monkeypatch
):
    """Reads that lag for longer than we wait."""
    one = cluster(IPV6)
    bring_to_stale = engine.look(Api(one), one, ("ipv6",))
    monkeypatch.setattr(engine, "DEADLINE_S", 1)
    monkeypatch.setattr(engine, "look", lambda *_: bring_to_stale)
    with pytest.raises(errors.CommandFailed, match="`associate` does not show after 1 s") as failure:
        engine.bring(Api(one), one, ("ipv6",), lambda *_: None)
    assert "1 change was made in AWS before it, and complete." in str(failure.value)
    assert account.writes() == ["AssociateVpcCidrBlock"]


PASS_ROLE = "User: kim is not authorized to perform: iam:PassRole on resource: arn:aws:iam::1:role/lbkit-lab"


@pytest.mark.parametrize(
    ("code", "message", "allow"),
    [
        ("AccessDenied", PASS_ROLE, "allow iam:PassRole to whoever"),
        ("UnauthorizedOperation", f"You are not authorized. {PASS_ROLE} because", "allow iam:PassRole to whoever"),
        ("UnauthorizedOperation", "You are not authorized to perform this operation.",
         "allow ec2:AssociateIamInstanceProfile and iam:PassRole to whoever"),
    ],
)  # fmt: skip
def test_denial_names_the_action_that_aws_names_and_what_else_the_call_needs(cluster, code, message, allow):
    """A mock: moto asks for no PassRole."""
    client = Api(cluster("[aws.iam]"))

    def refused():
        raise ClientError({"Error": {"Code": code, "Message": message}}, "AssociateIamInstanceProfile")

    with pytest.raises(errors.AwsFailed) as failure:
        client._do("ec2", "associate_iam_instance_profile", {}, refused)
    assert f"Next: {allow} runs lbkit" in str(failure.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, ""),
        ({"VpcId": "vpc-1", "AmazonProvidedIpv6CidrBlock": True}, " of vpc-1"),
        ({"AllocationIds": ["a"]}, " of a"),
        ({"Filters": [{"Name": "group-id", "Values": ["a", "b", "c", "d"]}]}, " of a, b, c …"),
    ],
)
def test_messages_name_the_resource(arguments, text):
    assert about(arguments) == text


def test_actions_are_named_as_policies_name_them():
    assert action("associate_vpc_cidr_block") == "AssociateVpcCidrBlock"


def test_in_a_hurry_a_call_that_fails_is_not_tried_again(account, cluster):
    account.front.fault = {"mode": "throttle", "actions": ["DescribeAddresses"]}
    api = Api(cluster(""))

    def tries():
        before = len(account.front.calls)
        with pytest.raises(errors.AwsFailed, match="RequestLimitExceeded"):
            api.read("ec2", "describe_addresses")
        return len(account.front.calls) - before

    with api.hurried():
        assert tries() == 1
    assert tries() > 1
