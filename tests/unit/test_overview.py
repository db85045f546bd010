"""HAProxy in figures, and the last failover by the agents' own words."""

from __future__ import annotations

import pytest

from lbkit import overview, report, servers
from lbkit.hand import journal, looking
from lbkit.hand import overview as look

SILENT = {
    "servers": {"stat": None, "state": None, "record": {}},
    **dict.fromkeys(("info", "frontends", "workers", "served", "booted", "sync")),
    "roles": [],
}
INFO = "Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nUptime_sec: 7200\n"
FRONTENDS = "# pxname,svname,scur,req_tot,hrsp_5xx,req_rate\nweb,FRONTEND,3,1200,4,7\nlbkit-health,FRONTEND,1,9,0,10\n"


def roles(*lines):
    return overview.Overview(None, None, tuple(lines))


def test_figures_are_of_the_clients_frontends_alone():
    found = overview.of({**SILENT, "info": INFO, "frontends": FRONTENDS, "workers": 2})
    assert found.haproxy == overview.HaProxy("2.6.12", 7200, 2, 3, 1200, 4, 7)
    assert overview.haproxy_rows({"lb-1": found, "lb-2": None})[1:] == [
        ("lb-1", "2.6.12", "2h", "2", "3", "7", "4 of 1,200", "none", "unknown")
    ]
    silent = overview.of(SILENT)
    assert (silent.haproxy, silent.servers) == (None, None)
    assert overview.haproxy_rows({"lb-1": silent})[1] == ("lb-1", *"??????", "none", "unknown")
    assert overview.haproxy_rows({"lb-1": None}) == []


def test_requests_a_second_are_counted_before_status_itself_asks_the_frontend(monkeypatch):
    asked = []
    monkeypatch.setattr(looking, "stats", lambda _socket, text: asked.append(text) or "")
    monkeypatch.setattr(looking, "handshake", lambda _page: asked.append("handshake"))
    for beside in ("sync", "workers"):
        monkeypatch.setattr(look, beside, lambda: None)
    monkeypatch.setattr(journal, "logs", lambda _asked: {"lines": []})
    look.overview({"tls": True})
    assert asked.index("show stat -1 1 -1") < asked.index("handshake")


def test_a_haproxy_that_hangs_is_waited_for_once(monkeypatch):
    asked = []

    def silence(_socket, text):
        asked.append(text)
        raise TimeoutError

    monkeypatch.setattr(looking, "stats", silence)
    monkeypatch.setattr(looking, "handshake", lambda _page: asked.append("handshake"))
    for beside in ("sync", "workers"):
        monkeypatch.setattr(look, beside, lambda: None)
    monkeypatch.setattr(journal, "logs", lambda _asked: {"lines": []})
    found = overview.of(look.overview({"tls": True}))
    assert asked == ["show info"]
    assert (found.haproxy, found.servers, found.certificate_hours) == (None, None, None)


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"peers": {"lb-2": {"behind": {}}}}, "sends"),
        ({"peers": {"lb-2": {"behind": {"site": {}}}}}, "behind"),
        ({"in_charge": False}, "receives"),
        ({"conflicts": ["site"]}, "conflict"),
        ({"complaints": ["haproxy.cfg is broken"]}, "refused"),
    ],
)
def test_the_sync_is_told_in_a_word(said, word):
    usual = {"conflicts": [], "complaints": [], "in_charge": True, "peers": {}}
    assert overview.sync_word({**usual, **said}) == word


def test_the_last_failover_is_told_with_what_the_old_master_said():
    found = overview.last_failover(
        {
            "lb-1": roles(
                (10, "keepalived: MASTER"), (99.5, "unfit: HAProxy is dead"), (100.2, "keepalived: FAULT")
            ),
            "lb-2": roles((100, "keepalived: MASTER")),
            "lb-3": None,
        }
    )
    assert found == overview.Failover(100, "lb-1", "lb-2", "lb-1: HAProxy is dead")
    (line,) = report.failover_lines(found, "UTC")
    assert line == "Last failover: lb-1 to lb-2, 1970-01-01 00:01:40 +0000. lb-1: HAProxy is dead."


def test_what_was_said_long_before_is_no_reason():
    lines = {
        "lb-1": roles((10, "keepalived: MASTER"), (20, "unfit: HAProxy is dead")),
        "lb-2": roles((100, "keepalived: MASTER")),
    }
    assert overview.last_failover(lines).why == "lb-1 said nothing: its machine or its network was gone"
    lines["lb-1"] = roles((10, "keepalived: MASTER"), (99, "keepalived: STOPPED"))
    assert overview.last_failover(lines).why == "lb-1: its keepalived was stopped"


def test_what_was_said_after_a_failover_is_no_reason_of_it():
    lines = {
        "lb-1": roles(
            (10, "keepalived: MASTER"), (100.1, "keepalived: STOPPED"), (101, "unfit: HAProxy hangs")
        ),
        "lb-2": roles((100, "keepalived: MASTER")),
    }
    assert overview.last_failover(lines).why == "lb-1: its keepalived was stopped"


