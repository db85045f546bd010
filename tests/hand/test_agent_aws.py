"""The agent against an AWS API that works, and against one that does not: what is called, and how often.

moto answers, behind the front that the lab uses too: it logs each call and goes wrong on request. The agent runs
whole, but for keepalived: its address and its processes are set by the test.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbkit.lab import aws, metadata
from tests.hand.fake_api import ME, PEER, Api, agent, config, without_credentials
from tests.waiting import until


class FakeAddresses:
    """keepalived's address, as the test says. term: 0 without it."""

    def __init__(self) -> None:
        self.term: int | None = 0
        self.ours, self.theirs = os.pipe()
        os.set_blocking(self.ours, False)

    def fileno(self) -> int:
        return self.ours

    def read(self) -> int | None:
        return self.term

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.ours, 100)

    def elect(self, term: int) -> None:
        self.term = term
        os.write(self.theirs, b".")


class FakeKeepalived:
    moved_at = float("inf")

    def read(self, now: float, master: bool) -> str:
        return "runs"


class Node:
    """An agent at work, as lb-2 (the lower priority)."""

    def __init__(self, api: Api, directory: Path, **aws_more: Any) -> None:
        rules = agent.Rules(hedge_s=0.5, interval_s=1.0, settle_s=1.0, most_backoff_s=1.0)
        self.config = config(api, peers=(agent.Peer("lb-1", PEER, 250),), rules=rules, **aws_more)
        self.agent = agent.Agent(
            self.config, agent.Files(str(directory), maintenance=str(directory / "none"))
        )
        self.agent.addresses = self.addresses = FakeAddresses()
        self.agent.keepalived = FakeKeepalived()
        self.agent.checker.check = lambda number: agent.Check(number, time.monotonic(), "serves")
        self.directory = directory
        self.stopped = threading.Event()
        turn = self.agent.turn
        self.agent.turn = lambda: turn() if not self.stopped.is_set() else self.end()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        with contextlib.suppress(SystemExit):
            self.agent.run()

    def end(self) -> None:
        raise SystemExit

    def state(self) -> dict[str, Any]:
        return json.loads((self.directory / "agent.json").read_text())

    def stance(self) -> str:
        return self.agent.decided.stance if self.agent.decided else ""

    def looks(self, times: int = 4) -> None:
        """It has asked who holds the address that often again, and acted on the answers."""
        reads = self.agent.reads + times
        until(lambda: self.agent.reads > reads)

    def lives(self, seconds: float) -> None:
        """At least so long has passed for it, by the checks that it made: a busy machine's are fewer."""
        number = self.agent.seen.check.number + int(seconds / self.config.check_interval_s)
        until(lambda: self.agent.seen.check.number >= number)


@pytest.fixture
def node(api: Api, tmp_path: Path) -> Iterator[Node]:
    """Warm, BACKUP, and aware of who holds the address."""
    one = Node(api, tmp_path)
    until(lambda: one.agent.warm and one.agent.seen.holder == "higher")
    yield one
    one.stopped.set()


def test_a_backup_calls_nothing_but_reads(api: Api, node: Node) -> None:
    node.looks()
    assert api.count() == 0
    assert {call["action"] for call in api.front.calls} == {"DescribeAddresses"}


def test_elected_it_makes_one_call_then_looks(api: Api, node: Node) -> None:
    node.addresses.elect(7)
    until(lambda: api.holder == ME)
    until(lambda: node.agent.seen.holder == "me")
    until(lambda: node.state()["stance"] == "holds")
    node.looks()
    assert api.count() == 1
    assert node.state()["moves"] == 1
    assert node.state()["last_move"]["why"] == "elected MASTER"


def test_with_no_room_in_run_it_takes_the_address_all_the_same(api: Api, node: Node) -> None:
    def full(path: str, text: str) -> None:
        raise OSError(28, "No space left on device")

    node.agent.files.write = full
    node.addresses.elect(7)
    until(lambda: node.stance() == "holds")


