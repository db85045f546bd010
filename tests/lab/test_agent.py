"""The failover agent on real hosts: the Elastic IP follows the healthy MASTER, through faults of the pair.

What it costs in time is measured by `make bench`; here stands who holds the address, who called for it, and that
no request fails where none must.
"""

from __future__ import annotations

import time

import pytest

from lbkit.lab import aws
from lbkit.lab.machine import Machine
from tests.lab.elastic import Elastic
from tests.lab.rehearsal import NAMES, until

pytestmark = pytest.mark.lab

HANG = "pkill -STOP -x haproxy"
WAKE = "pkill -CONT -x haproxy; systemctl is-active -q haproxy || systemctl restart haproxy"
FAULTS = {  # breaks, repairs, whether a request may fail
    "HAProxy stopped": ("systemctl stop haproxy", "systemctl start haproxy", True),
    "HAProxy hung": (HANG, WAKE, True),
    "HAProxy killed for good": (
        "systemctl mask --runtime -q haproxy; pkill -KILL -x haproxy",
        "systemctl unmask --runtime -q haproxy; systemctl reset-failed haproxy; systemctl start haproxy",
        True,
    ),
    "keepalived stopped": ("systemctl stop keepalived", "systemctl start keepalived", False),
    "keepalived killed": ("pkill -KILL -x keepalived", "systemctl start keepalived", False),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_address_follows_and_stays_after_the_repair(anywhere: Elastic, fault: str) -> None:
    breaks, repairs, may_fail = FAULTS[fault]
    holder, standby = anywhere.roles()
    began = time.time()
    with anywhere.asked() as probe:
        anywhere.sh(holder, breaks)
        until(lambda: anywhere.served_by(standby))
    anywhere.sh(holder, repairs)
    until(anywhere.whole)
    assert anywhere.moves(began) == [standby]
    assert anywhere.holders() == [standby]
    assert may_fail or len(probe.failed) <= 1, probe.failed  # what was on its way when the address moved


def test_killed_and_brought_back_by_systemd_the_address_does_not_move(anywhere: Elastic) -> None:
    holder, _ = anywhere.roles()
    began, before = time.time(), anywhere.unit(holder, "haproxy")
    anywhere.sh(holder, f"kill -9 {before}")
    until(lambda: anywhere.unit(holder, "haproxy") not in ("0", before) and anywhere.answers())
    anywhere.looks()
    assert anywhere.moves(began) == []
    assert anywhere.token(holder)
    until(anywhere.whole)


def test_an_upgrade_of_haproxy_or_of_the_agent_moves_nothing(anywhere: Elastic) -> None:
    """Debian's package reloads HAProxy; a restart is what others do. The agent is restarted for another file."""
    holder, _ = anywhere.roles()
    hosts = anywhere.hosts(("[agent]\n", "[agent]\ngrace = 5\n"))  # this machine may be busy
    began = time.time()
    with anywhere.asked() as probe:
        for name in NAMES:
            pid = anywhere.unit(name, "lbkit-agent")
            anywhere.done("agent", "--host", name, hosts=hosts)
            assert anywhere.unit(name, "lbkit-agent") != pid
        anywhere.sh(
            holder,
            "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Options::=--force-confold "
            "install --reinstall haproxy",
        )
    assert probe.failed == []
    anywhere.sh(holder, "systemctl restart haproxy")
    anywhere.looks()
    assert anywhere.moves(began) == []
    assert anywhere.token(holder)
    anywhere.done("agent")
    until(anywhere.whole)


# ── hosts ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_host_that_loses_its_power(anywhere: Elastic) -> None:
    holder, standby = anywhere.roles()
    anywhere.lab.host(holder).power_off()
    until(lambda: anywhere.served_by(standby))
    anywhere.lab.host(holder).power_on()
    anywhere.lab.host(holder).wait_ready()
    until(anywhere.whole)
    assert anywhere.holders() == [standby]


def test_a_reboot_of_either_host_costs_no_request(anywhere: Elastic) -> None:
    """The holder's: the address goes first, then keepalived, then HAProxy. The standby's: nothing moves."""
    for which in (0, 1):
        first, began = anywhere.roles(), time.time()
        with anywhere.asked() as probe:
            reboot(anywhere, first[which])
            until(anywhere.whole)
        moves = anywhere.moves(began)
        assert moves[:1] == ([first[1]] if which == 0 else [])
        assert len(probe.failed) <= len(moves), probe.failed  # what was on its way when the address moved


def test_both_rebooted_at_once_end_whole(anywhere: Elastic) -> None:
    reboot(anywhere, *NAMES)
    until(anywhere.whole, 180)


def reboot(elastic: Elastic, *names: str) -> None:
    """At once, from inside; they answer again."""
    machines = {name: elastic.lab.host(name) for name in names}
    first = {name: machine.leader() for name, machine in machines.items()}
    said = {name: elastic.sh(name, "systemctl reboot 2>&1", check=False) for name in names}
    for name, machine in machines.items():
        until(
            lambda machine=machine, first=first[name]: machine.leader() not in (None, first),
            180,
            lambda name=name, machine=machine: f"{name}: {said[name]!r}\n{seen(machine)}",
        )
        machine.wait_ready()


def seen(machine: Machine) -> str:
    """Of a host that does not come back."""
    states = f"running: {machine.running()}, switched on: {machine.switched_on()}"
    return f"{states}\n{machine.console.read_text()[-500:]}\n{machine.journal('-n', '30')}"


# ── partition ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_partition_costs_two_calls_and_the_address_comes_home(elastic: Elastic) -> None:
    """How it goes on for 120 s is in tests/unit/test_agent_decide.py."""
    began = time.time()
    with elastic.asked() as probe:
        with elastic.lab.partition():
            until(lambda: elastic.moves(began) == ["lb-2", "lb-1"])
            until(lambda: elastic.state("lb-2")["stance"] == "yields")
            assert "split-brain" in elastic.state("lb-2")["troubles"]
            elastic.looks()
            assert elastic.token("lb-2")  # both are MASTER, and leave it at that
        until(lambda: not elastic.token("lb-2"))
        elastic.looks()
    assert elastic.moves(began) == ["lb-2", "lb-1"]
    assert elastic.holders() == ["lb-1"]
    assert len(probe.failed) <= 2  # what was on its way through the address at its two moves
    until(elastic.whole)
    assert "over: split-brain" in elastic.journal_of("lb-2")


def test_one_way_partition_ends_with_the_higher_priority(elastic: Elastic) -> None:
    began = time.time()
    with elastic.lab.partition(both_ways=False):
        until(lambda: elastic.token("lb-2"))
        until(lambda: len(elastic.moves(began)) == 2)
        elastic.looks()
        assert elastic.moves(began) == ["lb-2", "lb-1"]
        assert elastic.holders() == ["lb-1"]
    until(lambda: elastic.holders() == ["lb-1"] and not elastic.token("lb-2"))
    until(elastic.whole)


def test_partition_take_back_then_power_off_of_the_higher_leaves_it_with_the_lower(elastic: Elastic) -> None:
    client = aws.client(elastic.lab.settings.aws_url)
    began = time.time()
    with elastic.lab.partition():
        until(lambda: elastic.moves(began) == ["lb-2", "lb-1"])
        until(lambda: elastic.state("lb-2")["stance"] == "yields")
        elastic.lab.host("lb-1").power_off()
        client.stop_instances(InstanceIds=[aws.INSTANCE_IDS["lb-1"]])
        try:
            until(lambda: elastic.served_by("lb-2"))
        finally:
            client.start_instances(InstanceIds=[aws.INSTANCE_IDS["lb-1"]])
    elastic.lab.host("lb-1").power_on()
    elastic.lab.host("lb-1").wait_ready()
    until(elastic.whole)


# ── keepalived ───────────────────────────────────────────────────────────────────────────────────────────────


def test_keepalived_hung_for_8_s_ends_with_the_master(elastic: Elastic) -> None:
    elastic.sh("lb-1", "pkill -STOP -x keepalived")
    stopped = time.monotonic()
    until(lambda: elastic.served_by("lb-2"))
    until(lambda: elastic.state("lb-1")["role"] == "HUNG")
    until(lambda: time.monotonic() - stopped > 8)
    elastic.looks()
    # The hung one, though of higher priority, does not take it back, and a new agent there does not either.
    assert elastic.holders() == ["lb-2"], elastic.journal_of("lb-1")[-3000:]
    elastic.sh("lb-1", "systemctl restart lbkit-agent")
    elastic.looks("lb-1")
    assert elastic.holders() == ["lb-2"], elastic.journal_of("lb-1")[-3000:]
    elastic.sh("lb-1", "pkill -CONT -x keepalived")
    until(elastic.whole)


def test_a_killed_child_of_keepalived_ends_with_the_master(anywhere: Elastic) -> None:
    holder, _ = anywhere.roles()
    child = anywhere.read(holder, "/run/vrrp.pid")
    anywhere.sh(holder, f"kill -9 {child}")
    until(lambda: anywhere.on(holder, "cat", "/run/vrrp.pid", check=False) not in ("", child))
    until(anywhere.whole)


def test_a_lost_token_is_had_back(anywhere: Elastic) -> None:
    """Whoever flushed `lo`: keepalived notices, and a MASTER is elected anew."""
    holder, _ = anywhere.roles()
    with anywhere.asked() as probe:
        anywhere.sh(holder, "ip addr del 169.254.99.1/32 dev lo")
        until(lambda: any(map(anywhere.token, NAMES)))
        until(anywhere.whole)
    assert len(probe.failed) <= 1  # what was on its way if the other node was elected


# ── the agent itself ─────────────────────────────────────────────────────────────────────────────────────────


def test_its_restart_or_death_moves_nothing_and_costs_nothing(anywhere: Elastic) -> None:
    began = time.time()
    with anywhere.asked() as probe:
        for how in ("systemctl restart lbkit-agent", "systemctl kill -s KILL lbkit-agent"):
            for name in NAMES:
                anywhere.sh(name, how)
            anywhere.looks()
    assert anywhere.moves(began) == []
    assert probe.failed == []
    until(anywhere.whole)


def test_killed_while_its_call_is_on_its_way_it_takes_the_address_after_its_restart(
    anywhere: Elastic,
) -> None:
    holder, standby = anywhere.roles()
    with anywhere.lab.aws_fault("hang", actions=["AssociateAddress"]):
        began = time.time()
        anywhere.sh(holder, "systemctl stop haproxy")
        until(lambda: anywhere.moves(began))
        anywhere.sh(standby, "systemctl kill -s KILL lbkit-agent")
    until(lambda: anywhere.served_by(standby))
    anywhere.sh(holder, "systemctl start haproxy")
    until(anywhere.whole)


def test_without_the_agent_a_dead_haproxy_still_counts_as_dead_and_status_says_so(anywhere: Elastic) -> None:
    holder, standby = anywhere.roles()
    anywhere.sh(holder, "systemctl stop lbkit-agent; systemctl stop haproxy")
    until(lambda: anywhere.served_by(standby))
    assert f"{holder}: HAProxy's check by keepalived failed" in anywhere.refused("status").flat
    anywhere.sh(holder, "systemctl start haproxy lbkit-agent")
    until(anywhere.whole)


def test_both_nodes_unhealthy_keep_the_address_where_it_is(anywhere: Elastic) -> None:
    holder, standby = anywhere.roles()
    began = time.time()
    anywhere.sh(standby, "systemctl stop haproxy")
    until(lambda: not anywhere.state(standby)["fit"])
    anywhere.sh(holder, "systemctl stop haproxy")
    until(lambda: "last node standing" in anywhere.state(standby)["why_fit"])
    anywhere.looks()
    assert anywhere.moves(began) == []
    assert anywhere.token(holder)
    anywhere.sh(standby, "systemctl start haproxy")
    until(lambda: anywhere.served_by(standby))
    anywhere.sh(holder, "systemctl start haproxy")
    until(anywhere.whole)
