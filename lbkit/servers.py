"""The servers behind the pair: what each host says of them, and taking one out of service on all hosts.

What is wanted is recorded on each host and done there by HAProxy's Runtime API (how it lasts:
lbkit/hand/servers.py). It ends with `ready` alone.
"""

from __future__ import annotations

import csv
import io
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lbkit import errors, remote
from lbkit.inventory import Cluster
from lbkit.since import stamp

Tell = Callable[[str, str], None]
Record = Mapping[str, Mapping[str, Any]]  # `backend/server` → {state, weight, who, since, reason}

POLL_S = 0.5
DRAIN, MAINT, READY = "drain", "maint", "ready"
_FLAGS = {MAINT: 1, DRAIN: 8}


@dataclass(frozen=True)
class View:
    """One server as HAProxy on one host sees it.

    state: ready, drain or maint, as it was told; status: HAProxy's own word (UP, DOWN, DRAIN, …). since_s:
    for how long. said: the last check's result. sessions: open now. weight: in force.
    """

    state: str
    status: str
    since_s: int
    said: str
    sessions: int
    weight: int
    address: str

    @property
    def takes_requests(self) -> bool:
        return self.state == READY and self.weight > 0 and is_up(self.status)


@dataclass(frozen=True)
class HostView:
    """views: by `backend/server`, None where HAProxy does not answer. held: what is recorded there."""

    views: Mapping[str, View] | None
    held: Record


def is_up(status: str) -> bool:
    return status.startswith("UP") or status == "no check"


def host_view(answer: Mapping[str, Any]) -> HostView:
    """Of the hand's answer to `servers`. Pure."""
    if answer["stat"] is None or answer["state"] is None:
        return HostView(None, answer["record"])
    admin = {
        f"{r['be_name']}/{r['srv_name']}": int(r["srv_admin_state"]) for r in state_rows(answer["state"])
    }
    views = {}
    for row in csv.DictReader(io.StringIO(answer["stat"].removeprefix("# "))):
        name = f"{row['pxname']}/{row['svname']}"
        if not row["pxname"].startswith("lbkit-"):
            views[name] = view(row, admin.get(name, 0))
    return HostView(views, answer["record"])


def state_rows(text: str) -> list[dict[str, str]]:
    """Rows of HAProxy's `show servers state`."""
    lines = [line for line in text.splitlines()[1:] if line.strip()]
    fields = lines[0].lstrip("# ").split() if lines else []
    return [dict(zip(fields, line.split(), strict=False)) for line in lines[1:]]


def view(row: Mapping[str, str], admin: int) -> View:
    state = next((name for name, flag in _FLAGS.items() if admin & flag), READY)
    checked = " ".join(filter(None, (row.get("check_status"), row.get("last_chk"))))
    return View(
        state,
        row["status"],
        int(row.get("lastchg") or 0),
        checked,
        int(row["scur"]),
        int(row["weight"] or 0),
        row.get("addr") or "",
    )


def held_text(name: str, entry: Mapping[str, Any]) -> str:
    """`apps/app-1 is in drain since … by …: reason`."""
    what = [f"is in {entry['state']}"] if entry["state"] != READY else []
    what += [f"has weight {entry['weight']}"] if entry["weight"] is not None else []
    reason = f": {entry['reason']}" if entry["reason"] else ""
    return f"{name} {' and '.join(what)} since {entry['since']} by {entry['who']}{reason}"


def command(name: str, entry: Mapping[str, Any]) -> str:
    """What an operator types to have the entry on every host."""
    if entry["state"] != READY:
        return f"inv backend.{entry['state']} {name}"
    return f"inv backend.weight {name} --to {entry['weight']}"


