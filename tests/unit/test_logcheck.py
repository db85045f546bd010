"""Errors in the logs: what is one, and what is over."""

from __future__ import annotations

import pytest

from lbkit import logcheck, logs
from lbkit.since import Since


def lines(*texts: str, priority: int = 6) -> list[logs.Line]:
    return [logs.Line(n, "lb-1", "u", priority, text) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("error", "over", "not_over"),
    [
        ("Server apps/app-1 is DOWN, reason: …", "Server apps/app-1 is UP, reason: …", "Server apps/app-2 is UP"),
        ("backend apps has no server available!", "Server apps/app-1 is UP", "Server other/app-1 is UP"),
        ("trouble: api: no right", "over: api: no right", "over: haproxy: no right"),
        ("alarm: sync: x [ALERT] y", "over: sync: x [ALERT] y", "over: certificate-site: x"),
        ("alarm: sync-conflict-haproxy.cfg: x", "over: sync-conflict-haproxy.cfg: x", "over: sync: x"),
        (
            "haproxy.cfg is neither loaded nor sent: [ALERT] (1) : config : x",
            "haproxy.cfg was changed here",
            "site was changed here",
        ),
        (
            "haproxy.cfg is neither loaded nor sent: [ALERT] x",
            "lb-2 watches",
            "[NOTICE] Loading success.",
        ),
        ("refused haproxy.cfg from lb-1: [ALERT] x", "received haproxy.cfg from lb-1", "received site from lb-1"),
        ("[ALERT] (12) : config : parsing [/etc/haproxy/haproxy.cfg:3]", "[NOTICE] (14) : Loading success.", "x"),
        ("Failed to start haproxy.service - HAProxy", "[NOTICE] (14) : New worker (15) forked", "x"),
        ("unfit: HAProxy is dead", "fit: HAProxy serves", "unfit: HAProxy hangs"),
        ("AssociateAddress 3 failed after 20 ms (503): …", "AssociateAddress 4 done in 9 ms", "leaves: x"),
        (
            "[ALERT] (12) : Current worker (13) exited with code 137 (Killed)",
            "[NOTICE] (14) : Loading success.",
            "x",
        ),
        ("Failed to start haproxy.service - HAProxy", "Started haproxy.service - HAProxy", "Started cron.service"),
    ],
)  # fmt: skip
def test_an_error_is_over_when_its_end_is_told_after_it(error, over, not_over):
    wrong, good, other = (lines(text)[0] for text in (error, over, not_over))
    alert = logs.Line(1, "lb-1", "u", 3, wrong.text)
    after = logs.Line(2, "lb-1", "u", 6, good.text)
    assert logcheck.judge([alert, after]).errors == ()
    assert logcheck.judge([logs.Line(0, "lb-1", "u", 6, good.text), alert]).errors == (alert,)
    assert alert in logcheck.judge([alert, logs.Line(2, "lb-1", "u", 6, other.text)]).errors


@pytest.mark.parametrize(
    ("text", "servers", "over"),
    [
        ("backend apps has no server available!", {"apps/a": "DOWN", "apps/b": "UP"}, True),
        ("backend apps has no server available!", {"apps/a": "DOWN", "other/b": "UP"}, False),
        ("backend apps has no server available!", {"other/b": "DOWN"}, True),
        ("backend apps has no server available!", None, False),
        ("Server apps/a is DOWN, reason: …", {"apps/a": "UP"}, True),
        ("Server apps/a is DOWN, reason: …", {"apps/a": "MAINT"}, True),
        ("Server apps/a is DOWN, reason: …", {"apps/a": "DOWN 1/2", "apps/b": "UP"}, False),
        ("Server apps/a is DOWN, reason: …", {}, True),
        ("[ALERT] (1) : config : x", {"apps/a": "UP"}, False),
    ],
)
def test_a_server_that_is_up_now_or_no_more_is_no_error_though_no_line_says_so(text, servers, over):
    alert = logs.Line(1, "lb-1", "haproxy", 3, text)
    assert (logcheck.judge([alert], servers).errors == ()) is over


def test_what_is_no_error_is_counted_as_read():
    judged = logcheck.judge(lines("fit: HAProxy serves", "keepalived: MASTER"))
    assert (judged.lines, judged.errors) == (2, ())
    assert logcheck.sentence(judged) == "2 lines, no error that is not over"


def test_the_word_that_something_is_over_is_no_error_though_it_repeats_it():
    (line,) = lines("over: sync: haproxy.cfg is not valid: [ALERT] (1) : config : x")
    assert logcheck.judge([line]).errors == ()


@pytest.mark.parametrize(
    "text",
    [
        "Server apps/app-1 is going DOWN for maintenance. 1 active and 0 backup servers left.",
        "[ALERT]    (333) : sendmsg()/writev() failed in logger #1: No such file or directory (errno=2)",
    ],
)
def test_what_somebody_did_on_purpose_is_no_error(text):
    assert logcheck.judge(lines(text, priority=1)).errors == ()


def test_an_alert_on_standard_error_counts_whatever_its_priority():
    judged = logcheck.judge(lines("[ALERT] (1) : cannot bind", "fine", "[ALERT] (2) : again"))
    assert len(judged.errors) == 2
    assert logcheck.sentence(judged) == "[ALERT] (2) : again (and 1 more)"


class Journal:
    """A session whose journal has these rows, by whether a moment was named."""

    def __init__(self, recent, ever):
        self.recent, self.ever = recent, ever

    def call(self, _op, since, **_asked):
        return {"lines": self.recent if since.get("at") else self.ever}


def test_a_unit_without_any_line_is_unknown_and_one_that_was_quiet_is_not():
    row = [1, "lbkit-agent.service", 6, "fit: HAProxy serves"]
    assert logcheck.read("lb-1", Journal([], []), "agent", Since(at=5.0)) is None
    assert logcheck.read("lb-1", Journal([], [row]), "agent", Since(at=5.0)) == logcheck.Judged(0, ())
    assert logcheck.read("lb-1", Journal([row], [row]), "agent", Since(at=5.0)) == logcheck.Judged(1, ())
