"""What a rollback asks of a host: files as they were, and the services that go by them. Pure.

A file that was one is a `File` as setup's are, with the check, the secrets and the order of the inventory's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from lbkit import compare, diffs, errors, plan, steps
from lbkit.inventory import Cluster, Host
from lbkit.kept import Version
from lbkit.resources import File, Owned, Resource, Service
from lbkit.steps import haproxy


@dataclass(frozen=True)
class NoFile(Owned):
    """What stands there is no file: a link to `target`, or nothing. check, secrets: as a File's."""

    kind: ClassVar[str] = "file"
    target: str | None = None
    check: tuple[str, ...] = ()
    check_env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "path": self.path}


@compare.compares
def _(wanted: NoFile, state: dict[str, Any]) -> list[plan.Change]:
    request = {"path": wanted.path, "was": state.get("sha256", state.get("link")), "keep": True}
    if wanted.target is not None and state.get("link") != wanted.target:
        checked = {"check": wanted.check, "check_env": dict(wanted.check_env)}
        request |= {"kind": "link", "target": wanted.target, **checked}
        return [compare.change(wanted, "link", f"was a link to {wanted.target}", request=request)]
    if wanted.target is None and state["exists"]:
        request |= {"kind": "removal"}
        shown = diffs.unified(state.get("content", ""), "", File(wanted.path, secrets=wanted.secrets))
        return [compare.change(wanted, "remove", "was not there", request=request, diff=shown)]
    return []


def desired(
    cluster: Cluster, host: Host, versions: Mapping[str, Version], contents: Mapping[str, str]
) -> tuple[plan.Desired, ...]:
    """The files as in these versions, and what goes by them, in setup's order. Both by path."""
    asked = steps.desired(cluster, host)
    known = {one.resource.label for one in asked}
    found = [
        plan.Desired("rollback", resource(File(path), version, contents.get(path, "")))
        for path, version in versions.items()
        if path not in known
    ]
    for one in asked:
        path = one.resource.label
        if isinstance(one.resource, Service) and goes_by(one.resource) & versions.keys():
            found.append(one)
        elif path in versions and one.resource.kind == "file":
            wanted = one.resource if isinstance(one.resource, File) else File(path)
            found.append(replace(one, resource=resource(wanted, versions[path], contents.get(path, ""))))
    return tuple(found)


def goes_by(service: Service) -> frozenset[str]:
    return frozenset((*service.reload_on, *service.restart_on, *service.unit_files))


def resource(wanted: File, version: Version, content: str) -> Resource:
    """wanted: the inventory's file there."""
    if version.link is not None:
        return NoFile(wanted.path, target=version.link, check=wanted.check, check_env=wanted.check_env)
    if not version.exists:
        return NoFile(wanted.path, secrets=wanted.secrets)
    return replace(
        wanted,
        content=content,
        owner=version.owner,
        group=version.group,
        mode=version.mode,
        source=f"version {version.name}",
    )


def needed_by(cluster: Cluster, host: Host, path: str) -> str:
    """What does not run without a file there; empty where nothing needs it. A drop-in is an addition."""
    if path.rpartition("/")[0].endswith(".d"):
        return ""
    for one in steps.desired(cluster, host):
        if isinstance(one.resource, Service) and path in goes_by(one.resource):
            return one.resource.label
    return ""


def is_shared(cluster: Cluster, path: str) -> bool:
    """Whether all hosts have the same file there: by the inventory, or since the sync brings all that stands
    in that directory."""
    if path.startswith(f"{haproxy.PAGES}/") and haproxy.error_pages(cluster):
        return True
    contents = {
        one.resource.content if isinstance(one.resource, File) and one.resource.path == path else None
        for host in cluster.hosts
        for one in steps.desired(cluster, host)
        if one.resource.label == path
    }
    return len(contents) == 1 and None not in contents


def refuse_needed(cluster: Cluster, chosen: Mapping[str, Mapping[str, Version]]) -> None:
    """A file without which a service cannot run is not taken away."""
    for name, found in chosen.items():
        for path, version in found.items():
            if not version.exists and (service := needed_by(cluster, cluster.host(name), path)):
                raise errors.Refused(
                    f"{name}: there was no {path} then, and {service} does not run without one; nothing was "
                    f"touched.\nNext: another version: inv rollback --path {path}"
                )
