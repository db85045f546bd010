"""Saving files on the pair's hosts, and what the sync makes of them."""

from __future__ import annotations

import json

from tests.lab.rehearsal import CFG, NAMES, Rehearsal
from tests.waiting import until

ALARMS = "/var/lib/lbkit/alarms"
PROGRAM = "/usr/local/lib/lbkit/sync"


def retries(pair: Rehearsal, name: str, number: int) -> None:
    """A person edits haproxy.cfg there: in a new file that is renamed over the old one."""
    pair.sh(name, f"sed -i 's/^    retries .*/    retries {number}/' {CFG}")


def loaded(pair: Rehearsal, name: str, text: str) -> bool:
    """The file there has the text, HAProxy was reloaded with it, and the sync is done with that."""
    script = f"""
grep -q -x '    {text}' {CFG} && python3 -IS -c '
import sys; sys.path.insert(0, "/usr/local/lib")
from lbkit.hand import loaded
sys.exit(loaded.load_record()["haproxy.service"].get("{CFG}") != loaded.fingerprint("{CFG}"))' && echo yes"""
    return pair.sh(name, script, check=False).strip() == "yes"


def serving(pair: Rehearsal, name: str) -> str:
    """Process id of the worker that serves: another after a reload."""
    code = (
        'import sys; sys.path.insert(0, "/usr/local/lib"); from lbkit.hand import writing; '
        'print(writing.stats_pid("/run/haproxy/admin.sock"))'
    )
    return pair.on(name, "python3", "-IS", "-c", code).strip()


def status(pair: Rehearsal, name: str) -> dict:
    return json.loads(pair.on(name, PROGRAM, "status"))


def level(pair: Rehearsal) -> bool:
    return pair.inv("sync.status").code == 0


def alarms(pair: Rehearsal, name: str) -> list[str]:
    return pair.sh(name, f"ls {ALARMS} 2>/dev/null || true").split()


def sums(pair: Rehearsal) -> list[str]:
    return [pair.on(name, "sha256sum", CFG).split()[0] for name in NAMES]


def restored(pair: Rehearsal) -> None:
    """What the tests edited is as the inventory says again, on both, and nothing is behind."""
    pair.done("setup")
    assert "Nothing to change" in pair.done("setup").out
    until(lambda: level(pair))
