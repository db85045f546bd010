"""Desired against seen: what would be done. Pure.

`diff` turns one resource and what the hand saw of it into changes, in the order in which they must happen;
`changes` does so for all that is desired of a host.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lbkit import diffs, requirements, resources, vrrp
from lbkit.plan import Change, Desired, Seen, Verdict, settled


def changes(
    desired: tuple[Desired, ...], seen: Seen, told: Mapping[str, Any] | None = None
) -> tuple[Change, ...]:
    """All that differs on one host, in the order of the steps. told: what all hosts said of their keys.

    A service is shown with the load that an earlier change will make necessary, so that the plan is the
    whole way and not its first stretch.
    """
    found: list[Change] = []
    desired = settled(desired, told or {})
    installs = any(isinstance(one.resource, resources.Packages) for one in desired)
    written: set[str] = set()
    new: set[str] = set()  # those of another content: what is only owned anew asks for no restart
    for wanted, state in zip(desired, seen.items, strict=True):
        mine = diff(wanted.resource, state)
        new |= {c.label for c in mine if c.request.get("kind") in REPLACES}
        written |= new | {c.label for c in mine if c.request.get("kind") == "ownership"}
        if isinstance(wanted.resource, resources.Service):
            mine = with_coming_load(wanted.resource, mine, written, new)
            if not installs and not state.get("exists", True) and not wanted.resource.is_ours:
                mine = [stop(wanted.resource, "blocked", "is not installed", "inv prereqs")]
        found += [replace(change, step=wanted.step) for change in mine]
    return tuple(found)


REPLACES = ("file", "placeholder", "link", "removal")  # kinds of request after which a file says otherwise


def with_coming_load(
    service: resources.Service, planned: list[Change], written: set[str], new: set[str]
) -> list[Change]:
    """The changes of a service, with what files not yet written will make necessary: that systemd reads them,
    a restart, a reload."""
    if any(c.verdict != "change" for c in planned):
        return planned
    if written.intersection(service.unit_files) and not any(c.action == REREAD for c in planned):
        planned = [reread(service, "unit files will be new"), *planned]
    if any(c.action in ("start", "restart") for c in planned):
        return planned
    if fresh := sorted(new.intersection(service.restart_on)):
        rest = [c for c in planned if c.action != "reload"]
        return [*rest, load(service, "restart", fresh, "will be new")]
    fresh = sorted(written.intersection(service.reload_on))
    if fresh and not any(c.action == "reload" for c in planned):
        return [*planned, load(service, "reload", fresh, "will be new")]
    return planned


@functools.singledispatch
def diff(wanted: resources.Resource, state: dict[str, Any]) -> list[Change]:
    """Changes that make the resource true; none where it is."""
    raise TypeError(f"no diff for {type(wanted).__name__}")


def compares(function: Any) -> Any:
    """Registers a diff, and answers for it where the state could not be read: unknown is not absent."""

    @functools.wraps(function)
    def guarded(wanted: Any, state: dict[str, Any]) -> list[Change]:
        if "unreadable" in state:
            return [
                stop(wanted, "unknown", state["unreadable"], "look at the host; nothing is done on a guess")
            ]
        return function(wanted, state)

    return diff.register(guarded)


def change(wanted: resources.Resource, action: str, reason: str, **more: Any) -> Change:
    return Change(step="", label=wanted.label, action=action, reason=reason, **more)


def stop(wanted: resources.Resource, verdict: Verdict, reason: str, next_step: str) -> Change:
    return Change("", wanted.label, verdict, reason, verdict=verdict, next_step=next_step)


@compares
def _(wanted: resources.Packages, state: dict[str, Any]) -> list[Change]:
    missing = tuple(state["missing"])
    if not missing:
        return []
    request = {"kind": "packages", "names": missing, "proxy": wanted.proxy}
    return [change(wanted, "install", " ".join(missing), request=request)]


@compares
def _(wanted: resources.Directory, state: dict[str, Any]) -> list[Change]:
    request = ownership(wanted) | {"kind": "directory"}
    if not state["exists"]:
        return [change(wanted, "create", f"directory, {mode_text(wanted)}", request=request)]
    return ownership_changes(wanted, state)


@compares
def _(wanted: resources.File, state: dict[str, Any]) -> list[Change]:
    request = ownership(wanted) | {
        "kind": "file",
        "content": wanted.content,
        "was": state.get("sha256", state.get("link")),
        "check": wanted.check,
        "check_env": dict(wanted.check_env),
        "keep": True,
    }
    if not state["exists"]:
        shown = diffs.unified("", wanted.content, wanted)
        return [change(wanted, "create", f"is not there; {mode_text(wanted)}", request=request, diff=shown)]
    if state.get("sha256") == wanted.sha256:
        return ownership_changes(wanted, state)
    old = state.get("content")
    rewires = wanted.wire and (old is None or vrrp.wire(old) != vrrp.wire(wanted.content))
    action, reason = (
        "update",
        f"differs from {wanted.source}" if old is not None else "differs (too large to show)",
    )
    drops = vrrp.lost(old, wanted.content) if wanted.wire and old else ()
    if "link" in state:
        action, reason = "replace", f"is a link to {state['link']}, which stays as it is"
    shown = diffs.unified(old or "", wanted.content, wanted)
    return [change(wanted, action, reason, request=request, diff=shown, rewires=rewires, drops=drops)]


def ownership(wanted: Any) -> dict[str, Any]:
    return {"path": wanted.path, "owner": wanted.owner, "group": wanted.group, "mode": wanted.mode}


def ownership_changes(wanted: Any, state: dict[str, Any]) -> list[Change]:
    if all(state[name] == getattr(wanted, name) for name in ("owner", "group", "mode")):
        return []
    was = f"{state['owner']}:{state['group']} {state['mode']:04o}"
    request = ownership(wanted) | {"kind": "ownership"}
    return [change(wanted, "own", f"{was} → {mode_text(wanted)}", request=request)]


def mode_text(wanted: Any) -> str:
    return f"{wanted.owner}:{wanted.group} {wanted.mode:04o}"


@compares
def _(wanted: resources.Placeholder, state: dict[str, Any]) -> list[Change]:
    request = ownership(wanted) | {"kind": "placeholder", "names": wanted.names, "days": wanted.days}
    if state["exists"]:
        if state["expired"]:
            reason = f"the placeholder is over: another of {wanted.days} day until {wanted.until}"
            return [change(wanted, "renew", reason, request={**request, "was": state["sha256"]})]
        found = ownership_changes(wanted, state) if wanted.guarded and "mode" in state else []
        if wanted.own and state["unfit"]:
            reason = f"not fit to be served: {'; '.join(state['unfit'])}"
            # In memory HAProxy may have a better one, and would have this one after its reload.
            verdict: Verdict = "blocked" if state["live"] else "warning"
            found.append(stop(wanted, verdict, reason, f"put a good one at {wanted.path}: inv cert.install"))
        elif wanted.own and state["told"]:
            request = {"kind": "clearance", "name": wanted.name, "path": wanted.path}
            reason = "it is good, and the alarm of another that was refused stands"
            found.append(change(wanted, "clear", reason, request=request))
        return found
    if wanted.own and state.get("live"):
        reason = "no certificate there, and a placeholder would take a real one's place"
        return [
            stop(wanted, "blocked", reason, f"put chain and key in one file at {wanted.path} on every host")
        ]
    reason = f"no certificate yet: a self-signed one of {wanted.days} day until {wanted.until}"
    return [change(wanted, "create", reason, request=request)]


@compares
def _(wanted: resources.User, state: dict[str, Any]) -> list[Change]:
    if state["exists"]:
        return []
    request = {"kind": "user", "name": wanted.name, "home": wanted.home, "shell": wanted.shell}
    return [change(wanted, "create", "system user", request=request)]


@compares
def _(wanted: resources.KeyPair, state: dict[str, Any]) -> list[Change]:
    if state["exists"]:
        return []
    request = {"kind": "key_pair", "path": wanted.path, "comment": wanted.comment}
    return [change(wanted, "create", "an ed25519 key of this host, made there", request=request)]


@compares
def _(wanted: resources.PeerKeys, state: dict[str, Any]) -> list[Change]:
    found = [
        stop(wanted, "warning", f"{name} has no key yet", "inv sync, which makes it")
        for name in wanted.keyless
    ]
    content = wanted.content(state.get("content", ""))
    known = resources.File(wanted.path, wanted.owner, wanted.group, content, wanted.mode)
    return found + (diff(known, state) if content or state["exists"] else [])


@compares
def _(wanted: resources.Timezone, state: dict[str, Any]) -> list[Change]:
    if state["name"] == wanted.name:
        return []
    request = {"kind": "timezone", "name": wanted.name}
    return [change(wanted, "set", f"{state['name'] or 'unknown'} → {wanted.name}", request=request)]


@compares
def _(wanted: resources.Sysctl, state: dict[str, Any]) -> list[Change]:
    if state["value"] == wanted.value:
        return []
    request = {"kind": "sysctl", "name": wanted.name, "value": wanted.value}
    return [change(wanted, "set", f"{state['value']} → {wanted.value}", request=request)]


KEEP = "# lbkit: keepalived's address is not networkd's to drop.\n[Network]\nKeepConfiguration=static\n"


@compares
def _(wanted: resources.KeptAddresses, state: dict[str, Any]) -> list[Change]:
    if state["keeps"]:
        return []
    path = f"/etc/systemd/network/{state['network']}.d/lbkit.conf"
    request = {"kind": wanted.kind, "path": path, "content": KEEP}
    return [change(wanted, "keep", "systemd-networkd would drop keepalived's", request=request)]


@compares
def _(wanted: resources.Service, state: dict[str, Any]) -> list[Change]:
    found = []
    unit = wanted.label
    if state["masked"]:  # somebody's will, which systemctl would not override either
        return [
            stop(
                wanted, "blocked", "is masked: somebody forbade it to start", f"sudo systemctl unmask {unit}"
            )
        ]
    if state["needs_daemon_reload"]:
        found.append(reread(wanted, "unit files are new"))
    if not state["enabled"]:
        request = {"kind": "service", "action": "enable", "unit": unit}
        found.append(change(wanted, "enable", "would not start at boot", request=request))
    if not state["active"]:
        found.append(
            load(wanted, "start", [], f"is {state['state']}" if state["exists"] else "not installed")
        )
    elif stale := state["stale"]["restart_on"]:
        found.append(load(wanted, "restart", stale, "newer than what it runs", pending=True))
    elif stale := state["stale"]["reload_on"]:
        found.append(load(wanted, "reload", stale, "newer than what it runs", pending=True))
    return found


REREAD = "daemon-reload"


def reread(wanted: resources.Service, why: str) -> Change:
    request = {"kind": "service", "action": REREAD, "unit": wanted.label, "paths": wanted.unit_files}
    return change(wanted, REREAD, why, request=request)


def load(
    wanted: resources.Service, action: str, paths: list[str], why: str, *, pending: bool = False
) -> Change:
    request = {
        "kind": "service",
        "action": action,
        "unit": wanted.label,
        "paths": (*wanted.reload_on, *wanted.restart_on) if action != "reload" else wanted.reload_on,
        "restart_on": wanted.restart_on,
        "stats_socket": wanted.stats_socket,
        "prove": wanted.prove if action != "reload" else (),
        "prove_as": wanted.prove_as,
    }
    reason = f"{', '.join(paths)}: {why}" if paths else why
    elects = wanted.elects and action in ("start", "restart")
    return change(
        wanted, action, reason, request=request, elects=elects, pending=tuple(paths) if pending else ()
    )


@compares
def _(wanted: resources.Disabled, state: dict[str, Any]) -> list[Change]:
    found = [("disable", state["enabled"]), ("stop", state["active"])]
    return [
        change(
            wanted,
            action,
            wanted.reason,
            request={"kind": wanted.kind, "action": action, "unit": wanted.unit},
        )
        for action, due in found
        if due
    ]


@compares
def _(wanted: resources.Masked, state: dict[str, Any]) -> list[Change]:
    if state["masked"]:
        return []
    return [change(wanted, "mask", wanted.reason, request={"kind": wanted.kind, "unit": wanted.unit})]


@compares
def _(wanted: resources.Certificate, state: dict[str, Any]) -> list[Change]:
    """Renewals are the timer's; what a node that is not in charge has comes to it by the sync."""
    if state["charge"] is False or (state["charge"] is None and not wanted.first):
        return []
    request = {"kind": wanted.kind, "names": (wanted.name,)}
    if state["why"]:
        named = wanted.server in state["why"]
        reason = state["why"] if named else f"{state['why']}; from {wanted.server}"
        return [change(wanted, "issue", reason, request=request)]
    if not state["in_place"]:
        return [change(wanted, "deploy", "certbot's is not the one in place", request=request)]
    if state["told"]:
        return [
            change(wanted, "clear", "it is good, and the alarm of a try that failed stands", request=request)
        ]
    return []


