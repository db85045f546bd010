"""The verdict over what was read: unknown is not absent."""

from __future__ import annotations

import dataclasses

from lbkit import errors, observe, pair, plan, report, since, status, verdict, verify
from lbkit.hand import reading

GONE = "lb-2: no ssh to 10.0.0.2 port 22 (no answer).\nNext: look,\n      then again."


def row(host, vrrp, holds=None):
    return verdict.Row(host, "active", vrrp, holds, "active", "active", (2, 2))


def test_no_host_is_waited_for_longer_than_somebody_on_call_has_time(cluster):
    slow = cluster.host("lb-1").replace(connect_timeout_s=60, banner_timeout_s=60)
    hurried = status.hurried(slow)
    assert max(hurried.connect_timeout_s, hurried.banner_timeout_s) < 3
    quick = slow.replace(connect_timeout_s=1, banner_timeout_s=1)
    assert status.hurried(quick) == quick


def test_host_that_does_not_answer_is_named_with_its_reason_and_the_service_with_what_is_known():
    found = verdict.judge([row("lb-1", "MASTER", True), row("lb-2", "UNKNOWN")], {"lb-2": GONE}, None)
    assert found.verdict == ("lb-2: no ssh to 10.0.0.2 port 22 (no answer). lb-1 serves.")
    assert not found.whole


def test_nothing_is_known_of_a_host_that_does_not_answer_and_rows_keep_the_inventorys_order(
    cluster, monkeypatch
):
    seen = plan.Seen((), {"addresses": {"lan0": []}, "units": {"keepalived.service": "active"}})
    other = pair.node(cluster, cluster.host("lb-2"), (), seen)
    picture = observe.Picture(cluster, (other,), {"lb-1": GONE.replace("lb-2", "lb-1")})
    monkeypatch.setattr(observe, "read", lambda *_: picture)
    monkeypatch.setattr(status, "row", lambda node, *_: row(node.host.name, "BACKUP"))
    first, second = status.of(cluster, {"lb-1": None, "lb-2": None}).rows
    assert (first.host, second.host) == ("lb-1", "lb-2")
    assert (first.vrrp, first.holds, first.servers) == ("UNKNOWN", None, None)
    assert (first.agent, first.haproxy, first.keepalived) == ("unknown", "unknown", "unknown")


def test_nobody_read_is_not_nobody_serving():
    found = verdict.judge(
        [row("lb-1", "UNKNOWN"), row("lb-2", "UNKNOWN")], {"lb-2": GONE, "lb-1": GONE}, None
    )
    assert "lb-1 could not be read either. whether anyone serves is unknown." in found.verdict.replace(
        "W", "w"
    )
    assert "nobody" not in found.verdict


def test_a_next_step_of_several_lines_reads_as_one():
    assert report.wrapped("  ", "look,\n      then again.") == ["  look, then again."]


def test_an_alarm_of_a_whole_pair_is_told_and_keeps_nobody_from_a_switchover():
    alarmed = dataclasses.replace(row("lb-2", "BACKUP", False), alarms=(("site expired", "inv cert.renew"),))
    found = verdict.judge([row("lb-1", "MASTER", True), alarmed], {}, None)
    assert (found.whole, found.well) == (True, False)
    assert found.verdict == ("The pair is whole: lb-1 serves, lb-2 stands by. But on lb-2: site expired.")
    assert found.next_step == "inv cert.renew"
    assert verdict.judge([row("lb-1", "MASTER", True), row("lb-2", "BACKUP", False)], {}, None).well


def test_a_trouble_of_an_agent_is_the_verdict_where_nothing_worse_is():
    denied = verdict.Row(
        "lb-2", "passive", "BACKUP", False, "active", "active", (2, 2), "leaves", (("api", "no right"),)
    )
    found = verdict.judge([row("lb-1", "MASTER", True), denied], {}, None)
    assert (found.whole, found.verdict) == (False, "lb-2: no right.")
    passing = verdict.Row(
        "lb-2", "passive", "BACKUP", False, "active", "active", (2, 2), "leaves", (("haproxy", "x"),)
    )
    assert verdict.judge([row("lb-1", "MASTER", True), passing], {}, None).whole


