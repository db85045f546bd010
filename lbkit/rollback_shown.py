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
    """What somebody else changed since; what the last change replaced, with the command that puts it back;
    the changes before it; the files. zone: of the times."""
    changes = [one for one in kept.changes(versions) if not one.undone]
    lines = edited(versions)
    if not changes:
        return [*lines, *wrapped("", "Nothing was replaced yet, so nothing is kept.")]
    last = changes[0]
    when, by = moment(last.at, zone), author(last.who, last.command)
    lines += wrapped("", f"The last change, {when} {zone}, by {by}, replaced:")
    lines += report.table([("version", "lines", "host", "file"), *replaced(last)], "  ")
    lines += way_back(last, kept.by_hand(versions))
    if len(changes) > 1:
        rows = [
            (one.name, moment(one.at, zone), str(len(one.versions)), author(one.who, one.command))
            for one in changes[1:CHANGES_MOST]
        ]
        lines += ["", "Before it:", *report.table([("change", "when", "files", "by"), *rows], "  ")]
    lines += ["", "Kept of:", *report.table([("versions", "file"), *files(versions)], "  ")]
    return [*lines, "  Next: inv rollback --path FILE"]


def edited(versions: Sequence[Version]) -> list[str]:
    """What was changed on a host since, and not by lbkit: no rollback of an older change is called for."""
    hosts: dict[str, list[str]] = {}
    for one in kept.edited(versions):
        hosts.setdefault(one.path, []).append(one.host)
    lines = []
    for path, found in hosts.items():
        said = f"{path} on {' and '.join(found)} was changed since, and not by lbkit (by hand, then)."
        lines += wrapped("", said)
    if lines:
        lines += [*wrapped("  ", "Next: inv plan, which shows the difference; inv setup undoes it"), ""]
    return lines


def way_back(change: Change, theirs: set[tuple[str, str, int]]) -> list[str]:
    """The command that puts it back; where that is not what is wanted, why. theirs: (host, path, number) of
    what somebody had put there by hand."""
    files = [one for one in change.versions if one.exists and not one.certificate]
    certificates = {one.path for one in change.versions if one.exists and one.certificate}
    if files and all(one.original for one in change.versions):
        said = "That was the first set-up of these files: with what stood there before, no pair serves."
        return wrapped("  ", said)
    if not files and certificates:
        return [f"  Next: inv rollback --path {min(certificates)}"]
    if not files:
        return wrapped("  ", "All of that was new, and stays.")
    command = f"inv rollback --change {change.name}"
    if change.command.startswith("inv rollback"):
        said = f"That was a rollback itself, so `{command}` would bring back what it took away."
        return [*wrapped("  ", said), "  Next: inv plan, which shows what the inventory says otherwise"]
    if all((one.host, one.path, one.number) in theirs for one in files):
        return wrapped("  ", f"That undid somebody's edit by hand; `{command}` would bring it back.")
    said = "It shows what it will put back and asks first; --plan only shows it."
    return [f"  Next: {command}", *wrapped("  ", said)]


def replaced(change: Change) -> list[tuple[str, ...]]:
    """A row for each file, whichever hosts had this version of it; lbkit's own modules in one."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    ours = [one for one in change.versions if one.path in library.paths()]
    for one in change.versions:
        if one not in ours:
            rows.setdefault((one.path, count(one), name(one)), []).append(one.host)
    found: list[tuple[str, ...]]
    found = [(version, lines, ", ".join(hosts), path) for (path, lines, version), hosts in rows.items()]
    if ours:
        hosts = ", ".join(dict.fromkeys(one.host for one in ours))
        number = len({one.path for one in ours})
        many = "1 file" if number == 1 else f"{number} files"
        found.append(("", "", hosts, f"{library.ROOT}/ ({many})"))
    return found


def files(versions: Sequence[Version]) -> list[tuple[str, str]]:
    """(how many versions, path) of each; lbkit's own modules in one row."""
    found: dict[str, set[tuple[str, float]]] = {}
    for one in versions:
        path = f"{library.ROOT}/*.py" if one.path in library.paths() else one.path
        found.setdefault(path, set()).add((one.name, one.original))
    return [(str(len(names)), path) for path, names in sorted(found.items())]


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
    lines = [*edited(mine), f"{path}, times of {zone}:"]
    lines += report.table([heads, *table], "  ")
    for host, _, number in sorted(kept.by_hand(mine)):
        theirs = next(one for one in mine if (one.host, one.number) == (host, number))
        lines += wrapped("  ", f"{name(theirs)} was put there on {host} by somebody, and not by lbkit.")
    return [
        *lines,
        *wrapped("  ", "The newest need not be a good one: see who had replaced it, and why."),
        f"  Next: inv rollback --path {path} --to VERSION",
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
            "undone": one.undone,
            "files": [{"host": v.host, "path": v.path, "version": v.name} for v in one.versions],
        }
        for one in kept.changes(versions)
    ]
    now = [{"host": one.host, "path": one.path} for one in kept.edited(versions)]
    return {
        "edited": now,
        "changes": changes,
        "versions": [row(one) for one in versions],
        "not_read": dict(missing),
    }


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