def differences(hosts: Mapping[str, HostView]) -> list[tuple[str, str]]:
    """(what is not the same everywhere, or not as recorded; what to do). Pure."""
    found = []
    for name in sorted({name for host in hosts.values() for name in host.held}):
        entries = {host: one.held.get(name) for host, one in hosts.items()}
        entry = next(one for one in entries.values() if one)
        lacking = [host for host, one in entries.items() if wanted(one) != wanted(entry)]
        if lacking:
            text = f"{held_text(name, entry)}, but not on {', '.join(lacking)}"
            found.append((text, f"{command(name, entry)}, or inv backend.ready {name}"))
            continue
        for host, one in hosts.items():
            if one.views is None:
                continue
            seen = one.views.get(name)
            if seen is None:
                found.append((f"{name} is held, and configured no more", f"inv backend.ready {name}"))
                break
            if seen.state != entry["state"]:
                text = f"{held_text(name, entry)}, but {host}'s HAProxy has it {seen.state}"
                found.append((text, f"{command(name, entry)}, or inv backend.ready {name}"))
    for host, one in hosts.items():
        for name, seen in (one.views or {}).items():
            if seen.state != READY and name not in one.held:
                text = f"{name} is in {seen.state} on {host} by other means, until HAProxy reloads"
                found.append(
                    (text, f"inv backend.{seen.state} {name} to keep it, or inv backend.ready {name}")
                )
    return found


def wanted(entry: Mapping[str, Any] | None) -> tuple[Any, Any] | None:
    return (entry["state"], entry["weight"]) if entry else None


def resolve(cluster: Cluster, name: str | None, also: Sequence[str] = ()) -> str:
    """`backend/server` of what was typed. also: further ones that may be named (held, configured no more).
    Raises Refused with those there are."""
    known = [
        f"{backend.name}/{server.name}" for backend in cluster.haproxy.backends for server in backend.servers
    ]
    fits = [one for one in dict.fromkeys((*known, *also)) if name in (one, one.partition("/")[2])]
    if len(fits) == 1:
        return fits[0]
    said = f"{name} is a server of several backends" if fits else f"There is no server {name!r}"
    if name is None:
        said = "Which server?"
    raise errors.Refused(f"{said}; nothing was touched.\nNext: name one of {', '.join(fits or known)}")


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────


def read(opened: Mapping[str, Any]) -> tuple[dict[str, HostView], dict[str, str]]:
    """(what each host says, why the others do not)."""

    def ask(name: str) -> Any:
        if isinstance(opened[name], errors.LbkitError):
            return opened[name]
        try:
            return host_view(opened[name].call("servers"))
        except errors.LbkitError as error:
            return error

    answers = dict(zip(opened, remote.in_parallel(ask, list(opened)), strict=True))
    missing = {name: str(one) for name, one in answers.items() if isinstance(one, errors.LbkitError)}
    return {name: one for name, one in answers.items() if name not in missing}, missing


# ── changing ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Done:
    """hosts: where it is so now; not_running: of those, where HAProxy does so when it starts.

    fleeting: where its configuration does not ask for that, so that it lasts until the next reload only.

    missing: where it is not, with the reason. sessions: still open when the wait ended, None where nobody
    counted. was_held: something kept it out of service before, on one host or more.
    """

    server: str
    state: str
    weight: int | None
    hosts: tuple[str, ...]
    not_running: tuple[str, ...]
    fleeting: tuple[str, ...]
    missing: Mapping[str, str]
    sessions: int | None
    waited_s: float
    was_held: bool = True


@dataclass(frozen=True)
class Order:
    """What is wanted of a server. anyway: also where no other server of its backend is left."""

    state: str
    weight: int | None = None
    reason: str = ""
    anyway: bool = False
    timeout_s: float = 60


