"""What `inv rollback` shows: what is kept, and what would be put back. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from lbkit import errors, kept, plan_shown, report
from lbkit.kept import ORIGINAL, Change, Version
from lbkit.rollback import Done, Prepared
from lbkit.steps import library
from lbkit.terminal import wrapped

CHANGES_MOST = 10


def board(versions: Sequence[Version], zone: str) -> list[str]:
    """What the last change replaced, with the command that puts it back; the changes before it; the files.
    zone: of the times."""
    changes = kept.changes(versions)
    if not changes:
        return wrapped("", "Nothing was replaced yet, so nothing is kept.")
    last = changes[0]
    when, by = moment(last.at, zone), author(last.who, last.command)
    heads = ("file", "host", "lines", "version")
    lines = wrapped("", f"The last change, {when} {zone}, by {by}, replaced:")
    lines += [f"  {line}" for line in report.columns([heads, *replaced(last)])]
    certificates = {one.path for one in last.versions if one.certificate}
    one_by_one = {one.path for one in last.versions} == certificates
    how = f"--path {min(certificates)}" if one_by_one else f"--change {last.name}"
    lines += [f"  Next: inv rollback {how}"]
    lines += wrapped("  ", "It shows what it will put back and asks first; --plan only shows it.")
    if len(changes) > 1:
        rows = [
            (one.name, moment(one.at, zone), str(len(one.versions)), author(one.who, one.command))
            for one in changes[1:CHANGES_MOST]
        ]
        lines += ["", "Before it:"]
        lines += [f"  {line}" for line in report.columns([("change", "when", "files", "by"), *rows])]
    lines += ["", "Kept of:"]
    lines += [f"  {line}" for line in report.columns([("file", "versions"), *files(versions)])]
    return [*lines, "  Next: inv rollback --path FILE"]


def replaced(change: Change) -> list[tuple[str, ...]]:
    """A row for each file, whichever hosts had this version of it; lbkit's own modules in one."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    ours = [one for one in change.versions if one.path in library.paths()]
    for one in change.versions:
        if one not in ours:
            rows.setdefault((one.path, count(one), name(one)), []).append(one.host)
    found: list[tuple[str, ...]]
    found = [(path, ", ".join(hosts), lines, version) for (path, lines, version), hosts in rows.items()]
    if ours:
        hosts = ", ".join(dict.fromkeys(one.host for one in ours))
        found.append((f"{library.ROOT}/ ({len({one.path for one in ours})} files)", hosts, "", ""))
    return found


def files(versions: Sequence[Version]) -> list[tuple[str, str]]:
    """(path, how many versions) of each; lbkit's own modules in one row."""
    found: dict[str, set[tuple[str, float]]] = {}
    for one in versions:
        path = f"{library.ROOT}/*.py" if one.path in library.paths() else one.path
        found.setdefault(path, set()).add((one.name, one.original))
    return [(path, str(len(names))) for path, names in sorted(found.items())]


def of_path(versions: Sequence[Version], path: str, zone: str) -> list[str]:
    """The versions of one file, the newest first; what stood on several hosts until one change, once. Raises
    Refused where nothing is kept of it."""
    mine = [one for one in versions if one.path == path]
    if not mine:
        raise errors.Refused(f"Nothing is kept of {path}.\nNext: inv rollback, which lists the files")
    rows: dict[tuple[str, str], list[Version]] = {}
    for one in sorted(mine, key=lambda one: (one.at, one.number), reverse=True):
        rows.setdefault((name(one), one.change), []).append(one)
    table = [
        (
            version,
            moment(found[0].at, zone),
            count(found[0]),
            ", ".join(sorted(one.host for one in found)),
            author(found[0].who, found[0].command),
        )
        for (version, _), found in rows.items()
    ]
    heads = ("version", "until", "lines", "host", "replaced by")
    lines = [f"{path}, times of {zone}:"]
    lines += [f"  {line}" for line in report.columns([heads, *table])]
    for host, _, number in sorted(kept.by_hand(mine)):
        edited = next(one for one in mine if (one.host, one.number) == (host, number))
        lines += wrapped("  ", f"{name(edited)} was put there on {host} by somebody, and not by lbkit.")
    example = next((row[0] for row in table if row[0] != kept.ABSENT), ORIGINAL)
    return [
        *lines,
        f"  Next: inv rollback --path {path} --to {example}",
        *wrapped("  ", "It shows the difference and asks first; --plan only shows it."),
    ]


