"""What must be true in the account: the shape that all its resources have. Frozen values, no I/O.

Each judges what was read (`Seen`) and says what differs; a change's `request` is the very call that makes
it true (`api.call`), so that writing needs no code of its own. Where the call cannot be named yet, because a
change before it has not been made, the request is empty: the plan still shows the whole way.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

from lbkit.aws.network import TAG, Network
from lbkit.inventory import Cluster
from lbkit.plan import Change, Verdict

WAIT = "wait"  # the action of a change that AWS is making already


@dataclass(frozen=True)
class Seen:
    """The account as read just now; None: a matter that the inventory leaves alone."""

    network: Network
    iam: Any = None
    sns: Any = None


class Resource(abc.ABC):
    """One thing that must be true."""

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """How it is called in a plan."""

    @abc.abstractmethod
    def diff(self, seen: Seen) -> list[Change]:
        """What makes it true, in order; none where it is."""

    def change(
        self, action: str, reason: str, request: dict[str, Any] | None = None, diff: str = ""
    ) -> Change:
        return Change("", self.label, action, reason, request=request or {}, diff=diff)

    def stop(self, verdict: Verdict, reason: str, next_step: str) -> Change:
        return Change("", self.label, verdict, reason, verdict=verdict, next_step=next_step)


def tags(cluster: Cluster, kind: str, name: str) -> list[dict[str, Any]]:
    """For a create call of EC2: what we make carries our tag from its first moment."""
    return [{"ResourceType": kind, "Tags": tag_list(cluster, name)}]


def tag_list(cluster: Cluster, name: str) -> list[dict[str, str]]:
    return [{"Key": TAG, "Value": cluster.name}, {"Key": "Name", "Value": name}]


def is_ours(cluster: Cluster, thing: dict[str, Any]) -> bool:
    """Whether it carries our tag."""
    return {"Key": TAG, "Value": cluster.name} in thing.get("Tags", ())
