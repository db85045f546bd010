"""The verdict over what was read: unknown is not absent."""

from __future__ import annotations

from lbkit import report, status

GONE = (
    "lb-2: no ssh to 10.0.0.2 port 22 (no answer); nothing was changed there.\nNext: look,\n      then again."
)


def row(host, vrrp, holds=None):
    return status.Row(host, "active", vrrp, holds, "active", "active", (2, 2))


def test_host_that_does_not_answer_is_named_with_its_reason_and_the_service_with_what_is_known():
    found = status.judge([row("lb-1", "MASTER", True), row("lb-2", "UNKNOWN")], {"lb-2": GONE}, None)
    assert found.verdict == (
        "lb-2: no ssh to 10.0.0.2 port 22 (no answer); nothing was changed there. lb-1 serves alone."
    )
    assert not found.whole


def test_nobody_read_is_not_nobody_serving():
    found = status.judge([row("lb-1", "UNKNOWN"), row("lb-2", "UNKNOWN")], {"lb-2": GONE, "lb-1": GONE}, None)
    assert "lb-1 could not be read either. whether anyone serves is unknown." in found.verdict.replace(
        "W", "w"
    )
    assert "nobody" not in found.verdict


def test_a_next_step_of_several_lines_reads_as_one():
    assert report.wrapped("  ", "look,\n      then again.") == ["  look, then again."]


def test_a_trouble_of_an_agent_is_the_verdict_where_nothing_worse_is():
    denied = status.Row(
        "lb-2", "passive", "BACKUP", False, "active", "active", (2, 2), "leaves", (("api", "no right"),)
    )
    found = status.judge([row("lb-1", "MASTER", True), denied], {}, None)
    assert (found.whole, found.verdict) == (False, "lb-2: no right.")
    passing = status.Row(
        "lb-2", "passive", "BACKUP", False, "active", "active", (2, 2), "leaves", (("haproxy", "x"),)
    )
    assert status.judge([row("lb-1", "MASTER", True), passing], {}, None).whole
