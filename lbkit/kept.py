"""What the hosts have kept of the files that lbkit replaced there, and which of it is to be put back. All but
`read` is pure.

A version is called by the first digits of its content's digest, so it has one name on all hosts; a change is
one run of setup, the sync or a rollback, on all hosts that it changed. Both names mean the same for as long
as they are kept, so that a rollback that was cut off is finished by the same command.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lbkit import errors, remote

ORIGINAL = "original"
ABSENT = "no file"
SHORTEST = 4  # digits of a name


@dataclass(frozen=True)
class Version:
    """What stood at `path` on a host until something took its place.

    original: before lbkit came. link: where it led, of a link; sha256: of a file; a version with neither says
    that there was no file. becomes: the digest of the file that took its place. added, removed: lines by
    that. who, command, since: of the run that did it, as in its lock; at: when, s since 1970. certificate:
    the name of the one that it is. edited: of the newest, whether somebody else has replaced that since.
    """

    host: str
    path: str
    number: int
    original: bool
    exists: bool
    who: str
    command: str
    since: str
    at: float
    link: str | None = None
    sha256: str | None = None
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    becomes: str | None = None
    added: int = 0
    removed: int = 0
    certificate: str | None = None
    edited: bool = False

    @property
    def name(self) -> str:
        if not self.exists:
            return ABSENT
        return (self.sha256 or digest(f"link to {self.link}"))[:8]

    @property
    def change(self) -> str:
        """The name of the change that replaced it."""
        return digest(f"{self.who}\n{self.since}\n{self.command}")[:8]


@dataclass(frozen=True)
class Change:
    """One run, and what it replaced. at: its first moment. versions: one for each host and path, of what
    stood there before the run. undone: it put all of that back itself, so that nothing is left of it."""

    name: str
    who: str
    command: str
    at: float
    versions: tuple[Version, ...]
    undone: bool = False


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read(opened: Mapping[str, Any]) -> tuple[list[Version], dict[str, str]]:
    """(versions, host → why it could not be read)."""

    def ask(name: str) -> Any:
        try:
            return opened[name].call("kept") if not isinstance(opened[name], Exception) else opened[name]
        except errors.LbkitError as error:
            return error

    said = dict(zip(opened, remote.in_parallel(ask, list(opened)), strict=True))
    missing = {name: str(found) for name, found in said.items() if isinstance(found, Exception)}
    known = Version.__dataclass_fields__
    versions = [
        Version(**{key: value for key, value in {**one, "host": name}.items() if key in known})
        for name, found in said.items()
        if name not in missing
        for one in found
    ]
    return versions, missing


def changes(versions: Iterable[Version]) -> list[Change]:
    """The newest first."""
    found: dict[str, dict[tuple[str, str], list[Version]]] = {}
    for one in sorted(versions, key=lambda one: one.number):
        found.setdefault(one.change, {}).setdefault((one.host, one.path), []).append(one)
    runs = []
    for name, replaced in found.items():
        before = tuple(each[0] for each in replaced.values())
        first = min(before, key=lambda one: one.at)
        undone = all(len(each) > 1 and each[0].sha256 == each[-1].becomes for each in replaced.values())
        runs.append(Change(name, first.who, first.command, first.at, before, undone))
    return sorted(runs, key=lambda run: run.at, reverse=True)


def by_hand(versions: Sequence[Version]) -> set[tuple[str, str, int]]:
    """(host, path, number) of what lbkit replaced and had not put there: somebody edited it meanwhile."""
    found, before = set(), dict[tuple[str, str], Version]()
    for one in sorted(versions, key=lambda one: one.number):
        last = before.get((one.host, one.path))
        if last and last.becomes != one.sha256:
            found.add((one.host, one.path, one.number))
        before[one.host, one.path] = one
    return found


def edited(versions: Iterable[Version]) -> list[Version]:
    """The newest of each file that somebody else has changed since; certificates come by many ways."""
    return [one for one in versions if one.edited and not one.certificate]


# ── which are to be put back ─────────────────────────────────────────────────────────────────────────────

Chosen = dict[str, dict[str, Version]]  # host → path → version


def of_change(versions: Sequence[Version], name: str, path: str | None, hosts: Sequence[str]) -> Chosen:
    """What stood on these hosts before the change. path: this file alone. Raises Refused."""
    found = [one for one in changes(versions) if is_called(one.name, name)]
    if len(found) != 1:
        raise errors.Refused(
            f"No change {name!r} is kept, so nothing was touched.\nNext: inv rollback, which lists them"
        )
    chosen: Chosen = {}
    for one in found[0].versions:
        if one.host in hosts and path in (None, one.path):
            chosen.setdefault(one.host, {})[one.path] = one
    if not chosen:
        where = f" of {path}" if path else ""
        raise errors.Refused(
            f"Change {found[0].name} replaced nothing{where} on {' and '.join(hosts)}.\nNext: inv rollback"
        )
    return chosen


def of_path(versions: Sequence[Version], path: str, name: str, hosts: Sequence[str], shared: bool) -> Chosen:
    """That version of the file on these hosts. shared: all hosts have the same file, so one may get another's
    version. Raises Refused."""
    mine = [one for one in versions if one.path == path]
    if not mine:
        raise errors.Refused(f"Nothing is kept of {path}.\nNext: inv rollback, which lists the files")
    matching = [one for one in mine if (one.original if name == ORIGINAL else is_called(one.name, name))]
    if len({one.name for one in matching}) > 1 and name != ORIGINAL:
        matching = []
    chosen: Chosen = {}
    for host in hosts:
        own = [one for one in matching if one.host == host]
        other = matching if shared and name != ORIGINAL else []
        if not (own or other):
            raise errors.Refused(
                f"{host} has no version {name!r} of {path}, so nothing was touched.\n"
                f"Next: inv rollback --path {path}, which lists them; or --host for one host alone"
            )
        chosen[host] = {path: (own or other)[-1]}
    return chosen


def is_called(name: str, given: str) -> bool:
    return name == given or (len(given) >= SHORTEST and name.startswith(given))
