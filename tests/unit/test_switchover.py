"""What a switchover and a maintenance refuse, and how requests are counted: what needs no hosts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from lbkit import errors, inventory, maintenance, observe, pair, plan, switchover, verdict

SINCE = "in maintenance since 12:00 (by kim): new kernel"


def row(host: str, vrrp: str, holds: bool = False, **more: object) -> verdict.Row:
    made = verdict.Row(host, "active", vrrp, holds, "active", "active", (2, 2), "watches")
    return replace(made, **more)  # type: ignore[arg-type]


def judged(*rows: verdict.Row) -> verdict.Status:
    return verdict.judge(rows, {}, None)


WHOLE = judged(row("lb-1", "MASTER", True), row("lb-2", "BACKUP"))
OUT = judged(row("lb-1", "FAULT", agent="unfit", maintenance=SINCE), row("lb-2", "MASTER", True))
BROKEN = judged(row("lb-1", "MASTER", True), row("lb-2", "FAULT", agent="unfit"))


def preempting(cluster: inventory.Cluster) -> inventory.Cluster:
    return cluster.replace(keepalived=cluster.keepalived.replace(preempt=True))


# ── switchover ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_switchover_goes_from_who_has_service_and_does_nothing_where_the_target_has_it(
    cluster: inventory.Cluster,
) -> None:
    assert switchover.refuse(cluster, WHOLE, cluster.host("lb-2")) == "lb-1"
    assert switchover.refuse(cluster, WHOLE, cluster.host("lb-1")) is None


def test_a_switchover_is_refused_unless_the_pair_is_whole(cluster: inventory.Cluster) -> None:
    with pytest.raises(errors.Refused, match=r"FAULT(.|\n)*whole pair(.|\n)*Next: on lb-2"):
        switchover.refuse(cluster, BROKEN, cluster.host("lb-2"))


def test_a_target_in_maintenance_is_refused_with_the_way_out(cluster: inventory.Cluster) -> None:
    with pytest.raises(errors.Refused, match=r"new kernel(.|\n)*Next: inv maintenance off --host lb-1"):
        switchover.refuse(cluster, OUT, cluster.host("lb-1"))


def test_a_pair_that_a_drill_has_broken_is_left_to_its_undo(cluster: inventory.Cluster) -> None:
    cut_off = "a failover test was cut off there"
    now = judged(row("lb-1", "MASTER", True), row("lb-2", "BACKUP", broken=cut_off))
    for refuse in (
        lambda: switchover.refuse(cluster, now, cluster.host("lb-2")),
        lambda: maintenance.stand_in(cluster, now, "lb-1"),
    ):
        with pytest.raises(errors.Refused, match=r"lb-2: .*cut off there(.|\n)*Next: wait"):
            refuse()


def test_with_preempt_only_the_higher_priority_keeps_what_it_is_given(cluster: inventory.Cluster) -> None:
    cluster = preempting(cluster)
    with pytest.raises(errors.Refused, match="Next: inv maintenance on --host lb-1"):
        switchover.refuse(cluster, WHOLE, cluster.host("lb-2"))
    other = judged(row("lb-1", "BACKUP"), row("lb-2", "MASTER", True))
    assert switchover.refuse(cluster, other, cluster.host("lb-1")) == "lb-2"


def test_a_target_that_sees_no_server_is_refused_before_anything_moves(cluster: inventory.Cluster) -> None:
    now = judged(row("lb-1", "MASTER", True), row("lb-2", "BACKUP", servers=(0, 2)))
    with pytest.raises(errors.Refused, match=r"sees 0 of 2 servers up(.|\n)*nothing was touched"):
        switchover.refuse(cluster, now, cluster.host("lb-2"))
    assert switchover.refuse(cluster, WHOLE, cluster.host("lb-2")) == "lb-1"


def test_from_a_holder_that_sees_no_server_service_may_move_to_one_that_does(
    cluster: inventory.Cluster,
) -> None:
    blind = row("lb-1", "MASTER", True, servers=(0, 2))
    assert switchover.refuse(cluster, judged(blind, row("lb-2", "BACKUP")), cluster.host("lb-2")) == "lb-1"
    for other in (
        row("lb-2", "BACKUP", servers=(0, 2)),
        row("lb-2", "FAULT", agent="unfit"),
        row("lb-2", "BACKUP", broken="a failover test is at work"),
    ):
        with pytest.raises(errors.Refused, match="starts from a whole pair"):
            switchover.refuse(cluster, judged(blind, other), cluster.host("lb-2"))


def test_where_clients_are_answered_by_the_former_host_alone_that_is_the_next_step() -> None:
    moved = switchover.Moved("lb-1", "lb-2", 0.5)
    now = judged(row("lb-1", "BACKUP"), row("lb-2", "MASTER", True, servers=(0, 2)))
    assert switchover.way_back(now, moved) == "inv switchover --to lb-1"
    assert switchover.way_back(WHOLE, moved) == ""


def samples(*bad: float, every_s: float = 0.01, ms: float = 20.0) -> list[tuple[float, float, bool]]:
    good = [(at * every_s, ms, True) for at in range(200)]
    return sorted([*good, *((at, 5.0, False) for at in bad)])


@pytest.mark.parametrize(
    ("bad", "counted"),
    [
        ((), (0, 0)),
        ((1.0,), (1, 0)),
        ((1.0, 1.005, 1.015), (3, 0)),  # all on their way at one moment
        ((1.0, 1.005, 1.015, 1.05), (3, 1)),
        ((0.5, 1.0, 1.5), (1, 2)),  # no one moment explains them
    ],
)
def test_requests_are_cut_by_one_moment_and_otherwise_failed(
    bad: tuple[float, ...], counted: tuple[int, int]
) -> None:
    assert switchover.tally(samples(*bad)) == counted


def test_a_lost_packet_does_not_widen_the_moment() -> None:
    slow = [*samples(1.0, 1.5), (1.0, 1030.0, True)]
    assert switchover.tally(slow) == (1, 1)


def test_where_nothing_was_answered_all_failed() -> None:
    assert switchover.tally([(at / 100, 3000.0, False) for at in range(50)]) == (0, 50)


# ── maintenance ──────────────────────────────────────────────────────────────────────────────────────────────


def test_who_stands_in_is_the_master_or_the_best_of_those_that_can_serve(cluster: inventory.Cluster) -> None:
    assert maintenance.stand_in(cluster, WHOLE, "lb-1") == "lb-2"
    assert maintenance.stand_in(cluster, WHOLE, "lb-2") == "lb-1"
    assert maintenance.stand_in(cluster, BROKEN, "lb-2") == "lb-1"


@pytest.mark.parametrize(
    "other",
    [
        row("lb-2", "FAULT", agent="unfit"),
        row("lb-2", "STOPPED", keepalived="inactive"),
        row("lb-2", "BACKUP", haproxy="failed"),
        row("lb-2", "BACKUP", servers=(0, 2)),
        row("lb-2", "BACKUP", servers=None),
        row("lb-2", "UNKNOWN", keepalived="unknown"),
        row("lb-2", "FAULT", agent="unfit", maintenance=SINCE),
    ],
)
def test_the_last_host_that_can_serve_is_not_kept_out(cluster: inventory.Cluster, other: verdict.Row) -> None:
    with pytest.raises(errors.Refused, match=r"lb-1 stays in service(.|\n)*Next: \S"):
        maintenance.stand_in(cluster, judged(row("lb-1", "MASTER", True), other), "lb-1")


def test_a_pair_with_a_host_in_maintenance_is_not_whole_and_says_how_to_end_it() -> None:
    assert not OUT.whole
    assert OUT.verdict == f"lb-1 is {SINCE}. lb-2 serves alone."
    assert OUT.next_step == "inv maintenance off --host lb-1"


def test_what_is_worse_than_a_maintenance_is_told_first() -> None:
    out = row("lb-1", "FAULT", agent="unfit", maintenance=SINCE)
    for other in (row("lb-2", "MASTER", True, haproxy="failed"), row("lb-2", "STOPPED", keepalived="failed")):
        assert "maintenance" not in judged(out, other).verdict.split(" Also: ")[0]


def test_a_host_that_serves_in_spite_of_its_maintenance_is_called_that() -> None:
    found = judged(row("lb-1", "MASTER", True, maintenance=SINCE), row("lb-2", "BACKUP"))
    assert "serves all the same" in found.verdict


# ── what the hosts are told ──────────────────────────────────────────────────────────────────────────────────


class Told:
    """The hosts of a cluster: who is MASTER follows from their orders, unless the target is deaf to them."""

    def __init__(self, cluster: inventory.Cluster, *, deaf: bool = False) -> None:
        self.cluster, self.deaf = cluster, deaf
        self.calls: list[tuple[str, str, str]] = []
        self.aside: set[str] = set()
        self.dropped: set[str | None] = set()
        self.master = "lb-1"

    @property
    def opened(self) -> dict[str, Any]:
        return {host.name: ToldHost(self, host.name) for host in self.cluster.hosts}

    def node(self, host: inventory.Host) -> pair.Node:
        said = {
            "role": "?",
            "stance": "none",
            "why_stance": "x",
            "fit": True,
            "why_fit": "serves",
            "age_s": 0,
        }
        facts = {"units": {"lbkit-agent.service": "active"}, "agent": said}
        state: Any = "MASTER" if host.name == self.master else "BACKUP"
        return pair.Node(host, plan.Seen((), facts), (), state, None)

    def picture(self, *_: object) -> observe.Picture:
        return observe.Picture(self.cluster, tuple(self.node(host) for host in self.cluster.hosts))


@dataclass
class ToldHost:
    told: Told
    name: str

    def call(self, op: str, **request: Any) -> Any:
        told = self.told
        if op == "read":
            return {"facts": {"agent": {"fit": self.name not in told.aside}}}
        told.calls.append((self.name, op, request.get("name", "")))
        if op == "release":
            told.dropped.add(request["keep"])
        if op == "order":
            told.aside.add(self.name)
            free = [host.name for host in told.cluster.hosts if host.name not in told.aside]
            if told.master == self.name and not told.deaf:
                told.master = free[0]
        return {}


@pytest.fixture
def three(cluster: inventory.Cluster) -> inventory.Cluster:
    last = cluster.hosts[1]
    third = last.replace(name="lb-3", private_address="10.77.9.13", priority=230)
    return cluster.replace(hosts=(*cluster.hosts, third))


@pytest.mark.parametrize("to", ["lb-2", "lb-3"])
def test_of_three_hosts_only_the_target_can_win_the_election(
    three: inventory.Cluster, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(three)
    monkeypatch.setattr(observe, "read", told.picture)
    done = switchover.move(three, told.opened, to, lambda *_: None)
    other = {"lb-2": "lb-3", "lb-3": "lb-2"}[to]
    assert (done.source, done.target, told.master) == ("lb-1", to, to)
    assert told.calls[:2] == [(other, "order", "aside"), ("lb-1", "order", "aside")]
    assert [call[:2] for call in told.calls[2:]] == [(host.name, "release") for host in three.hosts]
    assert told.dropped == {"10.77.9.100"}


def test_where_service_does_not_move_the_orders_are_withdrawn_and_the_hosts_quoted(
    cluster: inventory.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(cluster, deaf=True)
    monkeypatch.setattr(observe, "read", told.picture)
    monkeypatch.setattr(switchover, "MOVE_WITHIN_S", 0.1)
    with pytest.raises(errors.CommandFailed, match=r"did not move to lb-2(.|\n)*lb-1: MASTER(.|\n)*Next: "):
        switchover.move(cluster, told.opened, "lb-2", lambda *_: None)
    assert [call[:2] for call in told.calls[-2:]] == [("lb-1", "release"), ("lb-2", "release")]
    assert told.dropped == {None}  # the old holder goes on answering, until it is MASTER again


def test_a_role_names_a_host_where_only_one_has_it(three: inventory.Cluster) -> None:
    assert switchover.one_host(three, "active").name == "lb-1"
    with pytest.raises(errors.Refused, match="Next: name one of lb-2, lb-3"):
        switchover.one_host(three, "passive")
