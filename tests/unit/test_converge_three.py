"""Three hosts, on a simulated pair and a third: order, elections, cuts."""

from __future__ import annotations

import contextlib

import pytest

from lbkit import errors, inventory
from tests.unit import sim
from tests.unit.sim import holder, run

THREE = ("lb-1", "lb-2", "lb-3")


@pytest.fixture
def three(tmp_path):
    """An inventory with a second passive."""
    third = (
        '[[hosts]]\nname = "lb-3"\nrole = "passive"\nssh = "127.0.0.1"\nport = 2209\n'
        'private_address = "10.77.9.13"\ninterface = "lan0"\n\n[client]'
    )
    path = tmp_path / "hosts.toml"
    path.write_text((inventory.ROOT / "hosts.toml").read_text().replace("[client]", third))
    return inventory.load(path, secrets=False)


def three_bare():
    return sim.SimPair({name: sim.SimHost(name, 250 - 10 * place) for place, name in enumerate(THREE)})


@pytest.mark.parametrize("moved", THREE)
def test_three_hosts_keep_one_master_through_a_change_of_router_id(monkeypatch, three, moved):
    simulated = three_bare()
    run(monkeypatch, three, simulated, sim.desired(), THREE)
    assert holder(simulated) == ["lb-1"]
    for name, host in simulated.hosts.items():
        host.master = name == moved
    simulated.log.clear()
    run(monkeypatch, three, simulated, sim.desired(vrid=51), THREE)
    assert not simulated.two_masters
    assert holder(simulated) == [moved]
    assert all(host.active["keepalived.service"] for host in simulated.hosts.values())
    assert run(monkeypatch, three, simulated, sim.desired(vrid=51), THREE).changed == ()


def test_three_hosts_cut_after_any_change_a_second_run_converges(monkeypatch, three):
    whole = three_bare()
    run(monkeypatch, three, whole, sim.desired(), THREE)
    begun = len(whole.log)
    run(monkeypatch, three, whole, sim.desired(vrid=51), THREE)
    for count in range(begun, len(whole.log)):
        simulated = three_bare()
        run(monkeypatch, three, simulated, sim.desired(), THREE)
        simulated.cut_after = count
        with pytest.raises(sim.Cut):
            run(monkeypatch, three, simulated, sim.desired(vrid=51), THREE)
        simulated.cut_after = None
        run(monkeypatch, three, simulated, sim.desired(vrid=51), THREE)
        assert not simulated.two_masters, count
        assert len(holder(simulated)) == 1, count
        assert all(host.active["keepalived.service"] for host in simulated.hosts.values()), count


@pytest.mark.parametrize("moved", THREE)
@pytest.mark.parametrize("again", [THREE, *((name,) for name in THREE)], ids=" ".join)
def test_cut_anywhere_and_gone_on_with_on_any_hosts_there_are_never_two_masters(
    monkeypatch, three, moved, again
):
    wanted = sim.desired(vrid=51, config="frontend other")
    for count in range(100):
        simulated = three_bare()
        run(monkeypatch, three, simulated, sim.desired(), THREE)
        simulated.log.clear()
        for name, host in simulated.hosts.items():
            host.master = name == moved
        simulated.cut_after = count
        try:
            run(monkeypatch, three, simulated, wanted, THREE)
        except sim.Cut:
            pass
        else:
            break
        simulated.cut_after = None
        with contextlib.suppress(errors.Refused):  # one host alone may be refused: then it changed nothing
            run(monkeypatch, three, simulated, wanted, again)
        run(monkeypatch, three, simulated, wanted, THREE)
        assert not simulated.two_masters, (count, again)
        assert len(holder(simulated)) == 1, (count, again)
    assert count > 5


def test_host_that_takes_the_address_during_the_run_is_not_touched_as_a_standby(monkeypatch, three):
    simulated = three_bare()
    run(monkeypatch, three, simulated, sim.desired(), THREE)
    simulated.log.clear()
    real = sim.SimSession.call

    def moves_after_the_first_write(self, op, **arguments):
        result = real(self, op, **arguments)
        if op == "write" and len(simulated.log) == 1:
            for name, host in simulated.hosts.items():
                host.master = name == "lb-3"
        return result

    monkeypatch.setattr(sim.SimSession, "call", moves_after_the_first_write)
    with pytest.raises(errors.Undecided, match="lb-3 has taken the address during this run"):
        run(monkeypatch, three, simulated, sim.desired(config="frontend other"), THREE)
    assert {name for name, _ in simulated.log} == {"lb-2"}
