"""The hosts' journals, and HAProxy's log files, as one: lines in time order, up to now or as they come. Reads
only."""

from __future__ import annotations

import dataclasses
import fnmatch
import heapq
import queue
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from lbkit import errors, remote
from lbkit.inventory import Cluster, Host
from lbkit.since import Since

# What a unit is called here → the systemd units behind it.
UNITS = {
    "haproxy": ("haproxy.service",),
    "keepalived": ("keepalived.service",),
    "agent": ("lbkit-agent.service",),
    "sync": ("lbkit-sync*",),
    "certbot": ("lbkit-cert*", "certbot.service", "snap.certbot.renew.service"),
}
NEWEST = 200  # lines of each host where no --since asks for more
MOST = 20_000
# Lines of two hosts come over two connections: each waits so long for an older one of the other.
SETTLE_S = 0.3
AGAIN_S = 3.0


@dataclass(frozen=True, order=True)
class Line:
    """at_us: µs since 1970 by the host's clock. priority: syslog's, 3 and below are errors."""

    at_us: int
    host: str
    unit: str
    priority: int
    text: str


@dataclass(frozen=True)
class Note:
    """Something to be said of a host in between: it went away, it is back."""

    host: str
    text: str


@dataclass(frozen=True)
class Question:
    """units: as systemd knows them. grep: a regular expression, or None. requests: with those that HAProxy
    answered, which stand in a file of their own."""

    units: tuple[str, ...]
    since: Since
    grep: str | None
    until: Since | None = None
    requests: bool = False

    def request(self, **more: Any) -> dict[str, Any]:
        return {**dataclasses.asdict(self), **more}


@dataclass(frozen=True)
class Read:
    """missing: hosts that could not be read, with the reason. more: hosts with older lines than `limit` let
    through. cursors: host → where a follower goes on; its clock at that time where it had no line."""

    lines: tuple[Line, ...]
    missing: dict[str, str]
    more: tuple[str, ...]
    cursors: dict[str, dict[str, Any]]


def question(unit: str, since: Since | None, grep: str | None, until: Since | None = None) -> Question:
    """Raises Refused for a unit or an expression that is none."""
    if unit not in (*UNITS, "all"):
        raise errors.Refused(f"There is no unit {unit!r}.\nNext: --unit one of {', '.join(UNITS)}, all.")
    try:
        re.compile(grep or "")
    except re.error as error:
        raise errors.Refused(
            f"--grep {grep!r} is no regular expression: {error}.\nNext: put \\ before signs such as ( [ * ?"
        ) from None
    names = UNITS if unit == "all" else (unit,)
    units = tuple(name for one in names for name in UNITS[one])
    return Question(units, since or Since(), grep, until, requests="haproxy" in names)


def read(opened: dict[str, Any], asked: Question, limit: int) -> Read:
    """What stands in the journals, oldest first."""

    def answer(name: str) -> Any:
        session = opened[name]
        if isinstance(session, errors.LbkitError):
            return session
        try:
            return session.call("logs", **asked.request(limit=limit))
        except errors.LbkitError as error:
            return error

    answers = dict(zip(opened, remote.in_parallel(answer, list(opened)), strict=True))
    missing = {name: str(one) for name, one in answers.items() if isinstance(one, errors.LbkitError)}
    good = {name: one for name, one in answers.items() if name not in missing}
    merged = heapq.merge(*(lines(name, one["lines"]) for name, one in good.items()))
    cursors = {
        name: {**one, "since": {"at": one["time"]}} if one["cursor"] is None else one
        for name, one in good.items()
    }
    return Read(tuple(merged), missing, tuple(name for name, one in good.items() if one["more"]), cursors)


def lines(host: str, rows: Sequence[Sequence[Any]]) -> list[Line]:
    return sorted(Line(at, host, called(unit), priority, text) for at, unit, priority, text in rows)


def called(unit: str) -> str:
    """The unit's name among UNITS; one of none of them keeps its own."""
    names = (name for name, patterns in UNITS.items() if any(fnmatch.fnmatch(unit, one) for one in patterns))
    return next(names, unit.removesuffix(".service"))


# ── as they come ─────────────────────────────────────────────────────────────────────────────────────────


def follow(
    hosts: Sequence[Host], asked: Question, cursors: dict[str, dict[str, Any]]
) -> Iterator[Line | Note]:
    """Lines as they come, in time order as far as SETTLE_S goes, until the caller stops; then nothing is left
    running on the hosts. One that goes away is said, and asked again until it is back."""
    arrived: queue.Queue[tuple[float, Line | Note]] = queue.Queue()
    followers = [Follower(host, asked, cursors.get(host.name, {}), arrived) for host in hosts]
    waiting: list[tuple[Line, float]] = []
    try:
        while True:
            try:
                at, one = arrived.get(timeout=SETTLE_S / 3)
                if isinstance(one, Note):
                    yield one
                else:
                    heapq.heappush(waiting, (one, at))
            except queue.Empty:
                pass
            while waiting and waiting[0][1] + SETTLE_S < time.monotonic():
                yield heapq.heappop(waiting)[0]
    finally:
        for follower in followers:
            follower.stop()


class Follower:
    """One host's lines into the queue, from a thread of its own."""

    def __init__(self, host: Host, asked: Question, start: dict[str, Any], arrived: queue.Queue[Any]) -> None:
        self.host, self.asked, self.arrived = host, asked, arrived
        self.request = asked.request(cursor=start.get("cursor"), place=start.get("place"))
        if start.get("since"):
            self.request["since"] = start["since"]
        self.stopped = threading.Event()
        self.session: remote.Session | None = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        away = False
        while not self.stopped.is_set():
            try:
                self.session = remote.open_session(self.host)
                if away:
                    self.tell(Note(self.host.name, "is back"))
                away = False
                self.session.call("follow", say=self.take, **self.request)
            except errors.LbkitError as error:
                if not away and not self.stopped.is_set():
                    self.tell(Note(self.host.name, f"{str(error).splitlines()[0]} It is asked again."))
                away = True
            self.stopped.wait(AGAIN_S)

    def take(self, name: str, told: Any) -> None:
        self.request.update(cursor=told["cursor"], place=told["place"])
        for line in lines(name, told["lines"]):
            self.tell(line)

    def tell(self, one: Line | Note) -> None:
        self.arrived.put((time.monotonic(), one))

    def stop(self) -> None:
        """The connection is closed; the hand sees the end of its input and ends its journalctl."""
        self.stopped.set()
        if self.session:
            self.session.close()


# ── for people and machines ──────────────────────────────────────────────────────────────────────────────


def shown(line: Line, zone: str, width: int) -> str:
    """`11-21 14:30:05.123 lb-1 haproxy    text`; width: of the hosts' column."""
    at = datetime.fromtimestamp(line.at_us / 1e6, ZoneInfo(zone))
    text = line.text.replace("\n", "\n" + " " * 4)
    return f"{at:%m-%d %H:%M:%S}.{at.microsecond // 1000:03} {line.host:<{width}} {line.unit:<10} {text}"


def as_json(line: Line, zone: str) -> dict[str, Any]:
    at = datetime.fromtimestamp(line.at_us / 1e6, ZoneInfo(zone)).isoformat()
    return {"at": at, "host": line.host, "unit": line.unit, "priority": line.priority, "text": line.text}


def width(cluster: Cluster) -> int:
    return max(len(host.name) for host in cluster.hosts)
