"""What the operator reads: results on stdout, narrative on stderr, JSON for machines.

Plain text is built here by pure functions; colour is added only for a terminal, by rich, which is imported
only then. Nothing here decides anything.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from lbkit import adverts, maintenance, overview, pair, plan, status, switchover, terminal, verify
from lbkit.converge import ACCOUNT, Outcome, all_changes
from lbkit.inventory import Cluster, Eip
from lbkit.observe import Picture
from lbkit.steps import IN_ACCOUNT, library

if TYPE_CHECKING:
    from lbkit import cert_install, certificates
    from lbkit.aws.account import Place
    from lbkit.doctor import Finding

MARK = {True: "ok", False: "FAIL", None: "?"}
wrapped = terminal.wrapped
STYLE = {"ok": "green", "warn": "yellow", "FAIL": "bold red", "?": "yellow"}


def out(lines: Iterable[str]) -> None:
    """Lines to stdout, coloured where it is a terminal."""
    text = terminal.visible("\n".join(lines))
    if not text:
        return
    if coloured():
        for one in text.split("\n"):
            console().print(one, style=style(one), markup=False)
    else:
        print(text)


def line(text: str, style: str) -> None:
    """One line to stdout at once, in that style where it is a terminal."""
    text = terminal.visible(text)
    if coloured():
        console().print(text, style=style, markup=False)
    else:
        print(text, flush=True)


def coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


@functools.cache
def console() -> Any:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def style(line: str) -> str | None:
    """Colour of a line by how it begins."""
    if line.startswith("    | "):
        mark = line[6:7]
        return {"+": "green", "-": "red", "@": "cyan"}.get(mark, "dim")
    first = line.strip().split(" ", 1)[0]
    return STYLE.get(first) or ("bold" if line and not line.startswith(" ") else None)


def told(name: str, line: str) -> None:
    """One line of narrative, as it happens."""
    terminal.say(f"{name}: {line}" if name else line, sys.stderr)


def as_json(value: Any) -> None:
    print(terminal.json_text(value))


# ── plan and setup ───────────────────────────────────────────────────────────────────────────────────────


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
    if to_change := counts(picture, nodes):
        told = order or not any(node.todo for node in nodes)
        goes = bool(told) and not (stops(picture, nodes) or obstacles)
        lines += wrapped("", to_do(to_change, order, command, goes))
    lines += [line for sentence in effects for line in wrapped("  ", sentence)]
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
    places = [node.changes for node in nodes] + ([picture.place.changes] if picture.place else [])
    return [change for found in places for change in found if change.verdict in ("blocked", "unknown")]


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


def status_lines(found: status.Status, zone: str = "UTC") -> list[str]:
    """Verdict, next step, then tables: the hosts, their HAProxys, the servers; last the last failover."""
    lines = wrapped("", found.verdict)
    if found.next_step:
        lines += wrapped("  ", f"Next: {found.next_step}")
    heads = ("host", "role", "VRRP", "address", "HAProxy", "keepalived", "agent", "servers")
    figures = {row.host: row.overview for row in found.rows}
    for table in (
        [heads, *(status_cells(row) for row in found.rows)],
        overview.haproxy_rows(figures),
        overview.server_rows(figures),
    ):
        lines += ["", *(f"  {line}" for line in columns(table))] if table else []
    if found.failover:
        lines += ["", *failover_lines(found.failover, zone)]
    return lines


def failover_lines(found: overview.Failover, zone: str) -> list[str]:
    at = datetime.fromtimestamp(found.at, ZoneInfo(zone))
    said = f"Last failover: {found.source} to {found.to}, {at:%Y-%m-%d %H:%M:%S %z}. {found.why}."
    return wrapped("", said)


def status_cells(row: status.Row) -> tuple[str, ...]:
    holds = {True: "holds it", False: "-", None: "unknown"}[row.holds]
    agent = "maintenance" if row.maintenance else row.agent
    up = f"{row.servers[0]} of {row.servers[1]} up" if row.servers else "?"
    return row.host, row.role, row.vrrp, holds, row.haproxy, row.keepalived, agent, up


def certificate_lines(found: Sequence[certificates.Found]) -> list[str]:
    """What is wrong first, then each certificate with a table of the hosts."""
    from lbkit import certificates

    if not found:
        return ["By this inventory no frontend serves a certificate."]
    lines = []
    for one in (trouble for certificate in found for trouble in certificate.troubles):
        lines += [*wrapped("", f"{one.text}."), *wrapped("  ", f"Next: {one.next_step}")]
    if not lines:
        lines = ["Every certificate is good, and served by every host."]
    for certificate in found:
        lines += ["", *wrapped("", certificates.heading(certificate))]
        lines += [f"  {line}" for line in columns(certificates.rows(certificate))]
        odd = dict.fromkeys(note for copy in certificate.copies for note in copy.notes)
        lines += [line for note in odd for line in wrapped("  ", note)]
    return lines


def installed_lines(done: cert_install.Installed) -> list[str]:
    """Which certificate is served where, and until when."""
    if not done.changed:
        return wrapped("", f"{done.name} was served by {' and '.join(done.hosts)} already: nothing to do.")
    said = f"{done.name} for {', '.join(done.names)} is served by {' and '.join(done.hosts)}, until "
    lines = wrapped("", f"{said}{done.not_after[:10]} (sha256 {done.fingerprint[:16]} …).")
    return [*lines, *(line for note in done.notes for line in wrapped("  ", note))]


def switchover_lines(cluster: Cluster, moved: switchover.Moved) -> list[str]:
    """Who serves now, how long it took, and what became of requests and of open connections."""
    if moved.source == moved.target:
        return [f"{moved.target} serves already: nothing to do."]
    lines = wrapped("", f"{moved.target} serves now; {moved.source} stands by. It took {moved.took_s:.2f} s.")
    if moved.requests is not None:
        late = f", {moved.late_requests} waited a second for a lost packet" if moved.late_requests else ""
        lines += wrapped(
            "", f"Of {moved.requests} new requests meanwhile {moved.failed_requests} failed{late}."
        )
    cut = f", {moved.cut_requests} of those requests among them" if moved.cut_requests else ""
    kind = "Elastic" if isinstance(cluster.address, Eip) else "virtual"
    return lines + wrapped(
        "",
        f"Connections that were open at that moment were cut{cut}: a moved {kind} IP takes none along.",
    )


def maintenance_lines(done: maintenance.Done) -> list[str]:
    """What is so now, and what follows from it."""
    if done.state == "off":
        if not done.changed:
            return [f"{done.host} is not in maintenance: nothing to do."]
        return wrapped("", f"{done.host} is in maintenance no more. {done.serves} serves.")
    if not done.changed:
        return wrapped("", f"{done.host} is {done.text} already: nothing to do.")
    return wrapped("", f"{done.host} is {done.text}. {done.serves} serves.") + wrapped(
        "  ", f"Next: when the work is done: inv maintenance off --host {done.host}"
    )


def advert_lines(cluster: Cluster, found: adverts.Found) -> list[str]:
    """Who should send, what each host saw, what is wrong."""
    lines = wrapped("", adverts.should(cluster, found))
    lines += [
        "",
        f"Seen in {found.within_s:g} s:",
        *(f"  {one}" for one in columns(adverts.rows(cluster, found))),
        "",
    ]
    for why in found.missing.values():
        what, next_step = verify.split(why)
        lines += [*wrapped("", what), *wrapped("  ", f"Next: {next_step}")]
    for what, next_step in found.wrong:
        lines += [*wrapped("", f"{what}."), *wrapped("  ", f"Next: {next_step}")]
    if not found.wrong and not found.missing:
        lines.append("Nothing is wrong.")
    return lines


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells in columns of their own width."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


# ── verify and status ────────────────────────────────────────────────────────────────────────────────────


def check_lines(checks: Sequence[verify.Check]) -> list[str]:
    lines = []
    for check in checks:
        lines += wrapped("", f"{MARK[check.passed]:<5}{check.name}: {check.detail}")
        if not check.passed and check.next_step:
            lines += wrapped("     ", f"Next: {check.next_step}")
    bad = sum(not check.passed for check in checks)
    lines += [
        "",
        f"{len(checks)} checks, all passed." if not bad else f"{bad} of {len(checks)} checks did not pass.",
    ]
    return lines


def finding_lines(found: Sequence[Finding]) -> list[str]:
    """The doctor's findings, then how many there are of what."""
    lines = []
    for one in found:
        lines += wrapped("", f"{one.grade:<5}{one.name}: {one.detail}")
        if one.grade != "ok" and one.fix:
            lines += wrapped("     ", f"Next: {one.fix}")
    warned = sum(one.grade == "warn" for one in found)
    bad = sum(one.grade not in ("ok", "warn") for one in found)
    warnings = f", {warned} warned of" if warned else ""
    if bad:
        return [*lines, "", f"{bad} of {len(found)} points stand in the way of a set-up{warnings}."]
    return [*lines, "", f"{len(found)} points, none stands in the way of a set-up{warnings}. Next: inv setup"]
