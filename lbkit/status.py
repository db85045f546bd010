"""What stands now, on one screen: the verdict first, then each host. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lbkit import errors, observe, overview, pair, remote
from lbkit import servers as behind
from lbkit.check import split
from lbkit.hand.locking import OF_PROGRAMS
from lbkit.inventory import Cluster, Host

CONNECT_S = 1.5  # a host that is down is known to be by then
STOPPED = (
    "inactive",
    "failed",
    "activating",
    "deactivating",
)  # systemd's words of a unit that is not at work


@dataclass(frozen=True)
class Row:
    """One host. holds: whether it has the address, None: unknown. servers: (up, all), None: no answer.

    agent: what it wants of the address, or the state of its unit. troubles: those that it tells of, by name.
    maintenance: "in maintenance since … by …: reason", empty where it is not. broken: that a failover test
    broke something there on purpose, else empty. alarms: those that stand, as (text, next step). held: the
    servers that are held, which `servers` does not count. overview: HAProxy in figures, where that was asked.
    sync: the state of its unit. at_work: "COMMAND by WHO since …" of whoever changes the host, else empty.
    """

    host: str
    role: str
    vrrp: str
    holds: bool | None
    haproxy: str
    keepalived: str
    servers: tuple[int, int] | None
    agent: str = "unknown"
    troubles: tuple[tuple[str, str], ...] = ()
    maintenance: str = ""
    broken: str = ""
    alarms: tuple[tuple[str, str], ...] = ()
    held: behind.Record = field(default_factory=dict)
    overview: overview.Overview | None = None
    sync: str = "unknown"
    at_work: str = ""


@dataclass(frozen=True)
class Status:
    """verdict: one sentence. whole: the pair serves, and either host could alone. next_step: the command that
    repairs what the verdict says. differences: of the servers held, as (what, next step). failover: the
    last."""

    verdict: str
    whole: bool
    next_step: str
    rows: tuple[Row, ...]
    differences: tuple[tuple[str, str], ...] = ()
    failover: overview.Failover | None = None

    @property
    def well(self) -> bool:
        """Whole, and nothing else is wrong."""
        wrong = any(row.alarms or row.sync in STOPPED for row in self.rows)
        return self.whole and not self.differences and not wrong


def read(cluster: Cluster) -> Status:
    """The pair as it is now, in figures too; a host that does not answer is a row of its own."""
    hosts = [one.replace(connect_timeout_s=min(one.connect_timeout_s, CONNECT_S)) for one in cluster.hosts]
    with observe.hurried(cluster), remote.sessions(hosts, lambda: observe.prepare(cluster)) as opened:
        found = of(cluster, opened, figures=True)
    failover = overview.last_failover({r.host: r.overview for r in found.rows})
    return replace(with_work(found), failover=failover)


def with_work(found: Status) -> Status:
    """Where somebody changes the pair just now that is told first: half done, it looks like a fault. Pure."""
    at_work = next((row.at_work for row in found.rows if row.at_work), "")
    if not at_work or any(row.broken for row in found.rows):  # a failover test tells of itself
        return found
    said = replace(found, verdict=f"At work: {at_work}. {found.verdict}")
    return said if found.whole else replace(said, next_step="wait until it has ended, then inv status")


def of(cluster: Cluster, opened: dict[str, Any], figures: bool = False) -> Status:
    """The same over sessions that are open already. figures: with the rows' overviews."""
    picture = observe.read(cluster, (), opened)
    answered = {node.host.name: node for node in picture.nodes}

    missing = dict(picture.missing)

    def look(host: Host | None) -> Any:
        if host is None:
            return holder(picture)
        if host.name in answered:
            try:
                seen = overview.read(cluster, host, opened[host.name]) if figures else None
                return row(answered[host.name], opened[host.name], seen)
            except errors.Unreachable as error:  # it went away meanwhile
                missing[host.name] = str(error)
        return Row(host.name, host.role, "UNKNOWN", None, "unknown", "unknown", None)

    hosts = [host for host in cluster.hosts if host.name in opened]
    *rows, held_by = remote.in_parallel(look, [*hosts, None])
    if isinstance(held_by, errors.Undecided):
        return judge(rows, missing, held_by)
    known = [one if one.host in missing else replace(one, holds=one.host == held_by) for one in rows]
    return judge(known, missing, None)


