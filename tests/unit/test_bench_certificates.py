"""The table of the certificates' figures: what the runs kept, in words, and whether the limits hold."""

from __future__ import annotations

from typing import Any

from tests.bench import certificate_figures


def part(**run: Any) -> dict[str, Any]:
    return {"date": "2026-11-21", "load": 0.5, "runs": [run]}


def loaded(older: int = 0, **failed: int) -> dict[str, Any]:
    kinds = {
        name: {"requests": 3000, "failed": [[1.0, "cut"]] * failed.get(name, 0), "reopened": 20, "again": 1, "slowest_s": 0.12}
        for name in ("new", "http1", "http2")
    }  # fmt: skip
    return part(kinds=kinds, seconds=30.1, changes_s=[0.3, 0.4], handshakes=900, older=older)


def rows(kept: dict[str, Any], *begin: str) -> list[list[str]]:
    lines = (line for line in certificate_figures.text(kept, []).splitlines() if line.startswith("|"))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[: len(begin)] == list(begin)]


SAVED = "certificate saved on the active → served by the passive"


def test_a_limit_is_for_the_median_of_saves_and_for_the_worst_first_issue() -> None:
    good = {
        "saves": part(certificate_s=[0.1, 0.2, 9.0], configuration_s=[0.6]),
        "issue": part(issue_s=[4.0, 14.9]),
    }
    assert rows(good, SAVED) == [[SAVED, "3", "0.20 s", "9.00 s", "median 0.5 s", "met"]]
    assert rows(good, SAVED.replace("certificate", "haproxy.cfg"))[0][-1] == "**missed**"
    assert rows(good, certificate_figures.TIMES[4].what)[0][-1] == "met"
    assert rows({"issue": part(issue_s=[4, 15.1])}, certificate_figures.TIMES[4].what)[0][-1] == "**missed**"


def test_one_failed_request_of_one_kind_is_missed_for_that_kind() -> None:
    found = rows({"swap": loaded(http2=1)}, "certificate swapped")
    assert [row[1:] for row in found[:3]] == [
        ["new TLS", "2", "30", "3000", "0", "20", "1", "120.0 ms", "0 failed", "met"],
        ["kept HTTP/1.1", "2", "30", "3000", "0", "20", "1", "120.0 ms", "0 failed", "met"],
        ["kept HTTP/2", "2", "30", "3000", "1", "20", "1", "120.0 ms", "0 failed", "**missed**"],
    ]


def test_one_handshake_with_an_older_certificate_is_missed() -> None:
    assert rows({"reload": loaded()}, "configuration reloaded", "900") == [
        ["configuration reloaded", "900", "0", "0", "met"]
    ]
    (found,) = rows({"reload": loaded(older=1)}, "configuration reloaded", "900")
    assert found[-1] == "**missed**"


def test_what_was_not_run_is_said() -> None:
    assert rows({}, SAVED) == [[SAVED, "0", "", "", "median 0.5 s", "not run"]]
    assert all(row[-1] == "not run" for row in rows({}, "certificate swapped"))
