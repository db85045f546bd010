"""What on-call opens at three in the morning, on real hosts."""

from __future__ import annotations

import json
import signal

import pytest

from tests.lab.rehearsal import NAMES, Rehearsal, until

pytestmark = pytest.mark.lab


# ── logs ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_lines_of_both_hosts_stand_in_time_order_and_following_leaves_nothing_running(
    pair: Rehearsal,
) -> None:
    for name in NAMES:
        pair.sh(name, "systemctl reload haproxy")
    found = json.loads(pair.done("logs", "--unit", "haproxy", "--grep", "Reload", "--json").out)["lines"]
    assert {line["host"] for line in found} == set(NAMES)
    assert [line["at"] for line in found] == sorted(line["at"] for line in found)

    process = pair.start("logs", "--unit", "haproxy", "--follow", "--since", "1s")
    until(lambda: all(pair.sh(name, "pgrep -x journalctl || true") for name in NAMES))
    for name in NAMES:
        pair.sh(name, "systemctl reload haproxy")
    assert process.stdout
    seen: set[str] = set()
    while seen != set(NAMES):  # a line that does not come is met by the test's own time limit
        line = process.stdout.readline()
        assert line, "it ended by itself"
        seen |= {name for name in NAMES if f" {name} " in line and "Reload" in line}
    process.send_signal(signal.SIGINT)
    assert pair.finish(process).code == 0
    until(lambda: not any(pair.sh(name, "pgrep -x journalctl || true") for name in NAMES))


def test_a_host_that_is_down_is_said_and_the_lines_of_the_other_are_shown(pair: Rehearsal) -> None:
    with pair.lab.ssh_cut("lb-2"):
        done = pair.inv("logs", "--unit", "keepalived")
    assert done.code == 1
    assert "lb-2: no ssh to" in done.err
    assert " lb-1 keepalived" in done.out
