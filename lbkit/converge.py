"""Makes the pair as desired: reads once, plans, takes the lock, changes host after host, reads again.

The host that does not hold the address is finished and verified before the one that does is touched. Each
resource is read again before and after each of its changes, so a run that was cut is finished by the next.
"""

from __future__ import annotations

import contextlib
import getpass
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lbkit import errors, pair, plan, remote, resources, steps
from lbkit.inventory import Cluster, Host, Vip

Tell = Callable[[str, str], None]  # (host name or "", line): narrative for the operator

MASTER_DEADLINE_S = 30
SERVING_DEADLINE_S = 10


@dataclass(frozen=True)
class Picture:
    """The pair as read in one go. missing: hosts that could not be read, with the reason."""

    cluster: Cluster
    nodes: tuple[pair.Node, ...]
    missing: dict[str, str] = field(default_factory=dict)

    def node(self, name: str) -> pair.Node:
        return next(found for found in self.nodes if found.host.name == name)

    def in_scope(self, names: Sequence[str]) -> list[pair.Node]:
        return [found for found in self.nodes if found.host.name in names]


@dataclass(frozen=True)
class Outcome:
    """What a run did. changed: (host name, change) in the order in which they were made."""

    changed: tuple[tuple[str, plan.Change], ...]
    before: Picture
    after: Picture


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────


def look(cluster: Cluster, only: Sequence[str], hosts: Sequence[Host] | None = None) -> Picture:
    """The pair as it is, and what the named steps would change. Changes nothing."""
    with remote.sessions(hosts or cluster.hosts, lambda: wanted(cluster, only)) as opened:
        return read(cluster, only, opened)


def wanted(cluster: Cluster, only: Sequence[str]) -> dict[str, tuple[plan.Desired, ...]]:
    """Host name → what the named steps ask of it. The first time it costs what rendering does."""
    return {host.name: steps.desired(cluster, host, only) for host in cluster.hosts}


def read(cluster: Cluster, only: Sequence[str], opened: dict[str, Any]) -> Picture:
    """One round trip to each host, side by side."""
    asked = wanted(cluster, only)

    def seen(name: str) -> plan.Seen | errors.LbkitError:
        session = opened[name]
        if isinstance(session, errors.LbkitError):
            return session
        try:
            answer = session.call("read", items=[one.resource.spec() for one in asked[name]])
        except errors.LbkitError as error:
            return error
        return plan.Seen(tuple(answer["items"]), answer["facts"])

    found = dict(zip(opened, remote.in_parallel(seen, list(opened)), strict=True))
    nodes = [
        pair.node(cluster, cluster.host(name), asked[name], state)
        for name, state in found.items()
        if isinstance(state, plan.Seen)
    ]
    missing = {name: str(state) for name, state in found.items() if isinstance(state, errors.LbkitError)}
    return Picture(cluster, tuple(nodes), missing)


def holder_of(picture: Picture) -> str | None:
    """Name of the host that holds the address, None where nobody does; Undecided where it cannot be told."""
    if isinstance(picture.cluster.address, Vip):
        return pair.vip_holder(picture.nodes, list(picture.missing))
    from lbkit.aws import holder  # boto3 costs 150 ms: only where it is asked

    return holder.read(picture.cluster).holder


# ── setup ────────────────────────────────────────────────────────────────────────────────────────────────


def setup(
    cluster: Cluster,
    only: Sequence[str],
    names: Sequence[str],
    without: Sequence[str],
    command: str,
    tell: Tell,
) -> Outcome:
    """The named steps are true on the named hosts.

    only: names of steps. names: hosts to change; the others are read and locked all the same. without: hosts
    known to be down, left out. tell: gets every change as it is made.
    Raises an LbkitError that says what was changed before; running the same again goes on from there.
    """
    hosts = [host for host in cluster.hosts if host.name not in without]
    refuse_if_up(cluster, without)
    with remote.sessions(hosts, lambda: wanted(cluster, only)) as opened:
        before = read(cluster, only, opened)
        refuse_missing(before)
        scope = before.in_scope(names)
        if not any(found.todo for found in scope):
            refuse_stops(scope)
            refuse_split(before)
            return Outcome((), before, before)
        with locked(opened, command):
            before = read(cluster, only, opened)  # somebody may have been at work since
            refuse_missing(before)
            refuse_stops(before.in_scope(names))
            refuse_half_rewire(before, names)
            roll = Roll(before, only, names, opened, tell)
            roll.run()
            after = read(cluster, only, opened)
    refuse_missing(after, roll.so_far())
    refuse_split(after)
    refuse_rest(after.in_scope(names))
    return Outcome(tuple(roll.changed), before, after)


