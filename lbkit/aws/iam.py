"""What lets the hosts move the address: a role with its instance profile, or a user with access keys.

Pure, but for `read`. The policy stands inside the role or user ("inline"): it belongs to that one alone, goes
with it, and is replaced in one call. (A managed one keeps five versions: the sixth change must delete one.)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lbkit import errors
from lbkit.aws import policy
from lbkit.aws.api import Api, call, together
from lbkit.aws.network import TAG
from lbkit.aws.resource import Resource, Seen, is_ours, tag_list
from lbkit.inventory import Cluster, Eip
from lbkit.plan import Change

# IAM is one for all regions: what was made a moment ago may not be known yet where it is used.
NOT_YET = ("NoSuchEntity", "InvalidParameterValue")
# An answer that got lost, and the call made once more: the read that follows judges what is there.
ALREADY = ("EntityAlreadyExists", "IncorrectState")


@dataclass(frozen=True)
class Iam:
    """What stands there now, each as its call gives it.

    partition: of the region. role, user: None where there is none. policy: the document of ours in it.
    profiles: those that hold the role or bear our name. associations: instance id → the association of its
    profile, for all instances of the region. keys: the user's access keys, id → `Active` or `Inactive`.
    """

    partition: str
    role: dict[str, Any] | None = None
    user: dict[str, Any] | None = None
    policy: policy.Document | None = None
    profiles: tuple[dict[str, Any], ...] = ()
    associations: dict[str, dict[str, Any]] | None = None
    keys: dict[str, str] | None = None


def our_name(cluster: Cluster) -> str:
    """Of our role, instance profile, user, and of the policy in any of them."""
    return f"lbkit-{cluster.name}"


def role_name(cluster: Cluster) -> str:
    return (cluster.aws.iam and cluster.aws.iam.role) or our_name(cluster)


def read(api: Api, cluster: Cluster) -> Iam:
    """What stands in IAM now, in one round trip. Raises AwsFailed."""
    as_user = bool(cluster.aws.iam and cluster.aws.iam.kind == "user")
    name, role = our_name(cluster), role_name(cluster)

    def ask(operation: str, key: str, **arguments: Any) -> Callable[[], Any]:
        return lambda: _or_none(api, operation, key, arguments)

    questions = {
        "user": ask("get_user", "User", UserName=name),
        "policy": ask("get_user_policy", "PolicyDocument", UserName=name, PolicyName=name),
        "keys": ask("list_access_keys", "AccessKeyMetadata", UserName=name),
    } if as_user else {
        "role": ask("get_role", "Role", RoleName=role),
        "policy": ask("get_role_policy", "PolicyDocument", RoleName=role, PolicyName=name),
        "holding": ask("list_instance_profiles_for_role", "InstanceProfiles", RoleName=role),
        "named": ask("get_instance_profile", "InstanceProfile", InstanceProfileName=name),
        "associations": lambda: _associations(api),
    }  # fmt: skip
    found = together(questions)
    profiles = [*(found.pop("holding", None) or ()), found.pop("named", None)]
    if as_user:
        found["keys"] = {key["AccessKeyId"]: key["Status"] for key in found["keys"] or ()}
    by_id = {one["InstanceProfileId"]: one for one in profiles if one}  # the last, which has its tags, stays
    return Iam(api.partition, profiles=tuple(by_id.values()), **found)


def _or_none(api: Api, operation: str, key: str, arguments: dict[str, Any]) -> Any:
    """None only where IAM says that there is no such thing."""
    try:
        return api.read("iam", operation, **arguments)[key]
    except errors.AwsFailed as error:
        if error.code == "NoSuchEntity":
            return None
        raise


def _associations(api: Api) -> dict[str, dict[str, Any]]:
    states = [{"Name": "state", "Values": ["associating", "associated"]}]
    answer = api.read("ec2", "describe_iam_instance_profile_associations", Filters=states)
    return {one["InstanceId"]: one for one in answer["IamInstanceProfileAssociations"]}


def scope(cluster: Cluster, seen: Seen) -> policy.Scope:
    """What the policy is about."""
    address, network = cluster.address, seen.network
    assert isinstance(address, Eip), "only a pair with an Elastic IP has an account behind it"
    instances = [network.instance_id(host.name) for host in cluster.hosts]
    return policy.Scope(
        seen.iam.partition,
        address.region,
        network.account,
        address.allocation_id,
        tuple(network.interfaces[host.name]["NetworkInterfaceId"] for host in cluster.hosts),
        tuple(one for one in instances if one),
        cluster.notify.topic,
    )


def resources(cluster: Cluster, seen: Seen) -> list[Resource]:
    """In the order in which one needs the other."""
    wanted = cluster.aws.iam
    assert wanted, "asked for only where the inventory has [aws.iam]"
    found: list[Resource] = [Attached(host.name) for host in cluster.hosts]
    if wanted.kind == "user":
        return [*found, User(cluster), Policy(cluster, "user", our_name(cluster)), Keys(cluster)]
    found += [Role(cluster), Policy(cluster, "role", role_name(cluster))]
    if wanted.role is None:
        found.append(Profile(cluster))
    return [*found, *(HasProfile(cluster, host.name) for host in cluster.hosts)]


@dataclass(frozen=True)
class Attached(Resource):
    """Requirement: the host's interface is attached to an instance, which the policy must name."""

    host: str

    @property
    def label(self) -> str:
        return f"the instance of {self.host}"

    def diff(self, seen: Seen) -> list[Change]:
        if seen.network.instance_id(self.host):
            return []
        interface_id = seen.network.interfaces[self.host]["NetworkInterfaceId"]
        fix = f"attach it, or mend `network_interface_id` of {self.host} in the inventory"
        return [self.stop("blocked", f"{interface_id} is attached to no instance", fix)]


