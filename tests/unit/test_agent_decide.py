"""What the failover agent decides: every combination of what it can see, and two of them in one world."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.unit import agent as program

agent = program.load()
Seen, Memory, Rules, Check, Call = agent.Seen, agent.Memory, agent.Rules, agent.Check, agent.Call
RULES = Rules()
NOW = 1000.0
TERM, EARLIER = 7, 5


def decide(seen: Any, memory: Any, rules: Any = RULES) -> Any:
    return agent.decide(seen, memory, rules)


# ── every combination: the address ──────────────────────────────────────────────────────────────────────────

SERVES = Check(1, NOW, "serves")
STOPPED = Check(1, NOW, "refused", "stopped", peer=False)

ADDRESS = {
    "keepalived": ("runs", "dead", "hung", None),
    "term": (TERM, 0, None),
    "holder": ("me", "higher", "lower", "stranger", "nobody", None),
    "asked": (NOW - 1, NOW - 100),  # after the election in memory, before it
    "check": (SERVES, STOPPED, None),
    "instance": (None, "stopped"),
    "aside": (False, True),
    "take": (False, True),
}
REMEMBERED = {
    "term": (TERM, EARLIER, 0),
    "taken": (True, False),
    "fit": (True, False),
    "cold": (True, False),
}


def combinations() -> Any:
    for seen_values in itertools.product(*ADDRESS.values()):
        seen = Seen(now=NOW, **dict(zip(ADDRESS, seen_values, strict=True)))
        for values in itertools.product(*REMEMBERED.values()):
            memory = Memory(began=NOW - 50, called=NOW - 60, **dict(zip(REMEMBERED, values, strict=True)))
            yield seen, memory, decide(seen, memory)


@pytest.fixture(scope="module")
def table() -> list[Any]:
    return list(combinations())


def claim(table: list[Any], concerns: Any, holds: Any) -> None:
    """What `holds` says is true of every row that it concerns; and there are such rows."""
    rows = [row for row in table if concerns(*row)]
    assert rows
    wrong = [row for row in rows if not holds(*row)]
    assert not wrong, f"{len(wrong)} of {len(rows)}, such as {wrong[0]}"


def is_master(seen: Any) -> bool:
    return seen.keepalived == "runs" and bool(seen.term)


def is_backup(seen: Any) -> bool:
    return seen.keepalived == "runs" and seen.term == 0


def test_only_a_master_whose_keepalived_works_moves_the_address(table: list[Any]) -> None:
    claim(
        table,
        lambda s, m, d: not is_master(s) and not (is_backup(s) and s.take),
        lambda s, m, d: not d.call and d.stance in ("leaves", "waits"),
    )


def test_unknown_role_moves_nothing_and_is_called_unknown(table: list[Any]) -> None:
    claim(
        table,
        lambda s, m, d: s.keepalived is None or s.term is None,
        lambda s, m, d: d.role == "UNKNOWN" and not d.call and d.memory.term == m.term,
    )


def test_dead_or_hung_keepalived_is_no_master(table: list[Any]) -> None:
    claim(
        table,
        lambda s, m, d: s.keepalived in ("dead", "hung") and s.term is not None,
        lambda s, m, d: d.role in ("STOPPED", "HUNG"),
    )


def test_unknown_holder_moves_nothing_once_the_address_was_taken(table: list[Any]) -> None:
    claim(
        table,
        lambda s, m, d: s.holder is None and m.taken and m.term == s.term and not s.take,
        lambda s, m, d: not d.call,
    )


def test_unknown_holder_moves_nothing_after_a_start(table: list[Any]) -> None:
    claim(table, lambda s, m, d: s.holder is None and d.memory.cold, lambda s, m, d: not d.call)


def test_who_holds_it_calls_nobody(table: list[Any]) -> None:
    claim(
        table,
        lambda s, m, d: s.holder == "me" and s.asked >= d.memory.began and is_master(s) and not s.aside,
        lambda s, m, d: d.stance == "holds" and not d.call and d.memory.taken,
    )


def test_the_lower_priority_yields_to_the_higher_that_took_it_back(table: list[Any]) -> None:
    claim(
        table,
        lambda s, m, d: s.holder == "higher" and m.taken and m.term == s.term and not s.instance
        and not (is_backup(s) and s.take),
        lambda s, m, d: not d.call,
    )  # fmt: skip


def test_it_takes_again_when_the_holder_is_gone(table: list[Any]) -> None:
    claim(
        table,
        lambda s, m, d: s.holder == "higher" and m.taken and m.term == s.term and s.instance == "stopped"
        and is_master(s) and s.check is SERVES and d.fit and not s.aside,
        lambda s, m, d: d.call,
    )  # fmt: skip


def test_the_higher_priority_always_takes_what_it_does_not_hold(table: list[Any]) -> None:
    claim(
        table,
        lambda s, m, d: s.holder in ("lower", "nobody", "stranger")
        and is_master(s) and s.check is SERVES and d.fit and not s.aside,
        lambda s, m, d: d.stance == "takes" and d.call,
    )  # fmt: skip


def test_a_new_election_takes_the_address_from_whomever(table: list[Any]) -> None:
    claim(
        table,
        lambda s, m, d: s.holder not in (None, "me") and is_master(s) and m.term != s.term
        and s.check is SERVES and d.fit and not s.aside,
        lambda s, m, d: d.call,
    )  # fmt: skip


def test_a_node_that_does_not_serve_takes_nothing_from_another(table: list[Any]) -> None:
    claim(
        table,
        lambda s, m, d: s.check is STOPPED and s.holder != "nobody",
        lambda s, m, d: not d.call,
    )


def test_a_node_that_is_unfit_or_stands_aside_moves_nothing(table: list[Any]) -> None:
    claim(table, lambda s, m, d: not d.fit or s.aside, lambda s, m, d: not d.call)


def test_a_switchover_has_a_backup_that_serves_take_the_address_from_whomever(table: list[Any]) -> None:
    claim(
        table,
        lambda s, m, d: s.take and not s.aside and is_backup(s) and s.check is SERVES and m.fit
        and s.holder not in ("me", None),
        lambda s, m, d: d.call and d.stance == "takes",
    )  # fmt: skip


def test_who_stands_aside_stays_fit_until_the_address_is_elsewhere(table: list[Any]) -> None:
    claim(
        table,
        lambda s, m, d: s.aside and m.fit and s.check is SERVES and s.holder in ("me", "nobody", None),
        lambda s, m, d: d.fit,
    )


def test_one_decision_makes_one_call(table: list[Any]) -> None:
    """The same moment judged again calls nobody again."""
    claim(table, lambda s, m, d: d.call, lambda s, m, d: not decide(s, d.memory).call)


def test_every_decision_has_its_reason_and_is_the_same_again(table: list[Any]) -> None:
    claim(table, lambda s, m, d: True, lambda s, m, d: d.why_fit and d.why_stance)
    claim(table[::97], lambda s, m, d: True, lambda s, m, d: decide(s, m) == d)


def test_evidence_is_looked_for_exactly_while_it_yields(table: list[Any]) -> None:
    claim(table, lambda s, m, d: True, lambda s, m, d: d.watch == (d.stance == "yields"))


def test_with_a_virtual_address_the_agent_moves_nothing(table: list[Any]) -> None:
    rules = replace(RULES, moves=False)
    for seen, memory, _ in table[::13]:
        decided = decide(seen, memory, rules)
        assert (decided.call, decided.ask, decided.watch, decided.stance) == (False, False, False, "none")


# ── every combination: HAProxy ──────────────────────────────────────────────────────────────────────────────

HEALTH = {
    "answer": ("serves", "refused", "silent", "wrong"),
    "unit": (None, "up", "restarting", "stopped", "failed"),
    "peer": (None, True, False),
    "fails": (0, 1, 2, 9),  # before this check
    "since_s": (0.0, 0.5, 5.0),  # how long it has failed, or served
    "fit": (True, False),
    "peer_silent": (0, 2, 3),
    "maintenance": (False, True),
}


def health() -> Any:
    for values in itertools.product(*HEALTH.values()):
        case = dict(zip(HEALTH, values, strict=True))
        if case["answer"] == "serves" and case["unit"] is not None:
            continue  # systemd is asked only about one that does not serve
        since = NOW - case["since_s"]
        memory = Memory(
            fails=case["fails"],
            failing_since=since if case["fails"] else None,
            well_since=None if case["fails"] else since,
            fit=case["fit"],
            flaps=() if case["fit"] else (NOW - 10,),
            peer_silent=case["peer_silent"],
        )
        check = Check(1, NOW, case["answer"], case["unit"], case["peer"])
        seen = Seen(now=NOW, check=check, keepalived="runs", term=0, maintenance=case["maintenance"])
        yield case, memory, decide(seen, memory)


@pytest.fixture(scope="module")
def health_table() -> list[Any]:
    return list(health())


def test_unfit_only_while_another_node_answers(health_table: list[Any]) -> None:
    claim(health_table, lambda c, m, d: m.fit and not d.fit, lambda c, m, d: c["peer"] is True)


def test_one_that_serves_stays_fit(health_table: list[Any]) -> None:
    claim(
        health_table,
        lambda c, m, d: c["answer"] == "serves" and m.fit and not c["maintenance"],
        lambda c, m, d: d.fit,
    )


def test_a_clean_stop_and_a_given_up_crash_count_at_once(health_table: list[Any]) -> None:
    claim(
        health_table,
        lambda c, m, d: c["unit"] in ("stopped", "failed") and c["peer"] is True,
        lambda c, m, d: not d.fit,
    )


def test_a_restart_within_the_grace_moves_nothing(health_table: list[Any]) -> None:
    claim(
        health_table,
        lambda c, m, d: c["unit"] in (None, "up", "restarting") and c["answer"] == "refused"
        and (not c["fails"] or c["since_s"] < RULES.grace_s) and m.fit and not c["maintenance"],
        lambda c, m, d: d.fit,
    )  # fmt: skip


def test_after_the_grace_it_counts_as_dead_whatever_systemd_says(health_table: list[Any]) -> None:
    claim(
        health_table,
        lambda c, m, d: (
            c["answer"] != "serves" and c["fails"] and c["since_s"] >= RULES.grace_s and c["peer"] is True
        ),
        lambda c, m, d: not d.fit,
    )


def test_one_slow_answer_is_none(health_table: list[Any]) -> None:
    claim(
        health_table,
        lambda c, m, d: c["answer"] == "silent" and c["unit"] == "up" and c["fails"] < RULES.fails - 1
        and (not c["fails"] or c["since_s"] < RULES.grace_s) and m.fit and not c["maintenance"],
        lambda c, m, d: d.fit,
    )  # fmt: skip


def test_a_hang_counts_after_consecutive_failures(health_table: list[Any]) -> None:
    claim(
        health_table,
        lambda c, m, d: c["answer"] == "silent" and c["fails"] >= RULES.fails - 1 and c["peer"] is True,
        lambda c, m, d: not d.fit,
    )


def test_the_last_node_standing_is_fit_again(health_table: list[Any]) -> None:
    claim(
        health_table,
        lambda c, m, d: not m.fit and c["peer"] is False and c["peer_silent"] >= RULES.peer_fails
        and c["unit"] in ("stopped", "failed"),
        lambda c, m, d: d.fit,
    )  # fmt: skip


def test_one_missing_answer_of_the_peer_makes_nobody_the_last(health_table: list[Any]) -> None:
    claim(
        health_table,
        lambda c, m, d: not m.fit and c["peer"] is False and c["peer_silent"] == 0
        and c["unit"] in ("stopped", "failed"),
        lambda c, m, d: not d.fit,
    )  # fmt: skip


# ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────


def taking(**more: Any) -> tuple[Any, Any]:
    seen = Seen(now=NOW, check=SERVES, keepalived="runs", term=TERM, holder="lower", asked=NOW - 1)
    return replace(seen, **more), Memory(term=TERM, began=NOW - 50, cold=False)


@pytest.mark.parametrize(
    ("tries", "denied", "least", "most"),
    [
        (1, False, 0.125, 0.25),
        (2, False, 0.25, 0.5),
        (9, False, 2.5, 5.0),
        (60, False, 2.5, 5.0),
        (1, True, 5.0, 10.0),
    ],
)
def test_failed_calls_are_repeated_with_backoff_and_jitter(
    tries: int, denied: bool, least: float, most: float
) -> None:
    seen, memory = taking()
    for dice, pause in ((0.0, least), (1.0, most)):
        for since, expected in ((pause - 0.01, False), (pause + 0.01, True)):
            tried = replace(memory, tries=tries, denied=denied, called=NOW - since)
            assert decide(replace(seen, dice=dice), tried).call is expected


def test_a_call_without_an_answer_gets_company_but_no_crowd() -> None:
    seen, memory = taking()
    for flying, expected in (
        ((1.0,), False),
        ((2.6,), True),
        ((5.2, 2.6), True),
        ((7.8, 5.2, 2.6), True),
        ((13, 10, 8, 5, 3), False),
    ):
        begun = tuple((TERM, NOW - ago) for ago in flying)
        assert decide(replace(seen, flying=begun), replace(memory, called=NOW - flying[-1])).call is expected


def test_calls_wait_until_aws_can_be_called_and_then_go_at_once() -> None:
    seen, memory = taking(ready=False)
    waiting = decide(seen, memory)
    assert (waiting.stance, waiting.call) == ("takes", False)
    assert decide(replace(seen, now=NOW + 0.1, ready=True), waiting.memory).call


def test_a_success_of_an_earlier_election_proves_nothing() -> None:
    seen, memory = taking(call=Call(1, EARLIER, NOW - 3, NOW, "ok"), holder="higher")
    assert decide(seen, memory).call
    assert decide(replace(seen, call=Call(1, TERM, NOW - 3, NOW, "ok")), memory).stance == "holds"


def test_a_stale_read_after_a_success_is_not_believed() -> None:
    seen, memory = taking(call=Call(1, TERM, NOW - 3, NOW, "ok"))
    done = decide(seen, memory)
    assert done.stance == "holds"
    stale = replace(seen, now=NOW + 4, asked=NOW + 4)
    assert decide(stale, done.memory).stance == "holds"
    assert decide(replace(stale, asked=NOW + 6, now=NOW + 6), done.memory).stance == "takes"


def test_reads_that_stay_stale_make_no_storm() -> None:
    seen, memory = taking()
    calls = 0
    for tick in range(6000):  # ten minutes
        now = NOW + tick / 10
        decided = decide(replace(seen, now=now, asked=now), memory)
        memory = decided.memory
        if decided.call:
            calls += 1
            done = Call(calls, TERM, now, now + 0.01, "ok")
            memory = decide(replace(seen, now=now + 0.01, asked=now, call=done), memory).memory
    assert calls <= 14


def test_an_old_me_is_asked_about_and_not_repeated() -> None:
    """Elected again while the last read says that the address is here: it may have gone meanwhile."""
    seen, memory = taking(holder="me", asked=NOW - 3)
    memory = replace(memory, term=0)
    first = decide(seen, memory)
    assert (first.call, first.ask, first.stance) == (False, True, "waits")
    fresh = replace(seen, now=NOW + 0.02, asked=NOW + 0.01)
    assert decide(fresh, first.memory).stance == "holds"
    assert decide(replace(fresh, holder="lower"), first.memory).call
    unanswered = replace(seen, now=NOW + 1.5)
    assert decide(unanswered, first.memory).call


def test_one_that_lost_the_role_looks_until_the_peer_has_the_address() -> None:
    seen, memory = taking(holder="me", asked=NOW)
    master = decide(seen, memory)
    lost = replace(seen, now=NOW + 1, term=0)
    assert decide(lost, master.memory).ask
    assert not decide(replace(lost, holder="lower"), master.memory).ask
    assert not decide(replace(lost, now=NOW + 60), master.memory).ask  # the peer may be off


def test_its_restart_moves_nothing() -> None:
    """With what survives a restart, the same election is no new right to take the address."""
    kept = {name: getattr(Memory(term=TERM, taken=True, called=NOW - 9), name) for name in agent.KEPT}
    restarted = replace(Memory(), **kept)
    for holder in ("higher", None, "me"):
        seen, _ = taking(holder=holder)
        assert not decide(seen, restarted).call


def test_killed_at_the_moment_of_the_change_it_takes_the_address_after_its_restart() -> None:
    kept = {name: getattr(Memory(term=EARLIER, taken=True), name) for name in agent.KEPT}
    seen, _ = taking(holder="higher")
    assert decide(seen, replace(Memory(), **kept)).call


# ── troubles ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_trouble_begins_once_keeps_its_words_and_ends_when_it_is_over() -> None:
    seen = Seen(now=NOW, check=replace(STOPPED, peer=True), keepalived="runs", term=0)
    first = decide(seen, Memory())
    assert first.troubles == {"haproxy": "HAProxy was stopped"}
    later = replace(seen, now=NOW + 5, check=Check(2, NOW + 5, "refused", "failed", True))
    second = decide(later, first.memory)
    assert second.troubles == first.troubles
    back = decide(replace(seen, now=NOW + 9, check=Check(3, NOW + 9, "serves")), second.memory)
    assert back.troubles == first.troubles  # one that flaps is one trouble
    calm = decide(replace(seen, now=NOW + 20, check=Check(4, NOW + 20, "serves")), back.memory)
    assert calm.troubles == {}


def test_both_nodes_tell_of_a_split_brain() -> None:
    seen, memory = taking(holder="higher")
    assert "split-brain" in decide(seen, replace(memory, taken=True)).troubles
    higher = decide(replace(seen, holder="lower"), replace(memory, taken=True))
    assert "split-brain" in higher.troubles
    after = replace(seen, now=NOW + 2 * RULES.quiet_s, asked=NOW + 2 * RULES.quiet_s, holder="me")
    assert "split-brain" not in decide(after, higher.memory).troubles


def test_one_whose_keepalived_hangs_calls_it_no_split_brain_that_the_other_took_over() -> None:
    seen, memory = taking(holder="lower")
    hung = decide(replace(seen, keepalived="hung"), replace(memory, taken=True))
    assert hung.role == "HUNG"
    assert "split-brain" not in hung.troubles


def test_a_master_whose_keepalived_did_nothing_since_takes_nothing_back() -> None:
    """It may hang, which shows only after a while; the peer was elected by then, and has called."""
    seen = Seen(now=NOW, check=SERVES, keepalived="runs", term=TERM, holder="lower", asked=NOW - 0.2)
    memory = Memory(term=TERM, began=NOW - 60, taken=True, taken_at=NOW - 60, cold=False)
    waits = decide(replace(seen, worked=NOW - 0.4), memory)
    assert (waits.stance, waits.call, dict(waits.memory.troubles)) == ("waits", False, {})
    takes = decide(replace(seen, worked=NOW - 0.1), waits.memory)
    assert (takes.stance, takes.call) == ("takes", True)


def test_an_api_that_refuses_is_told_at_once_and_one_that_fails_after_a_while() -> None:
    seen, memory = taking()
    denied = decide(replace(seen, call=Call(1, TERM, NOW, NOW, "denied", "UnauthorizedOperation")), memory)
    assert "UnauthorizedOperation" in denied.troubles["api"]
    failed = decide(replace(seen, call=Call(1, TERM, NOW, NOW, "failed", "Throttling")), memory)
    assert failed.troubles == {}
    assert "api" in decide(replace(seen, now=NOW + RULES.patience_s), failed.memory).troubles


def test_the_program_never_disassociates() -> None:
    text = (program.LIBRARY / "failover-agent").read_text()
    assert "disassociate_address" not in text
    assert text.count(".associate_address(") == 1


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
