"""What the sync says of itself on each host, and what an operator asks of it: `inv sync.status` and the like.

The service on each host is asked by the hand (docs/sync.md); only the node in charge sends.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from lbkit import errors, pair, remote, steps
from lbkit.hand import telling, versions
from lbkit.inventory import Cluster

WITHIN_S = 60


@dataclass(frozen=True)
class Trouble:
    """host: where; empty for what is of all of them. item: None for the sync as a whole. since: s since 1970,
    None where it is not known. passing: it may be over in a moment, without anybody's help."""

    host: str
    what: str
    next_step: str
    item: str | None = None
    since: int | None = None
    passing: bool = False

    @property
    def is_conflict(self) -> bool:
        return not self.host and self.item is not None


@dataclass(frozen=True)
class State:
    """sends: the host in charge, None where nobody is. nodes: what each host's service says, of those that
    answered (`Service.status` in the program)."""

    sends: str | None
    troubles: tuple[Trouble, ...]
    nodes: Mapping[str, Mapping[str, Any]]

    @property
    def level(self) -> bool:
        """All hosts have the same, or soon will without anybody's help."""
        return not self.troubles


def read(cluster: Cluster) -> State:
    with remote.sessions(cluster.hosts) as opened:
        return of(opened)


def of(opened: Mapping[str, Any]) -> State:
    """The same over sessions that are open already."""
    names = list(opened)
    said = remote.in_parallel(lambda name: status(opened[name]), names)
    return judge(dict(zip(names, said, strict=True)))


def settled(opened: Mapping[str, Any], within_s: float, found: State | None = None) -> State:
    """What was saved just now has so long to arrive on the others. found: as it was a moment ago."""
    deadline = time.monotonic() + within_s
    found = found or of(opened)
    while found.troubles and all(one.passing for one in found.troubles) and time.monotonic() < deadline:
        time.sleep(0.1)
        found = of(opened)
    return found


def status(session: Any) -> dict[str, Any] | errors.LbkitError:
    if isinstance(session, errors.LbkitError):
        return session
    try:
        return ask(session, "status")
    except errors.LbkitError as error:
        return error


def ask(session: Any, op: str, **more: Any) -> dict[str, Any]:
    """The answer of the service on that host. Raises CommandFailed where it has none."""
    return dict(session.call("sync", **steps.sync.request(op, WITHIN_S, **more)))


def judge(said: Mapping[str, dict[str, Any] | errors.LbkitError]) -> State:
    """Host name → what its service says, or why it does not. Pure."""
    nodes = {name: one for name, one in said.items() if not isinstance(one, errors.LbkitError)}
    troubles = [
        Trouble("", what_of(one), way_to(name, one))
        for name, one in said.items()
        if isinstance(one, errors.LbkitError)
    ]
    sending = [name for name, one in nodes.items() if one["in_charge"]]
    if not sending:
        known = len(nodes) == len(said) and all(one["in_charge"] is False for one in nodes.values())
        what = (
            "nobody is in charge, so nothing is sent" if known else "who is in charge, and sends, is unknown"
        )
        troubles.append(Trouble("", what, "inv status", passing=True))
    for item in sorted({item for one in nodes.values() for item in one["conflicts"]}):
        what = f"{item} was changed on several hosts; all versions are kept, each goes on with its own"
        troubles.append(Trouble("", what, settling(item, list(said)), item))
    for name, one in nodes.items():
        troubles += of_node(name, one, said)
    return State(sending[0] if sending else None, tuple(troubles), nodes)


def what_of(error: errors.LbkitError) -> str:
    """Its text without the next step; it names the host."""
    return str(error).partition("\nNext: ")[0].rstrip(".")


def way_to(name: str, error: errors.LbkitError) -> str:
    """What a person does about a host whose service does not answer; where the host itself does not, nothing
    can be done on it yet."""
    if isinstance(error, errors.Unreachable) and error.down:
        return pair.bring_back(name)
    if isinstance(error, errors.Unreachable):
        return str(error).partition("\nNext: ")[2] or "inv status"
    return f"inv sync; on {name}: journalctl -u lbkit-sync -n 20"


def settling(item: str, hosts: Sequence[str]) -> str:
    """How a person says whose version wins. A line that is pasted whole is refused, and settles nothing."""
    ways = ", or ".join(f"--keep {name}" for name in hosts)
    return f"inv sync.now --item {item} {ways}: the host whose version is to win"


def of_node(name: str, one: Mapping[str, Any], said: Mapping[str, Any]) -> Iterator[Trouble]:
    for sentence in one["complaints"]:
        yield Trouble(name, sentence, telling.way_out(sentence))
    if not one["in_charge"]:
        return
    for peer, found in one["peers"].items():
        if isinstance(said.get(peer), errors.Unreachable):
            gone = f"start {peer}: what it lacks is sent to it by itself; inv sync.status"
            if found["trouble"] or found["behind"]:
                lacks = f", and lacks {', '.join(found['behind'])}" if found["behind"] else ""
                since = min((behind["since"] for behind in found["behind"].values()), default=None)
                yield Trouble(peer, f"is not reached from {name} either{lacks}", gone, since=since)
            continue
        for item, behind in found["behind"].items():
            if item not in one["conflicts"]:
                why, since = behind["why"], behind["since"]
                passing = "refused" not in why
                yield Trouble(peer, f"{item}: {why}", way(why, name), item, since, passing)
        if found["trouble"] and not found["behind"]:
            what = f"is not reached from {name}: {found['trouble']}"
            yield Trouble(peer, what, "inv sync", passing=True)
        if not found["trouble"]:
            yield from not_compared(name, one, peer, said.get(peer))


