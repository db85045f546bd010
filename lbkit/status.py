"""What stands now, on one screen: the verdict first, then each host. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lbkit import errors, observe, overview, pair, remote, sync
from lbkit import servers as behind
from lbkit.hand.locking import OF_PROGRAMS
from lbkit.inventory import Cluster, Host
from lbkit.verdict import Row, Status, judge

CONNECT_S, BANNER_S = 1.5, 2.0  # a host that is down, or hangs, is known to by then
ARRIVES_S = 0.5  # what was saved just now is on its way to the others; most of it takes no longer


def read(cluster: Cluster) -> Status:
    """The pair as it is now, in figures too; a host that does not answer is a row of its own."""
    hosts = [hurried(host) for host in cluster.hosts]
    with observe.hurried(cluster), remote.sessions(hosts, lambda: observe.prepare(cluster)) as opened:
        found = of(cluster, opened, figures=True)
    failover = overview.last_failover({r.host: r.overview for r in found.rows})
    return replace(with_work(found), failover=failover)


def hurried(host: Host) -> Host:
    """The same, not waited for longer than somebody on call has time."""
    connect_s, banner_s = min(host.connect_timeout_s, CONNECT_S), min(host.banner_timeout_s, BANNER_S)
    return host.replace(connect_timeout_s=connect_s, banner_timeout_s=banner_s)


def with_work(found: Status) -> Status:
    """Where somebody changes the pair just now that is told first: half done, it looks like a fault. Pure."""
    at_work = next((row.at_work for row in found.rows if row.at_work), "")
    if not at_work or any(row.broken for row in found.rows):  # a failover test tells of itself
        return found
    said = replace(found, verdict=f"At work: {at_work}. {found.verdict}")
    return said if found.whole else replace(said, next_step="wait until it has ended, then inv status")


def of(cluster: Cluster, opened: dict[str, Any], figures: bool = False) -> Status:
    """The same over sessions that are open already. figures: with the rows' overviews."""
    picture = observe.by_own_word(observe.read(cluster, (), opened), opened)
    answered = {node.host.name: node for node in picture.nodes}

    missing = dict(picture.missing)
    syncing: dict[str, Any] = {}

    def look(host: Host | None) -> Any:
        if host is None:
            return holder(picture)
        if host.name in answered:
            try:
                seen = overview.read(cluster, host, opened[host.name]) if figures else None
                if figures:
                    syncing[host.name] = (seen and seen.syncing) or silent(host)
                return row(answered[host.name], opened[host.name], seen)
            except errors.Unreachable as error:  # it went away meanwhile
                missing[host.name] = str(error)
        return Row(host.name, host.role, "UNKNOWN", None, "unknown", "unknown", None)

    hosts = [host for host in cluster.hosts if host.name in opened]
    *rows, held_by = remote.in_parallel(look, [*hosts, None])
    down = {name for name, text in missing.items() if is_down(opened[name], text)}
    if isinstance(held_by, errors.Undecided):
        return judge(rows, missing, held_by, down)
    known = [one if one.host in missing else replace(one, holds=one.host == held_by) for one in rows]
    if missing or not syncing:
        return judge(known, missing, None, down)
    synced = sync.settled(opened, ARRIVES_S, sync.judge(syncing))
    return judge(known, missing, None, down, synced.troubles)


def silent(host: Host) -> errors.CommandFailed:
    return errors.CommandFailed(f"{host.name}: its sync does not answer\nNext: inv sync.status")


def is_down(session: Any, why: str) -> bool:
    """Nothing answered at its address, and nobody knows more of it than that (AWS may)."""
    return bool(getattr(session, "down", False)) and why == str(session)


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
    servers = overview.views(figures) if figures else views(session)
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
        count(servers, held),
        stance(said) if said else runs or "unknown",
        tuple(said["troubles"].items()) if said else (),
        pair.maintenance(node),
        pair.broken(node),
        pair.alarms(node),
        held,
        figures,
        sync=units.get("lbkit-sync.service") or "unknown",
        at_work=at_work(node.seen.facts.get("lock")),
        without=bare(servers, held),
        left=pair.left(node),
    )


def at_work(lock: dict[str, Any] | None) -> str:
    """What a program of the host's own does under the lock, the sync for a moment, is not told."""
    if not lock or OF_PROGRAMS in lock["who"]:
        return ""
    return f"{lock['command']} by {lock['who']} since {lock['since']}"


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
    up = [behind.is_up(one.status) for one in wanted(found, held).values()]
    return sum(up), len(up)


def wanted(found: Mapping[str, behind.View], held: behind.Record) -> dict[str, behind.View]:
    """Those that nobody holds out of service."""
    out = {name for name, entry in held.items() if entry["state"] != behind.READY}
    return {name: one for name, one in found.items() if name not in out}


def bare(found: Mapping[str, behind.View] | None, held: behind.Record) -> tuple[str, ...]:
    """Backends of which no server is up, of those that somebody wants up."""
    up: dict[str, bool] = {}
    for name, one in wanted(found or {}, held).items():
        backend = name.partition("/")[0]
        up[backend] = up.get(backend, False) or behind.is_up(one.status)
    return tuple(backend for backend, some in up.items() if not some)
