"""Journals as one: what is asked for, in which order lines come, what is told of hosts."""

from __future__ import annotations

import os
import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from lbkit import errors, logs, since
from lbkit.hand import journal

ZONE = "Asia/Seoul"
NOW = datetime(2026, 11, 21, 14, 0, tzinfo=ZoneInfo(ZONE)).timestamp()
HOUR = 3600


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("30s", since.Since(ago_s=30)),
        ("10m", since.Since(ago_s=600)),
        ("10 min", since.Since(ago_s=600)),
        ("2h", since.Since(ago_s=7200)),
        ("1d", since.Since(ago_s=86400)),
        ("13:30", since.Since(at=NOW - HOUR / 2)),
        ("13:30:30", since.Since(at=NOW - HOUR / 2 + 30)),
        ("15:00", since.Since(at=NOW - 23 * HOUR)),
        ("today", since.Since(at=NOW - 14 * HOUR)),
        ("yesterday", since.Since(at=NOW - 38 * HOUR)),
        ("2026-11-21 12:00", since.Since(at=NOW - 2 * HOUR)),
        ("2026-11-21T12:00:00", since.Since(at=NOW - 2 * HOUR)),
        ("2026-11-21", since.Since(at=NOW - 14 * HOUR)),
    ],
)
def test_a_moment_is_read_in_the_pairs_time_zone(text, wanted):
    assert since.parse(text, ZONE, NOW) == wanted


@pytest.mark.parametrize("text", ["", "soon", "10 parsecs", "25:00", "2026-13-01", "-5m"])
def test_what_is_no_time_is_refused_with_what_is(text):
    with pytest.raises(errors.Refused, match="Next: 30s, 10m"):
        since.parse(text, ZONE, NOW)


def test_a_period_ends_after_its_begin():
    assert since.period("10m", None, ZONE, NOW) == (since.Since(ago_s=600), None)
    assert since.period("13:30", "13:40", ZONE, NOW) == (
        since.Since(at=NOW - HOUR / 2),
        since.Since(at=NOW - HOUR / 3),
    )
    for begin, end in (("10m", "10m"), ("13:40", "13:30"), ("5m", "1h")):
        with pytest.raises(errors.Refused, match=r"not after --since.*\n.*Next: "):
            since.period(begin, end, ZONE, NOW)
    with pytest.raises(errors.Refused, match="--until 'soon' is no time"):
        since.period(None, "soon", ZONE, NOW)


def test_every_unit_is_asked_for_and_an_unknown_one_lists_those_there_are():
    assert "lbkit-agent.service" in logs.question("all", None, None).units
    assert logs.question("haproxy", None, None).units == ("haproxy.service",)
    with_file = {unit for unit in (*logs.UNITS, "all") if logs.question(unit, None, None).requests}
    assert with_file == {"haproxy", "all"}
    with pytest.raises(errors.Refused, match="one of haproxy, keepalived, agent, sync, certbot, all"):
        logs.question("nginx", None, None)
    with pytest.raises(errors.Refused, match="no regular expression"):
        logs.question("all", None, "(")


class Fake:
    """A session that answers with these lines."""

    def __init__(self, *lines, more=False):
        self.lines, self.more = lines, more

    def call(self, _op, **_asked):
        return {"lines": list(self.lines), "cursor": None, "more": self.more, "time": 1.0}


def test_lines_of_both_hosts_are_in_time_order_and_a_host_that_is_down_is_named():
    opened = {
        "lb-1": Fake([1, "haproxy.service", 6, "a"], [4, "lbkit-agent.service", 3, "d"]),
        "lb-2": Fake([2, "keepalived.service", 6, "b"], [3, "lbkit-sync.service", 6, "c"], more=True),
        "lb-3": errors.Unreachable("lb-3: no ssh"),
    }
    found = logs.read(opened, logs.question("all", None, None), 10)
    assert [(one.text, one.host, one.unit) for one in found.lines] == [
        ("a", "lb-1", "haproxy"),
        ("b", "lb-2", "keepalived"),
        ("c", "lb-2", "sync"),
        ("d", "lb-1", "agent"),
    ]
    assert found.missing == {"lb-3": "lb-3: no ssh"}
    assert found.more == ("lb-2",)


def test_followed_lines_wait_for_older_ones_of_the_other_host(cluster, monkeypatch):
    """The sessions are not real: each tells what it has and stays open."""

    class Open:
        def __init__(self, host):
            self.host = host

        def call(self, _op, say, **_asked):
            if self.host.name == "lb-2":
                time.sleep(logs.SETTLE_S / 3)
                say("lb-2", {"lines": [[1, "haproxy.service", 6, "first"]], "cursor": "x", "place": None})
            else:
                say("lb-1", {"lines": [[2, "haproxy.service", 6, "second"]], "cursor": "x", "place": None})
            time.sleep(60)

        def close(self):
            pass

    monkeypatch.setattr(logs.remote, "open_session", Open)
    stream = logs.follow(cluster.hosts[:2], logs.question("all", None, None), {})
    assert [next(stream).text, next(stream).text] == ["first", "second"]
    stream.close()


def test_a_line_reads_with_its_time_host_and_unit():
    line = logs.Line(int(NOW * 1e6) + 7000, "lb-1", "agent", 6, "moves\nmore")
    assert logs.shown(line, ZONE, 6) == "11-21 14:00:00.007 lb-1   agent      moves\n    more"
    assert logs.as_json(line, ZONE)["at"] == "2026-11-21T14:00:00.007000+09:00"


def test_an_expression_filters_and_a_message_of_bytes_is_read():
    entry = {"MESSAGE": list("ok \xff".encode("latin-1")), "__REALTIME_TIMESTAMP": "5", "_SYSTEMD_UNIT": "u"}
    row = journal.row_of(entry)
    assert row == [5, "u", 6, "ok �"]
    assert journal.is_wanted(row, {"grep": "^ok"})
    assert not journal.is_wanted(row, {"grep": "no"})
    about = {**entry, "OBJECT_SYSTEMD_UNIT": "lbkit-cert-renew.service"}
    assert journal.row_of(about)[1] == "lbkit-cert-renew.service"


def test_following_ends_with_the_operators_side(monkeypatch):
    """journalctl is a process that never ends by itself."""
    import subprocess

    made = []

    def journalctl(_request, *_words):
        made.append(subprocess.Popen(["sleep", "600"], stdout=subprocess.PIPE))
        return made[0]

    monkeypatch.setattr(journal, "journalctl", journalctl)
    ours, theirs = os.pipe()
    os.close(theirs)
    assert journal.follow({"grep": None}, print, source=ours) == {}
    assert made[0].returncode is not None
    os.close(ours)