def holder(picture: observe.Picture) -> str | errors.Undecided | None:
    """As of observe.holder_of, or why it cannot be told."""
    try:
        return observe.holder_of(picture)
    except errors.Undecided as error:
        return error


def row(node: pair.Node, session: remote.Session, figures: overview.Overview | None = None) -> Row:
    """But for whether it holds the address."""
    held = node.seen.facts.get("servers", {})
    units, agent = node.seen.facts["units"], node.seen.facts.get("agent")
    runs = units.get("lbkit-agent.service")
    said = agent if runs in pair.RUNNING else None  # what one that has ended left behind is old
    state: str = node.vrrp
    if state == "BACKUP" and session.call("vrrp_state") == "FAULT":
        state = "FAULT"  # the kernel shows only who has the address; keepalived's own word tells these apart
    return Row(
        node.host.name,
        node.host.role,
        state,
        None,
        units["haproxy.service"] or "unknown",
        units["keepalived.service"] or "unknown",
        count(overview.views(figures) if figures else views(session), held),
        stance(said) if said else runs or "unknown",
        tuple(said["troubles"].items()) if said else (),
        pair.maintenance(node),
        pair.broken(node),
        pair.alarms(node),
        held,
        figures,
        sync=units.get("lbkit-sync.service") or "unknown",
        at_work=at_work(node.seen.facts.get("lock")),
    )


def at_work(lock: dict[str, Any] | None) -> str:
    """What a program of the host's own does under the lock, the sync for a moment, is not told."""
    if not lock or OF_PROGRAMS in lock["who"]:
        return ""
    return f"{lock['command']} by {lock['who']} since {lock['since']}"


def answered(rows: Sequence[Row]) -> list[Row]:
    return [one for one in rows if one.vrrp != "UNKNOWN"]


def works(one: Row) -> bool:
    """Nothing of this host's own would be told first."""
    return {one.haproxy, one.keepalived} <= set(pair.RUNNING) and bool(one.servers and one.servers[0])


def stance(said: dict[str, Any]) -> str:
    """What the agent is about, in a word; with a virtual IP it moves nothing and only watches HAProxy."""
    if not said["fit"]:
        return "unfit"
    return "watches" if said["stance"] == "none" else str(said["stance"])


def views(session: remote.Session) -> Mapping[str, behind.View] | None:
    """The servers as HAProxy on this host sees them; None where it does not answer."""
    try:
        return behind.host_view(session.call("servers")).views
    except errors.CommandFailed:
        return None


def count(found: Mapping[str, behind.View] | None, held: behind.Record) -> tuple[int, int] | None:
    """(up, all) servers, without those that somebody holds out of service."""
    if found is None:
        return None
    out = {name for name, entry in held.items() if entry["state"] != behind.READY}
    wanted = [one for name, one in found.items() if name not in out]
    return sum(behind.is_up(one.status) for one in wanted), len(wanted)


def unread(rows: Sequence[Row], missing: dict[str, str], masters: Sequence[str]) -> Status:
    """Some host did not answer: why, and what the others say of the service."""
    others = list(missing)[1:]
    what, next_step = split(next(iter(missing.values())))
    served = f"{masters[0]} serves" if masters else "Whether anyone serves is unknown"
    more = f" {', '.join(others)} could not be read either." if others else ""
    return Status(f"{what.rstrip('.')}.{more} {served}.", False, next_step, tuple(rows))


# Told for a while after they are over; what they are about is judged by what is seen.
PASSING = ("haproxy", "keepalived", "split-brain")


