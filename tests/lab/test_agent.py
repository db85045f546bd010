"""The failover agent on real hosts: the Elastic IP follows the healthy MASTER, within the figures promised.

The figures are for an idle machine; on one that others use too, a case may be measured up to three times. What
the address must do in the end holds each time.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lbkit import drill, remote, verify
from lbkit.lab import aws, nodes
from tests.lab.rehearsal import NAMES, Edit, Rehearsal, until

pytestmark = pytest.mark.lab

TOPIC = f"arn:aws:sns:{aws.REGION}:{aws.ACCOUNT}:failover"


class Elastic(Rehearsal):
    """The operator of a pair with an Elastic IP, on the lab's VPC side."""

    def hosts(self, *edits: Edit, more: str = "") -> Path:
        path = super().hosts()
        text = path.read_text()
        kind = (
            f'[address]\nkind = "eip"\nallocation_id = "{aws.ALLOCATION_ID}"\nregion = "{aws.REGION}"\n'
            f'public_ip = "{nodes.ELASTIC_IP}"\nendpoint = "{self.lab.settings.aws_url}"\n\n'
        )
        text = re.sub(r"\[address\].*?\n\n", kind, text, flags=re.S)
        for lan, private in (("10.77.9.11", "10.77.1.11"), ("10.77.9.12", "10.77.2.12")):
            text = text.replace(
                f'private_address = "{lan}"\ninterface = "lan0"',
                f'private_address = "{private}"\ninterface = "ens5"',
            )
        text += f'\n{more}\n[agent]\nendpoint = "http://{nodes.AWS_ADDRESS}"\n'
        text += f'[notify]\ntopic = "{TOPIC}"\nendpoint = "http://{nodes.AWS_ADDRESS}"\n'
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        path.write_text(text)
        return path

    def holders(self) -> list[str]:
        holder = self.lab.elastic_ip_holder()
        return [holder] if holder else []

    def answers(self) -> bool:
        argv = ["curl", "-sk", "-m", "1", "-o", "/dev/null", "-f", f"https://{nodes.ELASTIC_IP}/"]
        return self.lab.client_exec(argv, check=False).returncode == 0

    def state(self, name: str) -> dict:
        """What the agent says of itself."""
        return json.loads(self.read(name, "/run/lbkit/agent.json"))

    def token(self, name: str) -> bool:
        return "169.254.99.1" in self.on(name, "ip", "-o", "addr", "show", "lo")

    def moves(self, since: float) -> list[str]:
        """Who called AssociateAddress, by the API's own log."""
        by_address = {nodes.NODES[name].address: name for name in NAMES}
        return [
            by_address[one["from"]]
            for one in self.lab.aws_calls("AssociateAddress", since)
            if one["from"] in by_address
        ]

    def journal_of(self, name: str) -> str:
        return self.on(name, "journalctl", "-u", "lbkit-agent", "-o", "cat", "--no-pager")

    def home(self) -> None:
        """lb-1 is MASTER and holds the address, and nothing was called for a moment."""
        if self.holders() != ["lb-1"] or not self.token("lb-1"):
            self.sh("lb-2", "systemctl stop keepalived")
            until(lambda: self.token("lb-1") and self.served_by("lb-1"))
            self.sh("lb-2", "systemctl start keepalived")
            until(self.whole)


@pytest.fixture(scope="module")
def operator(rehearsal: Rehearsal) -> Iterator[Elastic]:
    import boto3

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "lab")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "lab")
        url = rehearsal.lab.settings.aws_url
        boto3.client("sns", endpoint_url=url, region_name=aws.REGION).create_topic(Name="failover")
        yield Elastic(rehearsal.lab, rehearsal.directory, 1000)


@pytest.fixture
def elastic(operator: Elastic) -> Elastic:
    """Whole, with lb-1 as MASTER and holder."""
    lab = operator.lab
    lab.heal()
    if not lab.has_snapshot(operator.mark("elastic")):
        lab.reset()
        operator.done("setup")
        lab.snapshot(operator.mark("elastic"))
    elif not operator.whole():
        lab.restore(operator.mark("elastic"))
    until(operator.whole)
    operator.home()
    return operator