@dataclass(frozen=True)
class Ours(Resource):
    """Something with our name in IAM. What bears that name without our tag is somebody else's."""

    cluster: Cluster

    def not_ours(self, kind: str, instead: str = "") -> Change:
        name = our_name(self.cluster)
        option = {"role": "--role-name", "user": "--user-name", "instance-profile": "--instance-profile-name"}
        mark = f"aws iam tag-{kind} {option[kind]} {name} --tags Key={TAG},Value={self.cluster.name}"
        reason = f"is there already and does not carry our tag {TAG} = {self.cluster.name}"
        return self.stop("blocked", reason, f"if it is meant for this pair: {mark}{instead}")


@dataclass(frozen=True)
class Role(Ours):
    """Our role, which instances may take on; or the one that the inventory names, which must be there."""

    @property
    def label(self) -> str:
        return f"role {role_name(self.cluster)}"

    def diff(self, seen: Seen) -> list[Change]:
        role, name = seen.iam.role, role_name(self.cluster)
        named = bool(self.cluster.aws.iam and self.cluster.aws.iam.role)
        wanted = policy.trust(seen.iam.partition)
        if role is None:
            if named:
                return [
                    self.stop("blocked", "there is none of that name", "mend `aws.iam.role`, or leave it out")
                ]
            arguments = {
                "RoleName": name,
                "AssumeRolePolicyDocument": json.dumps(wanted),
                "Description": f"Hosts of {self.cluster.name}: they move their Elastic IP",
                "Tags": tag_list(self.cluster, name),
            }
            return [
                self.change(
                    "create", "for instances (ec2)", call("iam", "create_role", arguments, done_on=ALREADY)
                )
            ]
        if named:
            return []
        if not is_ours(self.cluster, role):
            return [self.not_ours("role", f'; if it is yours to use as it is: `aws.iam.role = "{name}"`')]
        if policy.same(role["AssumeRolePolicyDocument"], wanted):
            return []
        shown = policy.unified(role["AssumeRolePolicyDocument"], wanted, "trust")
        arguments = {"RoleName": name, "PolicyDocument": json.dumps(wanted)}
        request = call("iam", "update_assume_role_policy", arguments)
        return [self.change("update", "trusts others than instances", request, shown)]


@dataclass(frozen=True)
class Policy(Resource):
    """The policy of our name in the role or user (`kind`) says what it must; others in it are left alone."""

    cluster: Cluster
    kind: str
    holder: str

    @property
    def label(self) -> str:
        return f"policy {our_name(self.cluster)} of {self.kind} {self.holder}"

    def diff(self, seen: Seen) -> list[Change]:
        wanted, present = policy.permissions(scope(self.cluster, seen)), seen.iam.policy
        if present is not None and policy.same(present, wanted):
            return []
        name = our_name(self.cluster)
        if others := policy.anothers(present or {}, wanted):
            delete = (
                f"aws iam delete-{self.kind}-policy --{self.kind}-name {self.holder} --policy-name {name}"
            )
            reason = f"is that of another pair called {self.cluster.name}: it lets move {', '.join(others)}"
            fix = f"give one of them another `name`; if it is only what this pair had before: {delete}"
            return [self.stop("blocked", reason, fix)]
        key = {"role": "RoleName", "user": "UserName"}[self.kind]
        arguments = {
            key: self.holder,
            "PolicyName": our_name(self.cluster),
            "PolicyDocument": json.dumps(wanted),
        }
        request = call("iam", f"put_{self.kind}_policy", arguments, again_on=NOT_YET)
        shown = policy.unified(present or {}, wanted, our_name(self.cluster))
        if present is None:
            return [self.change("create", "this address, these hosts, nothing else", request, shown)]
        return [self.change("update", "differs from the inventory", request, shown)]


