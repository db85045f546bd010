"""The drill's arithmetic, its table of cases, what it refuses, and its report."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lbkit import errors
from lbkit.drill import before, cases, figures, page, show
from lbkit.drill.cases import CASES
from lbkit.drill.figures import Asked, Clock, Moments, Reading
from lbkit.drill.probe import Answers
from lbkit.drill.result import Facts, Phases, Result, reasons, result
from lbkit.inventory import Cluster, Eip, Jump

CASE = {one.name: one for one in CASES}


def every(begin: float, end: float, bad: tuple[float, float] = (0, 0), step: float = 0.02) -> list:
    """Samples, bad ones between two times."""
    count = round((end - begin) / step)
    at = [round(begin + i * step, 6) for i in range(count)]
    return [(one, 2.0, not bad[0] <= one < bad[1]) for one in at]


# ── outage ───────────────────────────────────────────────────────────────────────────────────────────────


def test_outage_is_the_longest_gap_between_good_answers_less_the_interval() -> None:
    outage_s, failed = figures.measure(every(0, 3, bad=(1.0, 1.5)), 0.02)
    assert (outage_s, failed) == (0.5, 25)


def test_probe_without_a_failure_has_no_outage() -> None:
    assert figures.measure(every(0, 1), 0.02) == (0.0, 0)


def test_one_good_answer_in_between_ends_an_outage() -> None:
    rows = every(0, 3, bad=(1.0, 2.0))
    rows[75] = (rows[75][0], 2.0, True)
    assert figures.measure(rows, 0.02)[0] == pytest.approx(0.5)


def test_outage_that_lasts_to_the_end_counts_whole() -> None:
    assert figures.measure(every(0, 2, bad=(1.0, 9)), 0.02)[0] == pytest.approx(0.98)


def test_nothing_answered_is_an_outage_of_the_whole_time() -> None:
    assert figures.measure(every(0, 2, bad=(0, 9)), 0.02) == (1.98, 100)
    assert figures.measure([], 0.02) == (0.0, 0)


def test_only_what_was_asked_in_a_phase_counts_for_it() -> None:
    rows = every(0, 10, bad=(4.0, 4.1))
    assert figures.asked(rows, 0.02, 0, 4) == Asked(200, 0, 0.0)
    assert figures.asked(rows, 0.02, 3, 5, broken=[2.0, 4.0]) == Asked(100, 5, 0.1, broken=1)


# ── one clock ────────────────────────────────────────────────────────────────────────────────────────────


def read(at: float, ahead: float, trip: float = 0.01) -> Reading:
    """A reading of a clock that is `ahead`, whose answer came half a trip after the question."""
    return Reading(at - trip / 2, at + ahead, at + trip / 2)


@pytest.mark.parametrize("ahead", [0.0, 3600.0, -7.25])
def test_clock_that_is_off_is_put_right(ahead: float) -> None:
    clock = Clock((read(1000, ahead), read(1060, ahead)))
    assert clock.ours(1030 + ahead) == pytest.approx(1030)


def test_drift_between_two_readings_is_shared_out_evenly() -> None:
    clock = Clock((read(1000, 0.0), read(1100, 0.2)))
    assert clock.ours(1050.1) == pytest.approx(1050, abs=1e-3)
    assert clock.ours(990) == pytest.approx(990)
    assert clock.ours(1200.2) == pytest.approx(1200)


def test_reading_with_the_shortest_round_trip_counts() -> None:
    slow, quick = Reading(0, 5.4, 1.0), Reading(2, 7.05, 2.1)
    assert figures.best([slow, quick]) is quick
    assert quick.ahead == pytest.approx(5.0)


# ── the timeline ─────────────────────────────────────────────────────────────────────────────────────────

MOVED = (
    (-0.5, "lb-1", "lbkit-agent", "fit: HAProxy serves"),
    (0.0, "", "drill", "lb-1: HAProxy stopped"),
    (0.11, "lb-1", "lbkit-agent", "unfit: HAProxy was stopped; the peer serves"),
    (0.15, "lb-2", "keepalived", "(lab) Entering MASTER STATE"),
    (0.16, "lb-2", "lbkit-agent", "AssociateAddress 1 begun: elected MASTER"),
    (0.19, "lb-2", "lbkit-agent", "AssociateAddress 1 done in 8 ms"),
    (0.22, "lb-2", "lbkit-agent", "the address is with this node"),
    (3.00, "lb-1", "lbkit-agent", "fit: HAProxy serves again, for 1 s"),
    (4.00, "lb-1", "lbkit-agent", "AssociateAddress 2 done in 8 ms"),
)
SPLIT = (
    (1.5, "lb-2", "keepalived", "(lab) Entering MASTER STATE"),
    (1.6, "lb-2", "lbkit-agent", "AssociateAddress 1 done in 8 ms"),
    (1.7, "lb-2", "lbkit-agent", "the address is with this node"),
    (5.6, "lb-1", "lbkit-agent", "AssociateAddress 1 done in 9 ms"),
    (5.7, "lb-1", "lbkit-agent", "the address is with this node"),
)


def test_moments_are_read_from_both_hosts_until_the_repair() -> None:
    assert figures.moments(MOVED, "lb-1", 2.0, elastic=True) == Moments(0.11, 0.15, 0.19)


def test_virtual_ip_is_on_a_node_when_that_is_master() -> None:
    assert figures.moments(MOVED, "lb-1", 2.0, elastic=False) == Moments(0.11, 0.15, 0.15)


def test_address_that_came_home_in_a_partition_counts_from_then() -> None:
    assert figures.moments(SPLIT, "lb-1", 9.0, elastic=True) == Moments(1.5, 1.5, 5.6)


def test_what_was_not_seen_is_null() -> None:
    assert figures.moments(MOVED[:2], "lb-1", 2.0, elastic=True) == Moments(None, None, None)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("(lab) Entering FAULT STATE", True),
        ("trouble: haproxy: HAProxy was stopped", True),
        ("yields: taken once; a higher priority took it back", True),
        ("haproxy.service: Main process exited, code=killed, status=9/KILL", True),
        ("Starting VRRP child process, pid=3", False),
    ],
)
def test_timeline_keeps_what_tells(line: str, wanted: bool) -> None:
    assert figures.telling(line) is wanted


# ── the cases ────────────────────────────────────────────────────────────────────────────────────────────


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
    import tasks

    assert set(cases.NAMES) <= set(re.findall(r"[a-z-]+", tasks.CASE))


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


# ── whether a case passed ────────────────────────────────────────────────────────────────────────────────

FINE = {
    **{
        "taken": True,
        "left": False,
        "hears": True,
        "fix": "",
        "verdict": "",
        "astray": "",
        "preempted": False,
    },
    **{"holder_before": "lb-1", "highest": "lb-1"},
}


def why(case: str, outage_s: float = 0.1, first: Asked | None = None, **facts) -> list[str]:
    seen = Facts(**{**FINE, "holder_after": "lb-2", **facts})
    return reasons(CASE[case], 5.0, seen, Asked(100, 5, outage_s), first, None)


def test_case_within_its_limit_passes() -> None:
    assert why("haproxy") == []
    assert why("haproxy-killed", holder_after="lb-1") == []
    assert why("partition", holder_after="lb-1") == []


@pytest.mark.parametrize(
    ("case", "facts", "said"),
    [
        ("haproxy", {"outage_s": 6.0}, "no answer for 6.00 s"),
        ("haproxy", {"taken": False}, "nobody took over from lb-1"),
        ("haproxy", {"hears": False, "fix": "allow protocol 112"}, "hears no advert"),
        ("haproxy", {"verdict": "Nobody is MASTER."}, "not whole again: Nobody is MASTER"),
        ("haproxy", {"astray": "lb-1 is unfit"}, "did not come home to lb-1: lb-1 is unfit"),
        ("haproxy-killed", {}, "the address went to lb-2; it should have stayed"),
        ("aws", {"left": True}, "another became MASTER"),
        ("partition", {"holder_after": "lb-2"}, "ended with lb-2, and not with lb-1"),
        ("aws", {"first": Asked(400, 100, 2.0)}, "without the AWS API alone, no answer for 2.00 s"),
    ],
)
def test_case_fails_with_the_reason(case: str, facts: dict, said: str) -> None:
    (reason,) = why(case, **facts)
    assert said in reason


# ── what is shown ────────────────────────────────────────────────────────────────────────────────────────

EVIL = '<script>alert("x")</script>\x1b[2J'


def shown(name: str = "haproxy", **facts) -> Result:
    samples = tuple(every(100, 112, bad=(102, 102.3)))
    answers = Answers(samples, {"kept_alive": (tuple(every(100, 112, step=0.1)), (102.0,))})
    phases = Phases(began=100, broken=102, mended=105, whole=106, home=108, ended=112)
    seen = Facts(**{**FINE, "holder_after": "lb-2", **facts})
    timeline = (*MOVED, (0.5, "lb-2", "haproxy", EVIL))
    return result(CASE[name], 5.0, seen, phases, Moments(0.11, 0.15, 0.19), timeline, answers, ())


def test_json_has_the_keys_that_are_documented_and_no_others(cluster: Cluster) -> None:
    document = (Path(__file__).parents[2] / "docs" / "failover-test.md").read_text()
    told = json.loads(json.dumps(show.as_json(cluster, [shown()])))
    (case,) = told["cases"]
    for key in (*told, *case, *case["kept_alive"], *case["timeline"][0]):
        assert f"`{key}`" in document, key
    assert case["requests"] == 400
    assert (case["outage_s"], case["failed_requests"], case["upgraded"]) == (0.3, 15, None)
    assert (case["failback_outage_s"], case["failback_requests"]) == (0.0, 200)
    assert case["kept_alive"]["broken"] == 1


def test_table_fits_80_columns_and_says_why_a_case_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = show.lines([shown(name) for name in CASE] + [shown(taken=False)])
    assert max(map(len, lines)) <= 80, max(lines, key=len)
    assert "HAProxy stopped failed: nobody took over from lb-1." in lines


class Outside(HTMLParser):
    """Tags, and every address that a page would load from."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href") and value[0] != "#"]


