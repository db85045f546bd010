"""Servers behind the pair: which one is meant, what is not the same everywhere, what is refused."""

from __future__ import annotations

import dataclasses

import pytest

from lbkit import errors, inventory, servers, servers_shown
from lbkit.inventory import Cluster

STAT = """# pxname,svname,scur,status,weight,lastchg,check_status,last_chk,addr,type
apps,app-1,3,DRAIN,5,60,L7OK,HTTP status check returned code <200>,10.0.0.1:80,2
apps,app-2,0,DOWN,1,7200,L4CON,Connection refused,10.0.0.2:80,2
lbkit-challenge,lb-1,0,no check,1,5,,,10.0.0.3:9090,2
"""
STATE = """1
# be_id be_name srv_id srv_name srv_admin_state
4 apps 1 app-1 8
4 apps 2 app-2 0
"""
ENTRY = {"state": "drain", "weight": None, "who": "op@vm", "since": "today", "reason": "release"}
UP = servers.View("ready", "UP", 60, "L7OK", 0, 1, "10.0.0.1:80")
DRAINED = dataclasses.replace(UP, state="drain", status="DRAIN")


def host(held=None, **views):
    named = {f"apps/{name.replace('_', '-')}": view for name, view in views.items()}
    return servers.HostView(named, {f"apps/{name}": entry for name, entry in (held or {}).items()})


def test_what_haproxy_says_is_read_and_its_own_backends_are_left_out():
    found = servers.host_view({"stat": STAT, "state": STATE, "record": {"apps/app-1": ENTRY}})
    assert found.views is not None
    assert list(found.views) == ["apps/app-1", "apps/app-2"]
    one = found.views["apps/app-1"]
    assert (one.state, one.status, one.sessions, one.weight, one.since_s) == ("drain", "DRAIN", 3, 5, 60)
    assert found.views["apps/app-2"].said == "L4CON Connection refused"
    assert servers.host_view({"stat": None, "state": None, "record": {}}).views is None


def test_the_same_on_all_hosts_is_no_difference():
    one = host({"app-1": ENTRY}, app_1=DRAINED, app_2=UP)
    assert servers.differences({"lb-1": one, "lb-2": one}) == []


@pytest.mark.parametrize(
    ("other", "said", "fix"),
    [
        (host(app_1=UP), "but not on lb-2", "inv backend.drain apps/app-1, or inv backend.ready"),
        (host({"app-1": {**ENTRY, "state": "maint"}}, app_1=DRAINED), "but not on lb-2", "inv backend.drain"),
        (host({"app-1": ENTRY}, app_1=UP), "but lb-2's HAProxy has it ready", "inv backend.drain apps/app-1"),
        (host({"app-1": ENTRY}, app_2=UP), "configured no more", "inv backend.ready apps/app-1"),
    ],
)
def test_what_is_done_on_one_host_alone_is_told_with_the_command_that_ends_it(other, said, fix):
    found = servers.differences({"lb-1": host({"app-1": ENTRY}, app_1=DRAINED), "lb-2": other})
    assert len(found) == 1
    assert said in found[0][0]
    assert fix in found[0][1]


def test_a_host_whose_haproxy_is_silent_is_judged_by_its_record_alone():
    silent = servers.HostView(None, {"apps/app-1": ENTRY})
    assert servers.differences({"lb-1": host({"app-1": ENTRY}, app_1=DRAINED), "lb-2": silent}) == []


def test_what_somebody_did_on_the_stats_page_is_told_for_it_ends_with_the_next_reload():
    found = servers.differences({"lb-1": host(app_1=DRAINED)})
    assert "by other means, until HAProxy reloads" in found[0][0]


def test_a_server_is_named_alone_or_with_its_backend_and_an_unknown_one_lists_those_there_are(
    cluster: Cluster,
) -> None:
    assert servers.resolve(cluster, "app-1") == "apps/app-1"
    assert servers.resolve(cluster, "apps/app-2") == "apps/app-2"
    assert servers.resolve(cluster, "old", also=["apps/old", "apps/app-1"]) == "apps/old"
    for name in ("app-9", "other/app-1", None):
        with pytest.raises(errors.Refused, match="name one of apps/app-1, apps/app-2"):
            servers.resolve(cluster, name)


def test_a_name_in_two_backends_is_refused_with_both(cluster: Cluster) -> None:
    again = inventory.backends.Backend(name="more", servers=cluster.haproxy.backends[0].servers)
    haproxy = cluster.haproxy.replace(backends=(*cluster.haproxy.backends, again))
    both = cluster.replace(haproxy=haproxy)
    with pytest.raises(errors.Refused, match=r"several backends.*\nNext: name one of apps/app-1, more/app-1"):
        servers.resolve(both, "app-1")


def test_the_last_server_that_takes_requests_stays_unless_it_is_wanted_expressly():
    hosts = {"lb-1": host(app_1=UP, app_2=DRAINED)}
    for order in (servers.Order("drain"), servers.Order("maint"), servers.Order("ready", weight=0)):
        with pytest.raises(errors.Refused, match=r"last server of apps.*lb-1"):
            servers.refuse_last("apps/app-1", order, hosts)
        servers.refuse_last("apps/app-1", dataclasses.replace(order, anyway=True), hosts)
        servers.refuse_last("apps/app-2", order, hosts)
    servers.refuse_last("apps/app-1", servers.Order("ready"), hosts)
    servers.refuse_last("apps/app-1", servers.Order("drain"), {"lb-1": servers.HostView(None, {})})


def test_a_weight_leaves_a_drain_as_it_stands_and_ready_ends_both():
    drained = servers.entry_of(servers.Order("drain", reason="x"), None, "kim@desk")
    assert (drained["state"], drained["weight"], drained["reason"]) == ("drain", None, "x")
    weighed = servers.entry_of(servers.Order("ready", weight=7), drained, "kim@desk")
    assert (weighed["state"], weighed["weight"]) == ("drain", 7)
    assert servers.entry_of(servers.Order("maint"), weighed, "kim@desk")["weight"] == 7
    assert servers.entry_of(servers.Order("ready"), weighed, "kim@desk") is None


def test_one_session_is_one():
    assert servers.sessions_open(1, " still") == "1 session is still open"
    assert servers.sessions_open(2) == "2 sessions are open"


def test_the_end_of_a_drain_is_told_with_what_is_left_to_do():
    done = servers.Done(
        "apps/app-1", "drain", None, ("lb-1",), (), ("lb-1",), {"lb-2": "lb-2: no ssh.\nNext: look"}, 2, 60
    )
    text = " ".join(" ".join(servers_shown.done(done)).split())
    assert "apps/app-1 is in drain on lb-1: no new client comes to it." in text
    assert "haproxy.cfg on lb-1 does not keep it over a reload. Next: inv setup" in text
    assert "2 sessions are still open after 60 s. Next: inv backend.drain apps/app-1 --timeout 600" in text
    again = dataclasses.replace(done, missing={"lb-1": str(errors.told_by("lb-1", "no room"))})
    assert " ".join(servers_shown.done(again)).count("again") == 1
    assert "once more" not in " ".join(servers_shown.done(again))
    assert "Not done on lb-2: no ssh. Next: look; then inv backend.drain apps/app-1 once more" in text
