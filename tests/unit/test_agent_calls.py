"""When the failover agent calls AWS again, what it believes, and which troubles it tells of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit import agent as program
from tests.unit.deciding import (
    EARLIER,
    NOW,
    RULES,
    SERVES,
    STOPPED,
    TERM,
    Call,
    Check,
    Memory,
    Seen,
    agent,
    decide,
)

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
