"""Changes rolled over a live pair: never two holders of the address, and no client notices."""

from __future__ import annotations

import time

import pytest

from tests.lab.rehearsal import (
    CFG,
    CONF,
    FALL,
    FEWER,
    NAMES,
    RETRIES,
    Edit,
    Rehearsal,
    probed,
    until,
    watched,
)

pytestmark = pytest.mark.lab

VERSION_2 = 'vrrp_version = 2\nadvert_int = 1\nauth_pass = { file = "PASS" }'
# VRRP itself lets go of the address some milliseconds after it has said so, on a busy machine later. Nodes that do
# not hear each other both have it for as long as it takes to roll the second.
HANDOVER_S = 1.0


@pytest.fixture
def rewirings(pair: Rehearsal) -> dict[str, tuple[tuple[Edit, ...], str]]:
    """Changes after which nodes with the old and the new file would not hear each other: (edits, more)."""
    password = pair.directory / "vrrp-password"
    password.write_text("vrrp-pw1\n")
    password.chmod(0o600)
    return {
        "virtual router id": ((("virtual_router_id = 50", "virtual_router_id = 51"),), ""),
        "version 2 with a password": ((), VERSION_2.replace("PASS", str(password))),
        "multicast": ((('transport = "unicast"', 'transport = "multicast"'),), ""),
    }


@pytest.mark.parametrize("change", ["virtual router id", "version 2 with a password", "multicast"])
def test_rewiring_a_live_pair_never_makes_two_masters(
    pair: Rehearsal, rewirings: dict[str, tuple[tuple[Edit, ...], str]], change: str
) -> None:
    edits, more = rewirings[change]
    hosts = pair.hosts(*edits, more=more)
    holder, standby = pair.roles()
    planned = pair.inv("plan", hosts=hosts)
    assert "so that there are never two MASTERs" in planned.flat
    with watched(pair.lab) as watch:
        done = pair.done("setup", hosts=hosts)
        until(lambda: pair.served_by(holder))
    assert f"MASTER is {holder}, as before." in done.flat
    assert watch.overlap_s() < HANDOVER_S, watch.spans
    assert pair.unit(standby, "keepalived", "ActiveState") == "active"
    pair.done("verify", hosts=hosts)
    pair.sh(holder, "systemctl stop keepalived")
    until(lambda: pair.served_by(standby))
    pair.sh(holder, "systemctl start keepalived")
    assert "vrrp-pw1" not in done.text + planned.text


def test_partition_makes_two_masters_and_its_end_leaves_one(pair: Rehearsal) -> None:
    """Also the control of the tests above: this is what they would see."""
    with watched(pair.lab) as watch:
        with pair.lab.partition():
            until(lambda: len(pair.holders()) == 2)
            time.sleep(2 * HANDOVER_S)
        until(lambda: len(pair.holders()) == 1)
    assert watch.overlap_s() > HANDOVER_S
    until(pair.whole)


def test_rewiring_one_host_alone_is_refused(pair: Rehearsal) -> None:
    hosts = pair.hosts(("virtual_router_id = 50", "virtual_router_id = 51"))
    before = pair.states()
    done = pair.refused("setup", "--host", "passive", hosts=hosts)
    assert "both would be MASTER; nothing was changed" in done.flat
    assert pair.states() == before


def test_reload_of_keepalived_moves_nothing_and_loses_no_request(pair: Rehearsal) -> None:
    hosts = pair.hosts(FALL)
    holders, since = pair.holders(), {name: pair.now(name) for name in NAMES}
    pids = {name: pair.unit(name, "keepalived") for name in NAMES}
    with watched(pair.lab) as watch, probed(pair.lab, rate=50) as probe:
        done = pair.done("setup", hosts=hosts)
    assert "fall 3" in pair.read("lb-1", CONF)
    assert "reload keepalived.service" in done.flat
    assert probe.count > 20
    assert probe.failed == []
    assert [span[0] for span in watch.spans] == holders
    for name in NAMES:
        assert "Entering" not in pair.journal(name, since[name], "-u", "keepalived")
        assert pair.unit(name, "keepalived") == pids[name]


def test_change_of_haproxy_under_load_loses_no_request(pair: Rehearsal) -> None:
    pids = {name: pair.unit(name, "haproxy") for name in NAMES}
    with probed(pair.lab, rate=20, tls=True) as probe:
        pair.done("setup", hosts=pair.hosts(RETRIES))
    assert "retries 2" in pair.read("lb-1", CFG)
    assert probe.count > 20
    assert probe.failed == []
    assert {name: pair.unit(name, "haproxy") for name in NAMES} == pids


SLOW = "mkdir -p /etc/systemd/system/haproxy.service.d; cd /etc/systemd/system/haproxy.service.d; "
SLOW += "printf '[Service]\\nExecStartPre=/bin/sleep 2\\n' > slow.conf; systemctl daemon-reload"
QUICK = "rm /etc/systemd/system/haproxy.service.d/slow.conf; systemctl daemon-reload"


def test_holder_is_touched_only_when_the_standby_may_take_over_again(pair: Rehearsal) -> None:
    """Its HAProxy takes long to start, and its agent a while to trust it again."""
    slow = "[agent]\nrise = 4\n[haproxy.frontends.web]\n"
    pair.done("agent", hosts=pair.hosts(("[haproxy.frontends.web]\n", slow)))
    holder, standby = pair.roles()
    pair.sh(standby, SLOW)
    done = pair.done("setup", hosts=pair.hosts(FEWER, ("[haproxy.frontends.web]\n", slow)))
    assert f"{standby}: waits until it may take over, before {holder} is touched" in done.flat
    entered = "journalctl -u keepalived -o short-monotonic | grep 'Entering BACKUP' | tail -1"
    back = float(pair.sh(standby, entered).split("]")[0].lstrip("[ "))
    assert back < int(pair.unit(holder, "haproxy", "ActiveEnterTimestampMonotonic")) / 1e6
    assert pair.holders() == [holder]
    pair.sh(standby, QUICK)