def not_compared(
    name: str, one: Mapping[str, Any], peer: str, other: Mapping[str, Any] | errors.LbkitError | None
) -> Iterator[Trouble]:
    """What differs between the node in charge and a peer by their own words: saved since they compared."""
    if other is None or isinstance(other, errors.LbkitError):
        return
    told = {*one["peers"][peer]["behind"], *one["conflicts"], *other["conflicts"]}
    for item in sorted({*one["items"]} & {*other["items"]} - told):
        mine, theirs = one["items"][item], other["items"][item]
        if mine["digest"] != theirs["digest"]:
            newer = versions.relation(mine["vector"], theirs["vector"]) == "newer"
            where = f"saved on {name}" if newer else "saved there"
            what = f"{item} differs: {where}, not compared yet"
            yield Trouble(peer, what, "inv sync.now", item, passing=True)


def way(why: str, sender: str) -> str:
    """What a person does about an item that is behind."""
    if "waits for setup" in why:
        return "inv setup"
    if "refused" in why:
        return f"mend it on {sender}, and save it again"
    return "inv sync.now, then inv sync.status"


# ── what is asked ────────────────────────────────────────────────────────────────────────────────────────


def now(cluster: Cluster, keep: str | None, item: str | None) -> tuple[State, list[str]]:
    """(state, items of which that host's version won) after both sides were compared anew.

    keep: the host whose version wins the conflicts, or the one about `item`.
    """
    names = [host.name for host in cluster.select(keep)] if keep else []
    with remote.sessions(cluster.hosts) as opened:
        if item:
            refuse_unknown(item, of(opened))
        kept: list[str] = []
        if keep:
            if len(names) != 1:
                raise errors.Refused(
                    f"One host's version wins, not that of {' and '.join(names)}.\nNext: name one"
                )
            session = opened[names[0]]
            if isinstance(session, errors.LbkitError):
                raise session
            kept = ask(session, "keep", item=item)["kept"]
            if not kept:
                about = f" about {item}" if item else ""
                raise errors.Refused(
                    f"{names[0]} has no conflict{about}, so nothing was decided.\nNext: inv sync.status"
                )
        ask(in_charge(opened), "now")
        return of(opened), kept


def refuse_unknown(item: str, state: State) -> None:
    known = sorted({one for node in state.nodes.values() for one in node["items"]})
    if known and item not in known:
        raise errors.Refused(
            f"The sync has no item {item!r}; nothing was decided.\nNext: --item one of {', '.join(known)}"
        )


def test(cluster: Cluster) -> tuple[str, dict[str, float | None], State]:
    """(sender, seconds to each other host or None where it did not arrive, state)."""
    with remote.sessions(cluster.hosts) as opened:
        session = in_charge(opened)
        answer = ask(session, "test")
        return answer["node"], answer["arrived"], of(opened)


def in_charge(opened: Mapping[str, Any]) -> Any:
    """The session of the host that sends. Raises Undecided where nobody does."""
    state = of(opened)
    if state.sends is None:
        first = state.troubles[0]
        raise errors.Undecided(
            f"{first.host}{': ' if first.host else ''}{first.what}.\nNext: {first.next_step}"
        )
    return opened[state.sends]


# ── shown ────────────────────────────────────────────────────────────────────────────────────────────────


def lines(state: State, zone: str) -> list[str]:
    """The verdict, each host's part, and what is wrong with its next step. zone: of the times."""
    others = [name for name in state.nodes if name != state.sends]
    if state.level:
        found = [f"{state.sends} sends, and {' and '.join(others) or 'nobody'} has all that it has."]
    else:
        many = f"{len(state.troubles)} things are" if len(state.troubles) > 1 else "One thing is"
        found = [f"{many} not in order."]
    for name, one in state.nodes.items():
        parts = [told(what, one["last"].get(what), zone) for what in ("sent", "received")]
        role = {True: "in charge", False: "stands by", None: "who is in charge is unknown"}[one["in_charge"]]
        found.append(f"  {name}  {role}; {'; '.join(parts)}")
    return found + trouble_lines(state.troubles, zone)


def trouble_lines(troubles: Sequence[Trouble], zone: str) -> list[str]:
    found = []
    for one in troubles:
        since = f" (since {clock(one.since, zone)})" if one.since else ""
        found += ["", f"{one.host + ': ' if one.host else ''}{one.what}{since}.", f"Next: {one.next_step}"]
    return found


def told(what: str, last: Mapping[str, Any] | None, zone: str) -> str:
    if not last:
        return f"nothing {what} yet"
    way = "to" if what == "sent" else "from"
    return f"last {what}: {last['item']} {way} {last['node']} at {clock(last['at'], zone)}"


def clock(at: int, zone: str) -> str:
    return f"{datetime.fromtimestamp(at, ZoneInfo(zone)):%Y-%m-%d %H:%M:%S %z}"
