"""What a case showed, whether it passed, and if not, why. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lbkit.drill.cases import Case
from lbkit.drill.figures import Asked, Event, Moments, Span, on_the_way
from lbkit.drill.probe import Answers

FIRST_LIMIT_S = 1.0  # while only the AWS API is out of reach: nobody is to notice
FAILBACK_LIMIT_S = 3.0


@dataclass(frozen=True)
class Phases:
    """The moments of a case by our clock, in s since 1970; None where it did not come so far.

    broken_first: of what is broken before it, where the case has that.
    """

    began: float
    broken: float
    mended: float
    whole: float | None = None
    home: float | None = None
    ended: float = 0.0
    broken_first: float | None = None


@dataclass(frozen=True)
class Facts:
    """What was seen of the pair.

    taken: what had to come of the break came within its time. left: another became MASTER when none should.
    hears: the one that was broken heard the new MASTER; fix: what to do if not. verdict: of the pair after
    the repair, "" where it was whole. astray: why the address is not back where it was, "" where it is.
    preempted: it came back by itself, which the repair's time covers. highest: who has the highest priority.
    """

    taken: bool
    left: bool
    hears: bool
    fix: str
    verdict: str
    astray: str
    preempted: bool
    holder_before: str
    holder_after: str | None
    highest: str


@dataclass(frozen=True)
class Result:
    """Of one case. limit_s: the outage above which it fails. Times of the timeline and of the samples in s
    after the break. cut, failback_cut: failed requests that were on their way while the address moved.
    """

    case: Case
    limit_s: float
    facts: Facts
    moments: Moments
    whole_s: float | None
    new: Asked
    cut: int
    kept_alive: Asked | None
    upgraded: Asked | None
    failback: Asked | None
    failback_cut: int
    failback_kept_alive: Asked | None
    failback_upgraded: Asked | None
    why: tuple[str, ...]
    timeline: tuple[Event, ...]
    answers: Answers = field(repr=False)
    phases: Phases = field(repr=False)

    @property
    def passed(self) -> bool:
        return not self.why

    def as_json(self) -> dict[str, Any]:
        """As docs/failover-test.md describes it."""
        facts, moments = self.facts, self.moments
        return {
            "case": self.case.name,
            "what": self.case.what,
            "passed": self.passed,
            "why": list(self.why),
            "outage_s": self.new.outage_s,
            "limit_s": self.limit_s,
            "failed_requests": self.new.failed_requests,
            "cut_requests": self.cut,
            "requests": self.new.requests,
            "kept_alive": asked_json(self.kept_alive),
            "upgraded": asked_json(self.upgraded),
            "detected_s": moments.detected_s,
            "master_s": moments.master_s,
            "address_s": moments.address_s,
            "whole_s": self.whole_s,
            "failback_outage_s": self.failback.outage_s if self.failback else None,
            "failback_failed_requests": self.failback.failed_requests if self.failback else None,
            "failback_cut_requests": self.failback_cut if self.failback else None,
            "failback_requests": self.failback.requests if self.failback else None,
            "failback_kept_alive": asked_json(self.failback_kept_alive),
            "failback_upgraded": asked_json(self.failback_upgraded),
            "holder_before": facts.holder_before,
            "holder_after": facts.holder_after,
            "timeline": [
                {"at_s": at, "host": host, "source": source, "line": line}
                for at, host, source, line in self.timeline
            ],
        }


def asked_json(asked: Asked | None) -> dict[str, Any] | None:
    if asked is None:
        return None
    return {
        "requests": asked.requests,
        "failed_requests": asked.failed_requests,
        "outage_s": asked.outage_s,
        "broken": asked.broken,
    }


def result(
    case: Case,
    limit_s: float,
    facts: Facts,
    phases: Phases,
    seen: Moments,
    timeline: tuple[Event, ...],
    answers: Answers,
    moves: tuple[Span, ...],
) -> Result:
    """All that is to be told of one case. The outage is that of the break and of the repair; sending the
    address home is measured apart. moves: when the address moved, in s after the break.
    """
    since, until = phases.broken_first or phases.began, phases.home or phases.ended
    back = (phases.home or phases.ended, phases.ended)
    if facts.preempted:
        until, back = phases.mended, (phases.mended, phases.ended)
    went_back = facts.holder_after != facts.holder_before or facts.preempted
    new = answers.asked(since, until)
    failback = answers.asked(*back) if went_back else None
    first = answers.asked(phases.broken_first, phases.broken) if phases.broken_first else None
    moved = [(phases.broken + begun, phases.broken + done) for begun, done in moves]
    return Result(
        case=case,
        limit_s=limit_s,
        facts=facts,
        moments=seen,
        whole_s=None if phases.whole is None else round(phases.whole - phases.broken, 2),
        new=new,
        cut=on_the_way(answers.new, moved, since, until),
        kept_alive=answers.asked_held("kept_alive", since, until),
        upgraded=answers.asked_held("upgraded", since, until),
        failback=failback,
        failback_cut=on_the_way(answers.new, moved, *back) if failback else 0,
        failback_kept_alive=answers.asked_held("kept_alive", *back) if went_back else None,
        failback_upgraded=answers.asked_held("upgraded", *back) if went_back else None,
        why=tuple(reasons(case, limit_s, facts, new, first, failback)),
        timeline=timeline,
        answers=answers,
        phases=phases,
    )


def reasons(
    case: Case, limit_s: float, facts: Facts, new: Asked, first: Asked | None, failback: Asked | None
) -> list[str]:
    """Why a case failed, as sentences without their full stop; none where it passed."""
    found = []
    if not facts.taken:
        found.append(WANTED[case.expected].format(victim=facts.holder_before, highest=facts.highest))
    if new.outage_s > limit_s:
        found.append(f"no answer for {new.outage_s:.2f} s, and at most {limit_s:g} s are allowed")
    if case.expected == "stayed" and facts.holder_after != facts.holder_before:
        found.append(f"the address went to {facts.holder_after or 'nobody'}; it should have stayed")
    if case.expected == "highest" and facts.holder_after not in (facts.highest, None):
        found.append(f"the address ended with {facts.holder_after}, and not with {facts.highest}")
    if facts.left:
        found.append(f"another became MASTER while {facts.holder_before} should have stayed it")
    if first is not None and first.outage_s > FIRST_LIMIT_S:
        found.append(f"without the AWS API alone, no answer for {first.outage_s:.2f} s")
    if not facts.hears:
        found.append(f"{facts.holder_before} hears no advert of the new MASTER: {facts.fix}")
    if facts.verdict:
        found.append(f"mended, but not whole again: {facts.verdict.rstrip('.')}")
    elif facts.astray:
        found.append(f"the address did not come home to {facts.holder_before}: {facts.astray.rstrip('.')}")
    if failback is not None and failback.outage_s > FAILBACK_LIMIT_S:
        found.append(f"sent home, no answer for {failback.outage_s:.2f} s")
    return found


# What did not come of the break.
WANTED = {
    "moved": "nobody took over from {victim}",
    "stayed": "{victim} did not keep the address",
    "one": "no single node was left in charge",
    "highest": "the address did not come to rest with {highest}, the highest priority",
}
