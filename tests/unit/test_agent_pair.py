"""Two failover agents and one address: a simulated pair; and what a switchover and a maintenance change."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.unit.deciding import (
    NOW,
    RULES,
    TERM,
    Call,
    Check,
    Memory,
    Seen,
    decide,
)

# ── two agents, one address ─────────────────────────────────────────────────────────────────────────────────


@dataclass
class Node:
    """One agent in the world below. elected: the term that keepalived has given it, 0 for none."""

    name: str
    higher: bool
    memory: Any = field(default_factory=lambda: Memory(cold=False))
    elected: int = 0
    seen: Any = None
    serves: bool = True
    running: bool = True
    number: int = 0
    result: Any = None


class World:
    """A crude VRRP, an API that answers after delay_s and whose reads lag by lag_s, and a clock of 0.1 s."""

    def __init__(self, holder: str = "a", delay_s: float = 0.1, lag_s: float = 0.0) -> None:
        self.now, self.delay_s, self.lag_s = 1000.0, delay_s, lag_s
        self.nodes = {"a": Node("a", True), "b": Node("b", False)}
        self.partition = False
        self.holders = [(0.0, holder)]
        self.calls: list[tuple[float, str]] = []
        self.landing: list[tuple[float, Node, int, int, float]] = []
        self.terms = itertools.count(1)

    @property
    def holder(self) -> str:
        return self.holders[-1][1]

    def run(self, seconds: float) -> World:
        for _ in range(round(seconds * 10)):
            self.now = round(self.now + 0.1, 1)
            self.elect()
            self.land()
            for node in self.nodes.values():
                if node.running:
                    self.step(node)
        return self

    def elect(self) -> None:
        """Who hears nobody better is MASTER; with nopreempt the one that is stays."""
        able = [n for n in self.nodes.values() if n.running and n.memory.fit]
        for node in self.nodes.values():
            if node not in able:
                node.elected = 0
        masters = [n for n in able if n.elected]
        if self.partition:
            winners = able
        elif masters:
            winners = [max(masters, key=lambda n: n.higher)]
        else:
            winners = [max(able, key=lambda n: n.higher)] if able else []
        for node in able:
            node.elected = (node.elected or next(self.terms)) if node in winners else 0

    def land(self) -> None:
        for landing in [one for one in self.landing if one[0] <= self.now]:
            self.landing.remove(landing)
            at, node, number, term, began = landing
            self.holders.append((at, node.name))
            node.result = Call(number, term, began, self.now, "ok")

    def read(self, node: Node) -> str:
        name = [holder for at, holder in self.holders if at <= self.now - self.lag_s][-1]
        if name == node.name:
            return "me"
        return "higher" if self.nodes[name].higher else "lower"

    def step(self, node: Node) -> None:
        due = node.seen is None or self.now - node.seen.asked >= 5 or node.seen.asked < node.memory.began
        holder, asked = (self.read(node), self.now) if due else (node.seen.holder, node.seen.asked)
        node.number += 1
        other = next(one for one in self.nodes.values() if one is not node)
        peer = other.running and other.serves and not self.partition
        check = Check(
            node.number,
            self.now,
            "serves" if node.serves else "refused",
            None if node.serves else "stopped",
            peer,
        )
        node.seen = Seen(
            now=self.now, check=check, keepalived="runs", term=node.elected, holder=holder, asked=asked, call=node.result,
            instance="running" if other.running else "stopped",
        )  # fmt: skip
        decided = decide(node.seen, node.memory)
        node.memory = decided.memory
        if decided.call:
            self.calls.append((self.now, node.name))
            self.landing.append((self.now + self.delay_s, node, len(self.calls), node.memory.term, self.now))


@pytest.fixture
def world() -> Any:
    return World().run(20)


def test_a_pair_at_rest_calls_nobody(world: World) -> None:
    assert (world.holder, world.run(600).calls) == ("a", [])


def test_a_stopped_haproxy_moves_the_address_once_and_its_return_moves_nothing(world: World) -> None:
    world.nodes["a"].serves = False
    world.run(1)
    assert world.holder == "b"
    world.nodes["a"].serves = True
    world.run(60)
    assert [name for _, name in world.calls] == ["b"]


@pytest.mark.parametrize("lag_s", [0.0, 3.0])
@pytest.mark.parametrize("holder", ["a", "b"])
def test_a_partition_of_120_s_costs_two_calls_and_ends_with_the_higher(holder: str, lag_s: float) -> None:
    world = World(lag_s=lag_s)
    world.run(20)
    if holder == "b":
        world.nodes["a"].serves = False
        world.run(5)
        world.nodes["a"].serves = True
        world.run(60)
        world.calls.clear()
    assert world.holder == holder
    world.partition = True
    world.run(120)
    assert len(world.calls) <= 2
    assert world.holder == "a"
    world.partition = False
    assert world.run(10).holder == "a"
    assert len(world.run(60).calls) <= 2


def test_partition_take_back_then_power_off_of_the_higher_leaves_it_with_the_lower(world: World) -> None:
    world.partition = True
    world.run(30)
    assert world.holder == "a"
    world.nodes["a"].running = False
    assert world.run(10).holder == "b"


def test_no_node_gives_it_up_while_neither_serves(world: World) -> None:
    world.nodes["b"].serves = False
    world.run(5)
    world.nodes["a"].serves = False
    world.run(60)
    assert (world.holder, world.calls) == ("a", [])
    assert world.nodes["a"].elected
    world.nodes["b"].serves = True
    assert world.run(10).holder == "b"


def test_a_node_that_flaps_is_held_down_longer_each_time(world: World) -> None:
    for _ in range(40):
        world.nodes["a"].serves = not world.nodes["a"].serves
        world.run(1.5)
    assert len(world.calls) <= 3


def test_a_slow_api_ends_with_the_master(world: World) -> None:
    world.delay_s = 5
    world.nodes["a"].serves = False
    world.run(12)
    assert world.holder == "b"


def test_switching_off_and_on_one_after_the_other_ends_with_the_master(world: World) -> None:
    for name in ("a", "b", "a"):
        world.nodes[name].running = False
        world.run(8)
        world.nodes[name].running, world.nodes[name].memory = True, Memory(cold=False)
        world.run(8)
        master = [node.name for node in world.nodes.values() if node.elected]
        assert [world.holder] == master


# ── a switchover ────────────────────────────────────────────────────────────────────────────────────────────

ANSWERED = Check(1, NOW, "serves", peer=True)


def test_the_role_follows_the_address_and_to_step_aside_is_no_relapse() -> None:
    seen = Seen(now=NOW, check=ANSWERED, keepalived="runs", term=TERM, holder="me", asked=NOW, aside=True)
    memory = Memory(term=TERM, began=NOW - 50, taken=True, well_since=NOW - 100, cold=False)
    still = decide(seen, memory)
    assert (still.fit, still.call, still.ask) == (True, False, True)
    gone = decide(replace(seen, check=replace(ANSWERED, number=2), holder="lower"), still.memory)
    assert (gone.fit, gone.call, gone.memory.flaps) == (False, False, ())
    assert gone.troubles == {}  # somebody moved it on purpose
    back = decide(replace(seen, term=0, holder="lower", aside=False), gone.memory)
    assert (back.fit, back.stance) == (True, "leaves")


def test_with_a_virtual_ip_a_node_that_stands_aside_is_unfit_at_once() -> None:
    seen = Seen(now=NOW, check=ANSWERED, keepalived="runs", term=TERM, aside=True)
    assert not decide(seen, Memory(term=TERM, well_since=NOW - 9), replace(RULES, moves=False)).fit


def test_what_a_switchover_brought_here_is_not_called_for_again_at_the_election() -> None:
    seen = Seen(now=NOW, check=ANSWERED, keepalived="runs", term=0, holder="lower", asked=NOW - 1, take=True)
    taking = decide(seen, Memory(cold=False))
    assert taking.call
    done = replace(seen, now=NOW + 0.1, call=Call(1, 0, NOW, NOW + 0.1, "ok"))
    assert decide(done, taking.memory).stance == "holds"
    elected = decide(replace(done, now=NOW + 0.2, term=TERM), decide(done, taking.memory).memory)
    assert (elected.role, elected.stance, elected.call) == ("MASTER", "holds", False)


@pytest.mark.parametrize("holder", ["lower", "higher"])
def test_a_switchover_that_ends_without_an_election_gives_the_address_back_to_the_master(holder: str) -> None:
    seen = Seen(now=NOW, check=ANSWERED, keepalived="runs", term=TERM, holder=holder, asked=NOW, aside=True)
    memory = Memory(term=TERM, began=NOW - 50, taken=True, taken_at=NOW - 50, well_since=NOW - 60, cold=False)
    aside = decide(seen, memory)
    over = decide(replace(seen, now=NOW + 9, aside=False), aside.memory)
    assert (over.fit, over.stance, over.call) == (True, "takes", True)


def test_the_right_after_a_switchover_is_not_spent_on_a_read_from_before_its_end() -> None:
    """It could not be read that the higher priority got the address: once that is known, it is taken back."""
    seen = Seen(now=NOW, check=ANSWERED, keepalived="runs", term=TERM, holder="me", asked=NOW - 9, aside=True)
    memory = Memory(term=TERM, began=NOW - 50, taken=True, taken_at=NOW - 50, well_since=NOW - 60, cold=False)
    over = decide(replace(seen, now=NOW + 0.1, aside=False), decide(seen, memory).memory)
    assert (over.call, over.ask) == (False, True)
    known = replace(seen, now=NOW + 0.3, aside=False, holder="higher", asked=NOW + 0.2)
    assert decide(known, over.memory).call


def kept_out(served: bool | None, at: float) -> Any:
    check = Check(int(at * 10), at, "serves", peer=True, served=served)
    return Seen(now=at, check=check, keepalived="runs", term=0, maintenance=True)


def test_kept_out_of_a_pair_that_nobody_serves_a_node_steps_in_and_stays() -> None:
    rules = replace(RULES, moves=False)
    memory = decide(kept_out(True, NOW), Memory(well_since=NOW - 9), rules).memory
    assert not memory.fit
    memory = decide(kept_out(False, NOW + 1), memory, rules).memory
    assert not decide(kept_out(False, NOW + 3), memory, rules).fit
    late = decide(kept_out(False, NOW + 4.5), memory, rules)
    assert late.fit
    assert "steps in" in late.why_fit
    served = decide(kept_out(True, NOW + 5), late.memory, rules)
    assert served.fit
    over = decide(replace(kept_out(None, NOW + 6), maintenance=False), served.memory, rules)
    assert not decide(kept_out(True, NOW + 7), over.memory, rules).fit


def test_a_node_whose_haproxy_is_dead_does_not_step_in() -> None:
    rules = replace(RULES, moves=False)
    memory = decide(kept_out(True, NOW), Memory(well_since=NOW - 9), rules).memory
    for second in range(1, 9):
        seen = kept_out(False, NOW + second)
        dead = replace(seen.check, answer="refused", unit="stopped")
        memory = decide(replace(seen, check=dead), memory, rules).memory
    assert not memory.fit
    assert not decide(kept_out(True, NOW + 10), memory, rules).fit


def test_silence_at_an_address_that_never_answered_from_here_brings_nobody_in() -> None:
    rules, memory = replace(RULES, moves=False), Memory(well_since=NOW - 9)
    for second in range(10):
        decided = decide(kept_out(False, NOW + second), memory, rules)
        memory = decided.memory
    assert not decided.fit


def held_down(served: bool | None, at: float) -> Any:
    check = Check(int(at * 10), at, "serves", peer=True, served=served)
    return Seen(now=at, check=check, keepalived="runs", term=0)


def test_a_flap_is_held_down_only_while_somebody_serves_at_the_virtual_address() -> None:
    """The peer may be unfit too, for another reason than that its HAProxy does not answer."""
    rules = replace(RULES, moves=False)
    flaps = tuple(NOW - second for second in range(9))
    memory = decide(held_down(True, NOW), Memory(fit=False, flaps=flaps, well_since=NOW - 1), rules).memory
    for second in range(1, 4):
        decided = decide(held_down(False, NOW + second), memory, rules)
        memory = decided.memory
        assert not decided.fit
    decided = decide(held_down(False, NOW + 4.5), memory, rules)
    assert decided.fit
    assert "nobody" in decided.why_fit
    assert not decide(held_down(True, NOW + 5), Memory(fit=False, flaps=flaps, well_since=NOW), rules).fit


def sick(served: bool, own: bool, at: float) -> Any:
    """HAProxy here fails its check, as the peer's does; whether it answers clients all the same: own."""
    check = Check(int(at * 10), at, "refused", "up", peer=True, served=served, own=own)
    return Seen(now=at, check=check, keepalived="runs", term=0)


def test_of_two_sick_nodes_one_serves_at_the_virtual_address_if_it_can_answer_at_all() -> None:
    """One configuration without the check's frontend on both: each is dead for itself, and lives for the other."""
    rules = replace(RULES, moves=False)
    memory = decide(sick(True, True, NOW), Memory(fails=9, failing_since=NOW - 9), rules).memory
    assert not memory.fit
    for second in range(1, 6):
        memory = decide(sick(False, True, NOW + second), memory, rules).memory
        assert not memory.fit  # one that is well goes first
    assert not decide(sick(False, False, NOW + 8), memory, rules).fit
    late = decide(sick(False, True, NOW + 8), memory, rules)
    assert late.fit
    assert decide(sick(True, True, NOW + 9), late.memory, rules).fit
    assert not decide(sick(True, False, NOW + 9), late.memory, rules).fit
