"""What the failover agent decides: every combination of what it can see."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.deciding import (
    EARLIER,
    NOW,
    RULES,
    SERVES,
    STOPPED,
    TERM,
    Check,
    Memory,
    Seen,
    decide,
)

# ── every combination: the address ──────────────────────────────────────────────────────────────────────────

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
