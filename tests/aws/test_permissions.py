"""What the hosts and the operator may do, by an API that enforces IAM's policies as the lab's does.

It evaluates no conditions: what they forbid is in tests/unit/test_aws_policy.py.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lbkit import errors
from lbkit.aws import policy
from lbkit.lab import aws
from lbkit.lab.cloud import HOST_KEYS
from lbkit.lab.permissions import Guard
from tests.unit import agent as program
from tests.unit.conftest import ROOT

agent = program.load()
TOPIC = f"arn:aws:sns:{aws.REGION}:{aws.ACCOUNT}:pages"
NOTIFY = f'[notify]\ntopic = "{TOPIC}"'
KEYS = {instance_id: key for key, instance_id in HOST_KEYS.items()}


@pytest.fixture
def enforced(account, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The account, whose API lets nobody but the operator do what no policy allows."""
    from moto.ec2.models import ec2_backends

    guard = Guard(ec2_backends[aws.ACCOUNT][aws.REGION], aws.iam(), HOST_KEYS)
    monkeypatch.setattr(account.front, "guard", guard)
    return account


def proven(account, key: str, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, str]:
    """The agent's own proof, as lb-2 with this access key."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    config = agent.Config(
        cluster="lab", host="lb-2", private_address="10.77.2.12", priority=240, interface="lo", address="169.254.99.1",
        advert_s=0.5, script_s=1, health_port=1, check_interval_s=0.1, check_timeout_s=0.1,
        ask={"port": 1, "http": True, "tls": False}, peers=(), rules=agent.Rules(),
        aws=agent.Aws(region=aws.REGION, allocation_id=aws.ALLOCATION_ID, endpoint=account.url, reconcile_s=5,
                      interface_id=aws.INTERFACE_IDS["lb-2"]),
    )  # fmt: skip
    return agent.prove(config, 0)


def test_the_agents_proof_fails_without_the_policy_and_passes_with_it(enforced, cluster, bring, monkeypatch):
    key = KEYS[aws.INSTANCE_IDS["lb-2"]]
    with monkeypatch.context() as host:
        good, text = proven(enforced, key, host)
    assert not good
    assert text.startswith("AWS refuses DescribeAddresses (UnauthorizedOperation")
    bring(cluster("[aws.iam]"))
    with monkeypatch.context() as host:
        assert proven(enforced, key, host)[0]


def test_a_user_with_the_policy_may_move_the_address_too(enforced, cluster, bring, monkeypatch):
    bring(cluster('[aws.iam]\nkind = "user"'))
    key = enforced.client("iam").create_access_key(UserName="lbkit-lab")["AccessKey"]["AccessKeyId"]
    with monkeypatch.context() as host:
        assert proven(enforced, key, host)[0]


OURS = {"AllocationId": aws.ALLOCATION_ID, "NetworkInterfaceId": aws.INTERFACE_IDS["lb-2"], "DryRun": True}
MAY = [
    ("ec2", "describe_addresses", {}),
    ("ec2", "describe_instances", {}),
    ("ec2", "associate_address", OURS),
    ("ec2", "associate_address", OURS | {"NetworkInterfaceId": aws.INTERFACE_IDS["lb-1"]}),
    ("sns", "publish", {"TopicArn": TOPIC, "Message": "moved"}),
]
MAY_NOT = [
    ("ec2", "associate_address", OURS | {"AllocationId": "eipalloc-0fffffffffffffff0"}),
    ("ec2", "associate_address", OURS | {"NetworkInterfaceId": "eni-0fffffffffffffff0"}),
    ("ec2", "associate_address", {"AllocationId": aws.ALLOCATION_ID, "InstanceId": "i-0fffffffffffffff0"}),
    ("ec2", "disassociate_address", {"AssociationId": aws.ASSOCIATION_ID}),
    ("ec2", "release_address", {"AllocationId": aws.ALLOCATION_ID}),
    ("ec2", "stop_instances", {"InstanceIds": [aws.INSTANCE_IDS["lb-1"]]}),
    ("ec2", "terminate_instances", {"InstanceIds": [aws.INSTANCE_IDS["lb-2"]]}),
    ("ec2", "describe_vpcs", {}),
    ("sns", "publish", {"TopicArn": f"{TOPIC}-of-others", "Message": "x"}),
    ("sns", "publish", {"PhoneNumber": "+821012345678", "Message": "x"}),
    ("sns", "delete_topic", {"TopicArn": TOPIC}),
    ("iam", "create_access_key", {"UserName": "anybody"}),
    ("iam", "put_role_policy", {"RoleName": "lbkit-lab", "PolicyName": "lbkit-lab", "PolicyDocument": "{}"}),
    ("sts", "assume_role", {"RoleArn": f"arn:aws:iam::{aws.ACCOUNT}:role/admin", "RoleSessionName": "session"}),
]  # fmt: skip


def test_a_host_may_move_its_address_and_publish_and_nothing_else(enforced, cluster, bring):
    import boto3

    bring(cluster("[aws.iam]", "[aws.sns]", NOTIFY))

    def code(service: str, operation: str, arguments: dict[str, Any]) -> str:
        key = {"aws_access_key_id": KEYS[aws.INSTANCE_IDS["lb-2"]], "aws_secret_access_key": "lab"}
        client = boto3.client(service, endpoint_url=enforced.url, region_name=aws.REGION, **key)
        try:
            getattr(client, operation)(**arguments)
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "done"

    denied = ("UnauthorizedOperation", "AuthorizationError", "AccessDenied")
    assert [(code(*call) in ("done", "DryRunOperation"), call) for call in MAY] == [
        (True, call) for call in MAY
    ]
    assert [(code(*call) in denied, call) for call in MAY_NOT] == [(True, call) for call in MAY_NOT]


# ── the operator ────────────────────────────────────────────────────────────────────────────────────────────

# What AWS asks for besides the action of the call: for tags in a create call, and for handing out a role.
BESIDES = {"iam:TagRole", "iam:TagUser", "iam:TagInstanceProfile", "iam:PassRole", "sns:TagResource"}
TABLES = (
    "[aws.iam]",
    '[aws.sns]\nsubscriptions = [{ protocol = "email", endpoint = "ops@example.com" }]',
    NOTIFY,
)
STEPS = ("iam", "sns")


def documented() -> dict[str, set[str]]:
    """Matter → the actions that docs/aws.md tells the operator to allow."""
    section = (
        (ROOT / "docs/aws.md")
        .read_text()
        .split("## What your credentials must be allowed\n")[1]
        .split("\n## ")[0]
    )
    found: dict[str, set[str]] = {}
    for entry in re.findall(r"^- (.*(?:\n  .*)*)", section, re.M):
        service = ""
        for name in re.findall(r"`([\w:]+)`", entry):
            service = name.split(":")[0] if ":" in name else service
            found.setdefault(entry.split(":")[0], set()).add(f"{service}:{name.split(':')[-1]}")
    return found


def test_what_the_docs_tell_the_operator_to_allow_is_what_is_called(account, cluster, bring):
    one = cluster(*TABLES)
    made = bring(one, STEPS)
    china = json.dumps(policy.trust("aws-cn"))
    account.client("iam").update_assume_role_policy(RoleName="lbkit-lab", PolicyDocument=china)
    account.front.calls.pop()  # that one was ours
    bring(one, STEPS)
    bring(cluster('[aws.iam]\nkind = "user"'), STEPS)
    called = {f"{call['service']}:{call['action']}" for call in account.front.calls}
    found = documented()
    assert made
    assert (
        found["iam"] | found["sns"]
        == {one for one in called if one not in found["with any of the four tables"]} | BESIDES
    )


def test_a_missing_permission_of_the_operator_is_named(enforced, cluster, bring, monkeypatch):
    client = enforced.client("iam")
    client.create_user(UserName="operator")
    key = client.create_access_key(UserName="operator")["AccessKey"]["AccessKeyId"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    with pytest.raises(
        errors.AwsFailed, match="Next: allow ec2:DescribeNetworkInterfaces to whoever runs lbkit"
    ):
        bring(cluster("[aws.iam]"), STEPS)
