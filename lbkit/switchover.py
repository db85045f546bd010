"""switchover: service moves to another host while both serve, so that no new request fails. A procedure.

The address first, then the role. What the hosts are told ends by itself (hand/orders.py), and each step makes
the next one happen on the hosts, so that the operator's machine may die at any moment:

- every host but the target stands aside: its agent takes nothing, and says unfit to keepalived as soon as the
  address is elsewhere (an Elastic IP) or at once (a virtual IP);
- an Elastic IP: the target's agent takes it, before it is MASTER, with the host's own permission;
- a virtual IP: whoever had it goes on answering for it until the target has it;
- keepalived elects the only fit host, and the orders are withdrawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lbkit import check, converge, errors, observe, pair, remote, startable, status, verdict, verify
from lbkit.inventory import Cluster, Host, Vip

ORDER_S = 20  # after so long the hosts themselves forget it
MOVE_WITHIN_S = 10
ASIDE_WITHIN_S = 5
WHOLE_WITHIN_S = 30
LOOK_EVERY_S = 0.1
FRESH_S = 5  # an agent that wrote its state longer ago is not at work

PROBE_EVERY_S = 0.01
ANSWER_WITHIN_S = 3.0
BASELINE_S = 0.5
RESENT_MS = 1000  # after so long TCP sends a lost SYN again

Tell = Callable[[str, str], None]


@dataclass(frozen=True)
class Moved:
    """What a switchover did. took_s: from the first order until the target was MASTER and had the address.

    requests: new connections that a client made meanwhile; None where none could be made. cut_requests: those
    on their way at the moment of the move, that were cut with the other open connections. failed_requests:
    all others without a good answer. late_requests: answered, but a packet was lost first.
    """

    source: str
    target: str
    took_s: float
    requests: int | None = None
    failed_requests: int | None = None
    cut_requests: int | None = None
    late_requests: int | None = None


def run(cluster: Cluster, to: str, command: str, tell: Tell) -> Moved:
    """Service is with the host `to`; source and target are the same where it was there already.

    Raises an LbkitError.
    """
    target = one_host(cluster, to)
    with remote.sessions(cluster.hosts) as opened:
        now = status.of(cluster, opened)
        if refuse(cluster, now, target) is None:
            return Moved(target.name, target.name, 0.0)
        startable.refuse_unless(cluster, opened, [target.name])
        with converge.locked(opened, command), Clients(cluster, tell) as clients:
            moved = move(cluster, opened, target.name, tell)
            if now.whole:  # it was not where the target serves better than the holder does: nor is it after
                wait_until_whole(cluster, opened, moved)
        return clients.counted(moved)


def one_host(cluster: Cluster, which: str) -> Host:
    """The host of that name, or of that role where no other has it. Raises NoSuchHost or Refused."""
    found = cluster.select(which)
    if len(found) > 1:
        names = ", ".join(host.name for host in found)
        raise errors.Refused(f"{which} are several; nothing was touched.\nNext: name one of {names}")
    return found[0]


def refuse(cluster: Cluster, now: verdict.Status, target: Host) -> str | None:
    """Name of the host that service is with, None where that is the target. Raises Refused."""
    for row in now.rows:
        if row.maintenance and row.host == target.name:
            raise errors.Refused(
                f"{target.name} is {row.maintenance}; nothing was touched.\n"
                f"Next: inv maintenance off --host {target.name}, then inv switchover --to {target.name}"
            )
    if not now.whole and not is_rescue(now, target.name):
        raise errors.Refused(
            f"{now.verdict}\nA switchover starts from a whole pair; nothing was touched.\n"
            f"Next: {now.next_step or 'inv verify'}"
        )
    source = next(row.host for row in now.rows if row.holds)
    if source == target.name:
        return None
    refuse_undone(cluster, cluster.host(source), target)
    return source


def is_rescue(now: verdict.Status, to: str) -> bool:
    """The holder has no server up and the target has: with it clients are answered again."""
    masters = [row for row in now.rows if row.vrrp == "MASTER"]
    if len(masters) != 1 or not masters[0].holds or not verdict.sees_none(masters[0]):
        return False
    quiet = not any(row.broken or row.maintenance or row.vrrp == "UNKNOWN" for row in now.rows)
    target = next(row for row in now.rows if row.host == to)
    return quiet and target.vrrp == "BACKUP" and target.agent != "unfit" and verdict.works(target)


def refuse_undone(cluster: Cluster, source: Host, target: Host) -> None:
    """With `preempt` a host of higher priority takes service back as soon as it may."""
    if cluster.keepalived.preempt and target.priority < source.priority:
        raise errors.Refused(
            f"{source.name} would take service back at once: its priority is higher, and "
            f"`keepalived.preempt` is true; nothing was touched.\n"
            f"Next: inv maintenance on --host {source.name}, which moves service away and keeps it away"
        )


def move(
    cluster: Cluster,
    opened: dict[str, Any],
    to: str,
    tell: Tell,
    before_return: Callable[[], None] = lambda: None,
) -> Moved:
    """Service moves to the host named `to`, over sessions that are open and a lock that is held.

    before_return: done when the target has service, and before the others may be MASTER again. Raises
    CommandFailed where it does not move; the orders are withdrawn then, so that who is fit serves.
    """
    source = source_of(cluster, opened, to)
    asked = time.monotonic()
    keep = cluster.address.ip if isinstance(cluster.address, Vip) else None
    moved = None
    try:
        for host in cluster.hosts:
            if host.name not in (source, to):
                opened[host.name].call("order", name="aside", for_s=ORDER_S)
                wait_unfit(opened, host.name)
        tell(source, f"stands aside for {to}")
        opened[source].call("order", name="aside", for_s=ORDER_S, keep=keep)
        if keep is None:
            tell(to, "takes the address, then the role")
            opened[to].call("order", name="take", for_s=ORDER_S)
        else:
            tell(to, "takes the role, and the address with it")
        wait_moved(cluster, opened, source, to)
        moved = Moved(source, to, round(time.monotonic() - asked, 2))
        before_return()
    finally:
        # Where nobody took over, the old holder answers until it is MASTER again: the kernel ends that.
        withdraw(opened, keep if moved else None)
    tell(to, "serves")
    return moved


def source_of(cluster: Cluster, opened: dict[str, Any], to: str) -> str:
    """Who is MASTER now, of a pair whose agents all work. Raises Refused."""
    picture = observe.read(cluster, (), opened)
    masters = [node.host.name for node in pair.masters(picture.nodes)]
    if picture.missing or len(masters) != 1 or masters == [to]:
        is_so = f"{' and '.join(masters) or 'nobody'} is MASTER"
        raise errors.Refused(f"Service cannot move to {to}: {is_so}; nothing was touched.\nNext: inv status")
    for node in picture.nodes:
        said = node.seen.facts.get("agent")
        runs = node.seen.facts["units"]["lbkit-agent.service"] in pair.RUNNING
        if not runs or not said or said["age_s"] > FRESH_S:
            raise errors.Refused(
                f"The agent of {node.host.name} is not at work, and it is the agents that move service; "
                f"nothing was touched.\nNext: inv setup; on {node.host.name}: journalctl -u lbkit-agent -n 50"
            )
        if node.host.name == to and not said["fit"]:
            raise errors.Refused(
                f"{to} cannot take over: {said['why_fit']}; nothing was touched.\nNext: inv status"
            )
    return masters[0]


def wait_unfit(opened: dict[str, Any], name: str) -> None:
    """A third host takes no part in the election. Where it does not obey, it may win it, which does no harm
    but ends in the message of wait_moved."""
    deadline = time.monotonic() + ASIDE_WITHIN_S
    while time.monotonic() < deadline:
        said = opened[name].call("read", items=[])["facts"].get("agent")
        if said and not said["fit"]:
            return
        time.sleep(LOOK_EVERY_S)


def wait_moved(cluster: Cluster, opened: dict[str, Any], source: str, to: str) -> None:
    """The target is MASTER, alone, and has the address."""
    deadline = time.monotonic() + MOVE_WITHIN_S
    while True:
        nodes = observe.read(cluster, (), opened).nodes
        masters = [node.host.name for node in pair.masters(nodes)]
        if masters == [to] and (isinstance(cluster.address, Vip) or holds(nodes, to)):
            return
        if time.monotonic() > deadline:
            break
        time.sleep(LOOK_EVERY_S)
    said = "; ".join(f"{node.host.name}: {node.vrrp}, {why(node)}" for node in nodes)
    raise errors.CommandFailed(
        f"Service did not move to {to} within {MOVE_WITHIN_S} s ({said}). The orders are withdrawn.\n"
        f"Next: inv status; on {source} and {to}: journalctl -u lbkit-agent -u keepalived -n 50"
    )


def holds(nodes: Sequence[pair.Node], name: str) -> bool:
    """By the word of its own agent, which asked AWS: the operator needs no right there."""
    said = next(node.seen.facts.get("agent") for node in nodes if node.host.name == name)
    return bool(said and said["stance"] == "holds" and said["role"] == "MASTER")


def why(node: pair.Node) -> str:
    said = node.seen.facts.get("agent")
    return f"{said['why_fit']}; {said['why_stance']}" if said else "its agent says nothing"


def withdraw(opened: dict[str, Any], keep: str | None) -> None:
    """No order stands on any host. One that cannot be told forgets them by itself."""
    for session in opened.values():
        try:
            session.call("release", keep=keep)
        except errors.LbkitError:
            continue


def wait_until_whole(cluster: Cluster, opened: dict[str, Any], moved: Moved) -> None:
    deadline = time.monotonic() + WHOLE_WITHIN_S
    while not (now := status.of(cluster, opened)).whole:
        if time.monotonic() > deadline:
            raise errors.CommandFailed(
                f"Service has moved, but the pair is not whole after {WHOLE_WITHIN_S} s: {now.verdict}\n"
                f"Next: {way_back(now, moved) or now.next_step or 'inv status'}"
            )
        time.sleep(LOOK_EVERY_S)


def way_back(now: verdict.Status, moved: Moved) -> str:
    """Where clients are not answered by the target, and would be by who served before; else empty."""
    return f"inv switchover --to {moved.source}" if is_rescue(now, moved.source) else ""


class Clients:
    """New connections from outside meanwhile, as far as the endpoint can be asked from there."""

    def __init__(self, cluster: Cluster, tell: Tell) -> None:
        self.cluster, self.tell = cluster, tell
        self.samples: list[Any] = []
        self.ask: Callable[..., Any] | None = None

    def __enter__(self) -> Clients:
        self.way = remote.outside(self.cluster.client)
        try:
            question = verify.public_page(self.cluster).question()
            self.ask = self.way.__enter__()
            if self.ask("ask", **question)[0]["good"]:
                question["timeout_s"] = ANSWER_WITHIN_S
                self.ask("probe", question=question, every_s=PROBE_EVERY_S)
                time.sleep(BASELINE_S)
                return self
            self.tell("", "no client reaches the endpoint, so nobody counts what fails")
        except errors.LbkitError as error:
            self.tell("", f"nobody counts what fails: {check.split(str(error))[0]}")
        self.ask = None
        return self

    def __exit__(self, *_: object) -> None:
        if self.ask:
            time.sleep(BASELINE_S)
            self.samples = self.ask("probed")
            self.way.__exit__(None, None, None)

    def counted(self, moved: Moved) -> Moved:
        if not self.ask:
            return moved
        cut, failed = tally(self.samples)
        late = sum(good and ms >= RESENT_MS for _, ms, good in self.samples)
        return replace(
            moved,
            requests=len(self.samples),
            failed_requests=failed,
            cut_requests=cut,
            late_requests=late,
        )


def tally(samples: Sequence[tuple[float, float, bool]]) -> tuple[int, int]:
    """(cut, failed) of (when asked in s, ms until the answer, good). Pure.

    Cut are those that were on their way at one moment: they began within the time that the slowest answer
    took (without a lost packet, which costs a second), and their next packet came to a host that does not
    know them. A fault that lasts longer shows in requests that began after that.
    """
    begun = sorted(at for at, _, good in samples if not good)
    window_s = max((ms / 1000 for _, ms, good in samples if good and ms < RESENT_MS), default=0.0)
    if not begun or not window_s:
        return 0, len(begun)
    cut = max(sum(0 <= at - first <= window_s for at in begun) for first in begun)
    return cut, len(begun) - cut
