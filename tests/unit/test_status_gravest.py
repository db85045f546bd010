"""Of several things that are wrong status tells the gravest first, and leaves none out."""

from __future__ import annotations

import dataclasses

import pytest

from lbkit import errors, status, sync, verdict
from lbkit.hand import telling

HANGS = (("haproxy", "HAProxy hangs: 3 questions without an answer"),)
RESTART = "sudo systemctl kill -s KILL haproxy"
ALARM = ("site expires in 2 d", "inv cert.renew")
BROKEN = ("/etc/haproxy/haproxy.cfg is not valid: line 3", "inv setup")
DRAINED = {"state": "drain", "weight": None, "who": "op", "since": "today", "reason": "release"}


def row(host, vrrp, holds=None, **more):
    one = verdict.Row(host, "active", vrrp, holds, "active", "active", (6, 6), "watches")
    return dataclasses.replace(one, **more)


def judge(lb_1=None, lb_2=None, missing=None, troubles=()):
    master, backup = row("lb-1", "MASTER", True), row("lb-2", "BACKUP", False)
    rows = [dataclasses.replace(master, **(lb_1 or {})), dataclasses.replace(backup, **(lb_2 or {}))]
    return verdict.judge(rows, missing or {}, None, troubles=troubles)


@pytest.mark.parametrize("host", ["lb-1", "lb-2"])
def test_a_haproxy_that_hangs_is_named_with_the_command_that_repairs_it(host):
    hung = {"servers": None, "troubles": HANGS, "agent": "unfit"}
    if host == "lb-2":
        found = judge(lb_2={**hung, "vrrp": "FAULT"})
        assert found.verdict == "HAProxy hangs on lb-2, the standby: 3 questions without an answer."
    else:
        found = judge(lb_1=hung)
        assert found.verdict == "HAProxy hangs on lb-1, the holder: 3 questions without an answer."
    assert (found.next_step, found.whole) == (f"on {host}: {RESTART}", False)


def test_a_haproxy_is_called_hung_also_where_its_agent_began_with_other_words():
    began = (("haproxy", "HAProxy does not serve (silent) for 0.7 s"),)
    found = judge(lb_1={"servers": None, "troubles": began})
    assert found.verdict == "HAProxy hangs on lb-1, the holder: it gives no answer."
    assert found.next_step == f"on lb-1: {RESTART}"


def test_a_haproxy_that_hung_and_answers_again_is_called_so_no_more():
    assert judge(lb_2={"troubles": HANGS}).well


def test_a_host_in_fault_is_told_with_what_its_agent_found():
    found = judge(lb_2={"vrrp": "FAULT", "troubles": (("haproxy", "HAProxy does not serve (503) for 3 s"),)})
    assert found.verdict == (
        "lb-2, the standby, is in FAULT: it cannot take over. HAProxy does not serve (503) for 3 s."
    )


def test_a_haproxy_that_hangs_on_the_only_host_that_is_left_is_not_called_serving():
    hung = row("lb-1", "MASTER", True, servers=None, troubles=HANGS)
    gone = {"lb-2": "lb-2: no ssh.\nNext: look"}
    found = verdict.judge([hung, row("lb-2", "UNKNOWN")], gone, None)
    assert found.verdict == (
        "lb-2: no ssh. lb-1 is MASTER. HAProxy hangs on lb-1, the holder: 3 questions without an answer."
    )
    assert found.next_step == f"on lb-1: {RESTART}; look"


def test_the_only_host_that_is_left_is_not_called_serving_where_its_haproxy_is_silent():
    silent = row("lb-1", "MASTER", True, servers=None)
    found = verdict.judge([silent, row("lb-2", "UNKNOWN")], {"lb-2": "lb-2: no ssh.\nNext: look"}, None)
    assert found.verdict == "lb-2: no ssh. lb-1 is MASTER. HAProxy on lb-1 does not answer on its socket."
    assert found.next_step.startswith("on lb-1: systemctl status haproxy; if it runs: sudo systemctl kill")


