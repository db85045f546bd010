"""failover-test: breaks the node in charge on purpose and measures what clients saw. A procedure.

What is broken is first armed on the host to undo itself (a systemd timer), so the operator's machine may die
at any moment. A prober outside asks the endpoint all the while; the hosts' journals give the timeline.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lbkit import converge, errors, observe, pair, remote, status, steps, verify
from lbkit.inventory import Cluster

UNDO_AFTER_S = 45
PROBE_EVERY_S = 0.02
ANSWER_WITHIN_S = 0.5
DEADLINE_S = 30
SETTLE_S = 1.0  # of good answers before the break and after the repair

Tell = Callable[[str, str], None]
Sample = tuple[float, float, bool]  # when asked (s since 1970), ms until the answer, good or not


@dataclass(frozen=True)
class Case:
    """do breaks, undo mends: commands on the host in charge. most_s: the outage above which it fails."""

    name: str
    what: str
    do: tuple[str, ...]
    undo: tuple[str, ...]
    most_s: float


def case(name: str, what: str, do: str, undo: str, most_s: float) -> Case:
    return Case(name, what, ("systemctl", *do.split()), ("systemctl", *undo.split()), most_s)


CASES = (
    case("haproxy", "HAProxy stopped", "stop haproxy", "start haproxy", 5),
    case("haproxy-hung", "HAProxy hung", "kill -s STOP haproxy", "kill -s CONT haproxy", 7),
    case("keepalived", "keepalived stopped", "stop keepalived", "start keepalived", 3),
)
FAILBACK = case("failback", "address sent home", "stop keepalived", "start keepalived", 3)


@dataclass(frozen=True)
class Result:
    """What one case did. Times in s after the break, None where it was not seen.

    outage_s: longest gap between good answers, less the probe's interval. master_s: until the other node
    said that it is MASTER. holder_after: who had the address when all was mended.
    """

    case: str
    what: str
    passed: bool
    outage_s: float
    failed_requests: int
    requests: int
    master_s: float | None
    holder_before: str
    holder_after: str | None
    timeline: tuple[tuple[float, str, str], ...]


def run(cluster: Cluster, names: Sequence[str], command: str, tell: Tell) -> list[Result]:
    """Runs the named cases, each from a whole pair to a whole pair, then sends the address home.

    Raises Refused where the pair is not whole before, CommandFailed where it does not become whole again.
    """
    with remote.sessions(cluster.hosts) as opened, remote.outside(cluster.client) as ask:
        refuse_without_agent(cluster, opened)
        home = refuse_unless_whole(cluster, opened)
        with converge.locked(opened, command):
            drill = Drill(cluster, opened, ask, tell)
            results = [drill.run(one) for one in CASES if one.name in names]
            if drill.holder() != home:
                results.append(drill.run(FAILBACK))
    return results


def refuse_without_agent(cluster: Cluster, opened: dict[str, Any]) -> None:
    """Nobody else moves an Elastic IP: without the agent the test would only cut clients off."""
    if cluster.address.kind != "eip":
        return
    for node in observe.read(cluster, (), opened).nodes:
        state = node.seen.facts["units"]["lbkit-agent.service"]
        if state not in pair.RUNNING:
            raise errors.Refused(
                f"The agent that moves the Elastic IP does not run on {node.host.name} "
                f"({state or 'unknown'}); nothing was touched.\nNext: inv setup, then inv failover-test"
            )


def refuse_unless_whole(cluster: Cluster, opened: dict[str, Any]) -> str:
    """Name of the host in charge of a pair that has nothing wrong with it."""
    now = status.of(cluster, opened)
    if not now.whole:
        raise errors.Refused(
            f"{now.verdict}\nA failover test starts from a whole pair; nothing was touched.\nNext: inv verify"
        )
    return next(row.host for row in now.rows if row.holds)


class Drill:
    """The pair under test: its sessions, and a way to ask from outside."""

    def __init__(self, cluster: Cluster, opened: dict[str, Any], ask: Callable[..., Any], tell: Tell) -> None:
        self.cluster, self.opened, self.ask, self.tell = cluster, opened, ask, tell

    def run(self, one: Case) -> Result:
        """Break, watch the other node take over, mend, wait until all is whole."""
        victim = self.holder()
        assert victim is not None, "a whole pair has a holder"
        self.tell(victim, f"{one.what} …")
        question = verify.public_page(self.cluster).question()
        self.ask("probe", question={**question, "timeout_s": ANSWER_WITHIN_S}, every_s=PROBE_EVERY_S)
        time.sleep(SETTLE_S)  # the baseline: not a wait for anything
        order = {"do": one.do, "undo": one.undo, "undo_after_s": UNDO_AFTER_S}
        broken_at = self.opened[victim].call("drill", **order)["at"] - self.ahead(victim)
        taken = self.wait(lambda: self.masters() not in ([], [victim]))
        time.sleep(SETTLE_S)  # more answers from the new holder, before the old one comes back
        hears = not taken or self.opened[victim].call(
            "hears", **steps.hears_question(self.cluster, self.cluster.host(victim))
        )
        self.opened[victim].call("undo", **order)
        whole = self.wait(lambda: status.of(self.cluster, self.opened).whole)
        time.sleep(SETTLE_S)
        samples = self.ask("probed")
        timeline = self.timeline(broken_at)
        if not hears:
            fix = pair.way_for_adverts(self.cluster, self.cluster.host(victim))
            timeline += (
                (round(time.time() - broken_at, 2), victim, f"hears no advert of the new MASTER: {fix}"),
            )
        outage_s, failed = measure(samples, PROBE_EVERY_S)
        result = Result(
            case=one.name,
            what=one.what,
            passed=taken and whole and hears and outage_s <= one.most_s,
            outage_s=outage_s,
            failed_requests=failed,
            requests=len(samples),
            master_s=master_after(timeline, victim),
            holder_before=victim,
            holder_after=self.holder(),
            timeline=timeline,
        )
        if not whole:
            raise errors.CommandFailed(
                f"{victim}: {one.what}: mended, but the pair is not whole again after {DEADLINE_S} s.\n"
                f"Next: inv status"
            )
        return result

    def picture(self) -> observe.Picture:
        return observe.read(self.cluster, (), self.opened)

    def holder(self) -> str | None:
        return observe.holder_of(self.picture())

    def masters(self) -> list[str]:
        return [node.host.name for node in pair.masters(self.picture().nodes)]

    def wait(self, condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def ahead(self, name: str) -> float:
        """Seconds by which the host's clock is ahead of ours (half the round trip is the error)."""
        before = time.time()
        there = self.opened[name].call("read", items=[])["facts"]["time"]
        return float(there - (before + time.time()) / 2)

    def timeline(self, since: float) -> tuple[tuple[float, str, str], ...]:
        """(s after the break, host, line) of what both hosts wrote, in our clock."""
        found = []
        for name, session in self.opened.items():
            ahead = self.ahead(name)
            rows = session.call("events", since=since + ahead)
            found += [(round(at - ahead - since, 2), name, line) for at, _, line in rows if telling(line)]
        return tuple(sorted(found))


# What is worth a line of the timeline, of all that keepalived and HAProxy write.
TELLING = re.compile(
    r"(?i)entering|succeeded|fail|stopp|starting|exited|timed out|preempt|transition"
    r"|AssociateAddress|unfit|trouble"
)


def telling(line: str) -> bool:
    return bool(TELLING.search(line)) and "HTTP/1" not in line


def measure(samples: Iterable[Sample], every_s: float) -> tuple[float, int]:
    """(outage in s, failed requests): the longest gap between good answers, less the probe's interval."""
    rows = list(samples)
    good = [at for at, _, answered in rows if answered]
    if not good:
        return (rows[-1][0] - rows[0][0] if rows else 0.0), len(rows)
    edges = [rows[0][0], *good, rows[-1][0]]
    gap = max(after - before for before, after in itertools.pairwise(edges))
    return round(max(0.0, gap - every_s), 3), sum(not answered for _, _, answered in rows)


def master_after(timeline: Sequence[tuple[float, str, str]], victim: str) -> float | None:
    """Seconds after the break at which another node entered the MASTER state."""
    return next(
        (at for at, name, line in timeline if name != victim and "Entering MASTER STATE" in line), None
    )