# ── what clients see ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Outage:
    """longest_s: the longest gap between good answers, less the probe's interval."""

    longest_s: float = 0.0
    failed: int = 0
    asked: int = 0
    samples: list = field(default_factory=list)


@contextlib.contextmanager
def watched(elastic: Elastic) -> Iterator[Outage]:
    """A client outside asks over HTTPS, 50 times a second, and gives up after half a second."""
    cluster, seen = elastic.cluster(), Outage()
    question = verify.public_page(cluster).question() | {"timeout_s": drill.ANSWER_WITHIN_S}
    with remote.outside(cluster.client) as ask:
        ask("probe", question=question, every_s=drill.PROBE_EVERY_S)
        time.sleep(0.5)  # the baseline
        try:
            yield seen
            time.sleep(0.5)
        finally:
            seen.samples = ask("probed")
            seen.longest_s, seen.failed = drill.measure(seen.samples, drill.PROBE_EVERY_S)
            seen.asked = len(seen.samples)


def within(
    elastic: Elastic,
    most_s: float,
    most_failed: int | None,
    once: Callable[[], None],
    again: Callable[[], None],
) -> None:
    """What `once` breaks costs clients at most that. again: whole once more, for another try."""
    tries = []
    for _ in range(3):
        with watched(elastic) as outage:
            once()
        tries.append((outage.longest_s, outage.failed))
        again()
        print(f"outage {outage.longest_s:.2f} s, {outage.failed} of {outage.asked} failed")
        if outage.longest_s <= most_s and (most_failed is None or outage.failed <= most_failed):
            return
    pytest.fail(f"more than {most_s} s or {most_failed} failed requests, three times: {tries}")


