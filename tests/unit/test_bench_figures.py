"""The table of the failovers' figures: what the runs kept, in words, and whether the limits hold."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench import figures


def case(name: str, **more: Any) -> dict[str, Any]:
    asked = {"requests": 40, "failed_requests": 2, "outage_s": 0.2, "broken": 1}
    return {
        "case": name, "passed": True, "why": [], "outage_s": 0.2, "failed_requests": 3, "cut_requests": 0,
        "requests": 500,
        "kept_alive": asked, "upgraded": None, "detected_s": 0.1, "master_s": 0.2, "address_s": 0.21,
        "failback_outage_s": 0.0, "failback_failed_requests": 0, "failback_cut_requests": 0,
        "failback_requests": 50, **more,
    }  # fmt: skip


def kept(*runs: list[dict[str, Any]], extra_ms: float = 5.0) -> dict[str, Any]:
    return {"cases": {"date": "2026-11-21", "runs": [{"cases": run, "extra_ms": [extra_ms]} for run in runs]}}


def row(text: str, what: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {what} |") and line.count("|") > 7)
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_worst_run_decides() -> None:
    good = [case("haproxy", outage_s=0.3), case("keepalived", failed_requests=0)]
    bad = [case("haproxy", outage_s=0.4), case("keepalived", failed_requests=1)]
    text = figures.text(kept(good, good, bad), [])
    assert row(text, "HAProxy stopped") == [
        "HAProxy stopped", "3", "0.30 s", "0.40 s", "3", "3", "0", "0.35 s", "**missed**", "4.4 s"
    ]  # fmt: skip
    assert row(text, "keepalived stopped")[-2] == "**missed**"
    assert row(figures.text(kept(good), []), "HAProxy stopped")[-2] == "met"
    open_ones = [case("keepalived", failed_requests=2, cut_requests=2)]
    assert row(figures.text(kept(good, open_ones), []), "keepalived stopped")[-2] == "met"


def test_what_was_not_run_and_what_failed_is_said() -> None:
    text = figures.text(kept([case("host", passed=False)]), [])
    assert row(text, "host off")[-2] == "**missed**"
    assert row(text, "host off, adverts every 0.2 s")[1:] == ["0", "", "", "", "", "", "0.8 s", "not run", ""]
    assert figures.text({}, [])


def test_a_lost_request_on_the_way_home_or_a_slow_agent_is_missed() -> None:
    text = figures.text(kept([case("haproxy", failback_failed_requests=1)], extra_ms=31), [])
    assert row(text, "failback, after each case")[-2] == "**missed**"
    assert "**missed**" in next(line for line in text.splitlines() if "beyond the API" in line)


@pytest.mark.parametrize(
    ("calls", "done", "extra"),
    [
        ([(10.01, 0.1)], [10.12], [20.0]),
        ([(9.9, 0.1)], [10.12], []),  # before the election: a planned move
        ([(10.01, 0.1)], [], []),  # never answered
        ([(10.01, 0.1), (10.5, 0.1)], [10.12, 10.62], [20.0]),  # once more, for a stale read
    ],
)
def test_only_the_agents_own_time_counts(
    calls: list[tuple[float, float]], done: list[float], extra: list[float]
) -> None:
    assert figures.beyond([10.0], calls, done) == pytest.approx(extra)
