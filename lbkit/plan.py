"""What is desired, what was seen, and what would be done, each change with its reason. Values only.

`compare.py` makes the changes of the other two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lbkit import resources

Verdict = Literal["change", "blocked", "unknown", "warning"]
LOADS = ("start", "restart", "reload")  # actions after which a service runs with what its files say now


@dataclass(frozen=True)
class Change:
    """One thing to do on a host, or one thing that stands in the way.

    verdict: `change` can be done; `blocked` needs a person, and nothing is done on any host before;
    `unknown` could not be read; `warning` is only told. action: a verb for the plan (`install`, `update`,
    `reload`, …). request: what the hand is asked to write. reason: why, in plain words. diff: unified,
    without secrets. elects: it takes part in the election of the MASTER. pending: files there,
    newer than what the service runs with. rewires: nodes with the old and the new file would not hear each
    other, so both would be MASTER. drops: what the old file served beside it and the new one does not.
    next_step: for what is not a `change`.
    """

    step: str
    label: str
    action: str
    reason: str
    verdict: Verdict = "change"
    request: dict[str, Any] = field(default_factory=dict, repr=False)
    diff: str = field(default="", repr=False)
    elects: bool = False
    rewires: bool = False
    pending: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    next_step: str = ""


@dataclass(frozen=True)
class Seen:
    """What was read of a host: the state of each desired resource, in order, and facts about the host."""

    items: tuple[dict[str, Any], ...]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Desired:
    """One resource and the step that asks for it."""

    step: str
    resource: resources.Resource


def settled(desired: tuple[Desired, ...], told: Mapping[str, Any]) -> tuple[Desired, ...]:
    """With what the hosts told of their keys (host name → {public, host_keys}), where a resource needs it."""
    return tuple(replace(one, resource=one.resource.settled(told)) for one in desired)