def refuse_if_up(cluster: Cluster, without: Sequence[str]) -> None:
    """`--without` is for a host that is down: one that answers would miss the change, or the lock."""
    with remote.sessions([cluster.host(name) for name in without]) as opened:
        for name, session in opened.items():
            if isinstance(session, remote.Session):
                raise errors.Refused(
                    f"{name} answers, so it is not left out.\nNext: run it without --without {name}."
                )
            if not getattr(session, "down", False):
                raise errors.Refused(f"{name} is not down, so it is not left out.\n{session}")


def refuse_missing(picture: Picture, done: str = "") -> None:
    """done: what was changed before, as a sentence."""
    if not picture.missing:
        return
    reasons = "\n".join(picture.missing.values())
    if done:
        raise errors.Unreachable(f"{done}\n{reasons}")
    raise errors.Unreachable(
        f"{reasons}\n"
        f"The pair is changed as a whole, so nothing was changed.\n"
        f"Next: if {', '.join(picture.missing)} is down for good: --without {next(iter(picture.missing))}"
    )


def refuse_stops(nodes: Sequence[pair.Node]) -> None:
    """What is blocked or unknown on any host stops the run before anything is changed on any."""
    found = [(node, c) for node in nodes for c in node.changes if c.verdict in ("blocked", "unknown")]
    if found:
        # An interface is asked for by two steps: said once.
        lines = dict.fromkeys(
            f"{n.host.name}: {c.label}: {c.reason}.\nNext: {c.next_step}." for n, c in found
        )
        raise errors.Refused("\n".join(["Nothing was changed, for something stands in the way.", *lines]))


def refuse_half_rewire(picture: Picture, names: Sequence[str]) -> None:
    """All hosts or none: one that is only out of our reach may be MASTER all the same."""
    others = [host.name for host in picture.cluster.hosts if host.name not in names]
    for found in picture.in_scope(names):
        for change in found.todo:
            if change.rewires and others:
                raise errors.Refused(
                    f"{found.host.name}: the new {change.label} could not hear {', '.join(others)}, and both "
                    f"would be MASTER; nothing was changed.\n"
                    f"Next: inv setup, when all hosts answer; one that is gone for good leaves the inventory."
                )


def refuse_split(picture: Picture) -> None:
    """Two MASTERs are no success, whatever the files say."""
    found = [node.host.name for node in pair.masters(picture.nodes)]
    if len(found) > 1:
        raise errors.Undecided(
            f"{' and '.join(found)} are both MASTER: they do not hear each other.\n"
            f"Next: inv verify, which says who does not hear whom."
        )


def refuse_rest(nodes: Sequence[pair.Node]) -> None:
    """A second read must find nothing more to do; what it finds did not take effect."""
    rest = [f"{found.host.name}: {c.label}: {c.action}: {c.reason}" for found in nodes for c in found.todo]
    if rest:
        raise errors.CommandFailed("\n".join(["Still to do after the run:", *rest, "Next: inv plan"]))


# ── the lock ─────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def locked(opened: dict[str, Any], command: str) -> Iterator[None]:
    """Ours is the pair: taken on every host, in the order of their names, so that two runs cannot each hold
    half. Each lock ends with its session, however that ends."""
    me = f"{getpass.getuser()}@{socket.gethostname()}"
    entry: dict[str, Any] = {"who": me, "since": time.strftime("%Y-%m-%d %H:%M:%S %z"), "command": command}
    for name in sorted(opened):
        held = opened[name].call("lock", **entry)["held"]
        if held:
            raise errors.Locked(
                f"{name} is locked by {held['who']} since {held['since']} ({held['command']}); "
                f"nothing was changed.\n"
                f"Next: wait until that has ended. The lock ends with its process: none is ever left behind."
            )
    yield


