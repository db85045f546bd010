"""rollback: what lbkit replaced on the hosts is put back, with the checks and in the order of `inv setup`.

Where it does not take effect on a host, what stood there before comes back everywhere: nothing is half done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from lbkit import cert_install, compare, converge, errors, kept, observe, pair, plan, remote, restored
from lbkit.inventory import Cluster
from lbkit.kept import Chosen, Version
from lbkit.roll import Roll, Tell


@dataclass(frozen=True)
class Wanted:
    """What stood before a change (of `path` alone, where that is given), or the version `to` of `path`."""

    change: str | None = None
    path: str | None = None
    to: str | None = None


@dataclass(frozen=True)
class Prepared:
    """What would be done. effects: on service and address, in sentences. left: of the change, and not put
    back by this: (version, why)."""

    picture: observe.Picture
    names: tuple[str, ...]
    asked: observe.Asked
    effects: tuple[str, ...]
    left: tuple[tuple[Version, str], ...]


Agree = Callable[[Prepared], bool]  # whether it is to be done; raises Refused where a person says no


@dataclass(frozen=True)
class Done:
    """changed: (host, change) in the order in which they were made; none where all was so already, or where
    nobody agreed."""

    prepared: Prepared
    changed: tuple[tuple[str, plan.Change], ...]


def look(cluster: Cluster) -> tuple[list[Version], dict[str, str]]:
    """All that is kept: (versions, host → why it could not be read)."""
    with remote.sessions(cluster.hosts) as opened:
        return kept.read(opened)


def all_kept(alive: Mapping[str, Any]) -> list[Version]:
    """Raises CommandFailed where it cannot be read: what is unknown is not taken for nothing."""
    versions, missing = kept.read(alive)
    if missing:
        said = "\n".join(why.partition("\nNext: ")[0] for why in missing.values())
        raise errors.CommandFailed(f"{said}\nWhat is kept there is unknown.\nNext: inv status")
    return versions


def run(
    cluster: Cluster, wanted: Wanted, names: Sequence[str], command: str, tell: Tell, agree: Agree
) -> Done:
    """It stands on the named hosts again, and they go by it. Raises an LbkitError; then all is as before, or
    the same command finishes it."""
    with remote.sessions(cluster.hosts) as opened:
        alive = reachable(opened, names)
        prepared = prepare(cluster, alive, wanted, names)
        if not converge.todo(prepared.picture, names) or not agree(prepared):
            return Done(prepared, ())
        tell_of_others(cluster, prepared, tell)
        with converge.locked(alive, command):
            roll, after = bring(cluster, alive, prepared, tell)
    converge.refuse_split(after)
    converge.refuse_leaderless(after)
    return Done(prepared, tuple(roll.changed))


def prepare(cluster: Cluster, alive: dict[str, Any], wanted: Wanted, names: Sequence[str]) -> Prepared:
    """Changes nothing. Raises an LbkitError where something stands in the way."""
    chosen, left = choose(cluster, all_kept(alive), wanted, names)
    asked = ask(cluster, alive, chosen)
    picture = observe.read(cluster, steps_of(asked), alive, asked)
    refuse(picture, names)
    holder = observe.holder_of(picture) if converge.todo(picture, names) else None
    effects = (*apart(cluster, chosen), *pair.effects(cluster, picture.nodes, holder, names))
    return Prepared(picture, tuple(names), asked, effects, left)


def bring(
    cluster: Cluster, alive: dict[str, Any], prepared: Prepared, tell: Tell
) -> tuple[Roll, observe.Picture]:
    """It is done, as it was shown, and what the hosts are then; the lock is ours."""
    names, asked = prepared.names, prepared.asked
    before = observe.read(cluster, steps_of(asked), alive, asked)
    refuse(before, names)
    refuse_other(prepared.picture, before, names)
    roll = Roll(before, steps_of(asked), names, alive, tell, asked)
    try:
        roll.run()
        after = observe.read(cluster, roll.only, alive, asked)
        converge.refuse_missing(after, roll.so_far())
        converge.refuse_rest(after, names)
        refuse_lost(before, after)
    except (errors.CommandFailed, errors.Refused, errors.Undecided) as error:
        undo(cluster, roll, alive, tell, error)
    return roll, after


def steps_of(asked: observe.Asked) -> list[str]:
    return sorted({one.step for found in asked.values() for one in found})


def reachable(opened: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The open sessions. One that is not asked for may be down; raises why another one could not be had."""
    alive = {}
    for name, session in opened.items():
        if not isinstance(session, errors.LbkitError):
            alive[name] = session
        elif name in names or not getattr(session, "down", False):
            what, _, next_step = str(session).partition("\nNext: ")
            rest = [one for one in names if one != name]
            if name in names and rest and getattr(session, "down", False):
                next_step = f"if {name} is down for good: the same with --host {rest[0]}"
            raise errors.Unreachable(f"{what}\nNothing was put back anywhere.\nNext: {next_step}")
    return alive