HANG = "pkill -STOP -x haproxy"
WAKE = "pkill -CONT -x haproxy; systemctl is-active -q haproxy || systemctl restart haproxy"
FAULTS = {  # breaks, repairs, longest outage in s, most failed requests
    "HAProxy stopped": ("systemctl stop haproxy", "systemctl start haproxy", 0.35, None),
    "HAProxy hung": (HANG, WAKE, 1.0, None),
    "HAProxy killed for good": (
        "systemctl mask --runtime -q haproxy; pkill -KILL -x haproxy",
        "systemctl unmask --runtime -q haproxy; systemctl reset-failed haproxy; systemctl start haproxy",
        1.0,
        None,
    ),
    "keepalived stopped": ("systemctl stop keepalived", "systemctl start keepalived", 0.5, 0),
    "keepalived killed": ("pkill -KILL -x keepalived", "systemctl start keepalived", 0.5, 0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_address_follows_within_the_figures_and_stays_after_the_repair(elastic: Elastic, fault: str) -> None:
    breaks, repairs, most_s, most_failed = FAULTS[fault]

    def once() -> None:
        elastic.sh("lb-1", breaks)
        until(lambda: elastic.served_by("lb-2"))

    def again() -> None:
        elastic.sh("lb-1", repairs)
        until(elastic.whole)
        assert elastic.holders() == ["lb-2"]
        elastic.home()

    within(elastic, most_s, most_failed, once, again)


def test_killed_and_brought_back_by_systemd_the_address_does_not_move(elastic: Elastic) -> None:
    began = time.time()

    def once() -> None:
        elastic.sh("lb-1", "kill -9 $(systemctl show -p MainPID --value haproxy)")
        time.sleep(2)

    within(elastic, 0.4, None, once, lambda: until(elastic.whole))
    assert elastic.moves(began) == []
    assert elastic.holders() == ["lb-1"]


def test_a_restart_as_by_a_package_upgrade_moves_nothing(elastic: Elastic) -> None:
    began = time.time()
    elastic.sh("lb-1", "systemctl restart haproxy")
    time.sleep(2)
    assert elastic.moves(began) == []
    until(elastic.whole)


def test_a_host_that_loses_its_power(elastic: Elastic) -> None:
    def once() -> None:
        elastic.lab.host("lb-1").power_off()
        until(lambda: elastic.served_by("lb-2"))

    def again() -> None:
        elastic.lab.host("lb-1").power_on()
        elastic.lab.host("lb-1").wait_ready()
        until(elastic.whole)
        assert elastic.holders() == ["lb-2"]
        elastic.home()

    within(elastic, 1.8, None, once, again)


# ── partition ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_partition_costs_two_calls_and_the_address_comes_home(elastic: Elastic) -> None:
    began = time.time()
    with watched(elastic) as outage:
        with elastic.lab.partition():
            until(lambda: elastic.token("lb-2"), 5)
            until(lambda: elastic.moves(began) == ["lb-2", "lb-1"], 12)
            until(lambda: "split-brain" in elastic.state("lb-2")["troubles"], 15)
            time.sleep(15)
            assert elastic.holders() == ["lb-1"]
            assert elastic.state("lb-2")["stance"] == "yields"
        until(lambda: elastic.holders() == ["lb-1"] and not elastic.token("lb-2"), 10)
        time.sleep(6)  # a whole round of looking who holds it
    assert elastic.moves(began) == ["lb-2", "lb-1"]
    assert outage.failed <= 3  # what was on its way through the address at its two moves
    assert outage.longest_s <= 0.5
    until(elastic.whole)
    assert "split-brain" in elastic.journal_of("lb-2")


def test_one_way_partition_ends_with_the_higher_priority(elastic: Elastic) -> None:
    began = time.time()
    with elastic.lab.partition(both_ways=False):
        until(lambda: elastic.token("lb-2"), 5)
        time.sleep(15)
        assert len(elastic.moves(began)) <= 2
        assert elastic.holders() == ["lb-1"]
    until(lambda: elastic.holders() == ["lb-1"] and not elastic.token("lb-2"), 10)
    until(elastic.whole)


def test_partition_take_back_then_power_off_of_the_higher_leaves_it_with_the_lower(elastic: Elastic) -> None:
    client = aws.client(elastic.lab.settings.aws_url)
    began = time.time()
    with elastic.lab.partition():
        until(lambda: elastic.moves(began) == ["lb-2", "lb-1"], 15)
        until(lambda: elastic.state("lb-2")["stance"] == "yields", 15)
        elastic.lab.host("lb-1").power_off()
        client.stop_instances(InstanceIds=[aws.INSTANCE_IDS["lb-1"]])
        try:
            until(lambda: elastic.served_by("lb-2"), 10)
        finally:
            client.start_instances(InstanceIds=[aws.INSTANCE_IDS["lb-1"]])
    elastic.lab.host("lb-1").power_on()
    elastic.lab.host("lb-1").wait_ready()
    until(elastic.whole)


# ── keepalived ───────────────────────────────────────────────────────────────────────────────────────────────


def test_keepalived_hung_for_8_s_ends_with_the_master(elastic: Elastic) -> None:
    elastic.sh("lb-1", "pkill -STOP -x keepalived")
    until(lambda: elastic.served_by("lb-2"), 5)
    until(lambda: elastic.state("lb-1")["role"] == "HUNG", 5)
    time.sleep(5)
    assert elastic.holders() == ["lb-2"]  # the hung one, though of higher priority, does not take it back
    elastic.sh("lb-1", "pkill -CONT -x keepalived")
    until(elastic.whole, 20)


def test_a_killed_child_of_keepalived_ends_with_the_master(elastic: Elastic) -> None:
    elastic.sh("lb-1", "kill -9 $(cat /run/vrrp.pid)")
    time.sleep(3)
    until(elastic.whole, 20)


# ── the agent itself ─────────────────────────────────────────────────────────────────────────────────────────


def test_its_restart_moves_nothing_and_costs_nothing(elastic: Elastic) -> None:
    began = time.time()
    with watched(elastic) as outage:
        for name in NAMES:
            elastic.sh(name, "systemctl restart lbkit-agent")
        time.sleep(3)
        for name in NAMES:
            elastic.sh(name, "systemctl kill -s KILL lbkit-agent")
        time.sleep(3)
    assert elastic.moves(began) == []
    assert outage.failed == 0
    until(elastic.whole)


def test_killed_while_its_call_is_on_its_way_it_takes_the_address_after_its_restart(elastic: Elastic) -> None:
    with elastic.lab.aws_fault("hang", actions=["AssociateAddress"]):
        began = time.time()
        elastic.sh("lb-1", "systemctl stop haproxy")
        until(lambda: elastic.moves(began))
        elastic.sh("lb-2", "systemctl kill -s KILL lbkit-agent")
    until(lambda: elastic.served_by("lb-2"), 15)
    elastic.sh("lb-1", "systemctl start haproxy")
    until(elastic.whole)


def test_without_the_agent_a_dead_haproxy_still_counts_as_dead(elastic: Elastic) -> None:
    elastic.sh("lb-1", "systemctl stop lbkit-agent; systemctl stop haproxy")
    until(lambda: elastic.served_by("lb-2"), 8)
    elastic.sh("lb-1", "systemctl start haproxy lbkit-agent")
    until(elastic.whole)


def test_both_nodes_unhealthy_keep_the_address_where_it_is(elastic: Elastic) -> None:
    began = time.time()
    elastic.sh("lb-2", "systemctl stop haproxy")
    time.sleep(1)
    elastic.sh("lb-1", "systemctl stop haproxy")
    time.sleep(6)
    assert elastic.moves(began) == []
    assert elastic.token("lb-1")
    elastic.sh("lb-2", "systemctl start haproxy")
    until(lambda: elastic.served_by("lb-2"), 10)
    elastic.sh("lb-1", "systemctl start haproxy")
    until(elastic.whole)


def test_a_reboot_of_the_holder_hands_the_address_over_first(elastic: Elastic) -> None:
    def once() -> None:
        elastic.sh("lb-1", "systemctl reboot", check=False)
        until(lambda: elastic.served_by("lb-2"))

    def again() -> None:
        time.sleep(3)
        elastic.lab.host("lb-1").wait_ready()
        until(elastic.whole)
        elastic.home()

    within(elastic, 0.5, 0, once, again)


def test_both_rebooted_at_once_end_whole(elastic: Elastic) -> None:
    for name in NAMES:
        elastic.sh(name, "systemctl reboot", check=False)
    time.sleep(3)
    for name in NAMES:
        elastic.lab.host(name).wait_ready()
    until(elastic.whole, 60)


# ── the API ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["hang", "error", "reset"])
def test_an_api_out_of_reach_moves_nothing(elastic: Elastic, mode: str) -> None:
    began = time.time()
    with watched(elastic) as outage, elastic.lab.aws_fault(mode):
        time.sleep(12)
    assert elastic.moves(began) == []
    assert elastic.holders() == ["lb-1"]
    assert outage.failed == 0
    until(elastic.whole)


@pytest.mark.parametrize("mode", ["throttle", "refuse", "mute", "slow"])
def test_a_faulty_api_delays_the_move_and_does_not_prevent_it(elastic: Elastic, mode: str) -> None:
    with elastic.lab.aws_fault(mode, seconds=5, actions=["AssociateAddress"]):
        elastic.sh("lb-1", "systemctl stop haproxy")
        time.sleep(4)
        assert elastic.token("lb-2")
        if mode == "refuse":
            assert "api" in elastic.state("lb-2")["troubles"]
    until(lambda: elastic.served_by("lb-2"), 15)
    elastic.sh("lb-1", "systemctl start haproxy")
    until(elastic.whole)


def test_sns_tells_of_the_move_and_a_dead_sns_delays_nothing(elastic: Elastic) -> None:
    began = time.time()
    with elastic.lab.aws_fault("hang", actions=["Publish"]):
        elastic.sh("lb-1", "systemctl stop haproxy")
        until(lambda: elastic.served_by("lb-2"), 5)
        until(lambda: elastic.lab.aws_calls("Publish", began), 5)
    until(lambda: len(elastic.lab.aws_calls("Publish", began)) >= 3, 60)  # both nodes, once it works again
    elastic.sh("lb-1", "systemctl start haproxy")
    until(elastic.whole)


# ── a virtual IP ─────────────────────────────────────────────────────────────────────────────────────────────


def test_with_a_virtual_ip_its_check_makes_the_failover_faster_than_the_script(pair: Rehearsal) -> None:
    tries = []
    for _ in range(3):
        holder, standby = pair.roles()
        began = time.monotonic()
        pair.sh(holder, "systemctl stop haproxy")
        until(lambda standby=standby: pair.holders() == [standby])
        tries.append(time.monotonic() - began)
        pair.sh(holder, "systemctl start haproxy")
        until(pair.whole)
    assert min(tries) < 1.0, tries  # the script alone needs two rounds of 1 s
