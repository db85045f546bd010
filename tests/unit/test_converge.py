"""Host after host, on a simulated pair: order, elections, cuts after every change, locks."""

from __future__ import annotations

import contextlib

import pytest

from lbkit import errors, observe, plan, remote, resources
from tests.unit import sim
from tests.unit.sim import BOTH, STEPS, holder, run, set_up


def test_bare_hosts_become_a_pair_whose_active_is_master(monkeypatch, cluster):
    simulated = sim.bare()
    run(monkeypatch, cluster, simulated, sim.desired())
    assert holder(simulated) == ["lb-1"]
    assert not simulated.two_masters


def test_second_setup_changes_nothing_and_takes_no_lock(monkeypatch, cluster):
    simulated = set_up(monkeypatch, cluster)
    outcome = run(monkeypatch, cluster, simulated, sim.desired())
    assert outcome.changed == ()
    assert simulated.log == []
    assert simulated.locks == {}


def test_holder_is_changed_last_whatever_its_role(monkeypatch, cluster):
    for moved in BOTH:
        simulated = set_up(monkeypatch, cluster)
        for name, host in simulated.hosts.items():
            host.master = name == moved
        run(monkeypatch, cluster, simulated, sim.desired(config="frontend other"))
        order = [name for name, _ in simulated.log]
        other = next(name for name in BOTH if name != moved)
        assert order == sorted(order, key=(other, moved).index)
        assert holder(simulated) == [moved]


def test_broken_standby_keeps_the_holder_untouched(monkeypatch, cluster):
    simulated = set_up(monkeypatch, cluster)
    simulated.hosts["lb-2"].serves = False
    with pytest.raises(errors.CommandFailed, match="lb-2: its health endpoint does not answer"):
        run(monkeypatch, cluster, simulated, sim.desired(config="frontend other"))
    assert {name for name, _ in simulated.log} == {"lb-2"}


def test_setup_waits_until_a_standby_that_it_mended_may_be_master_again(monkeypatch, cluster):
    simulated = set_up(monkeypatch, cluster)
    standby = simulated.hosts["lb-2"]
    standby.active["haproxy.service"], standby.faults = False, 3
    run(monkeypatch, cluster, simulated, sim.desired())
    assert standby.faults == 0
    standby.active["haproxy.service"], standby.faults = False, 10**9
    cluster = cluster.replace(agent=cluster.agent.replace(rise=0))
    told = run_told(monkeypatch, cluster, simulated)
    assert "lb-2 could not take over yet: inv status says why" in told


def test_holder_is_not_touched_while_the_standby_cannot_take_over_since_the_change(monkeypatch, cluster):
    simulated = set_up(monkeypatch, cluster)
    simulated.hosts["lb-2"].lamed = 10**9
    with pytest.raises(errors.CommandFailed, match="lb-2: its keepalived is in FAULT") as failure:
        run(monkeypatch, cluster, simulated, sim.desired(config="frontend other"))
    assert {name for name, _ in simulated.log} == {"lb-2"}
    said = str(failure.value)
    assert "lb-1, which serves, is not touched.\n2 changes were made before it, on lb-2" in said
    assert "--host lb-1" in said
    simulated.log.clear()
    with pytest.raises(
        errors.CommandFailed, match="is not touched"
    ):  # the next run knows nothing of this one
        run(monkeypatch, cluster, simulated, sim.desired(config="frontend other"))
    assert simulated.log == []


def test_holder_waits_for_a_standby_that_comes_back(monkeypatch, cluster):
    simulated = set_up(monkeypatch, cluster)
    simulated.hosts["lb-2"].lamed = 3
    told = run_told(monkeypatch, cluster, simulated, sim.desired(config="frontend other"))
    assert "waits until it may take over, before lb-1 is touched" in told
    assert [name for name, _ in simulated.log] == ["lb-2", "lb-2", "lb-1", "lb-1"]


def test_a_run_that_was_cut_while_the_standby_could_not_take_over_is_gone_on_with_once_it_can(
    monkeypatch, cluster
):
    simulated = set_up(monkeypatch, cluster)
    run(monkeypatch, cluster, simulated, sim.desired(config="frontend other"), names=("lb-2",))
    simulated.log.clear()
    simulated.hosts["lb-2"].faults = 3
    told = run_told(monkeypatch, cluster, simulated, sim.desired(config="frontend other"))
    assert "waits until it may take over, before lb-1 is touched" in told
    assert {name for name, _ in simulated.log} == {"lb-1"}