def change(cluster: Cluster, typed: str | None, order: Order, words: str, tell: Tell) -> Done:
    """The server is so on every host that answers; then its sessions are waited for. Raises an LbkitError."""
    from lbkit import converge  # and all that setup needs: not for a look

    with remote.sessions(cluster.hosts) as opened:
        views, missing = read(opened)
        name = resolve(cluster, typed, [held for one in views.values() for held in one.held])
        if not views:
            raise errors.Unreachable("\n".join(missing.values()))
        refuse_last(name, order, views)
        alive = {host: opened[host] for host in views}
        with converge.locked(alive, words):
            standing = next((v.held[name] for v in views.values() if name in v.held), None)
            entry = entry_of(order, standing, f"{converge.who()}@{socket.gethostname()}", cluster.timezone)
            done, failed = put(name, entry, alive)
    was_held = any(is_held(one, name) for one in views.values())
    for host in done if entry or was_held else ():
        tell(host, f"{name} {order.state if order.weight is None else f'weight {order.weight}'}")
    began, sessions = time.monotonic(), None
    if order.state in (DRAIN, MAINT) and done:
        sessions = wait(cluster, name, list(done), order.timeout_s, tell)
    return Done(
        name,
        order.state,
        order.weight,
        tuple(done),
        tuple(host for host, answer in done.items() if not answer["running"]),
        tuple(host for host, answer in done.items() if entry and not answer["lasts"]),
        missing | failed,
        sessions,
        round(time.monotonic() - began, 1),
        was_held,
    )


def is_held(view: HostView, name: str) -> bool:
    """By a record, or by other means as far as HAProxy tells."""
    seen = (view.views or {}).get(name)
    return name in view.held or (seen is not None and seen.state != READY)


def entry_of(
    order: Order, standing: Mapping[str, Any] | None, who: str, zone: str = "UTC"
) -> dict[str, Any] | None:
    """What is recorded, its moment in that zone; None for `ready`, which ends all. A weight leaves a state as
    it stands, and a state a weight."""
    if order.state == READY and order.weight is None:
        return None
    old = standing or {"state": READY, "weight": None}
    return {
        "state": order.state if order.weight is None else old["state"],
        "weight": old["weight"] if order.weight is None else order.weight,
        "who": who,
        "since": stamp(zone),
        "reason": order.reason,
    }


def refuse_last(name: str, order: Order, hosts: Mapping[str, HostView]) -> None:
    """The last server that takes requests stays, unless it is wanted expressly."""
    if order.anyway or (order.state == READY and order.weight != 0):
        return
    backend = name.partition("/")[0]
    for host, one in hosts.items():
        beside = [v for other, v in (one.views or {}).items() if other != name and in_backend(other, backend)]
        if one.views is not None and not any(view.takes_requests for view in beside):
            raise errors.Refused(
                f"{name} is the last server of {backend} that takes requests on {host}: without it clients "
                f"get 503; nothing was touched.\n"
                f"Next: inv backend, then make another ready; or the same again with --anyway"
            )


def in_backend(name: str, backend: str) -> bool:
    return name.startswith(f"{backend}/")


def put(
    name: str, entry: dict[str, Any] | None, alive: Mapping[str, Any]
) -> tuple[dict[str, dict[str, bool]], dict[str, str]]:
    """(host → the hand's answer, where it was done; host → why not)."""

    def one(host: str) -> Any:
        try:
            return alive[host].call("hold_server", server=name, entry=entry)
        except errors.LbkitError as error:
            return error

    answers = dict(zip(alive, remote.in_parallel(one, list(alive)), strict=True))
    failed = {host: str(answer) for host, answer in answers.items() if isinstance(answer, errors.LbkitError)}
    return {host: answer for host, answer in answers.items() if host not in failed}, failed


def sessions_open(count: int, still: str = "") -> str:
    """`1 session is open`, `2 sessions are still open`."""
    return f"{count} session{' is' if count == 1 else 's are'}{still} open"


def wait(cluster: Cluster, name: str, hosts: Sequence[str], timeout_s: float, tell: Tell) -> int | None:
    """Sessions that are left on these hosts when none is, or the time is over; without the lock."""
    deadline, told = time.monotonic() + timeout_s, None
    with remote.sessions([cluster.host(host) for host in hosts]) as opened:
        while True:
            views, _ = read(opened)
            seen = [one.views[name].sessions for one in views.values() if one.views and name in one.views]
            left = sum(seen) if seen else None
            if not left or time.monotonic() >= deadline:
                return left
            if left != told:
                tell("", f"{name}: {sessions_open(left)}")
                told = left
            time.sleep(POLL_S)
