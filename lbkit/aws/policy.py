"""What AWS lets the failover agent do, and nothing else: the policy documents of one cluster. Pure."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]

VERSION = "2012-10-17"  # of the policy language


@dataclass(frozen=True)
class Scope:
    """What a cluster's hosts act on.

    partition: `aws`, `aws-cn`, `aws-us-gov`, …. account: twelve digits, of who owns the interfaces.
    interface_ids, instance_ids: of all hosts. topic: its ARN, None where nothing is published.
    """

    partition: str
    region: str
    account: str
    allocation_id: str
    interface_ids: tuple[str, ...]
    instance_ids: tuple[str, ...]
    topic: str | None = None

    def arn(self, kind: str, identifier: str) -> str:
        """Of one thing in EC2."""
        return f"arn:{self.partition}:ec2:{self.region}:{self.account}:{kind}/{identifier}"


def permissions(scope: Scope) -> Document:
    """The agent's policy: move this address among these hosts, look, and publish on this topic."""
    moved = [
        scope.arn("elastic-ip", scope.allocation_id),
        *(scope.arn("network-interface", one) for one in sorted(scope.interface_ids)),
        # AWS asks for the permission on the interface's instance too.
        *(scope.arn("instance", one) for one in sorted(scope.instance_ids)),
    ]
    statements = [
        _allow("MoveTheAddress", ["ec2:AssociateAddress"], moved),
        # Neither knows permissions for single resources: the region is all that can be said.
        _allow("SeeWhoHasIt", ["ec2:DescribeAddresses", "ec2:DescribeInstances"], ["*"])
        | {"Condition": {"StringEquals": {"aws:RequestedRegion": scope.region}}},
    ]
    if scope.topic:
        statements.append(_allow("TellPeople", ["sns:Publish"], [scope.topic]))
    return {"Version": VERSION, "Statement": statements}


def _allow(sid: str, actions: list[str], resources: list[str]) -> Document:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


def trust(partition: str) -> Document:
    """Who may take on the role: instances."""
    service = "ec2.amazonaws.com.cn" if partition == "aws-cn" else "ec2.amazonaws.com"
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": VERSION, "Statement": [statement]}


def same(one: Document, other: Document) -> bool:
    """Whether two documents say the same: the order of a list has no meaning, and what stands alone is a list
    of one."""
    return _settled(one) == _settled(other)


def anothers(present: Document, wanted: Document) -> list[str]:
    """What a document lets move, where that has nothing in common with the one that is wanted: two clusters
    of one name in one account (IAM is one for all regions). Empty where it is this cluster's own."""
    moved = _moved(present)
    strangers = moved and all(one.startswith("arn:") for one in moved) and not moved & _moved(wanted)
    return sorted(one for one in moved if ":elastic-ip/" in one) if strangers else []


def _moved(document: Document) -> set[str]:
    """The resources of all statements about moving an address."""
    statements = _listed(document.get("Statement", []))
    return {
        resource
        for one in statements
        if "ec2:AssociateAddress" in _listed(one.get("Action", []))
        for resource in _listed(one.get("Resource", []))
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _settled(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _members(inner) for key, inner in value.items()}


def _members(value: Any) -> list[Any]:
    return sorted((_settled(one) for one in _listed(value)), key=repr)


def unified(old: Document, new: Document, name: str) -> str:
    """What would change, for a plan."""
    before, after = (json.dumps(one, indent=2).splitlines() if one else [] for one in (old, new))
    lines = difflib.unified_diff(before, after, f"{name} (in AWS)", f"{name} (inventory)", lineterm="")
    return "\n".join(lines)