def judge(rows: Sequence[Row], missing: dict[str, str], doubt: errors.LbkitError | None) -> Status:
    """The verdict: what hurts clients first, then what would hurt them at the next fault. Pure."""
    masters = [one.host for one in rows if one.vrrp == "MASTER"]
    holders = [one.host for one in rows if one.holds]

    views = {one.host: behind.HostView(overview.views(one.overview), one.held) for one in answered(rows)}
    differences = tuple(behind.differences(views))

    def status(verdict: str, next_step: str, whole: bool = False) -> Status:
        return Status(verdict, whole, next_step, tuple(rows), differences)

    for one in rows:
        if one.broken:  # whatever else is wrong comes of it
            return status(f"{one.host}: {one.broken}.", "wait, then inv status")
    if len(masters) > 1:
        return status(
            f"Split brain: {' and '.join(masters)} are both MASTER.",
            "do the hosts hear each other? inv verify",
        )
    if missing:
        return unread(rows, missing, masters)
    if doubt:
        what, next_step = split(str(doubt))
        return status(what, next_step)
    if not masters:
        return status("Nobody is MASTER: clients get no answer.", "inv setup, then inv verify")
    out = [one for one in rows if one.maintenance]
    if out and holders == masters and all(works(one) for one in rows if one.holds):
        alone = " alone" if len(rows) - len(out) < 2 else ""
        said = f"{masters[0]} serves{alone if not out[0].holds else ' all the same'}."
        off = f"inv maintenance off --host {out[0].host}"
        for one in sorted(rows, key=lambda one: not one.holds):  # of whoever has the sole charge first
            for text, next_step in one.alarms:
                verdict = f"{out[0].host} is {out[0].maintenance}. {said} But on {one.host}: {text}."
                return status(verdict, f"{next_step}; {off}")
        return status(f"{out[0].host} is {out[0].maintenance}. {said}", off)
    if holders != masters:
        return status(
            f"{masters[0]} is MASTER, but the address is on {', '.join(holders) or 'nobody'}.", "inv verify"
        )
    for one in rows:
        for unit, state in (("haproxy", one.haproxy), ("keepalived", one.keepalived)):
            if state not in pair.RUNNING:
                side = "the holder" if one.holds else "the standby"
                verdict = f"{unit} is {state} on {one.host}, {side}."
                return status(verdict, f"on {one.host}: journalctl -u {unit} -n 50; then inv setup")
        if one.vrrp == "FAULT":
            return status(
                f"{one.host}, the standby, is in FAULT: it cannot take over.",
                f"on {one.host}: journalctl -u keepalived -n 50",
            )
        if one.agent in STOPPED:
            verdict = f"lbkit-agent is {one.agent} on {one.host}: nothing watches HAProxy there."
            return status(verdict, "inv setup")
        if one.servers is None:
            return status(
                f"HAProxy on {one.host} does not answer on its socket.",
                f"on {one.host}: systemctl status haproxy",
            )
        if one.holds and one.servers[0] < one.servers[1]:
            return status(
                f"{one.servers[0]} of {one.servers[1]} servers are up.",
                "inv verify, which names the others and why",
            )
    for one in rows:
        for name, text in one.troubles:
            if name not in PASSING:
                next_step = f"on {one.host}: journalctl -u lbkit-agent -n 50"
                return status(f"{one.host}: {text}.", next_step)
    standby = ", ".join(one.host for one in rows if not one.holds)
    verdict = f"The pair is whole: {masters[0]} serves, {standby} stands by."
    for one in rows:
        if one.sync in STOPPED:
            return status(f"{verdict} But lbkit-sync is {one.sync} on {one.host}.", "inv setup", whole=True)
    for what, next_step in differences:
        return status(f"{verdict} But {what}.", next_step, whole=True)
    for one in rows:
        for text, next_step in one.alarms:  # which keeps nobody from a switchover
            return status(f"{verdict} But on {one.host}: {text}.", next_step, whole=True)
    held = {name: entry for one in rows for name, entry in one.held.items()}
    told = "".join(f" {behind.held_text(name, entry)}." for name, entry in sorted(held.items()))
    return status(verdict + told, f"inv backend.ready {next(iter(held))} ends it" if held else "", whole=True)
