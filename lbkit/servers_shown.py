"""The servers as an operator reads them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lbkit import report
from lbkit.check import split
from lbkit.servers import (
    DRAIN,
    MAINT,
    READY,
    Done,
    HostView,
    View,
    command,
    differences,
    held_text,
    sessions_open,
)
from lbkit.terminal import wrapped


def board(hosts: Mapping[str, HostView], missing: Mapping[str, str]) -> list[str]:
    """What is not as it should be, then a table: each server as each host sees it, then what is held."""
    lines = []
    for what, next_step in differences(hosts):
        lines += [*wrapped("", f"{what}."), *wrapped("  ", f"Next: {next_step}")]
    for why in missing.values():
        what, next_step = split(why)
        lines += [*wrapped("", what), *wrapped("  ", f"Next: {next_step}")]
    for host, one in hosts.items():
        if one.views is None:
            lines += wrapped("", f"HAProxy on {host} does not answer.")
            lines += wrapped("  ", f"Next: on {host}: systemctl status haproxy")
    lines += [""] if lines else []
    lines += table(hosts)
    held = {name: entry for one in hosts.values() for name, entry in one.held.items()}
    for name, entry in sorted(held.items()):
        lines += ["", *wrapped("", f"Held: {held_text(name, entry)}.")]
        lines += wrapped("  ", f"Next: inv backend.ready {name} ends it")
    return lines


def table(hosts: Mapping[str, HostView]) -> list[str]:
    rows: list[tuple[str, ...]] = [("server", "host", "state", "for", "sessions", "weight", "last check")]
    for name in sorted({name for one in hosts.values() for name in one.views or {}}):
        for host, one in hosts.items():
            if one.views and name in one.views:
                rows.append((name, host, *cells(one.views[name])))
    return [f"  {line}" for line in report.columns(rows)] if len(rows) > 1 else []


def cells(view: View) -> tuple[str, ...]:
    sessions, weight = str(view.sessions), str(view.weight)
    return view.status, lasting(view.since_s), sessions, weight, view.said or "no check"


def lasting(seconds: float) -> str:
    """`45s`, `12m`, `3h`, `5d`: the largest unit that fits."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"


def done(found: Done) -> list[str]:
    """What is so now, where, and what is left to do."""
    where = " and ".join(found.hosts)
    if not found.hosts:
        lines = []
    elif found.state == READY and found.weight is None and not found.was_held:
        lines = wrapped("", f"{found.server} was not held on {where}: there was nothing to do.")
    elif found.state == READY and found.weight is None:
        lines = wrapped("", f"{found.server} is ready on {where}, with its configured weight.")
    elif found.weight is not None:
        lines = wrapped("", f"{found.server} has weight {found.weight} on {where}.")
    else:
        meaning = {DRAIN: "no new client comes to it", MAINT: "nothing goes to it, and nobody checks it"}
        lines = wrapped("", f"{found.server} is in {found.state} on {where}: {meaning[found.state]}.")
        lines += sessions(found)
    if found.not_running:
        lines += wrapped(
            "", f"HAProxy does not run on {', '.join(found.not_running)}: it does so when it starts."
        )
    if found.fleeting:
        lines += wrapped("", f"haproxy.cfg on {', '.join(found.fleeting)} does not keep it over a reload.")
        lines += wrapped("  ", "Next: inv setup, whose configuration does")
    entry = {"state": found.state, "weight": found.weight}
    for host, why in found.missing.items():
        what, next_step = split(why)
        again = command(found.server, entry) if found.state != READY or found.weight is not None else ""
        again = again or f"inv backend.ready {found.server}"
        lines += wrapped("", f"Not done on {host}: {what.removeprefix(f'{host}: ')}")
        if "again" not in next_step:
            next_step = f"{next_step + '; then ' if next_step else ''}{again} once more"
        lines += wrapped("  ", f"Next: {next_step}")
    if found.hosts and not (found.state == READY and found.weight is None):
        lines += wrapped("  ", f"Next: inv backend.ready {found.server} ends it; nothing else does")
    return lines


def sessions(found: Done) -> list[str]:
    if found.sessions is None:
        return []
    if found.sessions == 0:
        return [f"No session is open (after {found.waited_s:g} s)."]
    return wrapped("", f"{sessions_open(found.sessions, ' still')} after {found.waited_s:g} s.") + wrapped(
        "  ", f"Next: inv backend.{found.state} {found.server} --timeout 600 waits on"
    )


def as_json(hosts: Mapping[str, HostView], missing: Mapping[str, str]) -> Any:
    import dataclasses

    return {
        "differences": [{"what": what, "next_step": next_step} for what, next_step in differences(hosts)],
        "hosts": {
            host: {
                "held": dict(one.held),
                "servers": None
                if one.views is None
                else {name: dataclasses.asdict(view) for name, view in one.views.items()},
            }
            for host, one in hosts.items()
        },
        "not_read": dict(missing),
    }