def test_a_server_that_is_down_is_named_with_what_its_check_says_and_no_command_sends_to_the_other():
    down = {"svname": "app-1", "addr": "10.77.11.11:8080", "last_chk": "Connection refused"}
    assert verify.way_to("lb-1", down) == (
        "start app-1 at 10.77.11.11:8080, or mend its way from lb-1 (its check says: Connection refused)"
    )
    rows = [verdict.Row("lb-1", "active", "MASTER", True, "active", "active", (1, 2)), row("lb-2", "BACKUP")]
    assert verdict.judge(rows, {}, None).next_step.startswith("inv verify, which names")


def test_a_pair_that_a_drill_has_broken_is_not_judged_by_what_else_is_wrong():
    broken = dataclasses.replace(row("lb-1", "MASTER"), broken="a failover test was cut off there")
    found = verdict.judge([broken, row("lb-2", "MASTER", holds=True)], {}, None)
    assert (found.verdict, found.whole) == ("lb-1: a failover test was cut off there.", False)
    assert found.next_step == "wait, then inv status"


DRAINED = {"state": "drain", "weight": None, "who": "op", "since": "today", "reason": "release"}


def test_a_server_that_is_held_on_all_hosts_is_told_and_is_no_fault():
    rows = [dataclasses.replace(row("lb-1", "MASTER", True), held={"apps/app-1": DRAINED})]
    rows.append(dataclasses.replace(row("lb-2", "BACKUP"), held={"apps/app-1": DRAINED}))
    found = verdict.judge(rows, {}, None)
    assert found.well
    assert "apps/app-1 is in drain since today by op: release." in found.verdict
    assert found.next_step == "inv backend.ready apps/app-1 ends it"


def test_a_server_that_is_held_on_one_host_alone_is_a_fault_that_keeps_nobody_from_a_switchover():
    rows = [
        dataclasses.replace(row("lb-1", "MASTER", True), held={"apps/app-1": DRAINED}),
        row("lb-2", "BACKUP"),
    ]
    found = verdict.judge(rows, {}, None)
    assert (found.whole, found.well) == (True, False)
    assert "but not on lb-2" in found.verdict
    assert found.next_step.startswith("inv backend.drain apps/app-1")


def test_a_pair_without_its_agent_or_its_sync_is_not_well():
    master = row("lb-1", "MASTER", True)
    found = verdict.judge([master, dataclasses.replace(row("lb-2", "BACKUP"), agent="failed")], {}, None)
    assert (found.whole, found.next_step) == (False, "inv setup")
    assert found.verdict.startswith("lbkit-agent is failed on lb-2")
    found = verdict.judge([dataclasses.replace(master, sync="inactive"), row("lb-2", "BACKUP")], {}, None)
    assert (found.whole, found.well, found.next_step) == (True, False, "inv setup")
    assert found.verdict.endswith("But lbkit-sync is inactive on lb-1.")


def test_maintenance_does_not_hide_what_is_wrong_on_the_host_in_sole_charge():
    alarmed = dataclasses.replace(
        row("lb-1", "MASTER", True), alarms=(("haproxy.cfg is not valid", "mend it"),)
    )
    out = dataclasses.replace(row("lb-2", "FAULT"), maintenance="in maintenance since 12:00")
    found = verdict.judge([alarmed, out], {}, None)
    assert "But on lb-1: haproxy.cfg is not valid." in found.verdict
    assert found.next_step == "mend it; inv maintenance off --host lb-2"


