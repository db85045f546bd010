"""The hand's modules that the host's own programs (certificates, sync) work with, installed beside them.

One way to write a file, to lock, to ask HAProxy: theirs and the operator's are the same code. A program finds
them as `lbkit.hand.NAME` once it has put /usr/local/lib first in `sys.path`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources as packaged
from typing import Any

from lbkit import plan
from lbkit.resources import Directory, File, Resource

ROOT = "/usr/local/lib/lbkit/hand"
# What writing needs is nearly all; what only an operator's command drives is left out.
MODULES = (
    "core",
    "files",
    "locking",
    "looking",
    "sockets",
    "loaded",
    "networkd",
    "orders",
    "servers",
    "keys",
    "breaking",
    "placeholders",
    "reading",
    "keeping",
    "packages",
    "writing",
    "duty",
    "room",
    "pem",
    "served",
    "deploying",
    "certbot",
    "renewing",
    "marks",
    "versions",
    "framing",
    "telling",
    "trees",
    "lineages",
    "items",
    "ledger",
    "syncing",
    "permitted",
    "peering",
    "inotify",
)


def resources() -> list[Resource]:
    """For every step that installs a program which uses them; what several ask for stands once."""
    source = packaged.files("lbkit.hand")
    files = [
        File(path(name), content=(source / f"{name}.py").read_text(encoding="utf-8")) for name in MODULES
    ]
    return [Directory("/usr/local/lib/lbkit"), Directory(ROOT), *files]


def together(changes: Sequence[plan.Change]) -> list[tuple[plan.Change, int]]:
    """(change, 1) of each, for a person to read; what is done alike to several of these files stands
    once, as (the first, how many)."""
    found: dict[Any, tuple[plan.Change, int]] = {}
    for number, change in enumerate(changes):
        ours = change.verdict == "change" and change.label in paths()
        key = (change.step, change.action) if ours else number
        first, count = found.get(key, (change, 0))
        found[key] = (first, count + 1)
    return list(found.values())


def path(name: str) -> str:
    """Where a module is installed."""
    return f"{ROOT}/{name}.py"


def paths() -> tuple[str, ...]:
    """The installed modules: a resident program restarts where one of them changes."""
    return tuple(path(name) for name in MODULES)
