"""The policy: what parliament says of it, what the agent calls, and a table of what must be denied.

The judge of that table is moto's own evaluator: of what is on the registry it alone needs no AWS account and
knows conditions. It takes a condition whose key the request lacks as met, so each request here names its region.
(Looked at: sibyl-aws and npkt judge organisations' policies; iam-simulate is for Node; policyuniverse,
policy-sentry and cloudsplaining judge a policy, not a request.) AWS itself has not been asked.
"""

from __future__ import annotations

import ast
import dataclasses
import json

import pytest

from lbkit.aws import policy
from tests.unit import agent as program

EIP = "eipalloc-0123456789abcdef0"
ENIS = ("eni-0123456789abcde01", "eni-0123456789abcde02")
INSTANCES = ("i-0123456789abcde01", "i-0123456789abcde02")
SEOUL = policy.Scope(
    "aws",
    "ap-northeast-2",
    "123456789012",
    EIP,
    ENIS,
    INSTANCES,
    "arn:aws:sns:ap-northeast-2:123456789012:pages",
)
QUIET = dataclasses.replace(SEOUL, topic=None)
BEIJING = policy.Scope(
    "aws-cn",
    "cn-north-1",
    "210987654321",
    "eipalloc-0a",
    ("eni-0a", "eni-0b"),
    ("i-0a", "i-0b"),
    "arn:aws-cn:sns:cn-north-1:210987654321:pages",
)
GOVERNMENT = policy.Scope(
    "aws-us-gov", "us-gov-west-1", "123456789012", EIP, (*ENIS, "eni-03"), (*INSTANCES, "i-03")
)
SCOPES = {"Seoul": SEOUL, "no topic": QUIET, "Beijing": BEIJING, "GovCloud, three hosts": GOVERNMENT}


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_parliament_finds_nothing(scope: policy.Scope) -> None:
    import parliament

    text = json.dumps(policy.permissions(scope))
    judged = parliament.analyze_policy_string(text, include_community_auditors=True)
    assert [str(finding) for finding in judged.findings] == []
    widened = parliament.analyze_policy_string(
        text.replace(scope.arn("elastic-ip", scope.allocation_id), "nonsense")
    )
    assert widened.findings  # it does look


def test_the_agent_may_call_what_it_calls_and_nothing_more() -> None:
    import botocore.session

    session = botocore.session.get_session()
    operations = {}
    for service in ("ec2", "sns"):
        client = session.create_client(
            service, region_name=SEOUL.region, aws_access_key_id="-", aws_secret_access_key="-"
        )
        operations |= {
            python: f"{service}:{name}" for python, name in client.meta.method_to_api_mapping.items()
        }
    tree = ast.parse((program.LIBRARY / "failover-agent").read_text())
    called = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    wanted = {operations[name] for name in called if name in operations}
    allowed = [
        action for statement in policy.permissions(SEOUL)["Statement"] for action in statement["Action"]
    ]
    assert sorted(allowed) == sorted(wanted)
    assert wanted == {"ec2:AssociateAddress", "ec2:DescribeAddresses", "ec2:DescribeInstances", "sns:Publish"}


def allows(scope: policy.Scope, action: str, *resources: str, region: str | None = None) -> bool:
    """AWS asks for the permission on every resource that a request names."""
    from moto.iam import access_control as judge

    document = judge.IAMPolicy({"policy_document": json.dumps(policy.permissions(scope))})
    told = {"aws:RequestedRegion": region or scope.region}
    return all(
        document.is_action_permitted(action, one, None, told) == judge.PermissionResult.PERMITTED
        for one in resources or ("*",)
    )


def arns(*identifiers: str, scope: policy.Scope = SEOUL) -> tuple[str, ...]:
    kinds = {"eipalloc": "elastic-ip", "eni": "network-interface", "i": "instance"}
    return tuple(scope.arn(kinds[one.split("-")[0]], one) for one in identifiers)


OTHER_ACCOUNT = dataclasses.replace(SEOUL, account="999999999999")
OTHER_REGION = dataclasses.replace(SEOUL, region="us-east-1")
TOPIC = str(SEOUL.topic)

