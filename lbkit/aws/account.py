"""The AWS side of the pair: read, compared, and made as the inventory says.

As with the hosts: what is desired is a list of resources, reading changes nothing, a diff is pure, and a run
that was cut is finished by the next. Only what the inventory names, where the hosts are, and what carries our
tag is touched; nothing is ever deleted, but for rules that are too many in a security group of our own.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lbkit import errors, steps
from lbkit.aws import iam, ipv6, network, security_group, sns
from lbkit.aws.api import Api, together
from lbkit.aws.resource import WAIT, Resource, Seen
from lbkit.inventory import Cluster
from lbkit.plan import Change

TABLE: dict[str, Any] = {"ipv6": ipv6, "security-group": security_group, "iam": iam, "sns": sns}
READS = {step: matter.read for step, matter in TABLE.items() if hasattr(matter, "read")}

DEADLINE_S = 120  # until AWS shows a change that it has accepted
LOOK_EVERY_S = 0.5

Tell = Callable[[str, str], None]


@dataclass(frozen=True)
class Place:
    """The account as read just now, and what the named steps would change there."""

    seen: Seen
    changes: tuple[Change, ...]

    @property
    def todo(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.verdict == "change")

    @property
    def vpc_id(self) -> str:
        return str(self.seen.network.vpc["VpcId"])


def look(api: Api, cluster: Cluster, only: Sequence[str]) -> Place:
    """Raises an LbkitError where anything could not be read: unknown is not absent."""
    seen = read(api, cluster, only)
    found = [
        replace(change, step=step)
        for step, resource in desired(cluster, seen, only)
        for change in resource.diff(seen)
    ]
    return Place(seen, tuple(found))


def read(api: Api, cluster: Cluster, only: Sequence[str]) -> Seen:
    """What the named steps need to know, side by side."""
    asked = steps.in_account(cluster, only)
    works = {"network": network.read, **{step: work for step, work in READS.items() if step in asked}}
    return Seen(**together({name: functools.partial(work, api, cluster) for name, work in works.items()}))


def desired(cluster: Cluster, seen: Seen, only: Sequence[str]) -> list[tuple[str, Resource]]:
    """What must be true, with the step that asks for it, in the order in which one needs the other."""
    asked = steps.in_account(cluster, only)
    return [
        (step, resource)
        for step, matter in TABLE.items()
        if step in asked
        for resource in matter.resources(cluster, seen)
    ]


def bring(api: Api, cluster: Cluster, only: Sequence[str], tell: Tell) -> list[Change]:
    """The account is as desired; returns what was changed, in order.

    Read anew at first, for an interface's groups are written as a whole, and somebody may have added one.
    Each change is read back before the next is made: reads lag behind writes.
    """
    made: list[Change] = []
    try:
        place = look(api, cluster, only)
        while place.todo:
            change = place.todo[0]
            refuse_stops(place.changes[: place.changes.index(change)])  # what it needs stands before it
            if change in made:  # a read from before it: it is not made twice
                place = shown(api, cluster, only, change)
                continue
            tell("aws", f"{change.step}: {change.action} {change.label} ({change.reason})")
            if change.request:
                api.write(change.request)
                made.append(change)
            elif change.action != WAIT:
                raise errors.CommandFailed(
                    f"AWS: {change.label}: what it needs is not there.\n"
                    f"Next: inv plan, and look at what stands before it."
                )
            place = shown(api, cluster, only, change)
        refuse_stops(place.changes)
    except errors.LbkitError as error:
        errors.add(error, so_far(made))
        raise
    return made


def shown(api: Api, cluster: Cluster, only: Sequence[str], change: Change) -> Place:
    """The account once AWS shows that the change was made."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        place = look(api, cluster, only)
        if not any(_key(one) == _key(change) for one in place.todo):
            return place
        if time.monotonic() > deadline:
            raise errors.CommandFailed(
                f"AWS: {change.label}: `{change.action}` does not show after {DEADLINE_S} s.\n"
                f"Next: run it again; if it says the same, look at it in the AWS console."
            )
        time.sleep(LOOK_EVERY_S)


def _key(change: Change) -> tuple[str, str, str, str]:
    return change.step, change.label, change.action, change.diff


def refuse_stops(changes: Sequence[Change]) -> None:
    """What is blocked needs a person."""
    for change in changes:
        if change.verdict in ("blocked", "unknown"):
            raise errors.Refused(f"AWS: {change.label}: {change.reason}.\nNext: {change.next_step}.")


def so_far(made: Sequence[Change]) -> str:
    if not made:
        return "Nothing was changed before it."
    many = "1 change was" if len(made) == 1 else f"{len(made)} changes were"
    return f"{many} made in AWS before it, and complete."
