"""`inv sync`: what is saved on one host reaches the other."""

from __future__ import annotations

from invoke import Collection, Context

from lbkit import commands
from lbkit.tasks.command import JSON, command, step

KEEP = "in a conflict the version of this host wins"

install = step(
    "sync",
    """Step 5, in short `inv sync`: what is saved on one host reaches the other.

    haproxy.cfg, certificates and certbot's state, checked before they
    count. What it does and why: docs/sync.md.

    Example: inv sync.install --plan
    """,
    name="install",
    default=True,
)


@command(name="status", help={"json": JSON})
def sync_status(c: Context, json: bool = False) -> int:
    """What was sent and received last, what is behind, refused, in conflict.

    Exit code 0: all hosts have the same, 1: they have not, or unknown.

    Example: inv sync.status
    """
    return commands.sync_status(json)


@command(name="test", help={"json": JSON})
def sync_test(c: Context, json: bool = False) -> int:
    """Save a harmless mark, and measure how long it takes to arrive.

    Exit code 0: it arrived everywhere, 1: it did not.

    Example: inv sync.test
    """
    return commands.sync_test(json)


@command(name="now", help={"keep": KEEP, "item": "with --keep: only this item's conflict", "json": JSON})
def sync_now(c: Context, keep: str | None = None, item: str | None = None, json: bool = False) -> int:
    """Compare all hosts at once, and bring them level; settle a conflict.

    Example: inv sync.now --keep lb-1
    """
    return commands.sync_now(keep, item, json)


ns = Collection("sync", install, sync_status, sync_test, sync_now)