@pytest.mark.parametrize("why", ["by name", "it does not serve"])
def test_a_holder_is_changed_beside_a_standby_that_could_not_take_over(monkeypatch, cluster, why):
    simulated = set_up(monkeypatch, cluster)
    simulated.hosts["lb-2"].faults = 10**9
    if why == "by name":
        told = run_told(monkeypatch, cluster, simulated, sim.desired(config="frontend other"), ("lb-1",))
        assert "lb-2 could not take over from lb-1: inv status says why" in told
        assert {name for name, _ in simulated.log} == {"lb-1"}
    else:
        ask = sim.SimSession.call

        def call(session, op, **request):
            bad = op == "ask" and session.host.name == "lb-1" and not simulated.log
            return [{"status": 503, "good": False}] if bad else ask(session, op, **request)

        monkeypatch.setattr(sim.SimSession, "call", call)
        run(monkeypatch, cluster, simulated, sim.desired(config="frontend other"))
        assert {name for name, _ in simulated.log} == {"lb-1", "lb-2"}


@pytest.mark.parametrize(
    ("answers", "kind"),  # after the second it is read once more, whether it may take over
    [
        (2, errors.Unreachable),
        *(
            (1, kind)
            for kind in (errors.Unreachable, errors.CommandFailed, errors.AwsFailed, errors.Undecided)
        ),
    ],
)
def test_whatever_stops_a_run_is_told_with_what_was_done_before(monkeypatch, cluster, answers, kind):
    simulated = set_up(monkeypatch, cluster)
    call, asked = sim.SimSession.call, []

    def leaving(session, op, **request):
        if len(asked) == answers:
            raise kind("lb-2: no sign of life for 20 s.\nNext: is it up?")
        answer = call(session, op, **request)
        if op == "ask" and simulated.log:
            asked.append(op)
        return answer

    monkeypatch.setattr(sim.SimSession, "call", leaving)
    with pytest.raises(kind) as failure:
        run(monkeypatch, cluster, simulated, sim.desired(config="frontend other"))
    assert str(failure.value) == (
        "lb-2: no sign of life for 20 s.\n2 changes were made before it, on lb-2, and complete.\nNext: is it up?"
    )
    assert {name for name, _ in simulated.log} == {"lb-2"}


def run_told(monkeypatch, cluster, simulated, wanted=None, names=BOTH):
    told = []
    with sim.in_place_of_ssh(monkeypatch, simulated, wanted or sim.desired()) as converge:
        converge.setup(cluster, STEPS, names, (), "inv setup", lambda _, line: told.append(line))
    return told


def test_invalid_configuration_touches_nothing_else(monkeypatch, cluster):
    simulated = set_up(monkeypatch, cluster)
    with pytest.raises(errors.CommandFailed, match="would be invalid") as failure:
        run(monkeypatch, cluster, simulated, sim.desired(config="INVALID"))
    assert "Nothing was changed" in str(failure.value)
    assert simulated.log == []


@pytest.mark.parametrize("moved", BOTH)
def test_change_of_router_id_never_makes_two_masters(monkeypatch, cluster, moved):
    simulated = set_up(monkeypatch, cluster)
    for name, host in simulated.hosts.items():
        host.master = name == moved
    run(monkeypatch, cluster, simulated, sim.desired(vrid=51))
    assert not simulated.two_masters
    assert holder(simulated) == [moved]
    assert all(host.active["keepalived.service"] for host in simulated.hosts.values())


def test_change_of_router_id_on_one_host_alone_is_refused(monkeypatch, cluster):
    simulated = set_up(monkeypatch, cluster)
    with pytest.raises(errors.Refused, match="both would be MASTER"):
        run(monkeypatch, cluster, simulated, sim.desired(vrid=51), names=("lb-2",))
    assert simulated.log == []


def test_node_that_hears_no_advert_is_not_started_beside_a_master(monkeypatch, cluster):
    simulated = sim.bare()
    simulated.hosts["lb-2"].deaf = True
    with pytest.raises(errors.CommandFailed, match="allow IP protocol 112"):
        run(monkeypatch, cluster, simulated, sim.desired())
    assert holder(simulated) == ["lb-1"]
    assert not simulated.two_masters
    simulated.hosts["lb-2"].deaf = False
    run(monkeypatch, cluster, simulated, sim.desired())
    assert holder(simulated) == ["lb-1"]
    assert all(host.active["keepalived.service"] for host in simulated.hosts.values())