@pytest.mark.parametrize(
    ("late_s", "booted", "why"),
    [
        (0.2, None, "lb-1: HAProxy was stopped"),
        (7, 5, "lb-1: HAProxy was stopped"),  # the machine was busy, or systemd had to start the agent anew
        (7, 103, "lb-1 said nothing: its machine or its network was gone"),  # up again, HAProxy not yet
        (90, 5, "lb-1 said nothing: its machine or its network was gone"),
    ],
)
def test_an_agent_that_came_late_with_the_reason_is_heard_unless_its_machine_was_gone(late_s, booted, why):
    said = [(10, "keepalived: MASTER"), (100 + late_s, "keepalived: UNKNOWN")]
    lines = (*said, (100.01 + late_s, "unfit: HAProxy was stopped"))
    found = {
        "lb-1": overview.Overview(None, None, lines, booted),
        "lb-2": roles((100, "keepalived: MASTER")),
    }
    assert overview.last_failover(found).why == why


def test_a_fault_well_after_the_role_was_given_up_is_another():
    lines = {
        "lb-1": roles(
            (10, "keepalived: MASTER"), (100.1, "keepalived: BACKUP"), (109, "unfit: HAProxy hangs")
        ),
        "lb-2": roles((100, "keepalived: MASTER")),
    }
    assert overview.last_failover(lines).why == "lb-1: keepalived gave the role up"


def test_a_host_that_was_master_for_a_moment_beside_another_is_not_taken_for_the_failover_after_it():
    """Both are elected when they start at once; the one with the lower priority yields."""
    lines = {
        "lb-1": roles((10, "keepalived: MASTER")),
        "lb-2": roles((11, "keepalived: MASTER"), (12, "keepalived: BACKUP")),
    }
    back = overview.last_failover(lines)
    assert back == overview.Failover(12, "lb-2", "lb-1", "lb-2: keepalived gave the role up")
    left = ((29.9, "unfit: HAProxy was stopped"), (30, "keepalived: BACKUP"))
    lines = {
        "lb-1": roles((10, "keepalived: MASTER"), *left),
        "lb-2": roles((11, "keepalived: MASTER"), (12, "keepalived: BACKUP"), (30.1, "keepalived: MASTER")),
    }
    assert overview.last_failover(lines) == overview.Failover(
        30.1, "lb-1", "lb-2", "lb-1: HAProxy was stopped"
    )


@pytest.mark.parametrize("before", ["unfit: HAProxy hangs", "keepalived: HUNG", "keepalived: BACKUP"])
def test_what_was_said_until_a_host_became_master_is_no_reason_why_it_left(before):
    lines = {
        "lb-1": roles((89, before), (90, "keepalived: MASTER")),
        "lb-2": roles((100, "keepalived: MASTER")),
    }
    assert overview.last_failover(lines).why == "lb-1 said nothing: its machine or its network was gone"


def test_an_agent_that_starts_and_does_not_know_yet_is_still_master():
    lines = {
        "lb-1": roles((10, "keepalived: MASTER")),
        "lb-2": roles((100, "keepalived: MASTER"), (200, "keepalived: UNKNOWN"), (201, "keepalived: MASTER")),
    }
    assert overview.last_failover(lines).at == 100


@pytest.mark.parametrize("how", ["failed (exited with status 1)", "timed_out"])
def test_where_the_agent_was_silent_keepalived_says_why(how):
    lines = {
        "lb-1": roles((10, "keepalived: MASTER"), (99, f"VRRP_Script(check_haproxy) {how}")),
        "lb-2": roles((100, "keepalived: MASTER")),
    }
    why = f"lb-1: HAProxy's check by keepalived {how.partition(' ')[0].replace('_', ' ')}"
    assert overview.last_failover(lines).why == why
    gave_up = (*lines["lb-1"].roles, (100, "keepalived: BACKUP"))
    assert overview.last_failover({**lines, "lb-1": roles(*gave_up)}).why == why
    agent = (*gave_up, (99.5, "unfit: HAProxy was stopped"))
    assert overview.last_failover({**lines, "lb-1": roles(*agent)}).why == "lb-1: HAProxy was stopped"


def test_an_agent_that_says_again_what_it_is_makes_no_failover():
    assert (
        overview.last_failover({"lb-1": roles((1, "keepalived: MASTER"), (9, "keepalived: MASTER"))}) is None
    )
    assert overview.last_failover({"lb-1": None}) is None


def test_a_server_that_is_down_shows_why_on_whichever_host():
    up = servers.View("ready", "UP", 7200, "L7OK", 0, 1, "")
    down = servers.View("ready", "DOWN", 30, "L4CON Connection refused", 0, 1, "")
    seen = {
        name: overview.Overview(None, {"apps/app-1": one}, ()) for name, one in (("lb-1", up), ("lb-2", down))
    }
    assert overview.server_rows(seen) == [
        ("server", "lb-1", "lb-2", "last check"),
        ("apps/app-1", "UP 2h", "DOWN 30s", "L4CON Connection refused"),
    ]
