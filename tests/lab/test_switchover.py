"""Switchover and maintenance on real hosts: no new request fails, and nobody need live to end them.

How many requests fail is a count, not a speed: the client waits longer than a lost packet costs. A request that
is on its way at the very moment at which the address moves is a connection that was open then, and is cut with
them (counted apart, see switchover.tally).
"""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.lab.elastic import Elastic
from tests.lab.rehearsal import NAMES, VIP, Rehearsal, until

pytestmark = pytest.mark.lab

PREEMPT = ("[keepalived]\n", "[keepalived]\npreempt = true\n")
MOST_CUT = 10  # requests on their way at one moment, at 100 a second on a busy machine


def moved(pair: Rehearsal, to: str) -> dict:
    """A switchover that must succeed, as it tells of itself."""
    found: dict = json.loads(pair.done("switchover", "--to", to, "--json").out)
    assert pair.holders() == [to]
    return found


def there_and_back(pair: Rehearsal) -> int:
    """No new request fails; returned is how many had to be sent twice, since nobody took the first packet."""
    late = 0
    for _ in range(2):
        holder, standby = pair.roles()
        found = moved(pair, standby)
        assert (found["source"], found["target"]) == (holder, standby)
        assert found["requests"] >= 50
        assert found["failed_requests"] == 0
        assert found["cut_requests"] <= MOST_CUT
        assert pair.whole()
        late += found["late_requests"]
    return late


def left_behind(pair: Rehearsal) -> str:
    """What was kept for clients, on either host. (An order whose time is over is none.)"""
    return "".join(pair.sh(name, f"ip -o addr show lo | grep -w {VIP}; true") for name in NAMES)


def cut_short(pair: Rehearsal, to: str, at: str) -> None:
    """The operator's machine dies when this stands in the narrative of his switchover."""
    process = pair.start("switchover", "--to", to)
    assert process.stderr
    while at not in (line := process.stderr.readline()):
        assert line, "it ended before"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until(pair.whole, 60)
    until(lambda: not left_behind(pair), 30)


# ── a virtual IP ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_virtual_ip_moves_there_and_back_with_no_failed_request(pair: Rehearsal) -> None:
    # If nobody answered between the one keepalived and the other, each move would cost several.
    assert there_and_back(pair) <= 1
    assert not left_behind(pair)
    holder, standby = pair.roles()
    assert "already: nothing to do" in pair.done("switchover", "--to", holder).flat
    assert pair.refused("switchover").flat.endswith(f"--to one of {', '.join(NAMES)}")
    assert "no host 'lb-9'" in pair.refused("switchover", "--to", "lb-9").text
    for word in ("stands aside", "takes the role"):
        _, standby = pair.roles()
        cut_short(pair, standby, word)


def test_a_host_is_kept_out_over_its_reboot_and_serves_only_where_nobody_else_can(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    done = pair.done("maintenance", "on", "--host", holder, "--reason", "new kernel")
    assert "in maintenance" in done.out
    assert pair.holders() == [standby]
    for words, says in (
        (("status",), "new kernel"),
        (("verify",), "new kernel"),
        (("failover-test", "--case", "haproxy"), "new kernel"),
        (("switchover", "--to", holder), f"inv maintenance off --host {holder}"),
        (("maintenance", "on", "--host", standby), "stays in service"),
    ):
        assert says in pair.refused(*words).flat, words
    assert "nothing to do" in pair.done("maintenance", "on", "--host", holder).flat
    pair.done("setup")
    machine = pair.lab.host(holder)
    first = machine.leader()
    pair.sh(holder, "systemctl reboot", check=False)
    until(lambda: machine.leader() not in (None, first))
    machine.wait_ready()
    until(lambda: "in maintenance" in pair.inv("status").out and pair.served_by(standby))

    pair.sh(standby, "systemctl stop haproxy")  # the last node standing
    until(lambda: pair.served_by(holder))
    pair.sh(standby, "systemctl start haproxy")
    until(lambda: pair.served_by(standby))
    pair.sh(standby, "systemctl stop keepalived")  # its HAProxy answers, but nobody has the address
    until(lambda: pair.served_by(holder))
    pair.sh(standby, "systemctl start keepalived")
    until(lambda: "all the same" in pair.inv("status").flat)
    pair.done("maintenance", "off", "--host", holder)
    until(pair.whole)
    assert "nothing to do" in pair.done("maintenance", "off", "--host", holder).flat


def test_with_preempt_a_host_is_kept_out_by_maintenance_alone(pair: Rehearsal) -> None:
    hosts = pair.hosts(PREEMPT)
    try:
        pair.done("setup", hosts=hosts)
        until(lambda: pair.served_by("lb-1"))
        said = pair.refused("switchover", "--to", "lb-2", hosts=hosts).flat
        assert "inv maintenance on --host lb-1" in said
        pair.done("maintenance", "on", "--host", "lb-1", hosts=hosts)
        assert pair.holders() == ["lb-2"]
        pair.done("maintenance", "off", "--host", "lb-1", hosts=hosts)
        until(lambda: pair.served_by("lb-1"))
    finally:
        pair.inv("maintenance", "off", "--host", "lb-1", hosts=hosts)
        pair.done("setup")


# ── an Elastic IP ────────────────────────────────────────────────────────────────────────────────────────────


def test_an_elastic_ip_moves_there_and_back_with_no_failed_request_and_one_call(elastic: Elastic) -> None:
    began = time.time()
    there_and_back(elastic)
    assert elastic.moves(began) == ["lb-2", "lb-1"]
    for word in ("stands aside", "takes the address"):
        _, standby = elastic.roles()
        cut_short(elastic, standby, word)


def test_an_agent_that_restarts_in_the_middle_and_an_api_that_fails_leave_the_pair_whole(
    elastic: Elastic,
) -> None:
    process = elastic.start("switchover", "--to", "lb-2")
    assert process.stderr
    process.stderr.readline()
    for name in NAMES:
        elastic.sh(name, "systemctl kill -s KILL lbkit-agent")
    elastic.finish(process)
    until(elastic.whole, 60)

    holder, standby = elastic.roles()
    with elastic.lab.aws_fault("refuse", actions=["AssociateAddress"]):
        said = elastic.refused("switchover", "--to", standby).flat
        assert "did not move" in said
        assert elastic.served_by(holder)
    until(elastic.whole, 60)
    assert elastic.holders() == [holder]
    assert not left_behind(elastic)