def test_report_is_one_file_that_loads_and_runs_nothing(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    page.write(file, cluster, [shown(name) for name in CASE])
    parser = Outside()
    parser.feed(text := file.read_text())
    assert parser.tags.count("svg") == 2 * len(CASE)
    assert "script" not in parser.tags
    assert parser.loads == []
    assert "url(" not in text
    assert "@import" not in text
    assert list(tmp_path.iterdir()) == [file]


def test_report_shows_what_a_host_wrote_as_text(cluster: Cluster) -> None:
    text = page.html(cluster, [shown()])
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text


def test_labels_of_one_moment_stand_in_rows_of_their_own() -> None:
    labels, rows = page.placed([(100, "broken"), (101, "noticed"), (400, "address"), (940, "sent home")])
    assert rows == 2
    assert labels[0].y != labels[1].y
    assert labels[2].y == labels[0].y
    assert (labels[3].anchor, labels[3].x) == ("end", 936)


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


def test_confirmation_says_that_the_machine_is_reset() -> None:
    assert "as a power cut would" in before.warning([CASE["host"]], None)
    assert before.warning([CASE["haproxy"]], None) == ""
    assert "stops the instance of lb-1" in before.warning([CASE["host"]], "lb-1")


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


# ── what a move cuts ─────────────────────────────────────────────────────────────────────────────────────


def test_only_requests_that_were_on_their_way_as_the_address_moved_count_as_cut() -> None:
    answered = [(10 + n / 50, 6.0, True) for n in range(50)]
    moved = [(10.505, 10.525)]
    cut = [(10.5, 500.0, False), (10.52, 3.0, False)]
    others = [(10.45, 500.0, False), (10.53, 500.0, False), (10.7, 500.0, False)]
    assert figures.on_the_way([*answered, *cut, *others], moved, 10, 11) == len(cut)
    assert figures.on_the_way([*answered, *cut], [], 10, 11) == 0
    assert figures.on_the_way([*answered, *cut], moved, 10.6, 11) == 0, "of another time"
    slow = [(10.1, 480.0, True), (10.2, 3000.0, True)]  # a lost packet is no measure of the way
    assert figures.on_the_way([*answered, *slow, (10.0, 500.0, False)], moved, 9, 11) == 0


def test_an_elastic_ip_moves_between_call_and_answer_and_a_virtual_one_at_the_election() -> None:
    timeline = [
        (1.30, "lb-2", "keepalived", "(lab) Entering MASTER STATE"),
        (1.31, "lb-2", "lbkit-agent", "AssociateAddress 5 begun: elected MASTER"),
        (1.33, "lb-2", "lbkit-agent", "AssociateAddress 5 done in 20 ms"),
        (1.40, "lb-1", "lbkit-agent", "AssociateAddress 5 begun: MASTER, and the address is with a lower priority"),
        (1.45, "lb-1", "lbkit-agent", "AssociateAddress 5 done in 50 ms"),
        (1.50, "lb-1", "lbkit-agent", "AssociateAddress 6 begun: never answered"),
    ]  # fmt: skip
    assert figures.moves(timeline, elastic=True) == ((1.31, 1.33), (1.40, 1.45))
    assert figures.moves(timeline, elastic=False) == ((1.30, 1.30),)


def test_a_host_that_does_not_answer_is_named_before_anything_is_locked() -> None:
    gone = errors.Unreachable("lb-2: no ssh (no answer).\nNext: is it up?")
    with pytest.raises(
        errors.Unreachable, match=r"lb-2: no ssh[^\n]*\n.*nothing was touched.\nNext: inv status"
    ):
        before.refuse_missing({"lb-1": object(), "lb-2": gone})