def test_a_set_up_at_work_is_told_first_and_no_other_is_proposed_beside_it():
    lock = {"who": "kim@desk", "since": "12:00", "command": "inv setup"}
    busy = dataclasses.replace(row("lb-1", "BACKUP"), at_work=status.at_work(lock))
    found = status.with_work(verdict.judge([busy, row("lb-2", "BACKUP")], {}, None))
    assert found.verdict.startswith("At work: inv setup by kim@desk since 12:00. Nobody is MASTER")
    assert found.next_step == "wait until it has ended, then inv status"
    assert status.at_work({**lock, "who": "lbkit-sync on this host"}) == ""


def test_a_host_is_asked_twice_for_all_that_is_shown_and_a_backup_once_more(cluster):
    """Each question is a way there and back, which to a host far away is what status takes."""

    class Host:
        def __init__(self, addresses):
            self.asked, self.addresses = [], addresses

        def call(self, op, **_more):
            self.asked.append(op)
            units = dict.fromkeys(reading.ALWAYS, "active")
            facts = {
                "addresses": {"lan0": self.addresses},
                "units": units,
                "keys": {"public": [], "host_keys": []},
            }
            views = {"stat": None, "state": None, "record": {}}
            silent = dict.fromkeys(("info", "frontends", "workers", "served", "booted", "sync"))
            answers = {"read": {"items": [], "facts": facts}, "vrrp_state": "BACKUP"}
            return answers.get(op, {"servers": views, "roles": [], **silent})

    address = f"{cluster.address.ip}/24"
    opened = {"lb-1": Host([address]), "lb-2": Host([])}
    found = status.of(cluster, opened, figures=True)
    assert [row.holds for row in found.rows] == [True, False]
    assert opened["lb-1"].asked == ["read", "overview"]
    assert sorted(opened["lb-2"].asked) == ["overview", "read", "vrrp_state"]


def test_a_host_that_falls_silent_while_it_is_looked_at_is_a_row_of_its_own_and_is_asked_no_more(cluster):
    class Host:
        def __init__(self, addresses, silent):
            self.addresses, self.silent, self.asked = addresses, silent, []

        def call(self, op, **_more):
            self.asked.append(op)
            if op == "read":
                units = dict.fromkeys(reading.ALWAYS, "active")
                keys = {"public": [], "host_keys": []}
                facts = {"addresses": {"lan0": self.addresses}, "units": units, "keys": keys}
                return {"items": [], "facts": facts}
            if self.silent:
                raise errors.Unreachable("lb-2: no sign of life for 20 s.\nNext: is it up?")
            views = {"stat": None, "state": None, "record": {}}
            nothing = dict.fromkeys(("info", "frontends", "workers", "served", "booted", "sync"))
            return {"servers": views, "roles": [], **nothing}

    opened = {"lb-1": Host([f"{cluster.address.ip}/24"], False), "lb-2": Host([], True)}
    found = status.of(cluster, opened, figures=True)
    assert [(row.vrrp, row.holds) for row in found.rows] == [("MASTER", True), ("UNKNOWN", None)]
    assert found.verdict.startswith(
        "lb-2: no sign of life for 20 s. lb-1 is MASTER. HAProxy on lb-1 does not"
    )
    assert opened["lb-2"].asked == ["read", "overview"]


def test_a_standby_that_sees_no_server_could_not_take_over_and_the_pair_is_not_whole():
    blind = dataclasses.replace(row("lb-2", "BACKUP", False), servers=(0, 2))
    found = verdict.judge([row("lb-1", "MASTER", True), blind], {}, None)
    assert (found.whole, found.well) == (False, False)
    assert found.verdict == "lb-2 could not take over: it sees 0 of 2 servers up."
    assert found.next_step.startswith("inv backend")
    less = dataclasses.replace(blind, servers=(1, 2))
    found = verdict.judge([row("lb-1", "MASTER", True), less], {}, None)
    assert (found.whole, found.well) == (True, False)
    assert found.verdict.endswith("But lb-2 sees 1 of 2 servers up.")