def refuse(picture: observe.Picture, names: Sequence[str]) -> None:
    """What stands in the way, before anything is touched."""
    converge.refuse_missing(picture)
    converge.refuse_broken(picture)
    converge.refuse_stops(picture, names)
    converge.refuse_half_rewire(picture, names)


def refuse_other(shown: observe.Picture, now: observe.Picture, names: Sequence[str]) -> None:
    """What was agreed to is what is done."""
    if converge.all_changes(shown, names) != converge.all_changes(now, names):
        raise errors.Refused(
            "The hosts have changed since that was shown; nothing was touched.\nNext: the same again"
        )


def refuse_lost(before: observe.Picture, after: observe.Picture) -> None:
    """Who had a MASTER, and no second one, has so still. Without one before, what is put back need not be all
    that is wrong."""
    if len(pair.masters(before.nodes)) != 1:
        return
    converge.refuse_split(after)
    if not pair.masters(after.nodes):
        raise errors.CommandFailed("With that nobody is MASTER any more.\nNext: inv status")


# ── what is asked for ────────────────────────────────────────────────────────────────────────────────────


def choose(
    cluster: Cluster, versions: Sequence[Version], wanted: Wanted, names: Sequence[str]
) -> tuple[Chosen, tuple[tuple[Version, str], ...]]:
    """(what is to be put back, what is left as it is and why). Raises Refused."""
    if wanted.change is None:
        path = wanted.path or ""
        shared = restored.is_shared(cluster, path)
        chosen = kept.of_path(versions, path, wanted.to or "", names, shared)
        refuse_certificates(every(chosen))
        restored.refuse_needed(cluster, chosen)
        return chosen, ()
    chosen = kept.of_change(versions, wanted.change, wanted.path, names)
    left = tuple((one, why) for one in every(chosen) if (why := leave(cluster, one)))
    for one, _ in left:
        del chosen[one.host][one.path]
    if not every(chosen):
        why = "; ".join(dict.fromkeys(why for _, why in left))
        raise errors.Refused(f"There is nothing to put back: {why}.\nNext: inv rollback")
    for path in {one.path for one in every(chosen)}:
        if restored.is_shared(cluster, path):
            first = next(one for one in every(chosen) if one.path == path)
            for name in names:
                chosen.setdefault(name, {}).setdefault(path, first)
    return chosen, left


def apart(cluster: Cluster, chosen: Chosen) -> list[str]:
    """In sentences: of what all hosts share they had not the same before the change, where one before it had
    reached only some of them."""
    said = []
    for path in sorted({one.path for one in every(chosen)}):
        names = {host: found[path].name for host, found in chosen.items() if path in found}
        if len(set(names.values())) > 1 and restored.is_shared(cluster, path):
            each = ", ".join(f"{name} on {host}" for host, name in names.items())
            said.append(f"{path} was not the same on all hosts before that change, and would not be: {each}.")
            said.append(f"One version for all of them: inv rollback --path {path} --to VERSION.")
    return said


def refuse_certificates(versions: Sequence[Version]) -> None:
    """One to which the inventory's path is a link: only by that path it is known where it is served."""
    if found := [one for one in versions if one.certificate]:
        raise errors.Refused(
            f"{found[0].path} is certificate {found[0].certificate}, by a link; nothing was touched.\n"
            f"Next: inv cert.install with a copy of it"
        )


def every(chosen: Chosen) -> list[Version]:
    return [one for found in chosen.values() for one in found.values()]


def leave(cluster: Cluster, version: Version) -> str:
    """Why putting a change back leaves this as it is; empty where it does not."""
    if version.certificate or version.path in certificate_paths(cluster):
        return f"{version.path} is a certificate, which is put back by itself (--path and --to)"
    if not version.exists:
        return f"{version.path} was new, and stays"
    return ""


def certificate_paths(cluster: Cluster) -> dict[str, str]:
    """Path → name."""
    return {one.path: one.name for one in cluster.certificates}


