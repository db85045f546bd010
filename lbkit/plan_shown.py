"""A plan and what became of it, as an operator reads them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lbkit import pair, plan
from lbkit.converge import ACCOUNT, Outcome, all_changes
from lbkit.observe import Picture
from lbkit.steps import IN_ACCOUNT, library
from lbkit.terminal import wrapped

if TYPE_CHECKING:
    from lbkit.aws.account import Place


def plan_lines(
    picture: Picture,
    nodes: Sequence[pair.Node],
    effects: Sequence[str],
    order: Sequence[str],
    obstacles: Sequence[str],
    command: str = "inv setup",
    step: str = "",
) -> list[str]:
    """The plan as text: for each host its changes with their diffs, then what happens to the address, or why
    `inv setup` would refuse (obstacles). step: the one that was looked at, empty for all."""
    lines: list[str] = []
    if picture.place:
        lines += place_lines(picture.place, step)
    for node in nodes:
        lines += host_lines(node, step)
    if picture.unread_account:
        lines += ["", "aws: not read", *(f"  {line}" for line in picture.unread_account.splitlines())]
    for name, reason in picture.missing.items():
        lines += ["", f"{name}: not read", *(f"  {line}" for line in reason.splitlines())]
    lines.append("")
    told = order or not any(node.todo for node in nodes)
    goes = bool(told) and not (stops(picture, nodes) or obstacles or picture.missing)
    if to_change := counts(picture, nodes):
        lines += wrapped("", to_do(to_change, order, command, goes))
    lines += [line for sentence in in_the_way(picture, nodes) for line in wrapped("  ", sentence)]
    lines += [line for sentence in effects if goes for line in wrapped("  ", sentence)]
    lines += [line for one in obstacles for part in one.splitlines() for line in wrapped("  ", part)]
    unread = picture.missing or picture.unread_account
    if not (to_change or obstacles or unread or stops(picture, nodes)):
        lines += wrapped("", f"Nothing to do: {what_is_right(picture, nodes, step)} as the inventory says.")
    return lines[1:] if lines[:1] == [""] else lines


def what_is_right(picture: Picture, nodes: Sequence[pair.Node], step: str) -> str:
    """What a plan without changes has looked at, and no more than that."""
    all_hosts = len(nodes) == len(picture.cluster.hosts)
    where = "the hosts" if all_hosts else " and ".join(node.host.name for node in nodes)
    if step:
        return f"{step} is" if all_hosts or step in IN_ACCOUNT else f"{step} on {where} is"
    if picture.place:
        return f"{where} and AWS are"
    return f"{where} are" if all_hosts or len(nodes) > 1 else f"{where} is"


def counts(picture: Picture, nodes: Sequence[pair.Node]) -> dict[str, int]:
    """`aws` and host names → how many changes there; what has none is left out."""
    found = {ACCOUNT: len(picture.place.todo) if picture.place else 0}
    found.update({node.host.name: len(node.todo) for node in nodes})
    return {name: count for name, count in found.items() if count}


def to_do(found: dict[str, int], order: Sequence[str], command: str, goes: bool) -> str:
    """How many changes where; in which order only where that can be told. goes: nothing stands in the way."""
    names = [*(name for name in found if name == ACCOUNT), *order] if order else list(found)
    said = (", then " if order else ", ").join(f"{found[name]} {at(name)}" for name in names)
    return f"To do: {said}." + (f" `{command}` does it." if goes else f" `{command}` would refuse.")


def at(name: str) -> str:
    return "in AWS" if name == ACCOUNT else f"on {name}"


def host_lines(node: pair.Node, step: str = "") -> list[str]:
    vrrp = "keepalived not running" if node.vrrp == "STOPPED" else node.vrrp
    heading = f"{node.host.name} ({node.host.role}, {vrrp})"
    if step in IN_ACCOUNT:
        return ["", f"{heading}: nothing for {step} on the host"]
    if not node.changes:
        return ["", f"{heading}: {as_said(step)}"]
    return ["", heading, *change_lines(node.changes)]


def as_said(step: str) -> str:
    return f"{step} as the inventory says" if step else "as the inventory says"


def place_lines(place: Place, step: str = "") -> list[str]:
    heading = f"aws ({place.vpc_id})"
    if not place.changes:
        return ["", f"{heading}: {as_said(step)}"]
    return ["", heading, *change_lines(place.changes)]


def change_lines(changes: Sequence[plan.Change]) -> list[str]:
    lines: list[str] = []
    for change, count in library.together(changes):
        if count > 1:
            lines += wrapped(
                "  ", f"{change.step:<10} {change.action:<8} {count} files in {library.ROOT}: {change.reason}"
            )
            continue
        lines += wrapped("  ", f"{change.step:<10} {change.action:<8} {change.label}: {change.reason}")
        if change.next_step:
            lines += wrapped("    ", f"Next: {change.next_step}")
        lines += [f"    | {line}" for line in change.diff.split("\n") if change.diff]
    return lines


def stops(picture: Picture, nodes: Sequence[pair.Node]) -> list[plan.Change]:
    """What stands in the way, in AWS or on these hosts."""
    return [change for _, change in standing(picture, nodes)]


def in_the_way(picture: Picture, nodes: Sequence[pair.Node]) -> list[str]:
    """The same as sentences: a plan is long, and they may stand far above its end."""
    return [f"{where}: {one.label}: {one.reason}" for where, one in standing(picture, nodes)]


def standing(picture: Picture, nodes: Sequence[pair.Node]) -> list[tuple[str, plan.Change]]:
    """(where, what) of the same."""
    account = [("AWS", one) for one in picture.place.changes] if picture.place else []
    found = [*account, *((node.host.name, one) for node in nodes for one in node.changes)]
    return [(where, one) for where, one in found if one.verdict in ("blocked", "unknown")]


def plan_json(
    picture: Picture,
    nodes: Sequence[pair.Node],
    effects: Sequence[str],
    order: Sequence[str],
    obstacles: Sequence[str],
) -> Any:
    return {
        "differs": bool(counts(picture, nodes)),
        "order": list(order),
        "effects": list(effects),
        "obstacles": list(obstacles),
        "hosts": {
            node.host.name: {
                "role": node.host.role,
                "vrrp": node.vrrp,
                "changes": [change_json(change) for change in node.changes],
            }
            for node in nodes
        },
        "aws": [change_json(change) for change in picture.place.changes] if picture.place else [],
        "not_read": picture.missing | ({ACCOUNT: picture.unread_account} if picture.unread_account else {}),
    }


def change_json(change: plan.Change) -> dict[str, str]:
    names = ("step", "action", "label", "reason", "verdict", "diff", "next_step")
    return {name: getattr(change, name) for name in names}


def outcome_lines(outcome: Outcome, seconds: float, names: Sequence[str]) -> list[str]:
    """names: the hosts that it was about; the others were read all the same."""
    hosts = len(outcome.after.in_scope(names))
    lines = []
    for name, change in all_changes(outcome.after, [node.host.name for node in outcome.after.nodes]):
        if change.verdict == "warning":
            lines += wrapped("", f"{name}: {change.label}: {change.reason}. {change.next_step}")
    if not outcome.changed:
        where = " and in AWS" if outcome.after.place else ""
        many = "1 host" if hosts == 1 else f"{hosts} hosts"
        return [*lines, f"Nothing to change on {many}{where} ({seconds:.1f} s)."]
    made: dict[str, int] = {}
    for name, _ in outcome.changed:
        made[name] = made.get(name, 0) + 1
    done = ", ".join(f"{count} {at(name)}" for name, count in made.items())
    return [*lines, f"Done: {done} ({seconds:.1f} s). {address_sentence(outcome)}"]


def address_sentence(outcome: Outcome) -> str:
    before, after = (
        [node.host.name for node in pair.masters(p.nodes)] for p in (outcome.before, outcome.after)
    )
    if before == after:
        return f"MASTER is {', '.join(after) or 'nobody'}, as before."
    return f"MASTER is {', '.join(after) or 'nobody'} (before: {', '.join(before) or 'nobody'})."
