"""`inv backend`: the servers behind the pair, and which of them are held out of service."""

from __future__ import annotations

from invoke import Collection, Context

from lbkit import oncall
from lbkit.tasks.command import JSON, command

SERVER = "the server, or backend/server"
REASON = "why, for whoever looks at `inv status`"
TIMEOUT = "seconds to wait for its open sessions to end (60; 0: do not wait)"
ANYWAY = "also where no other server of the backend is left"
HOLD = {"name": SERVER, "timeout": TIMEOUT, "reason": REASON, "anyway": ANYWAY, "json": JSON}


@command(help={"json": JSON})
def backend(c: Context, json: bool = False) -> int:
    """In short `inv backend`: each server as each host sees it, and what is held.

    Exit code 1: the hosts differ, or one could not be read.

    Example: inv backend.state
    """
    return oncall.backend(json)


@command(positional=["name"], help=HOLD)
def drain(
    c: Context,
    name: str | None = None,
    timeout: str = "60",
    reason: str | None = None,
    anyway: bool = False,
    json: bool = False,
) -> int:
    """No new client comes to a server; those it has may finish. On all hosts.

    Who has a persistence cookie for it still gets there. Lasts over
    reload, restart, reboot and `inv setup`, until `inv backend.ready`.
    Exit code 1: not done on a host (run it again), or sessions are left.

    Example: inv backend.drain app-1 --reason "new release"
    """
    return oncall.hold(name, "drain", None, reason, timeout, anyway, json)


@command(positional=["name"], help=HOLD)
def maint(
    c: Context,
    name: str | None = None,
    timeout: str = "60",
    reason: str | None = None,
    anyway: bool = False,
    json: bool = False,
) -> int:
    """Nothing new goes to a server, cookie or not; nobody checks it. On all hosts.

    Lasts as `inv backend.drain` does, until `inv backend.ready`.

    Example: inv backend.maint apps/app-1 --timeout 0
    """
    return oncall.hold(name, "maint", None, reason, timeout, anyway, json)


@command(positional=["name"], help={"name": SERVER, "json": JSON})
def ready(c: Context, name: str | None = None, json: bool = False) -> int:
    """A server takes requests again, with its configured weight. On all hosts.

    Example: inv backend.ready app-1
    """
    return oncall.hold(name, "ready", None, None, "0", False, json)


@command(
    positional=["name"],
    help={"name": SERVER, "to": "0 to 256", "reason": REASON, "anyway": ANYWAY, "json": JSON},
)
def weight(
    c: Context,
    name: str | None = None,
    to: str = "",
    reason: str | None = None,
    anyway: bool = False,
    json: bool = False,
) -> int:
    """A server gets another share of the requests. On all hosts.

    Lasts as `inv backend.drain` does, until `inv backend.ready`.

    Example: inv backend.weight app-1 --to 10
    """
    return oncall.hold(name, "ready", to, reason, "0", anyway, json)


ns = Collection("backend", drain, ready, maint, weight)
ns.add_task(backend, name="state", default=True)