def test_what_the_call_says(api: Api, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    monkeypatch.setattr(node.agent.ec2.moves, "associate_address", lambda **words: said.append(words))
    node.agent.ec2.associate()
    assert said == [
        {
            "AllocationId": aws.ALLOCATION_ID,
            "NetworkInterfaceId": aws.INTERFACE_IDS["lb-2"],
            "PrivateIpAddress": ME,
            "AllowReassociation": True,
        }
    ]


def test_slow_api(api: Api, node: Node) -> None:
    api.goes_wrong("slow", seconds=1.2)
    node.addresses.elect(7)
    until(lambda: api.holder == ME)
    until(lambda: node.stance() == "holds")
    assert api.count() <= 5  # one, and its company while it had no answer


@pytest.mark.parametrize("mode", ["throttle", "error", "reset"])
def test_failing_api_is_asked_again_with_pauses(api: Api, node: Node, mode: str) -> None:
    api.goes_wrong(mode, "AssociateAddress")
    node.addresses.elect(7)
    until(lambda: api.count() >= 4)
    first, *_, fourth = (call["at"] for call in api.front.calls if call["action"] == "AssociateAddress")
    assert fourth - first > 0.6  # pauses of 0.25, 0.5 and 1 s, shortened by chance to the half at most
    assert node.stance() == "takes"
    api.works()
    until(lambda: api.holder == ME)
    until(lambda: node.stance() == "holds")


def test_hanging_api_is_asked_again_beside_it_but_not_by_a_crowd(api: Api, node: Node) -> None:
    api.goes_wrong("hang", "AssociateAddress")
    node.addresses.elect(7)
    until(lambda: api.count() == 5)
    node.lives(2)
    assert api.count() == 5
    api.works()
    until(lambda: api.holder == ME)


def test_refusing_api_is_a_trouble_at_once_and_asked_seldom(api: Api, node: Node) -> None:
    api.goes_wrong("refuse", "AssociateAddress")
    node.addresses.elect(7)
    until(lambda: "api" in node.state()["troubles"])
    assert "UnauthorizedOperation" in node.state()["troubles"]["api"]
    node.lives(2)
    assert api.count() <= 2
    api.works()
    until(lambda: api.holder == ME)
    until(lambda: not node.state()["troubles"])


def test_applied_but_not_answered_is_found_by_looking(api: Api, node: Node) -> None:
    api.goes_wrong("mute", "AssociateAddress")
    node.addresses.elect(7)
    until(lambda: node.stance() == "holds")
    calls = api.count()
    node.looks()
    assert calls <= 5
    assert api.count() == calls
    assert node.state()["moves"] == 1  # and told, though no call of it was ever answered


def test_stale_reads_make_no_second_call(api: Api, node: Node) -> None:
    api.goes_wrong("stale")
    node.addresses.elect(7)
    until(lambda: node.stance() == "yields")
    calls = api.count()
    node.looks(8)
    assert calls <= 5  # one, and its company where this machine is slow
    assert api.count() == calls
    api.works()
    until(lambda: node.stance() == "holds")


def test_no_longer_master_it_stops_trying(api: Api, node: Node) -> None:
    api.goes_wrong("throttle", "AssociateAddress")
    node.addresses.elect(7)
    until(lambda: api.count() >= 2)
    node.addresses.elect(0)
    until(lambda: node.stance() == "leaves")
    calls = api.count()
    node.looks()
    assert api.count() == calls


def test_a_call_that_waited_for_others_is_not_made_for_an_election_that_is_over(api: Api, node: Node) -> None:
    over = threading.Event()
    for _ in range(8):  # calls of earlier elections, say, to an API that hangs
        node.agent.pool.submit(over.wait)
    node.addresses.elect(7)
    until(lambda: node.stance() == "takes" and node.agent.flying)
    node.addresses.elect(0)
    until(lambda: node.stance() == "leaves")
    over.set()
    until(lambda: not node.agent.flying)
    assert api.count() == 0


def test_the_higher_took_it_back_the_lower_yields_until_its_instance_is_gone(api: Api, node: Node) -> None:
    node.addresses.elect(7)
    until(lambda: node.stance() == "holds")
    api.give("lb-1")
    until(lambda: node.stance() == "yields")
    node.looks()
    assert api.count() == 1
    assert "split-brain" in node.state()["troubles"]
    instance = api.ec2.get_instance(aws.INSTANCE_IDS["lb-1"])
    instance.stop()
    try:
        until(lambda: api.holder == ME)
    finally:
        instance.start()
    assert api.count() == 2


def test_a_new_agent_for_the_same_election_moves_nothing(api: Api, node: Node, tmp_path: Path) -> None:
    node.addresses.elect(7)
    until(lambda: node.state()["stance"] == "holds")
    node.stopped.set()
    node.thread.join()
    api.give("lb-1")
    again = Node(api, tmp_path)
    again.addresses.elect(7)
    until(lambda: again.stance() == "yields")
    assert api.count() == 1
    again.stopped.set()


def test_the_interface_is_found_by_the_instance_metadata(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "ADDRESS", "127.0.0.1")
    monkeypatch.setattr(agent, "METADATA", f"127.0.0.1:{api.port}")
    assert agent.interface_id_of("127.0.0.1") == aws.INTERFACE_IDS["lb-2"]
    with pytest.raises(OSError, match=r"knows no interface with 10\.0\.0\.9"):
        agent.interface_id_of("10.0.0.9")


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        ({}, "nobody"),
        ({"NetworkInterfaceId": aws.INTERFACE_IDS["lb-2"], "PrivateIpAddress": ME}, "me"),
        ({"NetworkInterfaceId": aws.INTERFACE_IDS["lb-2"], "PrivateIpAddress": "10.77.2.13"}, "stranger"),
        ({"NetworkInterfaceId": aws.INTERFACE_IDS["lb-1"], "PrivateIpAddress": PEER}, "higher"),
        (
            {"NetworkInterfaceId": "eni-0", "PrivateIpAddress": "10.77.1.1"},
            "stranger",
        ),  # 10.77.1.11 begins so
        ({"InstanceId": "i-1"}, "stranger"),
    ],
)
def test_whose_an_address_is(api: Api, node: Node, address: dict[str, str], whose: str) -> None:
    assert node.agent.ec2.whose(address) == whose


def test_a_hung_api_holds_up_neither_the_check_nor_the_state(api: Api, node: Node) -> None:
    api.goes_wrong("hang")
    node.addresses.elect(7)
    until(lambda: api.count() and api.count("DescribeAddresses"))
    written = (node.directory / "agent.json").stat().st_mtime_ns
    node.lives(2)
    until(lambda: (node.directory / "agent.json").stat().st_mtime_ns > written)
    assert api.holder == PEER


def test_agent_that_started_before_its_credentials_gets_them_later(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        without_credentials(patch)
        one = Node(api, tmp_path)
        until(lambda: one.agent.told_error)
        assert "no credentials" in one.agent.told_error
    until(lambda: one.agent.warm and one.agent.seen.holder == "higher")
    one.stopped.set()