def test_nobody_is_master_and_a_haproxy_hangs_is_told_with_its_repair():
    rows = [row("lb-1", "FAULT", False, servers=None, troubles=HANGS), row("lb-2", "FAULT", False)]
    found = verdict.judge(rows, {}, None)
    assert found.verdict.startswith("Nobody is MASTER: clients get no answer. HAProxy hangs on lb-1")
    assert found.next_step.startswith(f"on lb-1: {RESTART}")


def test_a_mended_alarm_of_a_certificate_does_not_hide_a_broken_configuration():
    found = judge(lb_1={"alarms": (ALARM,)}, lb_2={"alarms": (BROKEN,)})
    assert found.verdict == (
        "The pair is whole: lb-1 serves, lb-2 stands by. But on lb-2: /etc/haproxy/haproxy.cfg is not valid: "
        "line 3. Also: on lb-1: site expires in 2 d."
    )
    assert found.next_step == "inv setup; then inv cert.renew"
    assert (found.whole, found.well) == (True, False)


def test_a_drain_that_is_missing_somewhere_does_not_hide_a_conflict_of_the_sync():
    conflict = sync.Trouble("lb-1", "haproxy.cfg was changed on several hosts", "inv sync.now --keep lb-1")
    found = judge(lb_1={"held": {"apps/app-1": DRAINED}}, troubles=(conflict,))
    first, second = found.verdict.split(" But ")[1].split(" Also: ")
    assert first == "the sync: lb-1: haproxy.cfg was changed on several hosts."
    assert "but not on lb-2" in second
    assert found.next_step.startswith("inv sync.now --keep lb-1; then inv backend.drain apps/app-1")


def test_a_conflict_is_told_once_and_with_how_it_is_settled():
    alarm = (telling.in_conflict("haproxy.cfg", ["the other"]), "inv sync.now --keep HOST")
    said = {
        "conflicts": {"haproxy.cfg": ["other"]},
        "complaints": [],
        "items": {},
        "in_charge": False,
        "peers": {},
    }
    troubles = sync.judge({"lb-1": {**said, "in_charge": True}, "lb-2": said}).troubles
    found = judge(lb_1={"alarms": (alarm,)}, lb_2={"alarms": (alarm,)}, troubles=troubles)
    ((what, next_step),) = found.things
    assert what.startswith("the sync: haproxy.cfg was changed on several hosts")
    assert next_step.startswith("inv sync.now --item haproxy.cfg --keep lb-1, or --keep lb-2")


def test_a_standby_without_servers_does_not_hide_a_full_disk_of_the_holder():
    full = ("the disk of / has only 30 MiB left", "on lb-1: sudo du -xh /")
    found = judge(lb_1={"alarms": (full,)}, lb_2={"servers": (0, 6)})
    assert found.verdict == (
        "lb-2 could not take over: it sees 0 of 6 servers up. "
        "Also: on lb-1: the disk of / has only 30 MiB left."
    )
    assert found.next_step.endswith("; then on lb-1: sudo du -xh /")


def test_the_holder_comes_before_the_standby_whatever_their_order_in_the_inventory():
    rows = [row("lb-1", "BACKUP", False, agent="failed"), row("lb-2", "MASTER", True, servers=(3, 6))]
    found = verdict.judge(rows, {}, None)
    assert found.verdict.startswith("3 of 6 servers are up. Also: lbkit-agent is failed on lb-1")


def test_of_many_things_three_are_told_and_the_others_are_counted():
    alarms = tuple((f"certificate {n} is old", f"inv cert.renew {n}") for n in range(5))
    found = judge(lb_1={"alarms": alarms})
    assert "certificate 2" in found.verdict
    assert "certificate 3" not in found.verdict
    assert found.verdict.endswith("And 2 more things.")
    assert found.next_step.endswith("inv cert.renew 2; then inv verify")
    assert len(found.things) == 5