@compares
def _(wanted: requirements.Clock, state: dict[str, Any]) -> list[Change]:
    if state["synchronized"]:
        return []
    reason = "the clock is not synchronised" + (f" ({state['by']} is on)" if state["by"] else "")
    return [stop(wanted, "warning", reason, "sudo timedatectl set-ntp true")]


@compares
def _(wanted: requirements.Rivals, state: dict[str, Any]) -> list[Change]:
    does = dict(wanted.units)
    return [
        stop(
            wanted,
            "blocked" if wanted.block else "warning",
            f"{unit} is at work: it {does[unit]}",
            f"sudo systemctl disable --now {unit}",
        )
        for unit in state["active"]
    ]


@compares
def _(wanted: requirements.Interface, state: dict[str, Any]) -> list[Change]:
    found = state["interfaces"]
    names = ", ".join(found) or "none"
    if wanted.name not in found:
        return [
            stop(
                wanted,
                "blocked",
                f"no such interface; there are {names}",
                "mend `interface` in the inventory",
            )
        ]
    here = {address.split("/")[0] for address in found[wanted.name]}
    if wanted.address and wanted.address not in here:
        reason = f"does not carry {wanted.address}; it has {', '.join(sorted(here)) or 'no address'}"
        return [stop(wanted, "blocked", reason, "mend `private_address` or `interface` in the inventory")]
    return []


