"""Makes the pair as desired: reads once, plans, takes the lock, changes host after host, reads again.

What stands in the way is refused before anything is changed anywhere. How the hosts are changed, one after
the other, is in roll.py.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lbkit import arrival, errors, observe, pair, plan, remote, steps
from lbkit.inventory import Cluster
from lbkit.roll import Roll, Tell
from lbkit.since import STAMP

AGENT = steps.agent.SERVICE
ACCOUNT = "aws"  # where a change was made, beside the names of hosts


@dataclass(frozen=True)
class Outcome:
    """What a run did. changed: (host name or `aws`, change) in the order in which they were made."""

    changed: tuple[tuple[str, plan.Change], ...]
    before: observe.Picture
    after: observe.Picture


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
    asked: dict[str, tuple[plan.Desired, ...]] = {}
    with remote.sessions(hosts, lambda: asked.update(observe.wanted(cluster, only))) as opened:
        refuse_alive(cluster, without, opened)
        before = observe.read(cluster, only, opened, asked)
        refuse_missing(before)
        if not todo(before, names):
            refuse_broken(before)  # before what comes of it
            refuse_stops(before, names)
            refuse_split(before)
            if len(only) == 1:  # a step by its name proves what it promises, changed or not
                prove_way(before, only, opened, tell)
            return Outcome((), before, before)
        with locked(opened, command):
            before = observe.read(cluster, only, opened, asked)  # somebody may have been at work since
            refuse_missing(before)
            refuse_broken(before)
            refuse_stops(before, names)
            refuse_half_rewire(before, names)
            roll = Roll(before, only, names, opened, tell, asked)
            roll.changed += bring_account(before, only, opened, tell)
            if roll.changed or starts_agent(before, names):  # nothing else needs the API
                prove_way(before, only, opened, tell, roll.so_far())
            roll.run()
            after = observe.read(cluster, only, opened, asked)
    refuse_missing(after, roll.so_far())
    refuse_split(after)
    refuse_rest(after, names)
    refuse_leaderless(after)
    for name in sorted(
        {name for name, change in roll.changed if change.request.get("kind") == "certificate"}
    ):
        arrival.wait(cluster, name, tell)
    return Outcome(tuple(roll.changed), before, after)


def refuse_broken(picture: observe.Picture) -> None:
    """A host that is about to undo what a drill broke is not mended beside that."""
    for node in picture.nodes:
        if why := pair.broken(node):
            raise errors.Refused(
                f"{node.host.name}: {why}; nothing was changed.\nNext: wait, then run the same command again."
            )


def refuse_if_up(cluster: Cluster, without: Sequence[str]) -> None:
    """`--without` is for a host that is down: one that answers would miss the change, or the lock."""
    with remote.sessions([cluster.host(name) for name in without]) as opened:
        for name, session in opened.items():
            if isinstance(session, remote.Session):
                raise errors.Refused(
                    f"{name} answers, so it is not left out: `--without` is for a host that is down.\n"
                    f"Next: the same command without `--without {name}`."
                )
            if not getattr(session, "down", False):
                raise errors.Refused(f"{name} is not down, so it is not left out.\n{session}")


def refuse_alive(cluster: Cluster, without: Sequence[str], opened: Mapping[str, Any]) -> None:
    """A host whose sshd alone is silent lives, and may be MASTER. The others see that: to be refused is an
    answer too."""
    port = steps.agent.ask(cluster)["port"]
    for name in without:
        question = {"connect": (cluster.host(name).private_address, port), "name": name, "timeout_s": 2}
        for other, session in opened.items():
            if isinstance(session, errors.LbkitError):
                continue
            (answer,) = session.call("ask", **question, http=False, tls=False)
            if answer["good"] or "refused" in (answer["error"] or ""):
                raise errors.Refused(
                    f"{name} gives no ssh, but {other} reaches it, so it is not down, and is not left out.\n"
                    f"Next: bring its sshd back, or switch {name} off; then the same command again."
                )


def todo(picture: observe.Picture, names: Sequence[str]) -> bool:
    """Whether anything is to be changed, on the named hosts or in AWS."""
    return bool(picture.place and picture.place.todo) or any(one.todo for one in picture.in_scope(names))


def refuse_missing(picture: observe.Picture, done: str = "") -> None:
    """done: what was changed before, as a sentence."""
    if picture.unread_account:
        raise errors.AwsFailed(f"{done or 'Nothing was changed.'}\n{picture.unread_account}")
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


def all_changes(picture: observe.Picture, names: Sequence[str]) -> list[tuple[str, plan.Change]]:
    """(`aws` or the host's name, change), whatever its verdict."""
    place = picture.place.changes if picture.place else ()
    return [
        *((ACCOUNT, change) for change in place),
        *((node.host.name, change) for node in picture.in_scope(names) for change in node.changes),
    ]


def refuse_stops(picture: observe.Picture, names: Sequence[str]) -> None:
    """What is blocked or unknown anywhere stops the run before anything is changed."""
    found = [one for one in all_changes(picture, names) if one[1].verdict in ("blocked", "unknown")]
    if found:
        lines = [f"{name}: {c.label}: {c.reason}.\nNext: {c.next_step}." for name, c in found]
        raise errors.Refused("\n".join(["Nothing was changed, for something stands in the way.", *lines]))


def obstacles(picture: observe.Picture, names: Sequence[str]) -> list[errors.LbkitError]:
    """Why `setup` would refuse to begin, for the plan to say; none where it would not."""
    try:
        refuse_broken(picture)
    except errors.Refused as error:  # what else stands in the way may come of it
        return [error]
    found: list[errors.LbkitError] = []
    anything = todo(picture, names)
    for refuses in (
        lambda: refuse_half_rewire(picture, names),
        lambda: observe.holder_of(picture) if anything else None,
        lambda: None if anything else refuse_split(picture),
    ):
        try:
            refuses()
        except errors.LbkitError as error:
            found.append(error)
    return found


def refuse_half_rewire(picture: observe.Picture, names: Sequence[str]) -> None:
    """All hosts or none: nodes whose keepalived speak differently are both MASTER, and one that is out of our
    reach may be MASTER all the same."""
    others = [host.name for host in picture.cluster.hosts if host.name not in names]
    deaf = [
        node.host.name for node in picture.nodes if node.host.name in others and pair.speaks_otherwise(node)
    ]
    for node in picture.in_scope(names):
        for change in node.todo:
            meets = others if change.rewires else deaf if change.label == "keepalived.service" else []
            if meets:
                raise errors.Refused(
                    f"{node.host.name}: {change.action} {change.label}: it and {', '.join(meets)} could not "
                    f"hear each other, and both would be MASTER; nothing was changed.\n"
                    f"Next: inv setup, when all hosts answer; who is gone for good leaves the inventory."
                )


def refuse_split(picture: observe.Picture) -> None:
    """Two MASTERs are no success, whatever the files say."""
    found = [node.host.name for node in pair.masters(picture.nodes)]
    if len(found) > 1:
        raise errors.Undecided(
            f"{' and '.join(found)} are both MASTER, or the address was left behind on one of them.\n"
            f"Next: inv status, which asks each keepalived whether it is MASTER."
        )


def refuse_leaderless(picture: observe.Picture) -> None:
    """Where keepalived runs and nobody is MASTER, nobody serves: that is no success. (A host that was left
    out may be MASTER, unseen.)"""
    if len(picture.nodes) < len(picture.cluster.hosts):
        return
    running = [node.host.name for node in picture.nodes if node.vrrp == "BACKUP"]
    if running and not pair.masters(picture.nodes):
        raise errors.CommandFailed(
            f"All was done, but nobody is MASTER: {', '.join(running)} run keepalived and do not take over.\n"
            f"Next: inv verify, which says why."
        )


def refuse_rest(picture: observe.Picture, names: Sequence[str]) -> None:
    """A second read must find nothing more to do; what it finds did not take effect."""
    rest = [
        f"{name}: {c.label}: {c.action}: {c.reason}"
        for name, c in all_changes(picture, names)
        if c.verdict == "change"
    ]
    if rest:
        raise errors.CommandFailed("\n".join(["Still to do after the run:", *rest, "Next: inv plan"]))


def bring_account(
    before: observe.Picture, only: Sequence[str], opened: dict[str, Any], tell: Tell
) -> list[tuple[str, plan.Change]]:
    """The AWS side is as the inventory says, before any host is touched: agents need what is made here."""
    if not before.place or not before.place.todo:
        return []
    from lbkit.aws import account, api

    made = account.bring(api.of(before.cluster), before.cluster, only, tell)
    return [(ACCOUNT, change) for change in made]


def starts_agent(picture: observe.Picture, names: Sequence[str]) -> bool:
    """Whether an agent will be started or restarted, which then proves that it may move the address."""
    return any(
        change.label == f"{AGENT}.service" and change.action in plan.LOADS
        for _, change in all_changes(picture, names)
    )


def prove_way(
    before: observe.Picture, only: Sequence[str], opened: dict[str, Any], tell: Tell, done: str = ""
) -> None:
    """The hosts reach the API over IPv6, where that is asked for: before any of them is touched.

    done: what was changed before, as a sentence.
    """
    if "ipv6" not in steps.in_account(before.cluster, only):
        return
    from lbkit import proof

    try:
        proof.refuse_no_way(before.cluster, opened, tell)
    except errors.CommandFailed as error:
        raise errors.CommandFailed(f"{done}\n{error}".lstrip()) from None


# ── the lock ─────────────────────────────────────────────────────────────────────────────────────────────


def who() -> str:
    """The operator's name; in a container his number may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


@contextlib.contextmanager
def locked(opened: dict[str, Any], command: str) -> Iterator[None]:
    """Ours is the pair: taken on every host, in the order of their names, so that two runs cannot each hold
    half. Each lock ends with its session, however that ends. All have one `since`: what is kept of this run's
    changes is told by it to be of one run."""
    since = time.strftime(STAMP)
    for name in sorted(opened):
        lock(name, opened[name], command, since)
    yield


def lock(name: str, session: Any, command: str, since: str = "") -> None:
    """One host is ours, until its session ends. Raises Locked."""
    entry = {
        "who": f"{who()}@{socket.gethostname()}",
        "since": since or time.strftime(STAMP),
        "command": command,
    }
    held = session.call("lock", **entry)["held"]
    if held:
        raise errors.Locked(
            f"{name} is locked by {held['who']} since {held['since']} ({held['command']}); "
            f"nothing was changed.\n"
            f"Next: wait until that has ended. The lock ends with its process: none is ever left behind."
        )
