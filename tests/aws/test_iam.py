"""`inv iam` in an account: from nothing to a permission, whatever cuts it, and nothing of others touched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lbkit import errors
from lbkit.aws import account as engine
from lbkit.aws import iam, policy
from lbkit.aws.api import Api
from lbkit.lab import aws

ROLE, USER = "[aws.iam]", '[aws.iam]\nkind = "user"'
NAME, OTHER = "lbkit-lab", "lbkit-other"
TOPIC = f"arn:aws:sns:{aws.REGION}:{aws.ACCOUNT}:pages"
TAGS = [{"Key": "lbkit:cluster", "Value": "lab"}, {"Key": "Name", "Value": NAME}]
TRUST = json.dumps(policy.trust("aws"))
ALL = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})


@pytest.fixture
def client(account) -> Any:
    """IAM of an account in which others have a role, a profile and a user too."""
    found = account.client("iam")
    found.create_role(
        RoleName=OTHER, AssumeRolePolicyDocument=TRUST, Tags=[{"Key": "lbkit:cluster", "Value": "other"}]
    )
    found.put_role_policy(RoleName=OTHER, PolicyName=NAME, PolicyDocument=ALL)
    found.create_instance_profile(InstanceProfileName=OTHER)
    found.add_role_to_instance_profile(InstanceProfileName=OTHER, RoleName=OTHER)
    found.create_user(UserName=OTHER)
    account.front.calls.clear()
    return found


def everything(client: Any) -> dict[str, Any]:
    """All of IAM that others have."""
    details = client.get_account_authorization_details(Filter=["User", "Role"])
    roles = {one["RoleName"]: one for one in details["RoleDetailList"]}
    users = {one["UserName"]: one for one in details["UserDetailList"]}
    profiles = {
        one["InstanceProfileName"]: one for one in client.list_instance_profiles()["InstanceProfiles"]
    }
    return {
        f"{kind} {name}": one
        for kind, found in (("role", roles), ("user", users), ("profile", profiles))
        for name, one in found.items()
    }


def profiles_of_instances(account) -> dict[str, str]:
    """Instance id → the name of its profile."""
    found = account.client().describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]
    return {one["InstanceId"]: one["IamInstanceProfile"]["Arn"].rsplit("/", 1)[1] for one in found}


def test_from_nothing_to_a_role_on_both_instances_and_the_second_run_is_empty(
    account, client, cluster, bring
):
    before, one = everything(client), cluster(ROLE, f'[notify]\ntopic = "{TOPIC}"')
    assert bring(one) == [
        f"role {NAME}: create",
        f"policy {NAME} of role {NAME}: create",
        f"instance profile {NAME}: create",
        f"instance profile {NAME}: add",
        "the instance profile of lb-1: associate",
        "the instance profile of lb-2: associate",
    ]
    assert profiles_of_instances(account) == dict.fromkeys(aws.INSTANCE_IDS.values(), NAME)
    assert client.get_role(RoleName=NAME)["Role"]["Tags"] == TAGS
    assert client.get_instance_profile(InstanceProfileName=NAME)["InstanceProfile"]["Tags"] == TAGS
    interfaces, instances = (tuple(found.values()) for found in (aws.INTERFACE_IDS, aws.INSTANCE_IDS))
    scope = policy.Scope("aws", aws.REGION, aws.ACCOUNT, aws.ALLOCATION_ID, interfaces, instances, TOPIC)
    assert client.get_role_policy(RoleName=NAME, PolicyName=NAME)["PolicyDocument"] == policy.permissions(
        scope
    )
    account.front.calls.clear()
    assert bring(one) == []
    assert account.writes() == []
    assert {key: value for key, value in everything(client).items() if not key.endswith(NAME)} == before


@pytest.mark.parametrize(("table", "writes"), [(ROLE, 6), (USER, 2)])
def test_a_run_that_is_cut_after_any_write_is_finished_by_the_next(
    account, client, cluster, cut, table, writes
):
    assert cut(cluster(table)) == writes
    assert len(account.writes()) == writes


def test_what_someone_widened_is_narrowed_again(account, client, cluster, bring):
    one = cluster(ROLE)
    bring(one)
    anybody = json.dumps(
        {
            **policy.trust("aws"),
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
        }
    )
    client.update_assume_role_policy(RoleName=NAME, PolicyDocument=anybody)
    client.put_role_policy(RoleName=NAME, PolicyName=NAME, PolicyDocument=ALL)
    assert bring(one) == [f"role {NAME}: update", f"policy {NAME} of role {NAME}: update"]
    assert "ec2:AssociateAddress" in json.dumps(
        client.get_role_policy(RoleName=NAME, PolicyName=NAME)["PolicyDocument"]
    )


def test_a_strangers_role_of_our_name_is_refused_and_untouched(account, client, cluster, bring):
    client.create_role(RoleName=NAME, AssumeRolePolicyDocument=TRUST)
    before = everything(client)
    with pytest.raises(
        errors.Refused, match=r"does not carry our tag lbkit:cluster = lab\.(\n.*)?\nNext: .*aws iam tag-role"
    ):
        bring(cluster(ROLE))
    assert everything(client) == before
    client.tag_role(RoleName=NAME, Tags=TAGS[:1])  # as the message says
    assert f"policy {NAME} of role {NAME}: create" in bring(cluster(ROLE))


def test_another_instance_profile_is_never_replaced_and_its_role_can_be_named(
    account, client, cluster, bring
):
    account.client().associate_iam_instance_profile(
        IamInstanceProfile={"Name": OTHER}, InstanceId=aws.INSTANCE_IDS["lb-2"]
    )
    account.front.calls.clear()
    one = cluster(ROLE)
    place = engine.look(Api(one), one, ("iam",))
    (stop,) = [change for change in place.changes if change.verdict == "blocked"]
    assert stop.label == "the instance profile of lb-2"
    assert f"is {OTHER}" in stop.reason
    assert f"--instance-profile-name {OTHER}" in stop.next_step
    assert account.writes() == []
    before = everything(client)
    named = cluster(f'[aws.iam]\nrole = "{OTHER}"')
    assert bring(named) == [
        f"policy {NAME} of role {OTHER}: update",
        "the instance profile of lb-1: associate",
    ]
    assert bring(named) == []
    assert profiles_of_instances(account) == dict.fromkeys(aws.INSTANCE_IDS.values(), OTHER)
    after = everything(client)
    assert {key for key in after if after[key] != before[key]} == {f"role {OTHER}"}
    assert after[f"role {OTHER}"]["Tags"] == before[f"role {OTHER}"]["Tags"]


def test_a_user_gets_the_policy_and_its_key_is_left_to_a_person(account, client, cluster, bring):
    one = cluster(USER)
    assert bring(one) == [f"user {NAME}: create", f"policy {NAME} of user {NAME}: create"]
    assert client.list_access_keys(UserName=NAME)["AccessKeyMetadata"] == []
    assert bring(one) == []
    key = client.create_access_key(UserName=NAME)["AccessKey"]["AccessKeyId"]
    keyed = one.replace(agent=one.agent.replace(access_key_id=key))
    warnings = [
        [change.verdict for change in engine.look(Api(it), it, ("iam",)).changes] for it in (one, keyed)
    ]
    assert warnings == [["warning"], []]


def test_what_was_made_a_moment_ago_may_not_be_known_yet_and_is_tried_again(
    account, client, cluster, bring, known_late
):
    needs = ("put_role_policy", "add_role_to_instance_profile", "associate_iam_instance_profile")
    refused = known_late("InvalidParameterValue", lambda operation, _: operation in needs)
    assert len(bring(cluster(ROLE))) == 6
    assert sorted(refused) == sorted(needs)


def test_an_answer_that_got_lost_is_no_failure(account, client, cluster, bring, monkeypatch):
    """Whoever repeats a call hears that it is there already."""
    real = Api.write

    def twice(self, request):
        real(self, request)
        real(self, request)

    monkeypatch.setattr(Api, "write", twice)
    assert len(bring(cluster(ROLE))) == 6


@pytest.mark.parametrize(
    ("action", "said"), [("GetRolePolicy", "iam:GetRolePolicy"), ("CreateRole", "iam:CreateRole")]
)
def test_what_aws_refuses_says_what_was_tried_on_what_and_the_next_step(
    account, client, cluster, bring, action, said
):
    account.front.fault = {"mode": "refuse", "actions": [action]}
    with pytest.raises(
        errors.AwsFailed, match=rf"AWS: {said} of {NAME}.* failed \(UnauthorizedOperation"
    ) as told:
        bring(cluster(ROLE))
    assert f"Next: allow {said}" in str(told.value)
    assert account.writes() == ([] if action.startswith("Get") else [action])


def test_unknown_is_not_absent(account, client, cluster):
    """What IAM does not tell is no reason to make it anew."""
    one = cluster(ROLE)
    account.front.fault = {"mode": "refuse", "actions": ["GetInstanceProfile"]}
    with pytest.raises(errors.AwsFailed):
        iam.read(Api(one), one)
