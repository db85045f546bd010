"""Who may call what in the lab: IAM's policies are enforced for the hosts' roles and for IAM users.

A call is allowed if a policy of the principal allows its action on every resource that it names and none
denies it. Conditions are not evaluated: a statement that has one counts as if it had none. Signatures are
not checked either. Keys that belong to no host and to no user are the operator's, who may do everything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lbkit.lab.calls import Call, Refusal

# Actions that take a resource, by the parameters that name it; every other one is asked about `*`.
_EC2 = {
    "AllocationId": "elastic-ip",
    "NetworkInterfaceId": "network-interface",
    "InstanceId": "instance",
    "GroupId": "security-group",
    "RouteTableId": "route-table",
    "SubnetId": "subnet",
    "VpcId": "vpc",
}
_ANYONE = ("GetCallerIdentity",)


@dataclass(frozen=True)
class Principal:
    """arn: as AWS names it in its errors. policies: the documents that hold for it."""

    arn: str
    policies: Sequence[Mapping[str, Any]]


def allowed(policies: Iterable[Mapping[str, Any]], action: str, resources: Iterable[str]) -> bool:
    """Whether IAM lets the action (`ec2:AssociateAddress`) pass on all of the resources (ARNs, or `*`)."""
    statements = [one for policy in policies for one in _listed(policy["Statement"])]
    for resource in resources:
        effects = {one["Effect"] for one in statements if _concerns(one, action, resource)}
        if effects != {"Allow"}:
            return False
    return True


def _concerns(statement: Mapping[str, Any], action: str, resource: str) -> bool:
    if "NotAction" in statement:
        acts = not any(_like(action, one, re.I) for one in _listed(statement["NotAction"]))
    else:
        acts = any(_like(action, one, re.I) for one in _listed(statement["Action"]))
    if "NotResource" in statement:
        return acts and not any(_like(resource, one) for one in _listed(statement["NotResource"]))
    return acts and any(_like(resource, one) for one in _listed(statement.get("Resource", [])))


def _like(value: str, pattern: str, flags: int = 0) -> bool:
    """IAM's wildcards: * and ? alone."""
    text = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(text, value, flags | re.S) is not None


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]


class Guard:
    """hosts: access key → instance id, of the credentials that the metadata hand out."""

    def __init__(self, ec2: Any, iam: Any, hosts: Mapping[str, str]) -> None:
        self.ec2, self.iam, self.hosts = ec2, iam, hosts

    def __call__(self, call: Call) -> Refusal | None:
        """What AWS answers in place of doing it: not allowed, or a dry run that would have been."""
        if not call.key:
            return Refusal("403 Forbidden", "MissingAuthenticationToken", "The request is not signed.")
        who = self.principal(call.key)
        action = f"{call.service}:{call.action}"
        if who and call.action not in _ANYONE and not allowed(who.policies, action, self.resources(call)):
            code = {"ec2": "UnauthorizedOperation", "sns": "AuthorizationError"}.get(
                call.service, "AccessDenied"
            )
            return Refusal(
                "403 Forbidden", code, f"You are not authorized: {who.arn} may not {action} on this resource."
            )
        if call.dry_run:
            return Refusal(
                "412 Precondition Failed",
                "DryRunOperation",
                "Request would have succeeded, but DryRun flag is set.",
            )
        return None

    def principal(self, key: str) -> Principal | None:
        """Who signed with this key; None for the operator."""
        if key in self.hosts:
            instance_id = self.hosts[key]
            role = self.role(instance_id)
            name = role.name if role else "none"
            arn = f"arn:aws:sts::{self.iam.account_id}:assumed-role/{name}/{instance_id}"
            return Principal(arn, _documents(role) if role else [])
        for user in self.iam.users.values():
            if any(one.access_key_id == key and one.status == "Active" for one in user.access_keys):
                groups = self.iam.get_groups_for_user(user.name)
                return Principal(user.arn, [text for owner in (user, *groups) for text in _documents(owner)])
        return None

    def role(self, instance_id: str) -> Any:
        """The role of the instance's profile, or None."""
        association = self.ec2.iam_instance_profile_associations.get(instance_id)
        roles = association.iam_instance_profile.roles if association else []
        return roles[0] if roles else None

    def resources(self, call: Call) -> list[str]:
        """The ARNs of what the call acts on."""
        if call.service == "sns":
            return [call.params.get("TopicArn") or call.params.get("TargetArn") or "*"]
        if call.service != "ec2" or call.action.startswith("Describe"):
            return ["*"]
        named = {(kind, value) for name, kind in _EC2.items() for value in call.listed(name)}
        # AssociateAddress acts on the instance that the interface belongs to, and the other way round.
        for kind, value in tuple(named):
            if kind == "network-interface" and (interface := self.ec2.enis.get(value)) and interface.instance:
                named.add(("instance", interface.instance.id))
        region = self.ec2.region_name
        return [
            f"arn:aws:ec2:{region}:{self.ec2.account_id}:{kind}/{value}" for kind, value in sorted(named)
        ] or ["*"]


def _documents(owner: Any) -> list[Mapping[str, Any]]:
    """The inline and the attached policies of a moto user, group or role."""
    attached = [policy.document for policy in owner.managed_policies.values()]
    return [json.loads(text) for text in (*owner.policies.values(), *attached)]