def name(version: Version) -> str:
    """What is given after --to."""
    if not version.exists:
        return kept.ABSENT
    return ORIGINAL if version.original else version.name


def count(version: Version) -> str:
    """The lines that the change added and removed."""
    return f"+{version.added} -{version.removed}"


def author(who: str, command: str) -> str:
    who = who.replace(" on this host", "")
    return f"{who} ({command})" if command else who


def moment(at: float, zone: str) -> str:
    return f"{datetime.fromtimestamp(at, ZoneInfo(zone)):%Y-%m-%d %H:%M:%S}"


def as_json(versions: Sequence[Version], missing: Mapping[str, str], zone: str) -> dict[str, Any]:
    hand = kept.by_hand(versions)

    def row(one: Version) -> dict[str, Any]:
        when = datetime.fromtimestamp(one.at, ZoneInfo(zone)).isoformat(timespec="seconds")
        edited = (one.host, one.path, one.number) in hand
        return {
            **dataclasses.asdict(one),
            "name": one.name,
            "change": one.change,
            "until": when,
            "by_hand": edited,
        }

    changes = [
        {
            "name": one.name,
            "who": one.who,
            "command": one.command,
            "at": one.at,
            "files": [{"host": v.host, "path": v.path, "version": v.name} for v in one.versions],
        }
        for one in kept.changes(versions)
    ]
    return {"changes": changes, "versions": [row(one) for one in versions], "not_read": dict(missing)}


# ── putting back ─────────────────────────────────────────────────────────────────────────────────────────


def plan(prepared: Prepared) -> list[str]:
    """What would be done on each host, with the differences, and what that does to the address."""
    lines: list[str] = []
    nodes = [node for node in prepared.picture.in_scope(prepared.names) if node.changes]
    for node in nodes:
        lines += [
            "",
            f"{node.host.name} ({node.host.role}, {node.vrrp})",
            *plan_shown.change_lines(node.changes),
        ]
    lines += [""] + [line for why in left(prepared) for line in wrapped("  ", f"{why}.")]
    lines += [line for sentence in prepared.effects for line in wrapped("  ", sentence)]
    return [line for number, line in enumerate(lines) if line or number]


def plan_json(prepared: Prepared) -> dict[str, Any]:
    nodes = prepared.picture.in_scope(prepared.names)
    hosts = {node.host.name: [plan_shown.change_json(one) for one in node.changes] for node in nodes}
    return {"hosts": hosts, "effects": list(prepared.effects), "left": left(prepared)}


def left(prepared: Prepared) -> list[str]:
    return list(dict.fromkeys(why for _, why in prepared.left))


def done(result: Done, seconds: float) -> list[str]:
    if not result.changed:
        return wrapped("", "That stands there already: nothing to do.")
    made: dict[str, int] = {}
    for host, _ in result.changed:
        made[host] = made.get(host, 0) + 1
    said = ", ".join(f"{number} on {host}" for host, number in made.items())
    lines = wrapped("", f"Done: {said} ({seconds:.1f} s).")
    lines += [line for why in left(result.prepared) for line in wrapped("  ", f"{why}.")]
    said = "What the inventory says otherwise is drift in `inv plan`, and `inv setup` undoes it: mend it too."
    return [*lines, *wrapped("  ", said), "  Next: inv plan"]


def certificate(path: str, verdict: Mapping[str, Any]) -> list[str]:
    """verdict: as of `pem.inspect`."""
    names, ends = ", ".join(verdict["names"]), str(verdict["not_after"])[:10]
    said = f"{path} would be the certificate for {names}, which ends on {ends}"
    return wrapped("", f"{said} (sha256 {str(verdict['fingerprint'])[:16]} …).")
