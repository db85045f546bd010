"""`inv failover-test` on the lab: every case from a whole pair to a whole pair, whatever becomes of its operator."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

import pytest

from lbkit.drill.cases import DROP_IN, NAMES
from lbkit.drill.run import UNDO_AFTER_S
from lbkit.hand.breaking import UNIT
from tests.lab.elastic import Elastic
from tests.lab.rehearsal import NAMES as HOSTS
from tests.lab.rehearsal import Rehearsal, until

pytestmark = pytest.mark.lab


def timer(operator: Rehearsal, name: str) -> str:
    """State of what the host has armed to undo."""
    return operator.unit(name, f"{UNIT}.timer", "ActiveState")


def cut(operator: Rehearsal, name: str) -> bool:
    """Whether the drill's rules are in the host's firewall."""
    return "lbkit_drill" in operator.on(name, "nft", "list", "tables")


def nothing_is_left(operator: Rehearsal) -> bool:
    return all(
        timer(operator, name) != "active"
        and not cut(operator, name)
        and not operator.sh(name, f"ls {DROP_IN} 2>/dev/null || true").strip()
        for name in HOSTS
    )


def run_all(operator: Rehearsal, report: Path) -> dict[str, dict]:
    process = operator.start("failover-test", "--json", "--report", str(report))
    done = operator.finish(process, timeout_s=900)
    told = json.loads(done.out)
    assert done.code == 0, [(one["case"], one["why"]) for one in told["cases"] if not one["passed"]]
    assert told["passed"]
    return {one["case"]: one for one in told["cases"]}


def check_each(found: dict[str, dict], home: str, other: str) -> None:
    """What must be so in either mode; no word of how long it took."""
    for name, one in found.items():
        assert one["passed"], (name, one["why"])
        assert one["holder_before"] == home
        assert one["requests"] > one["failed_requests"]
        assert one["kept_alive"]["requests"] > one["kept_alive"]["failed_requests"]
        assert one["upgraded"]["requests"] > one["upgraded"]["failed_requests"]
        if name in ("haproxy-killed", "partition"):  # a partition ends with the higher priority
            assert one["holder_after"] == (home if name == "haproxy-killed" else "lb-1"), name
        if name in ("haproxy", "haproxy-gone", "haproxy-hung", "keepalived", "host", "aws"):
            assert one["holder_after"] == other
            assert one["master_s"] is not None
            assert one["detected_s"] <= one["master_s"] <= one["address_s"]
            assert one["kept_alive"]["broken"] >= 1
            assert one["upgraded"]["broken"] >= 1
        assert (one["failback_outage_s"] is None) == (one["holder_after"] == home)
        assert [row["at_s"] for row in one["timeline"]] == sorted(row["at_s"] for row in one["timeline"])
    assert found["haproxy-killed"]["master_s"] is None
    assert found["haproxy-killed"]["failback_requests"] is None


def test_every_case_passes_and_the_elastic_ip_is_home_after_each(elastic: Elastic, tmp_path: Path) -> None:
    since = elastic.lab.aws_calls()[-1]["at"]
    found = run_all(elastic, tmp_path / "report.html")
    assert list(found) == list(NAMES)
    check_each(found, "lb-1", "lb-2")
    assert elastic.holders() == ["lb-1"]
    assert elastic.calls("DisassociateAddress", since) == []
    killed = [row["line"] for row in found["haproxy-killed"]["timeline"]]
    assert not any("AssociateAddress" in line for line in killed)
    lines = [(row["host"], row["line"]) for row in found["partition"]["timeline"]]
    taken = [host for host, line in lines if re.match(r"AssociateAddress \d+ done", line)]
    assert taken == ["lb-2", "lb-1"]
    until(elastic.whole)
    assert nothing_is_left(elastic)
    assert (tmp_path / "report.html").read_text().count("<svg") >= len(NAMES)


def test_every_case_passes_with_a_virtual_ip(pair: Rehearsal, tmp_path: Path) -> None:
    home, other = pair.roles()
    found = run_all(pair, tmp_path / "report.html")
    assert list(found) == [name for name in NAMES if name != "aws"]
    check_each(found, home, other)
    until(pair.whole)
    assert pair.holders() == [home]
    assert nothing_is_left(pair)


def test_instance_that_is_named_is_stopped_by_the_api_and_started_again(anywhere: Elastic) -> None:
    (holder,) = anywhere.holders()
    standby = next(name for name in HOSTS if name != holder)
    since = anywhere.lab.aws_calls()[-1]["at"]
    assert "is in charge" in anywhere.refused("failover-test", "--stop-instance", standby).flat
    told = json.loads(anywhere.done("failover-test", "--stop-instance", holder, "--json").out)
    (case,) = told["cases"]
    assert (case["case"], case["passed"], case["holder_after"]) == ("host", True, standby)
    assert case["failed_requests"] > 0
    called = [one["action"] for one in anywhere.lab.aws_calls(since=since)]
    assert called.count("StopInstances") == called.count("StartInstances") == 1
    until(anywhere.whole)
    assert anywhere.holders() == [holder]


# ── the operator's machine dies ──────────────────────────────────────────────────────────────────────────

# How it shows on the holder that it is broken. The host without power needs nobody: it boots.
BROKEN = {
    "haproxy": "test $(systemctl is-active haproxy) = inactive",
    "haproxy-gone": f"test -e {DROP_IN} && test $(systemctl is-active haproxy) = failed",
    "haproxy-hung": "grep -q '^State:.T' /proc/$(systemctl show -p MainPID --value haproxy)/status",
    "keepalived": "test $(systemctl is-active keepalived) = inactive",
    "partition": "nft list table inet lbkit_drill | grep -q saddr",
    "aws": "nft list table inet lbkit_drill | grep -q skuid",
}


@pytest.mark.parametrize("case", BROKEN)
def test_host_undoes_by_itself_what_a_killed_operator_left_broken(anywhere: Elastic, case: str) -> None:
    """The timer is not waited for but looked at, and what it would start is started."""
    (holder,) = anywhere.holders()
    process = anywhere.start("failover-test", "--case", case)
    until(lambda: anywhere.sh(holder, f"({BROKEN[case]}) && echo yes || true").strip() == "yes")
    process.kill()
    process.wait()
    armed = [name for name in HOSTS if timer(anywhere, name) == "active"]
    assert armed == ([*HOSTS] if case == "partition" else [holder])
    until(lambda: not any(map(anywhere.locked, HOSTS)))
    # In a partition each node is as it should be, and MASTER: nothing else would tell.
    others = ("setup", "verify") if case == "partition" else ()
    for word in ("status", *others, "failover-test"):
        assert "was cut off" in anywhere.refused(word).flat
    for name in armed:
        assert left_s(anywhere, name) <= UNDO_AFTER_S < 60
        anywhere.on(name, "systemctl", "start", f"{UNIT}.service")
    until(anywhere.whole, 60)
    for name in armed:
        anywhere.on(name, "systemctl", "stop", f"{UNIT}.timer", check=False)  # it may have run by now
    assert nothing_is_left(anywhere)


def left_s(operator: Rehearsal, name: str) -> float:
    """Seconds until the host undoes what was broken."""
    due = operator.sh(
        name,
        f"systemctl show -p NextElapseUSecMonotonic --value {UNIT}.timer | "
        "xargs -I@ systemd-analyze timespan @ | sed -n 's/.*μs: //p'; cut -d' ' -f1 /proc/uptime",
    ).split()
    return int(due[0]) / 1e6 - float(due[1])


def test_pair_is_whole_within_a_minute_after_the_operators_ssh_was_cut(anywhere: Elastic) -> None:
    (holder,) = anywhere.holders()
    process = anywhere.start("failover-test", "--case", "haproxy-hung")
    until(lambda: anywhere.sh(holder, f"({BROKEN['haproxy-hung']}) && echo yes || true").strip() == "yes")
    with anywhere.lab.ssh_cut(*HOSTS):
        until(lambda: timer(anywhere, holder) != "active", 60)
        assert anywhere.sh(holder, f"({BROKEN['haproxy-hung']}) || echo mended").strip() == "mended"
        process.kill()
        process.wait()
    until(anywhere.whole, 90)
    assert nothing_is_left(anywhere)


def installed(operator: Rehearsal) -> dict[str, str]:
    """All that a command of ours could change on the hosts."""
    return {name: Rehearsal.state(operator, name) for name in HOSTS}


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_broken_where_the_drill_refuses(anywhere: Elastic, tmp_path: Path) -> None:
    (holder,) = anywhere.holders()
    standby = next(name for name in HOSTS if name != holder)
    before = installed(anywhere)

    assert "There is no case 'network'" in anywhere.refused("failover-test", "--case", "network").flat
    refused = anywhere.refused("failover-test", "--report", str(tmp_path / "no" / "report.html"))
    assert "cannot be written" in refused.flat

    known = tmp_path / "known_hosts"  # the same hosts, by keys that no lab.up made here
    shutil.copy(anywhere.lab.settings.dot / "known_hosts", known)
    dot = f'known_hosts = "{anywhere.lab.settings.dot / "known_hosts"}"'
    elsewhere = anywhere.hosts((dot, f'known_hosts = "{known}"'))
    assert "--yes-really lab" in anywhere.refused("failover-test", hosts=elsewhere).flat
    assert "--yes-really lab" in anywhere.refused("failover-test", "--yes-really", "la", hosts=elsewhere).flat

    wrong = anywhere.hosts(('upgrade_path = "/ws"', 'upgrade_path = "/"'))
    assert "no WebSocket there" in anywhere.refused("failover-test", "--case", "haproxy", hosts=wrong).flat

    anywhere.on(standby, "systemd-run", "--quiet", f"--unit={UNIT}", "--on-active=300", "true")
    assert "still mends" in anywhere.refused("failover-test").flat
    anywhere.on(standby, "systemctl", "stop", f"{UNIT}.timer")

    assert installed(anywhere) == before

    anywhere.done("maintenance", "on", "--host", standby)
    refused = anywhere.refused("failover-test", "--case", "haproxy")
    assert f"inv maintenance off --host {standby}" in refused.flat
    anywhere.done("maintenance", "off", "--host", standby)
    until(anywhere.whole)

    anywhere.sh(standby, "systemctl stop haproxy")
    until(lambda: not anywhere.whole())
    assert "starts from a whole pair" in anywhere.refused("failover-test").flat
    anywhere.sh(standby, "systemctl start haproxy")
    until(anywhere.whole)


def test_setup_and_a_drill_keep_out_of_each_others_way(anywhere: Elastic) -> None:
    (holder,) = anywhere.holders()
    process = anywhere.start("failover-test", "--case", "keepalived")
    until(lambda: anywhere.sh(holder, f"({BROKEN['keepalived']}) && echo yes || true").strip() == "yes")
    process.send_signal(signal.SIGSTOP)  # it does not end before setup has looked
    try:
        refused = anywhere.refused(
            "setup", hosts=anywhere.hosts(("[keepalived]\n", "[keepalived]\nadvert_int = 0.4\n"))
        )
    finally:
        process.send_signal(signal.SIGCONT)
    assert "locked by" in refused.flat
    assert "failover-test" in refused.flat
    assert anywhere.finish(process).code == 0
