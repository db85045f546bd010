"""What the rows of the hosts mean: the gravest fault first, each with the command that repairs it.

Pure; the rows are read in status.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from lbkit import errors, overview, pair, sync
from lbkit import servers as behind
from lbkit.check import split
from lbkit.hand.telling import of_broken_cfg, of_conflict

TOLD = 3  # so many things that are wrong are told; the others are counted
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
    without: backends of which no server is up, but for those held. left: the command that takes the address
    off a host whose keepalived runs and is not MASTER, else empty.
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
    without: tuple[str, ...] = ()
    left: str = ""


Thing = tuple[str, str]  # what is wrong, next step


@dataclass(frozen=True)
class Status:
    """verdict: the gravest fault, then the next ones. whole: the pair serves, and either host could alone.
    next_step: the commands that repair what the verdict says. differences: of the servers held. failover: the
    last. things: all that is wrong where one host is MASTER, the gravest first."""

    verdict: str
    whole: bool
    next_step: str
    rows: tuple[Row, ...]
    differences: tuple[Thing, ...] = ()
    failover: overview.Failover | None = None
    things: tuple[Thing, ...] = ()

    @property
    def well(self) -> bool:
        """Whole, and nothing else is wrong."""
        return self.whole and not self.things


def answered(rows: Sequence[Row]) -> list[Row]:
    return [one for one in rows if one.vrrp != "UNKNOWN"]


def works(one: Row) -> bool:
    """Nothing of this host's own would be told first."""
    return {one.haproxy, one.keepalived} <= set(pair.RUNNING) and bool(one.servers and one.servers[0])


def fewer(one: Row) -> bool:
    """Not all servers are up, as it sees them."""
    return bool(one.servers and one.servers[0] < one.servers[1])


def sees_none(one: Row) -> bool:
    """There are servers, and none is up, as it sees them: of it clients would get 503."""
    return fewer(one) and one.servers is not None and one.servers[0] == 0


def nobody_serves(rows: Sequence[Row]) -> tuple[str, str] | None:
    """(verdict, next step) where HAProxy is at work on no host: the last one stays MASTER all the same."""
    if any(one.haproxy in (*pair.RUNNING, "unknown") for one in rows):
        return None
    where: dict[str, list[str]] = {}
    for one in rows:
        where.setdefault(one.haproxy, []).append(one.host)
    said = ", ".join(f"{state} on {' and '.join(hosts)}" for state, hosts in where.items())
    whys = dict.fromkeys(why for one in rows if (why := cause(one)))
    look = f"inv setup; if that does not help, on {rows[0].host}: journalctl -u haproxy -n 50"
    return f"Nobody serves: HAProxy is {said}.{''.join(f' {why}.' for why in whys)}", look


def cause(one: Row) -> str:
    """Why HAProxy does not start there, as far as the host's own programs have told."""
    return next((text for text, _ in one.alarms if of_broken_cfg(text)), "")


def unread(
    rows: Sequence[Row], missing: dict[str, str], masters: Sequence[str], down: Collection[str]
) -> Status:
    """Some host did not answer: why, and what the others say of the service. down: of those, which were
    silent, and did not refuse us; where another is MASTER, it hears no advert of them."""
    first, *others = missing
    what, next_step = split(missing[first])
    if first in down and masters:
        what = f"{what.rstrip('.')}, and {masters[0]} hears no VRRP advert of it"
        next_step = pair.bring_back(first)
    serving = [one.host for one in rows if one.host in masters and one.haproxy in pair.RUNNING]
    served = "Whether anyone serves is unknown"
    if masters:
        served = f"{masters[0]} serves" if serving else f"{masters[0]} is MASTER, and its HAProxy is dead"
    for one in rows:
        if one.host in serving and one.servers is None and (fault := at_fault(one)):
            served, next_step = f"{one.host} is MASTER. {fault[0]}", f"{fault[1]}; {next_step}"
    more = f" {', '.join(others)} could not be read either." if others else ""
    return Status(f"{what.rstrip('.')}.{more} {served}.", False, next_step, tuple(rows))


# Told for a while after they are over; what they are about is judged by what is seen.
PASSING = ("haproxy", "keepalived", "split-brain")