def test_the_same_fault_is_told_once():
    alone = judge(lb_1={"servers": (5, 6)}, lb_2={"servers": (5, 6)})
    assert alone.verdict == "5 of 6 servers are up."
    dead = {"haproxy": "failed", "alarms": (BROKEN,), "servers": None, "vrrp": "FAULT"}
    found = judge(lb_2=dead)
    assert found.verdict == f"haproxy is failed on lb-2, the standby. {BROKEN[0]}."
    assert found.next_step == "inv plan, then inv setup, which puts back the inventory's haproxy.cfg"


def test_a_sync_that_is_not_level_keeps_the_pair_from_being_well():
    differs = sync.Trouble("lb-2", "haproxy.cfg differs: saved there, not compared yet", "inv sync.now", "x")
    found = judge(troubles=(differs,))
    assert (found.whole, found.well, found.next_step) == (True, False, "inv sync.now")
    assert found.verdict.endswith("But the sync: lb-2: haproxy.cfg differs: saved there, not compared yet.")


def test_a_broken_file_that_an_alarm_names_too_is_told_once():
    said = sync.Trouble("lb-2", BROKEN[0], "inv setup")
    assert judge(lb_2={"alarms": (BROKEN,)}, troubles=(said,)).verdict.count("line 3") == 1


def test_what_is_on_its_way_has_a_moment_to_arrive_and_what_was_refused_has_not(monkeypatch):
    waits = {"lb-2": {"behind": {"haproxy.cfg": {"why": "waits", "since": 1}}, "trouble": None}}
    one = {"in_charge": True, "conflicts": {}, "complaints": [], "items": {}, "peers": waits}
    on_its_way = sync.judge({"lb-1": one, "lb-2": {**one, "in_charge": False, "peers": {}}})
    refused = sync.State("lb-1", (sync.Trouble("lb-2", "haproxy.cfg is not valid", "inv setup"),), {})
    level = sync.State("lb-1", (), {})
    asked = []
    monkeypatch.setattr(sync, "of", lambda opened: asked.append(1) or level)
    assert sync.settled({}, 60, on_its_way) == level
    assert len(asked) == 1
    assert sync.settled({}, 60, refused) == refused
    assert len(asked) == 1
    monkeypatch.setattr(sync, "of", lambda opened: on_its_way)
    assert sync.settled({}, 0.1, on_its_way) == on_its_way


def test_a_backend_without_a_server_is_named():
    found = judge(lb_1={"servers": (2, 6), "without": ("apps",)}, lb_2={"servers": (2, 6)})
    assert found.verdict == "2 of 6 servers are up, and none of apps: its clients get 503."
    all_down = judge(lb_1={"servers": (0, 6), "without": ("apps", "web")})
    assert all_down.verdict.startswith("0 of 6 servers are up.")


def test_a_backend_has_no_server_where_those_that_are_wanted_are_down():
    view = status.behind.View("ready", "UP", 1, "", 0, 1, "")
    down = dataclasses.replace(view, status="DOWN")
    views = {"apps/app-1": down, "apps/app-2": down, "web/a": view, "old/a": view, "out/a": down}
    held = {"out/a": DRAINED}
    assert status.bare(views, held) == ("apps",)
    assert status.bare(None, {}) == ()


def test_an_address_that_was_left_on_the_standby_is_no_split_brain():
    left = "sudo ip address del 10.77.9.100/24 dev lan0"
    rows = [row("lb-1", "MASTER"), row("lb-2", "BACKUP", left=left)]
    found = verdict.judge(rows, {}, errors.Undecided("both carry\nNext: x"))
    assert found.verdict == (
        "The address was left on lb-2, whose keepalived is BACKUP: clients may reach either host."
    )
    assert (found.next_step, found.whole) == (f"on lb-2: {left}", False)
