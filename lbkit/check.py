"""One promise that was checked, and how a check that cannot look is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lbkit import errors


@dataclass(frozen=True)
class Check:
    """One line of the result. passed: None where it could not be told."""

    name: str
    passed: bool | None
    detail: str
    next_step: str = ""


def told(name: str, look: Callable[..., list[Check]], *about: Any) -> list[Check]:
    """What `look` finds; where it cannot look, that: unknown is not passed."""
    try:
        return look(*about)
    except errors.LbkitError as error:
        return [Check(name, None, *split(str(error)))]


def split(message: str) -> tuple[str, str]:
    """An error's text as (what, next step)."""
    what, _, next_step = message.partition("\nNext: ")
    return what, next_step
