"""What `inv verify` says of what it read, where that needs no host."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest

from lbkit import inventory, observe, pair, plan, remote, sync, verify

VIP = ("10.77.9.100/24",)


def node(cluster: inventory.Cluster, name: str, *, broken: bool = False, free: int = 4 << 30) -> pair.Node:
    """A MASTER, also where it should be none."""
    facts = {
        "system": "Debian",
        "addresses": {"lan0": list(VIP)},
        "units": {"keepalived.service": "active"},
        "broken": broken,
        "disks": [{"path": "/", "size": 8 << 30, "free": free, "files": 0, "free_files": 0}],
    }
    return pair.node(cluster, cluster.host(name), (), plan.Seen((), facts))


def checks(monkeypatch, *nodes: pair.Node) -> list[verify.Check]:
    """All that is found of nodes of which neither hears the other."""
    cluster = inventory.load(inventory.ROOT / "hosts.toml", secrets=False)
    picture = observe.Picture(cluster, nodes)
    said = {"in_charge": True, "conflicts": [], "complaints": [], "peers": {}}
    answers = {"hears": None, "sync": said}
    session = SimpleNamespace(call=lambda op, **_: answers.get(op, {"code": 0}))

    @contextlib.contextmanager
    def sessions(*_):
        yield {found.host.name: session for found in nodes}

    monkeypatch.setattr(remote, "sessions", sessions)
    monkeypatch.setattr(observe, "read", lambda *_: picture)
    monkeypatch.setattr(verify, "on_its_own", lambda *_: [])
    monkeypatch.setattr(verify, "from_outside", lambda *_: [])
    monkeypatch.setattr(verify, "in_sync", lambda *_: [])
    return verify.run(cluster)


def test_an_alarm_does_not_pass_and_brings_its_next_step(cluster):
    said = {
        "certificate-site": {"event": "certificate", "text": "it expired.\nNext: inv cert.renew", "since": 1}
    }
    facts = {"addresses": {"lan0": []}, "units": {"keepalived.service": "active"}, "alarms": said}
    nodes = [pair.node(cluster, cluster.host("lb-1"), (), plan.Seen((), facts)), node(cluster, "lb-2")]
    alarm, none = verify.alarms(observe.Picture(cluster, tuple(nodes)))
    assert (alarm.passed, alarm.detail, alarm.next_step) == (False, "it expired", "inv cert.renew")
    assert (none.name, none.passed) == ("no alarm stands on lb-2", True)


def test_an_address_that_this_machine_does_not_reach_is_told_so_and_how_to_ask_from_elsewhere(cluster):
    def ask(_op, **_question):
        return [{"error": "timed out", "status": None, "good": False, "elapsed_ms": 3000}]

    (here,) = verify.through_the_address(cluster.replace(client=None), ask)
    assert here.detail.endswith("timed out (asked from this machine)")
    assert "[client] in hosts.toml" in here.next_step
    (there,) = verify.through_the_address(cluster.replace(client=cluster.hosts[0]), ask)
    assert "this machine" not in there.detail + there.next_step


def test_a_disk_that_is_nearly_full_does_not_pass(cluster):
    nodes = node(cluster, "lb-1"), node(cluster, "lb-2", free=300 << 20)
    good, bad = verify.rooms(observe.Picture(cluster, nodes))
    assert (good.name, good.passed, good.detail) == ("disks of lb-1", True, "4.0 GiB left on /, the fullest")
    assert (bad.passed, bad.detail) == (False, "/ has only 300 MiB left of 8.0 GiB")
    assert bad.next_step.startswith("on lb-2: sudo du -xh /")


def test_what_a_drill_broke_comes_first_and_nobody_is_told_to_mend_what_comes_of_it(monkeypatch, cluster):
    found = checks(monkeypatch, node(cluster, "lb-1", broken=True), node(cluster, "lb-2"))
    assert not found[0].passed
    assert "a failover test was cut off there" in found[0].detail
    assert found[0].next_step == "wait, then inv verify"
    bad = [check for check in found[1:] if not check.passed]
    assert any("hears" in check.name for check in bad)
    assert not any(check.next_step for check in bad)


def test_hosts_that_do_not_hear_each_other_for_another_reason_are_told_how_to_mend_it(monkeypatch, cluster):
    found = checks(monkeypatch, node(cluster, "lb-1"), node(cluster, "lb-2"))
    assert found[0].name == "lb-1 answers over ssh"
    assert any("allow IP protocol 112" in check.next_step for check in found)


def test_a_keepalived_that_cannot_hear_its_agent_is_told_with_the_way_out():
    def answers(watches):
        return verify.hears_agent("lb-1", SimpleNamespace(call=lambda op, unit: watches))

    (deaf,), (fine,) = answers(False), answers(True)
    assert (deaf.passed, fine.passed, answers(None)) == (False, True, [])
    assert "fs.inotify.max_user_instances" in deaf.next_step


def test_a_health_check_that_says_no_during_a_maintenance_is_as_it_should_be(cluster):
    session = SimpleNamespace(call=lambda *_, **__: {"code": 1, "said": ""})
    (check,) = verify.health_check(cluster, node(cluster, "lb-1"), session)
    assert (check.passed, "HAProxy does not serve" in check.detail) == (False, False)
    facts = {
        "maintenance": {"since": "12:00", "who": "kim", "reason": ""},
        "units": {"keepalived.service": ""},
    }
    out = pair.node(cluster, cluster.host("lb-1"), (), plan.Seen((), facts))
    assert verify.health_check(cluster, out, session)[0].passed


@pytest.mark.parametrize("arrives", [True, False])
def test_what_was_saved_just_now_has_a_moment_to_arrive(monkeypatch, arrives):
    monkeypatch.setattr(verify, "ARRIVES_S", 0.5)
    behind = sync.State("lb-1", (sync.Trouble("lb-2", "haproxy.cfg: waits", "inv setup", passing=True),), {})
    said = [behind, sync.State("lb-1", (), {})]
    monkeypatch.setattr(sync, "of", lambda _: said.pop(0) if arrives else behind)
    (check,) = verify.in_sync({})
    assert (check.passed, "waits" in check.detail) == (arrives, not arrives)


def stands_by(cluster, addresses=(), **facts):
    said = {"addresses": {"lan0": list(addresses)}, "units": {"keepalived.service": "active"}, **facts}
    return pair.node(cluster, cluster.host("lb-2"), (), plan.Seen((), said))


def could_take_over(cluster, status, **facts):
    stat = f"# pxname,svname,status,type,scur,weight\napps,app-1,{status},2,0,1\n"
    said = {
        "vrrp_state": "BACKUP",
        "servers": {"stat": stat, "state": "1\n# be_name srv_name\n", "record": {}},
    }
    alive = {"lb-2": SimpleNamespace(call=lambda op, **_: said[op])}
    (check,) = verify.fit(observe.Picture(cluster, (stands_by(cluster, **facts),)), alive)
    return check


def test_a_standby_that_sees_no_server_could_not_take_over(cluster):
    assert could_take_over(cluster, "UP").passed
    blind = could_take_over(cluster, "DOWN")
    assert (blind.passed, blind.detail) == (False, "it sees 0 of 1 servers up")
    assert blind.next_step.startswith("inv backend")
    held = {"apps/app-1": {"state": "drain", "weight": None}}
    assert could_take_over(cluster, "DRAIN", servers=held).passed


def test_a_standby_whose_haproxy_hangs_could_not_take_over(cluster):
    alive = {"lb-2": SimpleNamespace(call=lambda op, **_: {"stat": None, "state": None, "record": {}})}
    alive["lb-2"].call = lambda op, **_: (
        "FAULT" if op == "vrrp_state" else {"stat": None, "state": None, "record": {}}
    )
    (check,) = verify.fit(observe.Picture(cluster, (stands_by(cluster),)), alive)
    assert (check.passed, check.detail) == (False, "FAULT; HAProxy does not answer on its socket")
    assert "systemctl kill -s KILL haproxy" in check.next_step


def test_an_address_that_was_left_on_the_standby_is_named_and_no_network_is_accused(cluster):
    nodes = node(cluster, "lb-1"), stands_by(cluster, VIP, virtual_addresses=list(VIP))
    said = {"lb-1": "MASTER", "lb-2": "BACKUP"}
    picture = observe.Picture(cluster, tuple(pair.by_own_word(nodes, said.get)))
    one, left = verify.roles(picture)
    assert one.passed
    assert (left.passed, left.next_step) == (False, "on lb-2: sudo ip address del 10.77.9.100/24 dev lan0")
    assert "was left on lb-2, whose keepalived is BACKUP" in left.detail


def test_a_server_whose_name_does_not_resolve_is_told_so():
    row = {"svname": "app-2", "status": "MAINT (resolution)", "addr": "", "last_chk": ""}
    assert verify.way_to("lb-1", row) == (
        "the name of app-2 does not resolve on lb-1: put it right in DNS, or in hosts.toml, then inv setup"
    )
