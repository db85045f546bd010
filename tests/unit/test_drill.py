"""The drill's arithmetic: outages, one clock for all hosts, the timeline, and what a move cuts."""

from __future__ import annotations

import pytest

from lbkit.drill import figures
from lbkit.drill.figures import Asked, Clock, Moments, Reading
from tests.unit.drilled import MOVED, every

# ── outage ───────────────────────────────────────────────────────────────────────────────────────────────


def test_outage_is_the_longest_gap_between_good_answers_less_the_interval() -> None:
    outage_s, failed = figures.measure(every(0, 3, bad=(1.0, 1.5)), 0.02)
    assert (outage_s, failed) == (0.5, 25)


def test_probe_without_a_failure_has_no_outage() -> None:
    assert figures.measure(every(0, 1), 0.02) == (0.0, 0)


def test_one_good_answer_in_between_ends_an_outage() -> None:
    rows = every(0, 3, bad=(1.0, 2.0))
    rows[75] = (rows[75][0], 2.0, True)
    assert figures.measure(rows, 0.02)[0] == pytest.approx(0.5)


def test_outage_that_lasts_to_the_end_counts_whole() -> None:
    assert figures.measure(every(0, 2, bad=(1.0, 9)), 0.02)[0] == pytest.approx(0.98)


def test_nothing_answered_is_an_outage_of_the_whole_time() -> None:
    assert figures.measure(every(0, 2, bad=(0, 9)), 0.02) == (1.98, 100)
    assert figures.measure([], 0.02) == (0.0, 0)


def test_only_what_was_asked_in_a_phase_counts_for_it() -> None:
    rows = every(0, 10, bad=(4.0, 4.1))
    assert figures.asked(rows, 0.02, 0, 4) == Asked(200, 0, 0.0)
    assert figures.asked(rows, 0.02, 3, 5, broken=[2.0, 4.0]) == Asked(100, 5, 0.1, broken=1)


# ── one clock ────────────────────────────────────────────────────────────────────────────────────────────


def read(at: float, ahead: float, trip: float = 0.01) -> Reading:
    """A reading of a clock that is `ahead`, whose answer came half a trip after the question."""
    return Reading(at - trip / 2, at + ahead, at + trip / 2)


@pytest.mark.parametrize("ahead", [0.0, 3600.0, -7.25])
def test_clock_that_is_off_is_put_right(ahead: float) -> None:
    clock = Clock((read(1000, ahead), read(1060, ahead)))
    assert clock.ours(1030 + ahead) == pytest.approx(1030)


def test_drift_between_two_readings_is_shared_out_evenly() -> None:
    clock = Clock((read(1000, 0.0), read(1100, 0.2)))
    assert clock.ours(1050.1) == pytest.approx(1050, abs=1e-3)
    assert clock.ours(990) == pytest.approx(990)
    assert clock.ours(1200.2) == pytest.approx(1200)


def test_reading_with_the_shortest_round_trip_counts() -> None:
    slow, quick = Reading(0, 5.4, 1.0), Reading(2, 7.05, 2.1)
    assert figures.best([slow, quick]) is quick
    assert quick.ahead == pytest.approx(5.0)


# ── the timeline ─────────────────────────────────────────────────────────────────────────────────────────

SPLIT = (
    (1.5, "lb-2", "keepalived", "(lab) Entering MASTER STATE"),
    (1.6, "lb-2", "lbkit-agent", "AssociateAddress 1 done in 8 ms"),
    (1.7, "lb-2", "lbkit-agent", "the address is with this node"),
    (5.6, "lb-1", "lbkit-agent", "AssociateAddress 1 done in 9 ms"),
    (5.7, "lb-1", "lbkit-agent", "the address is with this node"),
)


def test_moments_are_read_from_both_hosts_until_the_repair() -> None:
    assert figures.moments(MOVED, "lb-1", 2.0, elastic=True) == Moments(0.11, 0.15, 0.19)


def test_virtual_ip_is_on_a_node_when_that_is_master() -> None:
    assert figures.moments(MOVED, "lb-1", 2.0, elastic=False) == Moments(0.11, 0.15, 0.15)


def test_address_that_came_home_in_a_partition_counts_from_then() -> None:
    assert figures.moments(SPLIT, "lb-1", 9.0, elastic=True) == Moments(1.5, 1.5, 5.6)


def test_what_was_not_seen_is_null() -> None:
    assert figures.moments(MOVED[:2], "lb-1", 2.0, elastic=True) == Moments(None, None, None)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("(lab) Entering FAULT STATE", True),
        ("trouble: haproxy: HAProxy was stopped", True),
        ("yields: taken once; a higher priority took it back", True),
        ("haproxy.service: Main process exited, code=killed, status=9/KILL", True),
        ("Starting VRRP child process, pid=3", False),
    ],
)
def test_timeline_keeps_what_tells(line: str, wanted: bool) -> None:
    assert figures.telling(line) is wanted


# ── what a move cuts ─────────────────────────────────────────────────────────────────────────────────────


def test_only_requests_that_were_on_their_way_as_the_address_moved_count_as_cut() -> None:
    answered = [(10 + n / 50, 6.0, True) for n in range(50)]
    moved = [(10.505, 10.525)]
    cut = [(10.5, 500.0, False), (10.52, 3.0, False)]
    others = [(10.45, 500.0, False), (10.53, 500.0, False), (10.7, 500.0, False)]
    assert figures.on_the_way([*answered, *cut, *others], moved, 10, 11) == len(cut)
    assert figures.on_the_way([*answered, *cut], [], 10, 11) == 0
    assert figures.on_the_way([*answered, *cut], moved, 10.6, 11) == 0, "of another time"
    slow = [(10.1, 480.0, True), (10.2, 3000.0, True)]  # a lost packet is no measure of the way
    assert figures.on_the_way([*answered, *slow, (10.0, 500.0, False)], moved, 9, 11) == 0


def test_an_elastic_ip_moves_between_call_and_answer_and_a_virtual_one_at_the_election() -> None:
    timeline = (
        *MOVED,
        (4.1, "lb-1", "lbkit-agent", "AssociateAddress 5 begun: MASTER, and the address is with a lower priority"),
        (4.2, "lb-1", "lbkit-agent", "AssociateAddress 5 done in 100 ms"),
        (4.3, "lb-1", "lbkit-agent", "AssociateAddress 6 begun: never answered"),
    )  # fmt: skip
    assert figures.moves(timeline, elastic=True) == ((0.16, 0.19), (4.1, 4.2))
    assert figures.moves(timeline, elastic=False) == ((0.15, 0.15),)
