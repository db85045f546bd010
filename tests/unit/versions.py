"""Versions as the hosts keep them, for the tests of the rollback."""

from __future__ import annotations

from lbkit import kept
from lbkit.kept import Version
from lbkit.steps import haproxy, keepalived

CFG, CONF = haproxy.CONFIG, keepalived.CONFIG
PAIR = ("lb-1", "lb-2")


def version(host="lb-1", path=CFG, number=2, content="old\n", run=1, **more) -> Version:
    """What stood there until the run of that number."""
    named = {
        "original": number == 1,
        "exists": content is not None,
        "sha256": content and kept.digest(content),
        "who": "kim@desk",
        "command": "inv setup",
        "since": f"2026-11-21 03:0{run}:00 +0900",
        "at": 1_795_000_000.0 + 60 * run,
        "added": 2,
        "removed": 1,
    }
    return Version(host, path, number, **{**named, **more})


def name(content: str) -> str:
    return kept.digest(content)[:8]
