"""The cases of a failover test: which are chosen, what they cut, and when none begins."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from lbkit import errors, status, verdict
from lbkit.drill import before, cases
from lbkit.drill.cases import CASES
from lbkit.inventory import Cluster, Eip, Jump

CASE = {one.name: one for one in CASES}


def elastic(cluster: Cluster) -> Cluster:
    address = Eip(kind="eip", allocation_id="eipalloc-1", region="eu-west-1", public_ip="192.0.2.1")
    return cluster.replace(address=address)


def names(chosen: tuple[cases.Case, ...]) -> list[str]:
    return [one.name for one in chosen]


def test_of_no_names_all_cases_run_that_fit_the_address(cluster: Cluster) -> None:
    assert names(cases.chosen([], cluster)) == [name for name in cases.NAMES if name != "aws"]
    assert names(cases.chosen([], elastic(cluster))) == list(cases.NAMES)


def test_names_are_given_with_commas_or_repeated(cluster: Cluster) -> None:
    assert names(cases.chosen(["host, haproxy", "partition"], cluster)) == ["haproxy", "host", "partition"]


def test_unknown_case_is_refused_with_all_names(cluster: Cluster) -> None:
    with pytest.raises(errors.Refused, match="There is no case 'network'") as refused:
        cases.chosen(["haproxy,network"], elastic(cluster))
    assert all(name in str(refused.value) for name in cases.NAMES)


def test_case_of_the_other_kind_of_address_is_refused(cluster: Cluster) -> None:
    with pytest.raises(errors.Refused, match="about an Elastic IP"):
        cases.chosen(["aws"], cluster)


def test_help_names_every_case() -> None:
    from lbkit.tasks import moves

    assert set(cases.NAMES) <= set(re.findall(r"[a-z-]+", moves.CASE))


def test_partition_spares_every_port_that_ssh_may_come_in_by(cluster: Cluster) -> None:
    hosts = (
        cluster.hosts[0].replace(jump=Jump(ssh="198.51.100.7", port=2222)),
        cluster.hosts[1].replace(private_address="fd77::12"),
    )
    rules = cases.cut_peers(cluster.replace(hosts=hosts), hosts[1:])
    assert rules.count("tcp dport { 22, 2201, 2202, 2222 } accept") == 2
    assert rules.count("tcp sport { 22, 2201, 2202, 2222 } accept") == 2
    assert rules.index("accept") < rules.index("drop")
    assert "ip6 saddr fd77::12 drop" in rules
    assert "ip6 daddr fd77::12 drop" in rules
    assert "112" not in rules


def test_partition_over_ipv6_spares_what_finds_the_neighbour(cluster: Cluster) -> None:
    """ssh by way of the peer would end with the neighbours' cache. (IPv4's ARP passes by these chains.)"""
    hosts = tuple(host.replace(private_address=f"fd77::1{n}") for n, host in enumerate(cluster.hosts))
    rules = cases.cut_peers(cluster.replace(hosts=hosts), hosts[1:])
    spared = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"
    assert rules.count(spared) == 2
    assert rules.index(spared) < rules.index("drop")
    assert "icmpv6" not in cases.cut_peers(cluster, cluster.passives)


def test_of_three_hosts_the_one_in_charge_alone_is_cut_off(cluster: Cluster) -> None:
    third = cluster.hosts[1].replace(name="lb-3", private_address="10.77.9.13")
    three = cluster.replace(hosts=(*cluster.hosts, third))
    victim, second, _ = three.hosts
    at_victim = cases.filled("{cut_peers}", three, victim, victim)
    assert "saddr 10.77.9.12 drop" in at_victim
    assert "saddr 10.77.9.13 drop" in at_victim
    at_second = cases.filled("{cut_peers}", three, second, victim)
    assert "saddr 10.77.9.11 drop" in at_second
    assert "10.77.9.13" not in at_second


def test_partition_cuts_multicast_adverts_too(cluster: Cluster) -> None:
    multicast = cluster.replace(address=cluster.address.replace(transport="multicast"))
    assert cases.cut_peers(multicast, multicast.passives).count("meta l4proto 112 drop") == 2


def test_without_the_api_the_agent_still_reaches_its_peers(cluster: Cluster) -> None:
    rules = cases.cut_aws(cluster, cluster.active)
    assert rules.index('oifname "lo" accept') < rules.index("meta skuid lbkit drop")
    assert rules.index("ip daddr 10.77.9.12 accept") < rules.index("meta skuid lbkit drop")


def test_limits_follow_the_interval_of_adverts(cluster: Cluster) -> None:
    slow = cluster.replace(keepalived=cluster.keepalived.replace(advert_int=3.0))
    assert CASE["host"].limit(slow) == CASE["host"].limit(cluster) + 4 * (3.0 - cluster.keepalived.advert_int)
    assert CASE["haproxy"].limit(slow) == CASE["haproxy"].limit(cluster)


# ── who is asked first ───────────────────────────────────────────────────────────────────────────────────


def ours(cluster: Cluster, **changes) -> Cluster:
    """The committed pair with other values of its hosts."""
    return cluster.replace(hosts=tuple(host.replace(**changes) for host in cluster.hosts))


def test_lab_is_told_by_its_keys_and_not_by_its_name(cluster: Cluster) -> None:
    assert before.is_rehearsal(cluster.replace(name="production"))
    assert not before.is_rehearsal(ours(cluster, known_hosts=Path("/root/.ssh/known_hosts")))
    assert not before.is_rehearsal(ours(cluster, key=None))
    assert not before.is_rehearsal(ours(cluster, ssh="10.0.0.11"))
    assert not before.is_rehearsal(ours(cluster, jump=Jump(ssh="10.0.0.1")))


def test_pair_that_is_not_the_lab_wants_its_name(cluster: Cluster) -> None:
    tunnelled = ours(
        cluster, known_hosts=Path("/root/.ssh/known_hosts")
    )  # a real one behind ssh -L, named lab
    for given in (None, "Lab", ""):
        with pytest.raises(errors.Refused, match="--yes-really lab"):
            before.confirm(tunnelled, given)
    before.confirm(tunnelled, "lab")
    before.confirm(cluster, None)
    with pytest.raises(errors.Refused, match="--yes-really lab"):
        before.confirm(cluster, "another")


def test_outside_the_lab_no_host_loses_its_power_unless_that_is_asked_for_by_name() -> None:
    wanted, left_out = before.without_power_cuts(CASES, named=False, rehearsal=False)
    assert "host" not in names(wanted)
    assert "--case host" in left_out
    assert before.without_power_cuts(CASES, named=True, rehearsal=False) == (CASES, "")
    assert before.without_power_cuts(CASES, named=False, rehearsal=True) == (CASES, "")


def test_confirmation_names_the_machine_that_is_reset_and_agrees_to_no_other(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = ours(cluster, key=None)
    row = verdict.Row("lb-2", "passive", "MASTER", True, "active", "active", (2, 2))
    monkeypatch.setattr(status, "read", lambda _: verdict.judge([row], {}, None))

    def asked(*given: str, instance: str | None = None) -> tuple[str | None, str]:
        typed = io.StringIO("lab\n")
        typed.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", typed)
        return before.confirm(real, None, [CASE[name] for name in given], instance), capsys.readouterr().err

    agreed, question = asked("haproxy", "host")
    assert agreed == "lb-2"
    assert "It resets lb-2 as a power cut would." in question
    assert asked("haproxy")[0] is None
    assert "stops the instance of lb-1" in asked("host", instance="lb-1")[1]
    before.refuse_moved("lb-2", agreed)
    with pytest.raises(errors.Refused, match="lb-1 is in charge by now, and not lb-2"):
        before.refuse_moved("lb-1", agreed)


def test_host_that_is_the_way_to_another_keeps_its_power(cluster: Cluster) -> None:
    first, second = cluster.hosts
    jumping = cluster.replace(hosts=(first, second.replace(jump=Jump(ssh=first.ssh, port=first.port))))
    with pytest.raises(errors.Refused, match="lb-2 is reached by way of lb-1"):
        before.refuse_ways_through(jumping, "lb-1", CASES)
    before.refuse_ways_through(jumping, "lb-1", [CASE["partition"]])
    before.refuse_ways_through(cluster, "lb-1", CASES)


def test_instance_is_stopped_in_the_case_host_alone(cluster: Cluster) -> None:
    pair = elastic(cluster)
    assert cases.for_instance([], pair, None) == []
    assert cases.for_instance([], pair, "lb-1") == cases.for_instance(["host"], pair, "lb-1") == ["host"]
    for given, which, clusters in ((["haproxy"], "lb-1", pair), ([], "lb-1", cluster)):
        with pytest.raises(errors.Refused, match="nothing was touched"):
            cases.for_instance(given, clusters, which)
    with pytest.raises(errors.NoSuchHost):
        cases.for_instance([], pair, "lb-9")
    with pytest.raises(errors.Refused, match="lb-1 is in charge, and not lb-2"):
        before.refuse_other_instance("lb-1", "lb-2")


def test_report_that_could_not_be_written_is_refused_before_anything_breaks(tmp_path: Path) -> None:
    with pytest.raises(errors.Refused, match="cannot be written"):
        before.refuse_unwritable(tmp_path / "no" / "report.html")
    before.refuse_unwritable(tmp_path / "report.html")


def test_a_host_that_does_not_answer_is_named_before_anything_is_locked() -> None:
    gone = errors.Unreachable("lb-2: no ssh (no answer).\nNext: is it up?")
    with pytest.raises(
        errors.Unreachable, match=r"lb-2: no ssh[^\n]*\n.*nothing was touched.\nNext: inv status"
    ):
        before.refuse_missing({"lb-1": object(), "lb-2": gone})
