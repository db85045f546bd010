"""What is made, mended and refused in IAM and SNS, decided from what was read. (The calls: tests/aws.)"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lbkit import inventory, plan
from lbkit.aws import iam, policy, sns
from lbkit.aws.network import Network
from lbkit.aws.resource import Seen
from lbkit.inventory.aws import Iam, Sns, Subscription
from tests.unit.conftest import ROOT

OURS = [{"Key": "lbkit:cluster", "Value": "maeil"}]
ACCOUNT = "123456789012"
TOPIC = f"arn:aws:sns:ap-northeast-2:{ACCOUNT}:pages"
INSTANCES = {"lb-a": "i-0a", "lb-b": "i-0b"}
PROFILE_ARN = f"arn:aws:iam::{ACCOUNT}:instance-profile/lbkit-maeil"
OTHER_ARN = f"arn:aws:iam::{ACCOUNT}:instance-profile/ops/theirs"


@pytest.fixture
def pair(tmp_path: Path) -> inventory.Cluster:
    found = inventory.load(ROOT / "examples/aws.toml", secrets=False)
    return found.replace(
        aws=found.aws.replace(iam=Iam(), sns=None), agent=found.agent.replace(access_key_id=None),
        notify=found.notify.replace(topic=TOPIC),
    )  # fmt: skip


def network(instances: dict[str, str] = INSTANCES) -> Network:
    interfaces = {
        name: {"NetworkInterfaceId": f"eni-0{name[-1]}", "OwnerId": ACCOUNT} | ({"Attachment": {"InstanceId": instances[name]}} if name in instances else {})
        for name in INSTANCES
    }  # fmt: skip
    return Network(interfaces, {"VpcId": "vpc-0"})


def role(name: str = "lbkit-maeil", tags: Any = OURS, service: str = "ec2.amazonaws.com") -> dict[str, Any]:
    return {
        "RoleName": name,
        "Tags": tags,
        "AssumeRolePolicyDocument": policy.trust("aws-cn" if service.endswith("cn") else "aws"),
    }


def profile(
    name: str = "lbkit-maeil",
    roles: tuple[str, ...] = ("lbkit-maeil",),
    tags: Any = OURS,
    arn: str = PROFILE_ARN,
) -> dict[str, Any]:
    return {
        "InstanceProfileName": name,
        "InstanceProfileId": name,
        "Arn": arn,
        "Roles": [{"RoleName": one} for one in roles],
        "Tags": tags,
    }


def associated(arn: str = PROFILE_ARN) -> dict[str, Any]:
    return {one: {"InstanceId": one, "IamInstanceProfile": {"Arn": arn}} for one in INSTANCES.values()}


def document(cluster: inventory.Cluster) -> policy.Document:
    return policy.permissions(iam.scope(cluster, Seen(network(), iam=iam.Iam("aws"))))


def whole(cluster: inventory.Cluster) -> dict[str, Any]:
    return {
        "role": role(),
        "policy": document(cluster),
        "profiles": (profile(),),
        "associations": associated(),
    }


def changes(cluster: inventory.Cluster, where: Network | None = None, **state: Any) -> list[plan.Change]:
    seen = Seen(where or network(), iam=iam.Iam(state.pop("partition", "aws"), **state))
    return [change for resource in iam.resources(cluster, seen) for change in resource.diff(seen)]


def told(found: list[plan.Change]) -> list[tuple[str, str, str]]:
    return [(change.verdict, change.action, change.label) for change in found]


# ── a role ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_from_nothing_to_a_role_that_both_instances_have(pair: inventory.Cluster) -> None:
    assert [(c.action, c.label, c.request["operation"]) for c in changes(pair)] == [
        ("create", "role lbkit-maeil", "create_role"),
        ("create", "policy lbkit-maeil of role lbkit-maeil", "put_role_policy"),
        ("create", "instance profile lbkit-maeil", "create_instance_profile"),
        ("add", "instance profile lbkit-maeil", "add_role_to_instance_profile"),
        ("associate", "the instance profile of lb-a", "associate_iam_instance_profile"),
        ("associate", "the instance profile of lb-b", "associate_iam_instance_profile"),
    ]
    assert changes(pair, **whole(pair)) == []


def test_what_is_made_carries_our_tag(pair: inventory.Cluster) -> None:
    made = [c.request["arguments"] for c in changes(pair) if c.request["operation"].startswith("create_")]
    assert [OURS[0] in one["Tags"] for one in made] == [True, True]


def test_another_policy_is_replaced_and_the_plan_shows_the_difference(pair: inventory.Cluster) -> None:
    wider = json.loads(json.dumps(document(pair)))
    wider["Statement"][0]["Resource"] = "*"
    (change,) = changes(pair, **whole(pair) | {"policy": wider})
    assert (change.action, change.request["operation"]) == ("update", "put_role_policy")
    assert '-      "Resource": "*"' in change.diff
    assert "eipalloc-" in change.diff
    assert json.loads(change.request["arguments"]["PolicyDocument"]) == document(pair)


def test_the_policy_of_a_pair_of_the_same_name_elsewhere_is_never_overwritten(
    pair: inventory.Cluster,
) -> None:
    """IAM is one for all regions: the other pair could not move its address any more."""
    region = pair.address.region  # type: ignore[union-attr]
    text = json.dumps(document(pair)).replace(region, "eu-west-1")
    there = json.loads(text.replace("eni-0", "eni-9").replace("eipalloc-", "eipalloc-9"))
    (stop,) = changes(pair, **whole(pair) | {"policy": there})
    assert (stop.verdict, stop.request) == ("blocked", {})
    assert "another pair called maeil" in stop.reason
    assert "aws iam delete-role-policy --role-name lbkit-maeil" in stop.next_step


def test_the_policy_follows_a_new_allocation_of_the_same_hosts(pair: inventory.Cluster) -> None:
    before = json.loads(json.dumps(document(pair)).replace("eipalloc-", "eipalloc-9"))
    (change,) = changes(pair, **whole(pair) | {"policy": before})
    assert change.action == "update"


def test_a_role_that_trusts_others_is_mended(pair: inventory.Cluster) -> None:
    (change,) = changes(pair, **whole(pair) | {"role": role(service="ec2.amazonaws.com.cn")})
    assert change.request["operation"] == "update_assume_role_policy"
    assert changes(pair, **whole(pair) | {"role": role(service="cn"), "partition": "aws-cn"})[
        0
    ].label.startswith("policy ")  # whose ARNs differ


BLOCKED: dict[str, tuple[dict[str, Any], str, str]] = {
    "somebody's role": (
        {"role": role(tags=[])},
        "role lbkit-maeil",
        "aws iam tag-role --role-name lbkit-maeil --tags Key=lbkit:cluster,Value=maeil",
    ),
    "another cluster's role": (
        {"role": role(tags=[{"Key": "lbkit:cluster", "Value": "other"}])},
        "role lbkit-maeil",
        '`aws.iam.role = "lbkit-maeil"`',
    ),
    "somebody's profile": (
        {"profiles": (profile(tags=[]),)},
        "instance profile lbkit-maeil",
        "aws iam tag-instance-profile",
    ),
    "a profile with another role": (
        {"profiles": (profile(roles=("other",)),), "associations": {}},
        "instance profile lbkit-maeil",
        "remove-role-from-instance-profile",
    ),
    "instances with another profile": (
        {"associations": associated(OTHER_ARN)},
        "the instance profile of lb-a",
        "--instance-profile-name theirs",
    ),
}


@pytest.mark.parametrize(("state", "label", "next_step"), BLOCKED.values(), ids=BLOCKED)
def test_what_is_not_ours_is_refused_with_the_way_on(
    pair: inventory.Cluster, state: dict[str, Any], label: str, next_step: str
) -> None:
    stops = [change for change in changes(pair, **whole(pair) | state) if change.verdict == "blocked"]
    assert stops[0].label == label
    assert next_step in stops[0].next_step


def test_an_interface_without_an_instance_is_refused(pair: inventory.Cluster) -> None:
    (stop,) = [c for c in changes(pair, network({"lb-a": "i-0a"})) if c.verdict == "blocked"]
    assert stop.label == "the instance of lb-b"


# ── a role of the operator's ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def theirs(pair: inventory.Cluster) -> inventory.Cluster:
    return pair.replace(aws=pair.aws.replace(iam=Iam(role="theirs")))


def test_a_named_role_gets_our_policy_and_nothing_else(theirs: inventory.Cluster) -> None:
    state = {
        "role": role("theirs", tags=[], service="cn"),
        "profiles": (profile("ops", ("theirs",), [], OTHER_ARN),),
        "associations": associated(OTHER_ARN),
    }
    (change,) = changes(theirs, **state)
    assert change.label == "policy lbkit-maeil of role theirs"
    assert change.request["arguments"]["RoleName"] == "theirs"
    assert changes(theirs, **state, policy=document(theirs)) == []


def test_an_instance_without_a_profile_gets_the_one_that_holds_the_named_role(
    theirs: inventory.Cluster,
) -> None:
    found = changes(
        theirs,
        role=role("theirs", tags=[]),
        policy=document(theirs),
        profiles=(profile("ops", ("theirs",), [], OTHER_ARN),),
    )
    assert [c.request["arguments"]["IamInstanceProfile"] for c in found] == [{"Name": "ops"}] * 2


def test_a_named_role_that_is_not_there_is_refused_not_made(theirs: inventory.Cluster) -> None:
    found = changes(theirs)
    assert found[0].verdict == "blocked"
    assert not [c for c in found if c.action == "create" and c.label.startswith("role")]


def test_a_named_role_in_no_profile_is_refused(theirs: inventory.Cluster) -> None:
    found = changes(theirs, role=role("theirs", tags=[]), policy=document(theirs))
    assert told(found) == [
        ("blocked", "blocked", "the instance profile of lb-a"),
        ("blocked", "blocked", "the instance profile of lb-b"),
    ]


# ── a user ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def keyed(pair: inventory.Cluster) -> inventory.Cluster:
    return pair.replace(
        aws=pair.aws.replace(iam=Iam(kind="user")),
        agent=pair.agent.replace(access_key_id="LABKEY0000000001"),
    )


def test_a_user_gets_the_same_policy_and_no_key(keyed: inventory.Cluster) -> None:
    found = changes(keyed)
    assert told(found) == [
        ("change", "create", "user lbkit-maeil"),
        ("change", "create", "policy lbkit-maeil of user lbkit-maeil"),
        ("warning", "warning", "access key of lbkit-maeil"),
    ]
    assert json.loads(found[1].request["arguments"]["PolicyDocument"]) == document(keyed)


KEYS: dict[str, tuple[dict[str, str], str | None, str]] = {
    "no key at all": (
        {},
        None,
        "aws iam create-access-key --user-name lbkit-maeil, then set `agent.access_key_id`",
    ),
    "a key that the inventory does not have": (
        {"LABKEY0000000009": "Active"},
        None,
        "set `agent.access_key_id`",
    ),
    "another key": ({"LABKEY0000000009": "Active"}, "LABKEY0000000001", "set `agent.access_key_id`"),
    "an inactive one": ({"LABKEY0000000001": "Inactive"}, "LABKEY0000000001", "--status Active"),
}


@pytest.mark.parametrize(("keys", "wanted", "next_step"), KEYS.values(), ids=KEYS)
def test_a_missing_key_is_told_and_never_made(
    keyed: inventory.Cluster, keys: dict[str, str], wanted: str | None, next_step: str
) -> None:
    cluster = keyed.replace(agent=keyed.agent.replace(access_key_id=wanted))
    (warning,) = changes(cluster, user={"Tags": OURS}, policy=document(cluster), keys=keys)
    assert warning.verdict == "warning"
    assert warning.next_step.startswith(next_step) or next_step in warning.next_step


def test_a_user_with_its_key_is_done_and_a_strangers_is_refused(keyed: inventory.Cluster) -> None:
    state = {"policy": document(keyed), "keys": {"LABKEY0000000001": "Active"}}
    assert changes(keyed, user={"Tags": OURS}, **state) == []
    assert told(changes(keyed, user={}, **state)) == [("blocked", "blocked", "user lbkit-maeil")]


# ── SNS ─────────────────────────────────────────────────────────────────────────────────────────────────────

EMAIL = Subscription(protocol="email", endpoint="ops@example.com")
PAGER = Subscription(protocol="https", endpoint="https://pager.example.com/in/KEY123")


def subscribed(one: Subscription, arn: str = f"{TOPIC}:1") -> dict[str, Any]:
    return {"Protocol": one.protocol, "Endpoint": one.endpoint, "SubscriptionArn": arn}


def sns_changes(pair: inventory.Cluster, state: sns.Sns) -> list[plan.Change]:
    cluster = pair.replace(aws=pair.aws.replace(sns=Sns(subscriptions=(EMAIL, PAGER))))
    seen = Seen(network(), sns=state)
    return [change for resource in sns.resources(cluster, seen) for change in resource.diff(seen)]


def test_from_nothing_to_a_topic_with_its_subscribers(pair: inventory.Cluster) -> None:
    found = sns_changes(pair, sns.Sns(False))
    assert [(c.action, c.request["operation"]) for c in found] == [
        ("create", "create_topic"),
        ("subscribe", "subscribe"),
        ("subscribe", "subscribe"),
    ]
    assert found[0].request["arguments"]["Name"] == "pages"
    assert "KEY123" not in "".join(f"{c.label} {c.reason} {c.next_step} {c.diff}" for c in found)
    assert sns_changes(pair, sns.Sns(True, (subscribed(EMAIL), subscribed(PAGER)))) == []


def test_an_unconfirmed_subscriber_is_told_and_is_no_drift(pair: inventory.Cluster) -> None:
    (warning,) = sns_changes(
        pair, sns.Sns(True, (subscribed(EMAIL, "PendingConfirmation"), subscribed(PAGER)))
    )
    assert (warning.verdict, warning.label) == (
        "warning",
        "aws.sns.subscriptions[0] (email, ops@example.com)",
    )


def test_one_who_has_left_is_asked_again_and_strangers_stay(pair: inventory.Cluster) -> None:
    stranger = subscribed(Subscription(protocol="email", endpoint="other@example.com"))
    (change,) = sns_changes(pair, sns.Sns(True, (subscribed(EMAIL, "Deleted"), subscribed(PAGER), stranger)))
    assert change.request["arguments"]["Endpoint"] == "ops@example.com"


def test_a_topic_of_another_account_is_not_made_in_ours(pair: inventory.Cluster) -> None:
    elsewhere = pair.replace(notify=pair.notify.replace(topic=TOPIC.replace(ACCOUNT, "999999999999")))
    assert sns_changes(elsewhere, sns.Sns(False))[0].verdict == "blocked"
