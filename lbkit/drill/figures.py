"""What the prober's answers and the hosts' journals say of a case. Pure arithmetic."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Sample = tuple[float, float, bool]  # when asked (s since 1970), ms until the answer, good or not
Event = tuple[float, str, str, str]  # s after the break, host, who wrote it, line
Span = tuple[float, float]


@dataclass(frozen=True)
class Asked:
    """What became of a row of questions. outage_s: the longest gap between good answers, less the interval
    at which they were asked. broken: how many open connections broke; None for new ones."""

    requests: int
    failed_requests: int
    outage_s: float
    broken: int | None = None


def asked(
    samples: Iterable[Sample],
    every_s: float,
    since: float,
    until: float,
    broken: Sequence[float] | None = None,
) -> Asked:
    """Of the questions that were put between two times. broken: when open connections broke."""
    rows = [row for row in samples if since <= row[0] < until]
    outage_s, failed = measure(rows, every_s)
    lost = None if broken is None else sum(since <= at < until for at in broken)
    return Asked(len(rows), failed, outage_s, lost)


def measure(samples: Iterable[Sample], every_s: float) -> tuple[float, int]:
    """(outage in s, failed requests): the longest gap between good answers, less the probe's interval."""
    rows = list(samples)
    good = [at for at, _, answered in rows if answered]
    if not good:
        return (round(rows[-1][0] - rows[0][0], 3) if rows else 0.0), len(rows)
    edges = [rows[0][0], *good, rows[-1][0]]
    gap = max(after - before for before, after in itertools.pairwise(edges))
    return round(max(0.0, gap - every_s), 3), sum(not answered for _, _, answered in rows)


LONGEST_S = 0.5  # an answer that took longer waited for something else than its way


def on_the_way(samples: Iterable[Sample], moves: Sequence[Span], since: float, until: float) -> int:
    """How many of the failed questions between two times were on their way while the address moved.

    Their connection was open by then, and its next packet came to a host that does not know it: nobody can
    help that. On their way are those that were put before the move was done, and not longer before it began
    than the slowest good answer took. moves: when each began and was done. All in s, by one clock.
    """
    rows = [row for row in samples if since <= row[0] < until]
    slowest_s = max((ms / 1000 for _, ms, good in rows if good and ms / 1000 <= LONGEST_S), default=0.0)
    failed = [at for at, _, good in rows if not good]
    return sum(any(begun - slowest_s <= at <= done for begun, done in moves) for at in failed)


# ── one clock ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Reading:
    """A clock elsewhere, read over a round trip. All in s: sent and received by our clock, there by the
    other.
    """

    sent: float
    there: float
    received: float

    @property
    def at(self) -> float:
        return (self.sent + self.received) / 2

    @property
    def ahead(self) -> float:
        """By how much the other clock is ahead; half the round trip is the error."""
        return self.there - self.at


def best(readings: Iterable[Reading]) -> Reading:
    """The one with the shortest round trip, whose error is the least."""
    return min(readings, key=lambda one: one.received - one.sent)


@dataclass(frozen=True)
class Clock:
    """The other clock over a while: it may drift, or jump when its host boots. marks: readings in order of
    time.
    """

    marks: tuple[Reading, ...]

    def ahead(self, there: float) -> float:
        """By how much it was ahead when it showed `there`: between two readings on the line through them."""
        before = [mark for mark in self.marks if mark.there <= there]
        after = [mark for mark in self.marks if mark.there > there]
        if not before or not after:
            return (before[-1] if before else after[0]).ahead
        first, last = before[-1], after[0]
        share = (there - first.there) / (last.there - first.there)
        return first.ahead + share * (last.ahead - first.ahead)

    def ours(self, there: float) -> float:
        """The time by our clock at which the other showed `there`."""
        return there - self.ahead(there)


# ── the timeline ─────────────────────────────────────────────────────────────────────────────────────────

# What is worth a line, of all that keepalived, HAProxy and the agent write.
TELLING = re.compile(
    r"(?i)entering|succeeded|fail|stopp|start(ing|ed) .*(haproxy|keepalive)|exited|timed out|preempt"
    r"|AssociateAddress|unfit|^fit:|trouble|^over:|^keepalived: |the address is with"
    r"|^(takes|holds|yields|waits): "
)
NOISE = re.compile(r"not ready|reset-failed")

# A host has noticed, and is about to do something.
NOTICED = re.compile(
    r"^unfit: |Entering (FAULT|MASTER)|^keepalived: (MASTER|STOPPED|HUNG)|Main process exited"
)
ELECTED = re.compile(r"Entering MASTER|^keepalived: MASTER")
CALL = re.compile(r"AssociateAddress (\d+) (begun|done)")
TOOK = re.compile(r"AssociateAddress \d+ done|the address is with this node")


def telling(line: str) -> bool:
    return bool(TELLING.search(line)) and not NOISE.search(line)


@dataclass(frozen=True)
class Moments:
    """Seconds after the break, None where it was not seen. detected_s: the first that a host noticed of it.
    master_s: another node became MASTER. address_s: the address was with whoever had it last."""

    detected_s: float | None
    master_s: float | None
    address_s: float | None


def moments(timeline: Sequence[Event], victim: str, until_s: float, elastic: bool) -> Moments:
    """From the lines of the hosts between the break and the repair. victim: the host that was broken.
    elastic: the agents move the address; otherwise it is on a node from the moment that this is MASTER.
    """
    rows = [row for row in timeline if 0 <= row[0] < until_s]
    detected = first(rows, NOTICED)
    master = first([row for row in rows if row[1] != victim], ELECTED)
    took = [row for row in rows if (TOOK if elastic else ELECTED).search(row[3])]
    changes = [at for at, host, _, _ in took if host != victim or master is not None]
    if not elastic:
        return Moments(detected, master, master)
    return Moments(detected, master, arrival(took) if changes else None)


def moves(timeline: Sequence[Event], elastic: bool) -> tuple[Span, ...]:
    """When the address moved, in s after the break: an Elastic IP between an agent's call and its answer, a
    virtual one as a node becomes MASTER."""
    if not elastic:
        return tuple((at, at) for at, _, _, line in timeline if ELECTED.search(line))
    calls: dict[tuple[str, str], dict[str, float]] = {}
    for at, host, _, line in timeline:
        if said := CALL.search(line):
            calls.setdefault((host, said[1]), {})[said[2]] = at
    return tuple((one["begun"], one["done"]) for one in calls.values() if len(one) == 2)


def first(rows: Iterable[Event], pattern: re.Pattern[str]) -> float | None:
    return min((at for at, _, _, line in rows if pattern.search(line)), default=None)


def arrival(took: Sequence[Event]) -> float | None:
    """When the address came to whoever had it last: its agent says so twice, when the call is done and when
    it sees it.
    """
    last = max(took, default=None)
    if last is None:
        return None
    others = [at for at, host, _, _ in took if host != last[1]]
    return min(at for at, host, _, _ in took if host == last[1] and at > max(others, default=-1.0))
