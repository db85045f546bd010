"""How a function becomes a command, and the options that many commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from invoke import Context, Task, task

from lbkit import commands

HOST = "only this host: active, passive, or its name"
NO_HOST = "refused: what is in AWS is for the whole pair"
WITHOUT = "leave out this host, which is down"
JSON = "the result as JSON, for machines"
SINCE = "30s, 10m, 2h, 1d, 14:30, today, yesterday or 'YYYY-MM-DD HH:MM', in the pair's time zone"
PLAN = "only show what would change; exit 2 if anything differs"


def command(**options: Any) -> Callable[[Callable[..., int | None]], Task]:
    """A task of invoke's, with its options, that ends with the exit code that the function returns.

    No short options: invoke would take the first letter of each, and `-h` for --host hides --help.
    """
    return lambda function: task(auto_shortflags=False, **options)(commands.reports(function))


def step(which: str, text: str, **options: Any) -> Task:
    """A step of the runbook as a command: those on the hosts are all called alike. text: its help."""

    def run(
        c: Context,
        host: str | None = None,
        plan: bool = False,
        without: str | None = None,
        json: bool = False,
    ) -> int:
        return commands.step(which, host, plan, without, json)

    run.__doc__ = text
    helped = {"host": HOST, "plan": PLAN, "without": WITHOUT, "json": JSON}
    return command(help=helped, **{"name": which, **options})(run)


def account_step(name: str, text: str) -> Task:
    """A step in AWS: it knows --host, to refuse it with the next step."""

    def run(
        c: Context,
        plan: bool = False,
        host: str | None = None,
        without: str | None = None,
        json: bool = False,
    ) -> int:
        return commands.account_step(name, host, plan, without, json)

    run.__doc__ = text
    return command(name=name, help={"plan": PLAN, "host": NO_HOST, "without": WITHOUT, "json": JSON})(run)