@compares
def _(wanted: requirements.Ports, state: dict[str, Any]) -> list[Change]:
    taken = state["taken"]
    if absent := [address for address in state["absent"] if address != wanted.moving]:
        reason = f"no interface carries {', '.join(absent)}, where {wanted.unit} shall listen"
        return [stop(wanted, "blocked", reason, "mend the address in the inventory, or give it to the host")]
    if not taken:
        return []
    found = [f"{one['address']} port {one['port']} is held by {one['holder']}" for one in taken]
    return [stop(wanted, "blocked", "; ".join(found), f"stop it, or give {wanted.unit} another port")]


@compares
def _(wanted: requirements.TrustedPath, state: dict[str, Any]) -> list[Change]:
    found = []
    if parts := state["writable_by_others"]:
        reason = f"others than root can write {', '.join(parts)}: keepalived would not run the script"
        fix = f"sudo chown root:root {parts[0]} && sudo chmod go-w {parts[0]}"
        found.append(stop(wanted, "blocked", reason, fix))
    if parts := state["closed"]:
        reason = f"user {wanted.user} may not enter {parts[0]}: keepalived's check of HAProxy would not run"
        fix = f"sudo chmod o+x {parts[0]} (or an access list that lets {wanted.user} through)"
        found.append(stop(wanted, "blocked", reason, fix))
    return found