@pytest.mark.parametrize("repaired", BOTH)
def test_repaired_node_that_hears_no_advert_is_not_started(monkeypatch, cluster, repaired):
    simulated = set_up(monkeypatch, cluster)
    simulated.hosts[repaired].active["keepalived.service"] = False
    simulated.settle()
    simulated.hosts[repaired].deaf = True
    with pytest.raises(errors.CommandFailed, match=f"{repaired}: keepalived is not started"):
        run(monkeypatch, cluster, simulated, sim.desired())
    assert not simulated.two_masters


def test_two_masters_are_no_success_although_nothing_is_to_be_changed(monkeypatch, cluster):
    simulated = set_up(monkeypatch, cluster)
    simulated.hosts["lb-2"].deaf = True
    with pytest.raises(errors.Undecided, match="are both MASTER"):
        run(monkeypatch, cluster, simulated, sim.desired())


def test_what_a_cut_off_drill_broke_is_told_for_what_it_is(monkeypatch, cluster):
    simulated = set_up(monkeypatch, cluster)
    for host in simulated.hosts.values():
        host.deaf = host.broken = True  # a partition that nobody mends but the hosts themselves
    for wanted in (sim.desired(), sim.desired(config="frontend other")):
        with pytest.raises(errors.Refused, match="a failover test was cut off there"):
            run(monkeypatch, cluster, simulated, wanted)
        with sim.in_place_of_ssh(monkeypatch, simulated, wanted) as converge:
            found = converge.obstacles(observe.look(cluster, STEPS), BOTH)
        assert ["was cut off" in str(one) for one in found] == [True]
    assert simulated.log == []


SCENES = {
    "bare hosts": (None, sim.desired()),
    "new configuration": (sim.desired(), sim.desired(config="frontend other")),
    "new router id": (sim.desired(), sim.desired(vrid=51)),
    "both": (sim.desired(), sim.desired(vrid=51, config="frontend other")),
}


@pytest.mark.parametrize("scene", SCENES)
def test_cut_after_any_change_a_second_run_converges(monkeypatch, cluster, scene):
    first, wanted = SCENES[scene]
    whole = sim.bare() if first is None else set_up(monkeypatch, cluster, first)
    run(monkeypatch, cluster, whole, wanted)
    assert len(whole.log) >= 2
    for count in range(len(whole.log)):
        simulated = sim.bare() if first is None else set_up(monkeypatch, cluster, first)
        simulated.cut_after = count
        with pytest.raises(sim.Cut):
            run(monkeypatch, cluster, simulated, wanted)
        simulated.cut_after = None
        run(monkeypatch, cluster, simulated, wanted)
        assert run(monkeypatch, cluster, simulated, wanted).changed == (), (scene, count)
        assert holder(simulated) == ["lb-1"], (scene, count)
        assert not simulated.two_masters, (scene, count)


def test_second_operator_is_refused_and_told_who(monkeypatch, cluster):
    simulated = sim.bare()
    with sim.in_place_of_ssh(monkeypatch, simulated, sim.desired()) as converge:
        read = observe.read

        def somebody_is_quicker(*arguments):
            simulated.locks["lb-1"] = "kim@desk"
            return read(*arguments)

        monkeypatch.setattr(observe, "read", somebody_is_quicker)
        with pytest.raises(errors.Locked, match="lb-1 is locked by kim@desk"):
            converge.setup(cluster, STEPS, BOTH, (), "inv setup", lambda name, line: None)
    assert simulated.log == []


def test_repaired_preferred_node_does_not_take_the_address_back(monkeypatch, cluster):
    simulated = set_up(monkeypatch, cluster)
    broken = simulated.hosts["lb-1"]
    broken.active["keepalived.service"] = False
    simulated.settle()
    assert holder(simulated) == ["lb-2"]
    run(monkeypatch, cluster, simulated, sim.desired())
    assert holder(simulated) == ["lb-2"]


def test_host_lost_after_the_changes_is_not_said_to_be_unchanged(monkeypatch, cluster):
    simulated = sim.bare()
    with sim.in_place_of_ssh(monkeypatch, simulated, sim.desired()) as converge:
        read, whole = observe.read, []

        def then_lost(cluster, only, opened, asked=None):
            picture = read(cluster, only, opened)
            whole.append(len(opened) == 2)
            if sum(whole) < 3:
                return picture
            return observe.Picture(cluster, picture.nodes[:1], {"lb-2": "lb-2: gone.\nNext: look."})

        monkeypatch.setattr(observe, "read", then_lost)
        with pytest.raises(errors.Unreachable) as failure:
            converge.setup(cluster, STEPS, BOTH, (), "inv setup", lambda name, line: None)
    assert simulated.log
    assert "nothing was changed" not in str(failure.value)
    assert f"{len(simulated.log)} changes were made" in str(failure.value)
    assert str(failure.value).splitlines()[-1].startswith("Next: ")