ALLOWED: dict[str, tuple[str, ...]] = {
    "take the address to the first host": ("ec2:AssociateAddress", *arns(EIP, ENIS[0], INSTANCES[0])),
    "take the address to the second host": ("ec2:AssociateAddress", *arns(EIP, ENIS[1], INSTANCES[1])),
    "see who has it": ("ec2:DescribeAddresses",),
    "see whether the holder runs": ("ec2:DescribeInstances",),
    "publish on its topic": ("sns:Publish", TOPIC),
}
DENIED: dict[str, tuple[str, ...]] = {
    "another address": ("ec2:AssociateAddress", *arns("eipalloc-0fffffffffffffff0", ENIS[0], INSTANCES[0])),
    "to another interface": ("ec2:AssociateAddress", *arns(EIP, "eni-0ffffffffffffff01", INSTANCES[0])),
    "to another instance": ("ec2:AssociateAddress", *arns(EIP, ENIS[0], "i-0ffffffffffffff01")),
    "a longer id": ("ec2:AssociateAddress", *arns(EIP + "0", ENIS[0], INSTANCES[0])),
    "in another account": ("ec2:AssociateAddress", *arns(EIP, ENIS[0], INSTANCES[0], scope=OTHER_ACCOUNT)),
    "in another region": ("ec2:AssociateAddress", *arns(EIP, ENIS[0], INSTANCES[0], scope=OTHER_REGION)),
    "any address": ("ec2:AssociateAddress", "*"),
    "give it up": ("ec2:DisassociateAddress", *arns(EIP, ENIS[0], INSTANCES[0])),
    "release it": ("ec2:ReleaseAddress", *arns(EIP)),
    "allocate one": ("ec2:AllocateAddress", *arns(EIP)),
    "name it anew": ("ec2:CreateTags", *arns(EIP)),
    "stop a host": ("ec2:StopInstances", *arns(INSTANCES[1])),
    "end a host": ("ec2:TerminateInstances", *arns(INSTANCES[1])),
    "start a host": ("ec2:RunInstances", "*"),
    "read a host's console": ("ec2:GetConsoleOutput", *arns(INSTANCES[0])),
    "change a host": ("ec2:ModifyInstanceAttribute", *arns(INSTANCES[0])),
    "change an interface": ("ec2:ModifyNetworkInterfaceAttribute", *arns(ENIS[0])),
    "another private address": ("ec2:AssignPrivateIpAddresses", *arns(ENIS[0])),
    "routes": ("ec2:ReplaceRoute", "*"),
    "security groups": ("ec2:AuthorizeSecurityGroupIngress", "*"),
    "another role for a host": ("ec2:ReplaceIamInstanceProfileAssociation", *arns(INSTANCES[0])),
    "images": ("ec2:DescribeImages",),
    "publish on another topic": ("sns:Publish", TOPIC + "-2"),
    "publish in another account": ("sns:Publish", TOPIC.replace(SEOUL.account, OTHER_ACCOUNT.account)),
    "send a text message": ("sns:Publish", "*"),
    "subscribe": ("sns:Subscribe", TOPIC),
    "delete the topic": ("sns:DeleteTopic", TOPIC),
    "its own policy": ("iam:PutRolePolicy", "arn:aws:iam::123456789012:role/lbkit-lab"),
    "hand on its role": ("iam:PassRole", "arn:aws:iam::123456789012:role/lbkit-lab"),
    "new keys": ("iam:CreateAccessKey", "arn:aws:iam::123456789012:user/lbkit-lab"),
    "another role": ("sts:AssumeRole", "arn:aws:iam::123456789012:role/admin"),
    "files": ("s3:GetObject", "arn:aws:s3:::bucket/key"),
    "commands on hosts": ("ssm:SendCommand", *arns(INSTANCES[0])),
}


@pytest.mark.parametrize("request_", ALLOWED.values(), ids=ALLOWED)
def test_what_it_must_do_is_allowed(request_: tuple[str, ...]) -> None:
    assert allows(SEOUL, *request_)


@pytest.mark.parametrize("request_", DENIED.values(), ids=DENIED)
def test_what_it_must_not_do_is_denied(request_: tuple[str, ...]) -> None:
    assert not allows(SEOUL, *request_)


@pytest.mark.parametrize("action", ["ec2:DescribeAddresses", "ec2:DescribeInstances"])
def test_no_other_region_is_seen(action: str) -> None:
    assert not allows(SEOUL, action, region="us-east-1")


def test_without_a_topic_nothing_is_published() -> None:
    assert not allows(QUIET, "sns:Publish", TOPIC)
    assert allows(QUIET, *ALLOWED["take the address to the first host"])


def test_arns_and_the_trusted_service_follow_the_partition() -> None:
    assert allows(BEIJING, "ec2:AssociateAddress", *arns("eipalloc-0a", "eni-0b", "i-0b", scope=BEIJING))
    assert "arn:aws:" not in json.dumps(policy.permissions(BEIJING))
    services = [
        policy.trust(partition)["Statement"][0]["Principal"]["Service"]
        for partition in ("aws", "aws-us-gov", "aws-cn")
    ]
    assert services == ["ec2.amazonaws.com", "ec2.amazonaws.com", "ec2.amazonaws.com.cn"]


def test_documents_are_compared_by_what_they_say() -> None:
    wanted = policy.permissions(SEOUL)
    stored = json.loads(json.dumps(wanted))
    stored["Statement"].reverse()
    stored["Statement"][0]["Action"] = "sns:Publish"
    stored["Statement"][2]["Resource"].reverse()
    assert policy.same(wanted, stored)
    stored["Statement"][2]["Resource"].pop()
    assert not policy.same(wanted, stored)
    assert not policy.same(wanted, policy.permissions(QUIET))


def test_it_fits_what_aws_allows_of_a_users_policy_for_ten_hosts() -> None:
    many = dataclasses.replace(
        SEOUL,
        interface_ids=tuple(f"eni-{n:017x}" for n in range(10)),
        instance_ids=tuple(f"i-{n:017x}" for n in range(10)),
    )
    assert len(json.dumps(policy.permissions(many), separators=(",", ":"))) <= 2048