def judge(
    rows: Sequence[Row],
    missing: dict[str, str],
    doubt: errors.LbkitError | None,
    down: Collection[str] = (),
    troubles: Sequence[sync.Trouble] = (),
) -> Status:
    """The verdict: what hurts clients first, then what would hurt them at the next fault. Pure.

    missing: host → why it did not answer. down: of those, which were silent. doubt: why it cannot be told who
    holds the address. troubles: of the sync.
    """
    masters = [one.host for one in rows if one.vrrp == "MASTER"]
    holders = [one.host for one in rows if one.holds]

    views = {one.host: behind.HostView(overview.views(one.overview), one.held) for one in answered(rows)}
    differences = tuple(behind.differences(views))

    def status(verdict: str, next_step: str, whole: bool = False, things: Sequence[Thing] = ()) -> Status:
        return Status(verdict, whole, next_step, tuple(rows), differences, things=tuple(things))

    for one in rows:
        if one.broken:  # whatever else is wrong comes of it
            return status(f"{one.host}: {one.broken}.", "wait, then inv status")
    if len(masters) > 1:
        return status(
            f"Split brain: {' and '.join(masters)} are both MASTER.",
            "inv vrrp, which says what drops their adverts",
        )
    for one in rows:
        if one.left:
            said = pair.left_text(one.host, one.vrrp)
            return status(f"{said[0].upper()}{said[1:]}.", f"on {one.host}: {one.left}")
    if missing:
        return unread(rows, missing, masters, down)
    if nobody := nobody_serves(rows):
        return status(*nobody)
    if doubt:
        what, next_step = split(str(doubt))
        return status(what, next_step)
    if not masters:
        hung = [one for one in rows if hangs(one)]
        said = "".join(f" {hang_text(one)}." for one in hung)
        look = "; ".join([*(restart(one) for one in hung), "inv setup, then inv verify"])
        return status(f"Nobody is MASTER: clients get no answer.{said}", look)
    out = [one for one in rows if one.maintenance]
    if out and holders == masters and all(works(one) for one in rows if one.holds):
        alone = " alone" if len(rows) - len(out) < 2 else ""
        said = f"{out[0].host} is {out[0].maintenance}. {masters[0]} serves"
        said += f"{alone if not out[0].holds else ' all the same'}."
        off = f"inv maintenance off --host {out[0].host}"
        found = in_maintenance(rows, differences, troubles)
        if not found:
            return status(said, off)
        verdict, next_step = told(found)
        return status(f"{said} But {verdict}", f"{next_step}; {off}", things=found)
    if holders != masters:
        return status(
            f"{masters[0]} is MASTER, but the address is on {', '.join(holders) or 'nobody'}.", "inv verify"
        )
    hinders = list(hindrances(rows))
    found = [*hinders, *flaws(rows, differences, troubles)]
    if hinders:
        return status(*told(found), things=found)
    standby = ", ".join(one.host for one in rows if not one.holds)
    verdict = f"The pair is whole: {masters[0]} serves, {standby} stands by."
    if found:
        what, next_step = told(found)
        return status(f"{verdict} But {what}", next_step, whole=True, things=found)
    held = {name: entry for one in rows for name, entry in one.held.items()}
    notes = "".join(f" {behind.held_text(name, entry)}." for name, entry in sorted(held.items()))
    return status(
        verdict + notes, f"inv backend.ready {next(iter(held))} ends it" if held else "", whole=True
    )


def told(things: Sequence[Thing]) -> Thing:
    """Verdict and next step of several things, the gravest first; those that are left out are counted."""
    first, rest = things[:TOLD], things[TOLD:]
    said = " Also: ".join(f"{what}." for what, _ in first)
    steps = list(dict.fromkeys(next_step for _, next_step in first))
    if rest:
        said += f" And {len(rest)} more thing{'s' if len(rest) > 1 else ''}."
        steps.append("inv verify")
    return said, "; then ".join(steps)


def by_charge(rows: Sequence[Row]) -> list[Row]:
    """The holder first: what is wrong there hurts now."""
    return sorted(rows, key=lambda one: not one.holds)


def hindrances(rows: Sequence[Row]) -> Iterator[Thing]:
    """What keeps a pair with one MASTER and holder from being whole: what hurts now before what would at a
    failover."""
    for one in by_charge(rows):
        yield from of_host(one)
        if one.holds and one.servers and fewer(one):
            look = "inv verify, which names the others and why"
            able = [other.host for other in rows if works(other) and other.vrrp == "BACKUP"]
            if sees_none(one) and able and not any(other.maintenance for other in rows):
                look = f"inv switchover --to {able[0]}, which sees some; then {look}"
            yield f"{one.servers[0]} of {one.servers[1]} servers are up{none_of(one)}", look
    for one in rows:
        if not one.holds and one.servers and sees_none(one) and not blind(rows):
            what = f"{one.host} could not take over: it sees 0 of {one.servers[1]} servers up"
            yield what, "inv backend, which says why; inv setup, if their ports are others there"
    for one in rows:
        for name, text in one.troubles:
            if name not in PASSING:
                yield f"{one.host}: {text}", f"on {one.host}: journalctl -u lbkit-agent -n 50"


def blind(rows: Sequence[Row]) -> bool:
    """The holder sees no server, which is told: whether the standby would is the same fault."""
    return any(one.holds and sees_none(one) for one in rows)


def none_of(one: Row) -> str:
    """The backends that have no server left while others have."""
    if not one.without or sees_none(one):
        return ""
    return f", and none of {' and '.join(one.without)}: its clients get 503"


