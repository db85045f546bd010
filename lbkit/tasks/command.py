"""How a function becomes a command, and the options that many commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from invoke import Task, task

from lbkit import commands

HOST = "only this host: active, passive, or its name"
NO_HOST = "refused: what is in AWS is for the whole pair"
WITHOUT = "leave out this host, which is down"
JSON = "the result as JSON, for machines"
SINCE = "30s, 10m, 2h, 1d, 14:30, today or 'YYYY-MM-DD HH:MM', in the pair's time zone"
PLAN = "only show what would change; exit 2 if anything differs"


def command(**options: Any) -> Callable[[Callable[..., int | None]], Task]:
    """A task of invoke's, with its options, that ends with the exit code that the function returns.

    No short options: invoke would take the first letter of each, and `-h` for --host hides --help.
    """
    return lambda function: task(auto_shortflags=False, **options)(commands.reports(function))
