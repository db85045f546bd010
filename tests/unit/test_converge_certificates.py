"""When in a run a certificate is issued, and on which host, on a simulated pair."""

from __future__ import annotations

import pytest

from lbkit import errors, plan
from lbkit.resources import Certificate
from tests.unit import sim
from tests.unit.sim import BOTH, run, set_up

ISSUE = "write certificate"


def desired(config="frontend web"):
    site = Certificate("site", "{}", "https://acme.test/dir", first=True)
    certificate = plan.Desired("ssl", site)
    # Before the rest: its place in the list is not what makes it the last.
    return (certificate, *sim.desired(config=config))


def issued(simulated):
    return [name for name, what in simulated.log if what == ISSUE]


def test_it_is_issued_once_and_last_of_all_when_both_hosts_are_done(monkeypatch, cluster):
    simulated = sim.bare()
    run(monkeypatch, cluster, simulated, desired())
    assert issued(simulated) == ["lb-1"]
    assert simulated.log[-1] == ("lb-1", ISSUE)


@pytest.mark.parametrize("moved", BOTH)
def test_the_node_in_charge_issues_whatever_its_role(monkeypatch, cluster, moved):
    simulated = set_up(monkeypatch, cluster)
    for name, host in simulated.hosts.items():
        host.master = name == moved
    run(monkeypatch, cluster, simulated, desired())
    assert issued(simulated) == [moved]


def test_second_setup_issues_nothing(monkeypatch, cluster):
    simulated = sim.bare()
    run(monkeypatch, cluster, simulated, desired())
    outcome = run(monkeypatch, cluster, simulated, desired())
    assert outcome.changed == ()
    assert issued(simulated) == ["lb-1"]


def test_where_nobody_says_that_he_is_in_charge_all_else_is_done_and_that_is_told(monkeypatch, cluster):
    simulated = sim.bare()
    for host in simulated.hosts.values():
        host.agent = False
    with pytest.raises(errors.CommandFailed, match="No host says that it is in charge") as failure:
        run(monkeypatch, cluster, simulated, desired())
    assert "Next: inv status" in str(failure.value)
    assert issued(simulated) == []
    assert sim.holder(simulated) == ["lb-1"]


def test_nobody_need_be_in_charge_where_what_is_there_is_good(monkeypatch, cluster):
    simulated = sim.bare()
    run(monkeypatch, cluster, simulated, desired())
    for host in simulated.hosts.values():
        host.agent, host.certified = False, True
    run(monkeypatch, cluster, simulated, desired("frontend other"))
    assert issued(simulated) == ["lb-1"]


def test_run_for_the_standby_alone_issues_nothing_and_waits_for_nobody(monkeypatch, cluster):
    simulated = set_up(monkeypatch, cluster)
    run(monkeypatch, cluster, simulated, desired("frontend other"), names=("lb-2",))
    assert issued(simulated) == []


def test_cut_anywhere_the_next_run_ends_with_one_issue(monkeypatch, cluster):
    whole = sim.bare()
    run(monkeypatch, cluster, whole, desired())
    for count in range(len(whole.log)):
        simulated = sim.bare()
        simulated.cut_after = count
        with pytest.raises(sim.Cut):
            run(monkeypatch, cluster, simulated, desired())
        simulated.cut_after = None
        run(monkeypatch, cluster, simulated, desired())
        assert issued(simulated) == ["lb-1"]