def of_host(one: Row) -> Iterator[Thing]:
    """The same of what should run there: what comes of another fault is not told beside it."""
    if fault := at_fault(one):
        yield fault
    if one.agent in STOPPED:
        yield f"lbkit-agent is {one.agent} on {one.host}: nothing watches HAProxy there", "inv setup"


def at_fault(one: Row) -> Thing | None:
    for unit, state in (("haproxy", one.haproxy), ("keepalived", one.keepalived)):
        if state not in pair.RUNNING:
            what = f"{unit} is {state} on {one.host}, {side(one)}"
            if unit == "haproxy" and (why := cause(one)):
                return (
                    f"{what}. {why}",
                    "inv plan, then inv setup, which puts back the inventory's haproxy.cfg",
                )
            return what, f"on {one.host}: journalctl -u {unit} -n 50; then inv setup"
    if hangs(one):
        return hang_text(one), restart(one)
    if one.servers is None:
        look = f"on {one.host}: systemctl status haproxy; if it runs: {REVIVED}"
        return f"HAProxy on {one.host} does not answer on its socket", look
    if one.vrrp == "FAULT" and one.maintenance:
        return f"{one.host} is {one.maintenance}", f"inv maintenance off --host {one.host}"
    if one.vrrp == "FAULT":
        why = dict(one.troubles).get("haproxy", "")
        what = f"{one.host}, {side(one)}, is in FAULT: it cannot take over{f'. {why}' if why else ''}"
        return what, f"on {one.host}: journalctl -u keepalived -n 50"
    return None


def side(one: Row) -> str:
    return "the holder" if one.holds or one.vrrp == "MASTER" else "the standby"


HANGS = "HAProxy hangs"  # the agent's words
REVIVED = "sudo systemctl kill -s KILL haproxy"  # systemd starts it anew; a restart waits for it up to 90 s


def hangs(one: Row) -> bool:
    """By its agent's words, which stay those with which the trouble began; and it still does not answer."""
    said = dict(one.troubles).get("haproxy", "")
    return one.servers is None and (said.startswith(HANGS) or "(silent)" in said)


def hang_text(one: Row) -> str:
    said = dict(one.troubles)["haproxy"]
    why = said.removeprefix(HANGS) if said.startswith(HANGS) else ": it gives no answer"
    return f"{HANGS} on {one.host}, {side(one)}{why}"


def restart(one: Row) -> str:
    return f"on {one.host}: {REVIVED}"


def flaws(
    rows: Sequence[Row], differences: Sequence[Thing], troubles: Sequence[sync.Trouble]
) -> Iterator[Thing]:
    """What is wrong with a pair, and keeps nobody from a switchover."""
    rows = by_charge(rows)
    conflicts = any(one.is_conflict for one in troubles)  # told there, with how they are settled
    alarms = [(row.host, *one) for row in rows for one in alarmed(row)]
    alarms = [one for one in alarms if not (conflicts and of_conflict(one[1]))]
    yield from ((f"on {host}: {text}", step) for host, text, step in alarms if of_broken_cfg(text))
    yield from of_sync(rows, troubles)
    yield from ((f"on {host}: {text}", step) for host, text, step in alarms if not of_broken_cfg(text))
    yield from differences
    holder = next((one.servers for one in rows if one.holds), None)
    for one in rows:
        if not one.holds and one.servers and fewer(one) and not sees_none(one) and one.servers != holder:
            seen = f"{one.host} sees {one.servers[0]} of {one.servers[1]} servers up{none_of(one)}"
            yield seen, "inv backend, which says why"


def alarmed(one: Row) -> Iterator[Thing]:
    """Its alarms, but for what is told already as the cause of a dead HAProxy."""
    known = "" if one.haproxy in pair.RUNNING else cause(one)
    for text, next_step in one.alarms:
        if text != known:
            yield text, next_step


def of_sync(rows: Sequence[Row], troubles: Sequence[sync.Trouble]) -> Iterator[Thing]:
    """What its service says of itself; one that is stopped says nothing, which is told once."""
    for one in rows:
        if one.sync in STOPPED:
            yield f"lbkit-sync is {one.sync} on {one.host}", "inv setup"
    stopped = any(one.sync in STOPPED for one in rows)
    alarms = [text for one in rows for text, _ in one.alarms]
    for trouble in troubles:
        if (trouble.host or not stopped) and not any(trouble.what in text for text in alarms):
            where = f"{trouble.host}: " if trouble.host else ""
            yield f"the sync: {where}{trouble.what}", trouble.next_step


def in_maintenance(
    rows: Sequence[Row], differences: Sequence[Thing], troubles: Sequence[sync.Trouble]
) -> list[Thing]:
    """What is wrong beside that a host is kept out. Its servers and its keepalived are not asked for."""
    serving = [one for one in rows if not one.maintenance]
    return [*hindrances(serving), *flaws(rows, differences, troubles)]