@dataclass(frozen=True)
class Profile(Ours):
    """Our instance profile, with our role in it."""

    @property
    def label(self) -> str:
        return f"instance profile {our_name(self.cluster)}"

    def diff(self, seen: Seen) -> list[Change]:
        name = our_name(self.cluster)
        profile = next((one for one in seen.iam.profiles if one["InstanceProfileName"] == name), None)
        both = {"InstanceProfileName": name, "RoleName": name}
        put = call(
            "iam", "add_role_to_instance_profile", both, again_on=NOT_YET, done_on=("LimitExceeded",)
        )  # it holds one
        needs_role = self.change("add", f"role {name} to it", put)
        if profile is None:
            arguments = {"InstanceProfileName": name, "Tags": tag_list(self.cluster, name)}
            request = call("iam", "create_instance_profile", arguments, done_on=ALREADY)
            return [self.change("create", "there is none", request), needs_role]
        if not is_ours(self.cluster, profile):
            return [self.not_ours("instance-profile")]
        roles = [one["RoleName"] for one in profile["Roles"]]
        if roles == [name]:
            return []
        if roles:
            fix = f"aws iam remove-role-from-instance-profile --instance-profile-name {name}"
            return [
                self.stop(
                    "blocked",
                    f"holds the role {roles[0]}, and can hold but one",
                    f"{fix} --role-name {roles[0]}",
                )
            ]
        return [needs_role]


@dataclass(frozen=True)
class HasProfile(Resource):
    """The host's instance has an instance profile with the role. Another profile is never replaced."""

    cluster: Cluster
    host: str

    @property
    def label(self) -> str:
        return f"the instance profile of {self.host}"

    def diff(self, seen: Seen) -> list[Change]:
        instance_id, role = seen.network.instance_id(self.host), role_name(self.cluster)
        if instance_id is None:
            return []  # is said by Attached
        holding = [one for one in seen.iam.profiles if any(held["RoleName"] == role for held in one["Roles"])]
        present = (seen.iam.associations or {}).get(instance_id)
        if present is not None:
            return self.judged(present["IamInstanceProfile"]["Arn"], holding)
        if not holding and self.cluster.aws.iam and self.cluster.aws.iam.role:
            reason = f"{instance_id} has none, and no instance profile holds the role {role}"
            return [self.stop("blocked", reason, "make one, or leave out `aws.iam.role` to have lbkit's own")]
        name = holding[0]["InstanceProfileName"] if holding else our_name(self.cluster)
        arguments = {"IamInstanceProfile": {"Name": name}, "InstanceId": instance_id}
        request = call("ec2", "associate_iam_instance_profile", arguments, again_on=NOT_YET, done_on=ALREADY)
        return [self.change("associate", f"{name} with {instance_id}, which has none", request)]

    def judged(self, arn: str, holding: list[dict[str, Any]]) -> list[Change]:
        if any(one["Arn"] == arn for one in holding):
            return []
        name = arn.rsplit("/", 1)[-1]
        reason = f"is {name}, which does not hold the role {role_name(self.cluster)} and is never replaced"
        fix = (
            f"set `aws.iam.role` to the role in it, which gets our policy then "
            f"(aws iam get-instance-profile --instance-profile-name {name})"
        )
        return [self.stop("blocked", reason, fix)]


@dataclass(frozen=True)
class User(Ours):
    """Our user, for hosts that call AWS with access keys."""

    @property
    def label(self) -> str:
        return f"user {our_name(self.cluster)}"

    def diff(self, seen: Seen) -> list[Change]:
        name = our_name(self.cluster)
        if seen.iam.user is None:
            arguments = {"UserName": name, "Tags": tag_list(self.cluster, name)}
            return [
                self.change("create", "there is none", call("iam", "create_user", arguments, done_on=ALREADY))
            ]
        return [] if is_ours(self.cluster, seen.iam.user) else [self.not_ours("user")]


@dataclass(frozen=True)
class Keys(Resource):
    """Requirement, a warning only: the inventory has an active access key of the user. lbkit never makes one:
    its secret is shown once, to whoever makes it."""

    cluster: Cluster

    @property
    def label(self) -> str:
        return f"access key of {our_name(self.cluster)}"

    def diff(self, seen: Seen) -> list[Change]:
        name, wanted, keys = our_name(self.cluster), self.cluster.agent.access_key_id, seen.iam.keys or {}
        if wanted and keys.get(wanted) == "Active":
            return []
        create = "" if keys else f"aws iam create-access-key --user-name {name}, then "
        put = f"{create}set `agent.access_key_id` and `agent.secret_access_key` in the inventory"
        if not wanted:
            reason = "the inventory has none" if keys else "there is none, and lbkit makes none"
            return [self.stop("warning", reason, put)]
        if wanted in keys:
            fix = f"aws iam update-access-key --user-name {name} --access-key-id {wanted} --status Active"
            return [self.stop("warning", f"{wanted}, which the inventory has, is not active", fix)]
        return [self.stop("warning", f"{wanted}, which the inventory has, is none of its keys", put)]
