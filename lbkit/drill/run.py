"""One case after the other: break, watch the pair, mend, send the address home."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lbkit import converge, errors, observe, pair, remote, startable, status, steps, switchover
from lbkit.drill import before, cases, figures, probe
from lbkit.drill.cases import Case
from lbkit.drill.result import Facts, Phases, Result, result
from lbkit.inventory import Cluster

if TYPE_CHECKING:
    from lbkit.aws.instances import Power

UNDO_AFTER_S = 45  # with what a repaired node needs until it serves, less than the minute that is promised
TAKEN_WITHIN_S = 30
SETTLE_S = 1.0  # of good answers before the break, after the take-over, and after the repair
STAYS_S = 3.0  # for which an address that is to stay is watched

Tell = Callable[[str, str], None]


def run(
    cluster: Cluster,
    chosen: Sequence[Case],
    command: str,
    tell: Tell,
    done: Callable[[Result], None],
    instance: str | None = None,
    agreed: str | None = None,
) -> None:
    """Runs the cases, each from a whole pair to a whole pair with the address where it was before.

    done: gets each result as its case ends, so that what comes later takes nothing away. instance: the host
    whose EC2 instance the case host stops by the API, in place of the host's own reset. agreed: the host
    whose reset a person agreed to. Ends early where the pair does not become whole again. Raises Refused
    where it is not whole before.
    """
    with remote.sessions(cluster.hosts) as opened, contextlib.ExitStack() as stack:
        before.refuse_missing(opened)
        # The lock before all else: of a pair that another drill breaks nothing else is worth telling.
        stack.enter_context(converge.locked(opened, command))
        ask = stack.enter_context(remote.outside(cluster.client))
        before.refuse_armed(opened)
        before.refuse_without_agent(cluster, opened)
        home = before.refuse_unless_whole(cluster, opened)
        startable.refuse_unless(cluster, opened, list(opened))
        before.refuse_without_tools(chosen, opened)
        before.refuse_ways_through(cluster, home, chosen)
        before.refuse_other_instance(home, instance)
        before.refuse_moved(home, agreed)
        drill = Drill(cluster, opened, ask, tell, command, power_of(cluster, instance))
        for one in chosen:
            found = drill.run(one)
            done(found)
            if found.facts.verdict or found.facts.astray:
                break


def power_of(cluster: Cluster, instance: str | None) -> Power | None:
    if instance is None:
        return None
    from lbkit.aws import instances  # boto3 costs 150 ms: only where it is asked

    power = instances.Power(cluster)
    power.instance(instance)  # refuses now what it could not do later
    return power


class Drill:
    """The pair under test: its sessions, and a way to ask from outside."""

    def __init__(
        self,
        cluster: Cluster,
        opened: dict[str, Any],
        ask: Callable[..., Any],
        tell: Tell,
        command: str = "",
        power: Power | None = None,
    ) -> None:
        self.cluster, self.opened, self.ask, self.tell = cluster, opened, ask, tell
        self.command, self.power = command, power
        self.marks: dict[str, list[figures.Reading]] = {}
        self.own: list[tuple[float, str]] = []  # what we did ourselves: (when, what)
        self.highest = max(cluster.hosts, key=lambda host: host.priority).name

    def run(self, one: Case) -> Result:
        """Break, watch, mend, wait until all is whole, send the address home."""
        victim = self.holder()
        if victim is None:
            raise errors.Undecided("Who holds the address could not be told.\nNext: inv status")
        self.tell(victim, f"{one.what} …")
        self.marks, self.own = {name: [] for name in self.opened}, []
        self.read_clocks()
        prober = probe.Probe(self.cluster, self.ask)
        began = time.time()
        time.sleep(SETTLE_S)  # the baseline: not a wait for anything
        try:
            broken_first = self.break_first(one, victim)
            left = broken_first is not None and self.masters() != [victim]
            broken = self.break_it(one, victim)
            taken = self.wait(lambda: self.has_come(one, victim), self.patience(one))
            time.sleep(SETTLE_S)  # more answers from the new holder, before the old one comes back
            hears, fix = self.hears(one, victim)
            mended = self.mend(one, victim)
        except BaseException:
            self.mend_in_haste(one, victim)
            raise
        verdict = self.whole_again(one.back_within_s)
        whole = time.time()
        self.say(verdict or "whole again", whole)
        time.sleep(SETTLE_S)
        after, home_from = self.holder(), time.time()
        preempted = self.cluster.keepalived.preempt and one.expected == "moved" and after == victim
        astray = "" if verdict or after == victim else self.go_home(victim)
        time.sleep(SETTLE_S)
        answers, ended = prober.stop(), time.time()
        timeline = self.timeline(began, broken)
        elastic = self.cluster.address.kind == "eip"
        moves = figures.moves(timeline, elastic)
        moments = figures.moments(timeline, victim, mended - broken, elastic)
        left = left or (one.expected == "stayed" and moments.master_s is not None)
        facts = Facts(taken, left, hears, fix, verdict, astray, preempted, victim, after, self.highest)
        phases = Phases(began, broken, mended, None if verdict else whole, home_from, ended, broken_first)
        return result(one, one.limit(self.cluster), facts, phases, moments, timeline, answers, moves)

    # ---- breaking and mending

    def break_first(self, one: Case, victim: str) -> float | None:
        if not one.first:
            return None
        order = {**self.order(one, victim, victim), "do": self.filled(one.first, victim, victim)}
        there = self.opened[victim].call("drill", **order, undo_after_s=UNDO_AFTER_S)["at"]
        at = self.clock(victim).ours(there)
        self.say("the AWS API is out of its reach", at, victim)
        time.sleep(one.watch_s)  # in which nothing may happen
        return at

    def break_it(self, one: Case, victim: str) -> float:
        """When it was broken, by our clock."""
        if one.reboots:
            at = self.cut_power(victim)
        else:
            # The others first, so that the last of the ways is cut when the victim is.
            peers = self.cluster.peers(self.cluster.host(victim)) if one.everywhere else ()
            names = [*(peer.name for peer in peers), victim]
            at = [self.break_on(one, name, victim) for name in names][-1]
        self.say(one.what, at, victim)
        return at

    def break_on(self, one: Case, name: str, victim: str) -> float:
        # What was broken first armed the undo of both.
        armed = {} if one.first else {"undo_after_s": UNDO_AFTER_S}
        answer = self.opened[name].call("drill", **self.order(one, name, victim), **armed)
        return self.clock(name).ours(answer["at"])

    def order(self, one: Case, name: str, victim: str) -> dict[str, Any]:
        return {"prepare": one.prepare, "do": self.filled(one.do, name, victim), "undo": one.undo}

    def filled(self, text: str, name: str, victim: str) -> str:
        return cases.filled(text, self.cluster, self.cluster.host(name), self.cluster.host(victim))

    def mend(self, one: Case, victim: str) -> float:
        """When all was mended, by our clock; a host that lost its power is waited for."""
        if one.reboots:
            self.await_boot(one, victim)
        else:
            broken = list(self.opened) if one.everywhere else [victim]
            remote.in_parallel(lambda name: self.opened[name].call("undo", undo=one.undo), broken)
        at = time.time()
        self.say("back" if one.reboots else "mended", at, victim)
        return at

    def mend_in_haste(self, one: Case, victim: str) -> None:
        """Whatever went wrong or whoever pressed Ctrl-C: what still can be mended from here is, and the
        hosts do the rest themselves.
        """
        with contextlib.suppress(errors.LbkitError):
            if one.reboots and self.power:
                self.power.on(victim)
        for name in self.opened if one.everywhere else [victim]:
            if not one.reboots:
                with contextlib.suppress(errors.LbkitError):
                    self.opened[name].call("undo", undo=one.undo)

    # ---- a host that goes down

    def cut_power(self, name: str) -> float:
        """When the host went down, by our clock. Its session is over."""
        if self.power:
            at = time.time()
            self.power.off(name)
        else:
            at = self.clock(name).ours(self.opened[name].call("cut_power")["at"])
        self.opened.pop(name).close()
        return at

    def await_boot(self, one: Case, name: str) -> None:
        """A new session, and the lock again, when the host answers. Raises Unreachable at the deadline."""
        if self.power:
            self.power.on(name)
        deadline = time.monotonic() + one.back_within_s
        while True:
            session = remote.try_open(self.cluster.host(name))
            if isinstance(session, remote.Session):
                break
            if time.monotonic() > deadline:
                raise session
            time.sleep(0.5)
        self.opened[name] = session
        converge.lock(name, session, self.command)

    # ---- what is seen

    def has_come(self, one: Case, victim: str) -> bool:
        """What the case expects of the pair while it is broken."""
        masters = self.masters()
        if one.expected == "stayed":
            return self.since(STAYS_S) and masters == [victim] and self.holder() == victim
        if one.expected == "one":
            over = self.since(STAYS_S + 4 * self.cluster.keepalived.advert_int)
            return (
                (masters not in ([], [victim]) or over) and len(masters) == 1 and self.holder() == masters[0]
            )
        others = [name for name in masters if name != victim]
        if one.expected == "moved":
            return bool(others) and self.holder() in others
        both = len(masters) > 1  # a virtual IP is then on both, and comes to rest when the ways are open
        return both and (self.cluster.address.kind == "vip" or self.rests(self.highest))

    def since(self, seconds: float) -> bool:
        """Whether the break was so long ago."""
        return time.time() - self.own[-1][0] >= seconds

    def rests(self, name: str) -> bool:
        """It has the address, and no other wants it: who took it once has yielded."""
        return self.holder() == name and all(
            self.stance(other) in ("yields", "leaves") for other in self.opened if other != name
        )

    def stance(self, name: str) -> str:
        """What the agent there wants of the address, by its own word."""
        return str((self.picture().node(name).seen.facts.get("agent") or {}).get("stance"))

    def patience(self, one: Case) -> float:
        if one.expected == "highest":
            return min(cases.partition_s(self.cluster), UNDO_AFTER_S - 10)
        return TAKEN_WITHIN_S

    def picture(self) -> observe.Picture:
        return observe.read(self.cluster, (), self.opened)

    def holder(self) -> str | None:
        """Who has the address; None for nobody, for two, and where nobody says."""
        try:
            return observe.holder_of(self.picture())
        except errors.Undecided:
            return None

    def masters(self) -> list[str]:
        return [node.host.name for node in pair.masters(self.picture().nodes)]

    def hears(self, one: Case, victim: str) -> tuple[bool, str]:
        """(whether the victim hears the new MASTER, what to do if not). Deaf, it would not yield to it
        later.
        """
        if one.expected != "moved" or one.reboots:
            return True, ""
        host = self.cluster.host(victim)
        others = [name for name in self.masters() if name != victim]
        heard = not others or self.opened[victim].call("hears", **steps.hears_question(self.cluster, host))
        return bool(heard), pair.way_for_adverts(self.cluster, host)

    def whole_again(self, within_s: float) -> str:
        """ "" when the pair is whole; at the deadline its verdict."""
        last: list[str] = []

        def whole() -> bool:
            now = status.of(self.cluster, self.opened)
            unfit = [row.host for row in now.rows if row.agent == "unfit"]
            preempts = self.cluster.keepalived.preempt and self.masters() != [self.highest]
            last[:] = [
                now.verdict
                if not now.whole
                else f"{unfit[0]} is unfit"
                if unfit
                else f"{self.highest} does not take the address back, although `preempt` is true"
            ]
            return now.whole and not unfit and not preempts

        return "" if self.wait(whole, within_s) else last[0]

    def go_home(self, home: str) -> str:
        """ "" when the address is back where it was, by a planned move; otherwise why not."""
        self.say(f"the address is sent home to {home}", time.time())

        def told(name: str, line: str) -> None:
            self.say(line, time.time(), name)

        try:
            switchover.move(self.cluster, self.opened, home, told)
        except errors.LbkitError as error:
            return str(error).partition("\nNext: ")[0]
        return self.whole_again(TAKEN_WITHIN_S)

    def wait(self, condition: Callable[[], bool], within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    # ---- one clock, one timeline

    def say(self, what: str, at: float, host: str = "") -> None:
        self.own.append((at, f"{host}: {what}" if host else what))

    def read_clocks(self) -> None:
        for name, session in self.opened.items():
            self.marks[name].append(probe.reading(session.call))

    def clock(self, name: str) -> figures.Clock:
        return figures.Clock(tuple(self.marks[name]))

    def timeline(self, began: float, broken: float) -> tuple[figures.Event, ...]:
        """What we did and what all hosts wrote, by our clock."""
        self.read_clocks()
        found: list[figures.Event] = [(round(at - broken, 2), "", "drill", line) for at, line in self.own]
        for name, session in self.opened.items():
            clock = self.clock(name)
            for at, unit, line in session.call("events", since=began + min(m.ahead for m in clock.marks)):
                if figures.telling(line):
                    found.append((round(clock.ours(at) - broken, 3), name, unit, line))
        return tuple(sorted(found))