def speaks_otherwise(change: plan.Change) -> bool:
    """Before this change is made, keepalived may run with other parameters than the inventory's."""
    return change.rewires or (
        change.request.get("unit") == "keepalived.service" and change.action in plan.LOADS
    )


# ── host after host ──────────────────────────────────────────────────────────────────────────────────────


class Roll:
    """One run over the hosts, in the order that keeps the address served."""

    def __init__(
        self, before: Picture, only: Sequence[str], names: Sequence[str], opened: dict[str, Any], tell: Tell
    ) -> None:
        self.before, self.cluster, self.only = before, before.cluster, only
        self.opened, self.tell = opened, tell
        self.holder = holder_of(before)
        hosts = [found.host for found in before.in_scope(names) if found.todo]
        self.order = pair.order(self.cluster, self.holder, hosts)
        self.effects = pair.effects(self.cluster, before.nodes, self.holder, names)
        self.changed: list[tuple[str, plan.Change]] = []
        self.answered = dict(zip(opened, remote.in_parallel(self.serves, list(opened)), strict=True))

    def run(self) -> None:
        for sentence in self.effects:
            self.tell("", sentence)
        late = [(host, wanted) for host in self.order for wanted in self.bring_all(host)]
        for host, wanted in late:
            self.wait_for_master(host)
            self.bring(host, wanted, self.state(host, wanted), last=True)
            self.verify(host)

    def bring_all(self, host: Host) -> list[plan.Desired]:
        """The host is as desired, but for the services that must start later: those are returned."""
        node, last = self.before.node(host.name), host is self.order[-1]
        planned = {(change.step, change.label) for change in node.todo}
        late = []
        for wanted, state in zip(steps.desired(self.cluster, host, self.only), node.seen.items, strict=True):
            if (wanted.step, wanted.resource.label) not in planned:
                continue
            if isinstance(wanted.resource, resources.Service) or self.installed_on(host):
                state = self.state(host, wanted)  # what was done before it may have changed it
            if not self.bring(host, wanted, state, last=last):
                late.append(wanted)
        if not late:
            self.verify(host)
        return late

    def installed_on(self, host: Host) -> bool:
        """Packages were installed there in this run: they bring files, users and units of their own."""
        return any(name == host.name and change.action == "install" for name, change in self.changed)

    def state(self, host: Host, wanted: plan.Desired) -> dict[str, Any]:
        """The resource as it is now."""
        answer = self.opened[host.name].call("read", items=[wanted.resource.spec()], facts=False)
        return dict(answer["items"][0])

    def bring(self, host: Host, wanted: plan.Desired, state: dict[str, Any], *, last: bool) -> bool:
        """The resource is true on the host; False where it must wait for a MASTER elsewhere."""
        done: set[tuple[str, str]] = set()
        while changes := [c for c in plan.diff(wanted.resource, state) if c.verdict != "warning"]:
            change = changes[0]
            if change.verdict != "change":
                raise errors.Refused(
                    f"{host.name}: {change.label}: {change.reason}\nNext: {change.next_step}"
                )
            if (change.label, change.action) in done:
                raise errors.CommandFailed(
                    f"{host.name}: {change.label}: `{change.action}` did not take: {change.reason}\n"
                    f"Next: does something else on {host.name} manage it? Then `inv plan`."
                )
            if change.elects:
                elsewhere = self.master_elsewhere(host)
                if not elsewhere and not last:
                    return False
                if elsewhere:
                    self.refuse_deaf(host)
            if change.rewires and not last and self.before.node(host.name).vrrp != "STOPPED":
                self.stop_standby(host)
            done.add((change.label, change.action))
            state = self.make(host, wanted, change)
        return True

    def make(self, host: Host, wanted: plan.Desired, change: plan.Change) -> dict[str, Any]:
        """Does one change; returns the resource's state as read after it."""
        self.tell(host.name, f"{wanted.step}: {change.action} {change.label} ({change.reason})")
        try:
            state: dict[str, Any] = self.opened[host.name].call(
                "write",
                say=lambda name, line: self.tell(name, f"  {line}"),
                **change.request,
                reread=wanted.resource.spec(),
            )
        except errors.CommandFailed as error:
            raise errors.CommandFailed(
                f"{error}\n{self.so_far()}\nNext: mend the cause, then run the same command again."
            ) from None
        except errors.Unreachable as error:
            raise errors.Unreachable(f"{self.so_far()}\n{error}") from None
        self.changed.append((host.name, change))
        return state

    def so_far(self) -> str:
        if not self.changed:
            return "Nothing was changed before it."
        hosts = ", ".join(sorted({name for name, _ in self.changed}))
        many = "1 change was" if len(self.changed) == 1 else f"{len(self.changed)} changes were"
        return f"{many} made before it, on {hosts}, and complete."

    def stop_standby(self, host: Host) -> None:
        """Two nodes that do not hear each other are both MASTER, so the standby is silent meanwhile."""
        self.tell(host.name, "keepalived: stop, until both speak the same")
        request = {"kind": "service", "action": "stop", "unit": "keepalived.service"}
        self.opened[host.name].call("write", **request)

    def master_elsewhere(self, host: Host) -> bool:
        """Another host is MASTER, and speaks as the inventory says: whoever starts now hears it."""
        others = {name: session for name, session in self.opened.items() if name != host.name}
        picture = read(self.cluster, ("keepalived",), others)
        return any(not any(speaks_otherwise(c) for c in node.todo) for node in pair.masters(picture.nodes))

    def refuse_deaf(self, host: Host) -> None:
        """A node that does not hear the MASTER becomes one too: it is not started."""
        if self.opened[host.name].call("hears", **steps.hears_question(self.cluster, host)):
            return
        raise errors.CommandFailed(
            f"{host.name}: keepalived is not started: it hears no advert of the MASTER, so both would be "
            f"MASTER. {self.so_far()}\n"
            f"Next: {pair.way_for_adverts(self.cluster, host)}; then run it again."
        )

    def wait_for_master(self, host: Host) -> None:
        deadline = time.monotonic() + MASTER_DEADLINE_S
        while not self.master_elsewhere(host):
            if time.monotonic() > deadline:
                raise errors.CommandFailed(
                    f"{host.name}: keepalived is not started: no other host became MASTER within "
                    f"{MASTER_DEADLINE_S} s.\n"
                    f"Next: journalctl -u keepalived on the other host, then run it again."
                )
            time.sleep(0.1)

    def verify(self, host: Host) -> None:
        """The host serves, and answers no worse than the holder does, before the next one is touched."""
        if not any(name == host.name for name, _ in self.changed) or "haproxy" not in self.only:
            return
        deadline = time.monotonic() + SERVING_DEADLINE_S
        while True:
            healthy, answer = self.healthy(host), self.serves(host.name)
            worse = not answer and self.answered.get(self.holder or "", False)
            if healthy and not worse:
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        why = (
            "its health endpoint does not answer"
            if not healthy
            else "its endpoint fails, the holder's does not"
        )
        raise errors.CommandFailed(
            f"{host.name}: {why} {SERVING_DEADLINE_S} s after the change, so no other host was touched.\n"
            f"Next: journalctl -u haproxy on {host.name}; mend the inventory, then run it again."
        )

    def healthy(self, host: Host) -> bool:
        question = steps.health_question(self.cluster)
        answers = self.opened[host.name].call("ask", **question)
        return bool(answers[0]["status"] == 200)

    def serves(self, name: str) -> bool:
        """This host alone answers with something better than a server error, as far as it can be asked."""
        page = steps.own_page(self.cluster, self.cluster.host(name))
        return page is None or bool(self.opened[name].call("ask", **page.question())[0]["good"])