def test_where_the_holder_alone_sees_no_server_the_next_step_moves_service():
    blind = dataclasses.replace(row("lb-1", "MASTER", True), servers=(0, 2))
    found = verdict.judge([blind, row("lb-2", "BACKUP", False)], {}, None)
    assert found.next_step.startswith("inv switchover --to lb-2")


def test_haproxy_dead_on_all_hosts_is_nobody_serves_with_the_cause_that_is_known():
    broken = (("/etc/haproxy/haproxy.cfg is not valid: line 3", "inv sync.status"),)
    rows = [
        dataclasses.replace(row("lb-1", "MASTER", True), haproxy="failed", alarms=broken),
        dataclasses.replace(row("lb-2", "BACKUP", False), haproxy="failed", alarms=broken),
    ]
    found = verdict.judge(rows, {}, None)
    assert found.verdict == (
        "Nobody serves: HAProxy is failed on lb-1 and lb-2. /etc/haproxy/haproxy.cfg is not valid: line 3."
    )
    assert found.next_step.startswith("inv setup")


def test_a_dead_haproxy_is_told_with_the_fault_of_its_configuration_and_setup_mends_it():
    broken = (("/etc/haproxy/haproxy.cfg is not valid: line 3", "inv sync.status"),)
    dead = dataclasses.replace(row("lb-2", "BACKUP", False), haproxy="failed", alarms=broken)
    found = verdict.judge([row("lb-1", "MASTER", True), dead], {}, None)
    assert "haproxy.cfg is not valid: line 3." in found.verdict
    assert "inv setup" in found.next_step


def test_a_split_brain_is_looked_at_on_the_wire():
    found = verdict.judge([row("lb-1", "MASTER", True), row("lb-2", "MASTER", True)], {}, None)
    assert found.next_step.startswith("inv vrrp")


def test_a_host_that_is_silent_is_to_be_started_unless_it_refused_us():
    gone = {"lb-2": "lb-2: no ssh to 10.0.0.2 port 22 (no answer).\nNext: ssh -i key lb-2"}
    rows = [row("lb-1", "MASTER", True), row("lb-2", "UNKNOWN")]
    found = verdict.judge(rows, gone, None, {"lb-2"})
    assert found.verdict == (
        "lb-2: no ssh to 10.0.0.2 port 22 (no answer), and lb-1 hears no VRRP advert of it. lb-1 serves."
    )
    assert found.next_step == "is lb-2 up? Start it; if it is dead for good: inv setup --without lb-2"
    assert verdict.judge(rows, gone, None).next_step == "ssh -i key lb-2"
    backup = [row("lb-1", "BACKUP", False), row("lb-2", "UNKNOWN")]  # lb-2 may be MASTER, unseen
    assert verdict.judge(backup, gone, None, {"lb-2"}).next_step == "ssh -i key lb-2"


def test_the_last_host_that_answers_is_not_called_serving_where_its_haproxy_is_dead():
    dead = dataclasses.replace(row("lb-1", "MASTER", True), haproxy="failed")
    found = verdict.judge([dead, row("lb-2", "UNKNOWN")], {"lb-2": GONE}, None)
    assert found.verdict.endswith("lb-1 is MASTER, and its HAProxy is dead.")


def test_all_recorded_moments_are_shown_in_the_pairs_zone():
    entry = {"who": "kim", "reason": "", "since": "2026-11-21 19:34:49 +0000"}
    facts = observe.in_zone(
        {"maintenance": entry, "lock": None, "servers": {"apps/app-1": entry}, "units": {}}, "Asia/Seoul"
    )
    here = "2026-11-22 04:34:49 +0900"
    assert (facts["maintenance"]["since"], facts["servers"]["apps/app-1"]["since"]) == (here, here)
    assert (facts["lock"], facts["units"]) == (None, {})
    assert since.in_zone("just now", "Asia/Seoul") == "just now"
    assert since.stamp("Asia/Seoul").endswith(" +0900")