def ask(cluster: Cluster, alive: Mapping[str, Any], chosen: Chosen) -> observe.Asked:
    """Of each host what it is to be; of those that are not to change, nothing."""
    asked = {}
    for name in alive:
        found = chosen.get(name, {})
        contents = {path: content(alive, one) for path, one in found.items() if one.sha256}
        asked[name] = restored.desired(cluster, cluster.host(name), found, contents)
    return asked


def content(alive: Mapping[str, Any], version: Version) -> str:
    """Of the file, as text in which each byte that is none is a surrogate."""
    answer = alive[version.host].call("kept_content", path=version.path, number=version.number)
    return str(answer["content"])


def tell_of_others(cluster: Cluster, prepared: Prepared, tell: Tell) -> None:
    """What all hosts share is put back on some of them: the sync leaves that to setup."""
    others = " and ".join(host.name for host in cluster.hosts if host.name not in prepared.names)
    for path in sorted({one.resource.label for found in prepared.asked.values() for one in found}):
        if others and restored.is_shared(cluster, path):
            tell(
                "", f"{path} is the same on all hosts; {others} keeps its own, and the sync waits for setup."
            )


# ── when it fails ────────────────────────────────────────────────────────────────────────────────────────


def undo(
    cluster: Cluster, roll: Roll, alive: dict[str, Any], tell: Tell, error: errors.LbkitError
) -> NoReturn:
    """What this run replaced is back, and taken into use. Raises CommandFailed with both."""
    touched: dict[str, set[str]] = {}
    for name, change in roll.changed:
        if change.request.get("kind") in compare.REPLACES:
            touched.setdefault(name, set()).add(change.label)
    if not touched:
        raise error
    what = str(error).partition("\nNext: ")[0].replace(roll.so_far(), "").strip()
    tell("", "It did not take effect, so what stood there comes back.")
    try:
        newest = {(one.host, one.path): one for one in all_kept(alive)}
        chosen = {name: {path: newest[name, path] for path in paths} for name, paths in touched.items()}
        asked = ask(cluster, alive, chosen)
        before = observe.read(cluster, roll.only, alive, asked)
        Roll(before, roll.only, list(touched), alive, tell, asked).run()
    except errors.LbkitError as second:
        why, _, way = str(second).partition("\nNext: ")
        raise errors.CommandFailed(f"{what}\nIt could not be undone: {why}\nNext: {way}") from None
    where = " and ".join(touched)
    raise errors.CommandFailed(
        f"{what}\nWhat stood there before is back on {where}: all is as it was.\n"
        f"Next: inv logs --since 10m, which says why; another version: inv rollback"
    )


# ── certificates ─────────────────────────────────────────────────────────────────────────────────────────


def of_certbot(cluster: Cluster, version: Version) -> str:
    """The certificate that it was, where certbot obtains that, so that none is put back; else empty."""
    for one in cluster.certificates:
        if one.is_issued and (version.path == one.path or version.certificate == one.name):
            return one.name
    return ""


def is_certificate(cluster: Cluster, wanted: Wanted) -> bool:
    """Whether the file that is asked for is one; they come to be served by a way of their own."""
    return wanted.change is None and wanted.path in certificate_paths(cluster)


def certificate(
    cluster: Cluster,
    wanted: Wanted,
    hosts: Sequence[str],
    command: str,
    tell: Tell,
    agree: Callable[[str], bool],
) -> cert_install.Installed | None:
    """A certificate as it was is served by all hosts, checked and proven as a new one is. agree: is given its
    text. Raises an LbkitError."""
    path = wanted.path or ""
    with remote.sessions(cluster.hosts) as opened:
        alive = reachable(opened, [host.name for host in cluster.hosts])
        versions = [one for one in all_kept(alive) if one.path == path]
        known = cert_install.chosen(cluster, certificate_paths(cluster)[path])
        cert_install.refuse_issued(known)
        if len(hosts) < len(cluster.hosts):
            raise errors.Refused(
                f"{path} is the same on all hosts; nothing was touched.\nNext: the same without --host"
            )
        first = versions[0].host if versions else hosts[0]
        (found,) = every(kept.of_path(versions, path, wanted.to or "", [first], shared=True))
        if not found.sha256:
            raise errors.Refused(
                f"There was no certificate then, at {path}.\nNext: inv rollback --path {path}"
            )
        pem = content(alive, found)
    return cert_install.install(cluster, known, pem, command, tell) if agree(pem) else None