def unreachable(monkeypatch, cluster, error, wanted, silence="timed out"):
    """lb-1 does not open a session, lb-2 is a set-up host; run with lb-1 left out. silence: how it meets lb-2."""
    simulated = set_up(monkeypatch, cluster)
    simulated.silence = silence
    with sim.in_place_of_ssh(monkeypatch, simulated, wanted) as converge:
        whole = remote.sessions

        @contextlib.contextmanager
        def sessions(hosts, meanwhile=lambda: None):
            with whole(hosts, meanwhile) as opened:
                yield {name: error if name == "lb-1" else session for name, session in opened.items()}

        with monkeypatch.context() as patch:  # undone before the patch beneath it is
            patch.setattr(remote, "sessions", sessions)
            converge.setup(cluster, STEPS, ("lb-2",), ("lb-1",), "inv setup", lambda name, line: None)
    return simulated


def test_host_is_left_out_only_where_nothing_answers(monkeypatch, cluster):
    wrong_key = errors.Unreachable("lb-1: the host key is not known.\nNext: accept it.")
    with pytest.raises(errors.Refused, match="lb-1 is not down"):
        unreachable(monkeypatch, cluster, wrong_key, sim.desired(config="frontend other"))


def test_host_that_nothing_answers_at_is_left_out(monkeypatch, cluster):
    gone = errors.Unreachable("lb-1: no answer.\nNext: is it up?", down=True)
    simulated = unreachable(monkeypatch, cluster, gone, sim.desired(config="frontend other"))
    assert {name for name, _ in simulated.log} == {"lb-2"}


def test_host_whose_sshd_alone_is_silent_is_not_left_out(monkeypatch, cluster):
    gone = errors.Unreachable("lb-1: no answer.\nNext: is it up?", down=True)
    with pytest.raises(errors.Refused, match="lb-2 reaches it, so it is not down"):
        unreachable(monkeypatch, cluster, gone, sim.desired(config="other"), "[Errno 111] Connection refused")


def test_router_id_is_not_changed_beside_a_host_that_is_only_out_of_reach(monkeypatch, cluster):
    gone = errors.Unreachable("lb-1: no answer.\nNext: is it up?", down=True)
    with pytest.raises(errors.Refused, match="it and lb-1 could not hear"):
        unreachable(monkeypatch, cluster, gone, sim.desired(vrid=51))


# ── what a hostile reader found ──────────────────────────────────────────────────────────────────────────


def test_invalid_keepalived_file_that_rewires_leaves_the_standby_running(monkeypatch, cluster):
    simulated = set_up(monkeypatch, cluster)
    wanted = list(sim.desired(vrid=51))
    broken = resources.File(sim.KEEPALIVED, content=f"{wanted[3].resource.content}INVALID", wire=True)
    wanted[3] = plan.Desired("keepalived", broken)
    with pytest.raises(errors.CommandFailed, match="would be invalid"):
        run(monkeypatch, cluster, simulated, tuple(wanted))
    assert simulated.log == []
    assert all(host.active["keepalived.service"] for host in simulated.hosts.values())


def test_standby_that_does_not_serve_keeps_the_holder_untouched_in_a_rewire_too(monkeypatch, cluster):
    simulated = set_up(monkeypatch, cluster)
    simulated.hosts["lb-2"].serves = False
    with pytest.raises(errors.CommandFailed, match="lb-2: its health endpoint does not answer"):
        run(monkeypatch, cluster, simulated, sim.desired(vrid=51, config="frontend other"))
    assert {name for name, _ in simulated.log} == {"lb-2"}
    assert simulated.hosts["lb-2"].active["keepalived.service"]


def test_setup_that_leaves_nobody_in_charge_is_no_success(monkeypatch, cluster):
    simulated = set_up(monkeypatch, cluster)
    monkeypatch.setattr(sim.SimPair, "settle", lambda self: None)
    for host in simulated.hosts.values():
        host.master = False
    with pytest.raises(errors.CommandFailed, match="nobody is MASTER: lb-1, lb-2"):
        run(monkeypatch, cluster, simulated, sim.desired(config="frontend other"))
