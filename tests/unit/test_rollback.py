"""Which versions a rollback means, and what it asks of a host."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext

import pytest

from lbkit import (
    compare,
    errors,
    inventory,
    kept,
    plan,
    resources,
    restored,
    rollback,
    steps,
)
from lbkit.kept import Version
from lbkit.steps import haproxy, keepalived, library
from tests.unit import sim
from tests.unit.versions import CFG, CONF, PAIR, name, version

UNIT = "/etc/systemd/system/lbkit-agent.service"


@pytest.fixture(autouse=True)
def no_secret_is_read(monkeypatch):
    monkeypatch.setattr(inventory.Secret, "reveal", lambda self: "correct#horse")


def steps_of_haproxy(cluster):
    return steps.desired(cluster, cluster.active, ("haproxy",))


# ── which are meant ──────────────────────────────────────────────────────────────────────────────────────


def test_a_run_on_two_hosts_is_one_change_and_the_newest_comes_first():
    found = kept.changes([version(), version("lb-2"), version(number=3, run=2, content="newer\n")])
    assert [[(one.host, one.name) for one in run.versions] for run in found] == [
        [("lb-1", name("newer\n"))],
        [("lb-1", name("old\n")), ("lb-2", name("old\n"))],
    ]


def test_of_what_a_run_replaced_twice_the_first_is_what_stood_there_before_it():
    (run,) = kept.changes([version(number=2, content="before\n"), version(number=3, content="between\n")])
    assert [one.name for one in run.versions] == [name("before\n")]


def test_a_change_puts_back_the_same_after_its_rollback_was_cut_off():
    """The rollback itself is a change by then, on one host."""
    before = [version(), version("lb-2")]
    cut = [*before, version(number=3, content="wrong\n", run=2, command="inv rollback --change …")]
    wanted = before[0].change
    assert kept.of_change(cut, wanted, None, PAIR) == kept.of_change(before, wanted, None, PAIR)


def test_a_change_can_be_put_back_for_one_file_and_one_host_alone():
    versions = [version(), version(path=CONF), version("lb-2"), version("lb-2", path=CONF)]
    assert kept.of_change(versions, versions[0].change[:4], CONF, ["lb-2"]) == {"lb-2": {CONF: versions[3]}}


@pytest.mark.parametrize(("given", "path"), [("0000", None), ("", None), (version().change, "/etc/other")])
def test_a_change_that_is_not_there_is_refused_with_the_list(given, path):
    with pytest.raises(errors.Refused, match="Next: inv rollback"):
        kept.of_change([version()], given, path, PAIR)


def test_a_version_is_called_by_its_content_and_is_had_from_the_other_host_where_the_file_is_shared():
    versions = [version(content="a\n"), version(number=3, content="b\n"), version("lb-2", content="b\n")]
    assert kept.of_path(versions, CFG, name("a\n")[:4], PAIR, shared=True) == {
        "lb-1": {CFG: versions[0]},
        "lb-2": {CFG: versions[0]},
    }
    with pytest.raises(errors.Refused, match="lb-2 has no version"):
        kept.of_path(versions, CFG, name("a\n"), PAIR, shared=False)
    own = kept.of_path(versions, CFG, name("b\n"), PAIR, shared=False)
    assert own == {"lb-1": {CFG: versions[1]}, "lb-2": {CFG: versions[2]}}


def test_the_original_is_each_hosts_own():
    versions = [version(number=1, content="a\n"), version("lb-2", number=1, content="b\n")]
    found = kept.of_path(versions, CFG, "original", PAIR, shared=True)
    assert [found[host][CFG].name for host in PAIR] == [name("a\n"), name("b\n")]


@pytest.mark.parametrize("given", ["", "a", "ffff"])
def test_a_version_that_is_not_there_is_refused(given):
    with pytest.raises(errors.Refused, match=f"Next: inv rollback --path {CFG}"):
        kept.of_path([version()], CFG, given, ["lb-1"], shared=True)


def test_what_lbkit_replaced_and_had_not_put_there_is_known_as_somebodys_edit():
    put = kept.digest("ours\n")
    versions = [version(number=1, becomes=put), version(number=2, content="ours\n", becomes=put)]
    assert kept.by_hand(versions) == set()
    edited = version(number=3, content="theirs\n", becomes=put)
    assert kept.by_hand([*versions, edited]) == {("lb-1", CFG, 3)}


def test_of_a_change_what_was_new_stays_and_certificates_are_left_to_their_own_way(cluster):
    certificate = haproxy.certificate_paths(cluster)[0]
    versions = [version(), version(path=UNIT, content=None), version(path=certificate, certificate="site")]
    wanted = rollback.Wanted(change=versions[0].change)
    chosen, left = rollback.choose(cluster, versions, wanted, PAIR)
    assert chosen == {"lb-1": {CFG: versions[0]}, "lb-2": {CFG: versions[0]}}, (
        "the sync's item, on both hosts"
    )
    assert [(one.path, why.partition(" ")[2][:7]) for one, why in left] == [
        (UNIT, "was new"),
        (certificate, "is a ce"),
    ]
    with pytest.raises(errors.Refused, match="nothing to put back"):
        rollback.choose(cluster, versions[1:], wanted, PAIR)


# ── what is asked of a host ──────────────────────────────────────────────────────────────────────────────


def desired(cluster, *versions: Version) -> list[resources.Resource]:
    found = {one.path: one for one in versions}
    asked = restored.desired(cluster, cluster.host("lb-1"), found, dict.fromkeys(found, "old\n"))
    return [one.resource for one in asked]


def test_a_file_is_put_back_as_it_was_with_the_check_and_the_services_of_the_inventorys(cluster):
    file, service = desired(cluster, version(mode=0o600, owner="kim"))
    assert isinstance(file, resources.File)
    assert (file.content, file.mode, file.owner) == ("old\n", 0o600, "kim")
    assert file.check == ("haproxy", "-c", "-f", "{}")
    assert file.check_env == haproxy.environment(cluster.host("lb-1"))
    assert service.label == "haproxy.service"
    file, service = desired(cluster, version(path=CONF))
    assert file.wire
    assert service.label == "keepalived.service"


def test_a_module_restarts_the_programs_that_have_loaded_it_and_a_file_of_no_step_is_only_put_back(cluster):
    labels = [one.label for one in desired(cluster, version(path=library.path("duty")))]
    assert labels[0] == library.path("duty")
    assert {"lbkit-agent.service", "lbkit-sync.service"} <= set(labels)
    (file,) = desired(cluster, version(path="/etc/haproxy/pages/old.http"))
    assert file.label == "/etc/haproxy/pages/old.http"


def test_what_was_a_link_is_one_again_checked_and_what_was_not_there_goes(cluster):
    link, _ = desired(cluster, version(link="/srv/haproxy.cfg", sha256=None))
    (change,) = compare.diff(link, {"exists": True, "sha256": "00", "content": "new\n"})
    assert change.request["kind"] == "link"
    assert (change.request["target"], change.request["was"]) == ("/srv/haproxy.cfg", "00")
    assert change.request["check"] == ("haproxy", "-c", "-f", "{}")
    assert compare.diff(link, {"exists": True, "link": "/srv/haproxy.cfg"}) == []
    gone, service = desired(cluster, version(path=keepalived.DROP_IN, content=None))
    (change,) = compare.diff(gone, {"exists": True, "sha256": "00", "content": "new\n"})
    assert (change.request["kind"], change.request["was"]) == ("removal", "00")
    assert "-new" in change.diff
    assert compare.diff(gone, {"exists": False}) == []
    assert service.label == "keepalived.service"


def test_a_service_is_loaded_after_a_link_and_a_removal_too(cluster):
    loads = resources.Service("x", restart_on=("/etc/x",))
    state = {"exists": True, "masked": False, "active": True, "enabled": True, "needs_daemon_reload": False}
    state["stale"] = {"reload_on": [], "restart_on": []}
    for file in (restored.NoFile("/etc/x", target="/srv/x"), restored.NoFile("/etc/x")):
        wanted = (plan.Desired("a", file), plan.Desired("a", loads))
        seen = plan.Seen(({"exists": True, "sha256": "00"}, state), {})
        assert [one.action for one in compare.changes(wanted, seen)][1:] == ["restart"]


@pytest.mark.parametrize(
    ("path", "service"),
    [(CFG, "haproxy.service"), (UNIT, "lbkit-agent.service"), (keepalived.DROP_IN, ""), ("/etc/other", "")],
)
def test_what_a_service_needs_is_not_taken_away_and_a_drop_in_may_be(cluster, path, service):
    assert restored.needed_by(cluster, cluster.host("lb-1"), path) == service
    chosen = {"lb-1": {path: version(path=path, content=None)}}
    if service:
        with pytest.raises(errors.Refused, match=f"{service} does not run without one"):
            restored.refuse_needed(cluster, chosen)
    else:
        restored.refuse_needed(cluster, chosen)


def test_the_same_file_on_all_hosts_is_shared_and_what_differs_is_each_hosts_own(cluster):
    assert restored.is_shared(cluster, CFG)
    assert not restored.is_shared(cluster, CONF)
    assert not restored.is_shared(cluster, "/etc/other")
    assert not restored.is_shared(cluster, "/etc/lbkit/sync/known_hosts")


def test_a_page_that_the_sync_brought_is_shared_whether_or_not_the_inventory_has_it(cluster, monkeypatch):
    """Put back on one host alone it would differ for good: the sync leaves to setup what setup wrote."""
    page = f"{haproxy.PAGES}/507.http"
    assert not restored.is_shared(cluster, page), "without pages in the inventory none are synced"
    monkeypatch.setattr(haproxy, "error_pages", lambda _: [resources.Directory(haproxy.PAGES)])
    assert restored.is_shared(cluster, page)


# ── on a simulated pair ──────────────────────────────────────────────────────────────────────────────────


def test_what_does_not_serve_is_undone_and_the_holder_not_touched(monkeypatch, cluster):
    simulated = sim.set_up(monkeypatch, cluster)
    store = [dataclasses.asdict(version(number=1, content="frontend none"))]
    call = sim.SimSession.call

    def with_store(session, op, **request):
        if op == "kept":
            newest = kept.digest("frontend web")
            return [*store, dataclasses.asdict(version(number=2, sha256=newest, run=2))]
        if op == "kept_content":
            return {"content": "frontend none" if request["number"] == 1 else "frontend web"}
        answer = call(session, op, **request)
        session.host.serves = session.host.files[sim.HAPROXY] == "frontend web"
        return answer

    monkeypatch.setattr(sim.SimSession, "call", with_store)
    wanted = rollback.Wanted(path=sim.HAPROXY, to="original")
    with (
        sim.in_place_of_ssh(monkeypatch, simulated, sim.desired()),
        pytest.raises(errors.CommandFailed, match="What stood there before is back on lb-2") as failed,
    ):
        rollback.run(cluster, wanted, PAIR, "inv rollback", lambda *_: None, lambda _: True)
    assert "complete" not in str(failed.value), "it says that nothing is left of it, and not both"
    assert "mend the inventory" not in str(failed.value)
    assert {host for host, _ in simulated.log} == {"lb-2"}
    assert all(host.files[sim.HAPROXY] == "frontend web" for host in simulated.hosts.values())


@pytest.mark.parametrize("broken", [False, True])
def test_a_change_of_the_port_is_put_back_while_the_inventory_still_has_the_new_one(
    monkeypatch, cluster, broken
):
    """Service first, the inventory afterwards: what was put back is asked where it listens."""
    (ours,) = [one.resource.content for one in steps_of_haproxy(cluster) if one.resource.label == CFG]
    older = ours.replace(":443 ", ":8443 ")
    assert older != ours
    simulated = sim.set_up(monkeypatch, cluster, sim.desired(config=ours))
    call = sim.SimSession.call

    def with_store(session, op, **request):
        loaded = session.host.loaded["haproxy.service", CFG]
        if op == "kept":
            store = [version(session.host.name, number=1, content=older)]
            if session.host.files[CFG] == older:
                store.append(version(session.host.name, content=ours, run=2))
            return [dataclasses.asdict(one) for one in store]
        if op == "kept_content":
            return {"content": older if request["number"] == 1 else ours}
        if op == "ask":
            good = f":{request['connect'][1]}" in loaded and not (
                broken and request["tls"] and loaded == older
            )
            return [{"status": 200 if good else None, "good": good}]
        return call(session, op, **request)

    monkeypatch.setattr(sim.SimSession, "call", with_store)
    wanted = rollback.Wanted(path=CFG, to="original")
    fails = pytest.raises(errors.CommandFailed, match="its endpoint fails") if broken else nullcontext()
    with sim.in_place_of_ssh(monkeypatch, simulated, sim.desired(config=ours)), fails:
        rollback.run(cluster, wanted, PAIR, "inv rollback", lambda *_: None, lambda _: True)
    left = {host.files[CFG] for host in simulated.hosts.values()}
    assert left == {ours if broken else older}


def test_what_leaves_the_pair_without_a_master_is_undone_on_both_hosts(monkeypatch, cluster):
    """The check of the file passes, and each host serves by itself: that nobody is MASTER shows at the end."""
    simulated = sim.set_up(monkeypatch, cluster)
    ours = simulated.hosts["lb-1"].files[sim.KEEPALIVED]
    wrong = f"{ours}# on an interface where nothing comes by\n"
    call, settle = sim.SimSession.call, sim.SimPair.settle

    def with_store(session, op, **request):
        if op == "kept":
            store = [version(session.host.name, sim.KEEPALIVED, number=1, content=wrong)]
            if session.host.files[sim.KEEPALIVED] == wrong:
                store.append(version(session.host.name, sim.KEEPALIVED, content=ours, run=2))
            return [dataclasses.asdict(one) for one in store]
        if op == "kept_content":
            return {"content": wrong if request["number"] == 1 else ours}
        return call(session, op, **request)

    def nobody(pair):
        settle(pair)
        for host in pair.hosts.values():
            host.master &= host.loaded["keepalived.service", sim.KEEPALIVED] == ours

    monkeypatch.setattr(sim.SimSession, "call", with_store)
    monkeypatch.setattr(sim.SimPair, "settle", nobody)
    wanted = rollback.Wanted(path=sim.KEEPALIVED, to="original")
    with (
        sim.in_place_of_ssh(monkeypatch, simulated, sim.desired()),
        pytest.raises(
            errors.CommandFailed, match=r"(?s)nobody is MASTER any more.*before is back on lb-2 and lb-1"
        ),
    ):
        rollback.run(cluster, wanted, PAIR, "inv rollback", lambda *_: None, lambda _: True)
    assert all(host.files[sim.KEEPALIVED] == ours for host in simulated.hosts.values())
    simulated.settle()
    assert sim.holder(simulated) != []


def test_a_host_that_cannot_say_what_it_keeps_is_not_passed_over(monkeypatch, cluster):
    """Half of a change would pass for the whole of it."""
    simulated = sim.set_up(monkeypatch, cluster)
    stored = version(path=sim.KEEPALIVED, number=1, content="vrrp_instance VI_1 {\n}\n")
    call = sim.SimSession.call

    def with_store(session, op, **request):
        if op == "kept" and session.host.name == "lb-2":
            raise errors.CommandFailed("lb-2: [Errno 5] Input/output error.\nNext: its disk")
        if op == "kept":
            return [dataclasses.asdict(stored)]
        return {"content": "x"} if op == "kept_content" else call(session, op, **request)

    monkeypatch.setattr(sim.SimSession, "call", with_store)
    wanted = rollback.Wanted(change=stored.change)
    with (
        sim.in_place_of_ssh(monkeypatch, simulated, sim.desired()),
        pytest.raises(errors.CommandFailed, match=r"lb-2: .*Input/output error"),
    ):
        rollback.run(cluster, wanted, PAIR, "inv rollback", lambda *_: None, lambda _: True)
    assert simulated.log == []


def test_a_host_that_changed_while_a_person_was_asked_is_not_touched(monkeypatch, cluster):
    simulated = sim.set_up(monkeypatch, cluster)
    call = sim.SimSession.call

    def with_store(session, op, **request):
        if op == "kept":
            return [dataclasses.asdict(version(number=1, content="frontend older"))]
        return {"content": "frontend older"} if op == "kept_content" else call(session, op, **request)

    def meanwhile(_):
        simulated.hosts["lb-1"].files[sim.HAPROXY] = "frontend edited"
        return True

    monkeypatch.setattr(sim.SimSession, "call", with_store)
    wanted = rollback.Wanted(path=sim.HAPROXY, to="original")
    with (
        sim.in_place_of_ssh(monkeypatch, simulated, sim.desired()),
        pytest.raises(errors.Refused, match="changed since"),
    ):
        rollback.run(cluster, wanted, PAIR, "inv rollback", lambda *_: None, meanwhile)
    assert simulated.log == []
