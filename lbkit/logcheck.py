"""Whether the logs since a moment are free of errors: what was over again is none. Pure but for `read`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lbkit import logs, remote
from lbkit import servers as behind
from lbkit.since import Since

ERROR = 3  # syslog's priority: error, and what is worse
MOST = 5000
BEFORE_S = 60
EXPECTED = ("haproxy", "keepalived", "agent", "sync")

# What repeats that something is over; a server that a person took out; rsyslog that was started anew (whether
# it runs is looked at by itself: it is a service of the inventory's).
NO_ERROR = r"^over: |is going DOWN for maintenance|sendmsg\(\)/writev\(\) failed in logger"
STARTED = r"Loading success|New worker .*forked"  # systemd's own word of it is not among what is read
# An error → what says later that it is over. `{0}`: what the error named. The first that fits decides.
OVER = (
    (r"^(?:trouble|alarm): (\S+):", r"^over: {0}:"),
    (
        r"(\S+) (?:is neither loaded nor sent|was saved and is not in use)",
        r"{0} (?:was changed here|is good again|is in use)|(?:received|sent) {0} |^\S+ watches$",
    ),
    (r"refused (\S+) from ", r"received {0} |{0} was changed here"),
    (r"Server (\S+) is DOWN", r"Server {0} is UP"),
    (r"[Bb]ackend (\S+) has no server available", r"Server {0}/\S+ is UP"),
    (r"^unfit: ()", r"^fit: "),
    (r"(?:AssociateAddress|notice) .*(?:failed|not delivered)()", r"AssociateAddress \d+ done|holds: "),
    (r"\[ALERT\].*(?: exited with code|config : |[Bb]inding |cannot bind)()", STARTED),
    (r"Failed to start (\S+)", rf"Started {{0}}|{STARTED}"),
)


@dataclass(frozen=True)
class Judged:
    """lines: how many were read. errors: those that nothing says are over."""

    lines: int
    errors: tuple[logs.Line, ...]


def judge(found: Iterable[logs.Line], servers: Mapping[str, str] | None = None) -> Judged:
    """Of one host's lines of one unit. servers: `backend/server` → its status now, where that is known."""
    lines = sorted(found)
    wrong = [
        line
        for number, line in enumerate(lines)
        if is_error(line)
        and not is_over(line.text, [later.text for later in lines[number + 1 :]])
        and not is_up_again(line.text, servers)
    ]
    return Judged(len(lines), tuple(wrong))


def is_error(line: logs.Line) -> bool:
    if re.search(NO_ERROR, line.text):
        return False
    return line.priority <= ERROR or "[ALERT]" in line.text or "[EMERG]" in line.text


def is_over(text: str, later: Sequence[str]) -> bool:
    for error, over in OVER:
        if found := re.search(error, text):
            ended = re.compile(over.format(re.escape(found[1].rstrip("."))))
            return any(ended.search(one) for one in later)
    return False


def is_up_again(text: str, servers: Mapping[str, str] | None) -> bool:
    """Whether the servers that an error names are up now, or are no more. HAProxy does not say so where
    it was reloaded meanwhile: a new worker begins with all of them up."""
    if servers is None:
        return False
    if found := re.search(r"Server (\S+/\S+) is DOWN", text):
        return not servers.get(found[1], "").startswith("DOWN")
    if found := re.search(r"[Bb]ackend (\S+) has no server available", text):
        there = [status for name, status in servers.items() if name.startswith(f"{found[1]}/")]
        return not there or any(map(behind.is_up, there))
    return False


def now(session: remote.Session) -> dict[str, str] | None:
    """`backend/server` → its status; None where HAProxy does not answer."""
    views = behind.host_view(session.call("servers")).views
    return None if views is None else {name: view.status for name, view in views.items()}


def read(host: str, session: remote.Session, unit: str, since: Since) -> Judged | None:
    """None where the unit has left no line at all, then or before: nothing can be said of it."""
    asked = dataclasses.replace(logs.question(unit, since, None), requests=False)
    lines = logs.lines(host, session.call("logs", **asked.request(limit=MOST))["lines"])
    if not lines:
        ever = dataclasses.replace(asked, since=Since())
        if not session.call("logs", **ever.request(limit=1))["lines"]:
            return None
    return judge(lines, now(session) if unit == "haproxy" else None)


def last_change(session: remote.Session) -> Since:
    """A little before lbkit loaded something into a service last: what they said of it is read too. A day,
    where it never did."""
    at = session.call("last_change")
    return Since(ago_s=86400) if at is None else Since(at=at - BEFORE_S)


def sentence(judged: Judged) -> str:
    """What is wrong, the newest first."""
    if not judged.errors:
        return f"{judged.lines} lines, no error that is not over" if judged.lines else "nothing was said"
    newest = judged.errors[-1].text.strip().split("\n")[0][:160]
    more = f" (and {len(judged.errors) - 1} more)" if len(judged.errors) > 1 else ""
    return f"{newest}{more}"
