"""What the operator reads: results on stdout, narrative on stderr, JSON for machines.

Plain text is built here by pure functions; colour is added only for a terminal, by rich, which is imported
only then. Nothing here decides anything. Each command loads only what it shows.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from lbkit import terminal
from lbkit.inventory import Cluster, Eip

if TYPE_CHECKING:
    from lbkit import adverts, cert_install, certificates, maintenance, overview, switchover, verdict
    from lbkit.check import Check
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


def status_lines(found: verdict.Status, zone: str = "UTC") -> list[str]:
    """Verdict, next step, then tables: the hosts, their HAProxys, the servers; last the last failover."""
    from lbkit import overview

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


def status_cells(row: verdict.Row) -> tuple[str, ...]:
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
        lines += table(certificates.rows(certificate), "  ")
        odd = dict.fromkeys(note for copy in certificate.copies for note in copy.notes)
        lines += [line for note in odd for line in wrapped("  ", note)]
    return lines


def installed_lines(done: cert_install.Installed) -> list[str]:
    """Which certificate is served where, and until when; where it is not, the next step."""
    from lbkit import certificates

    if not done.changed and not done.not_running:
        return wrapped("", f"{done.name} was served by {' and '.join(done.hosts)} already: nothing to do.")
    serving = " and ".join(name for name in done.hosts if name not in done.not_running)
    stopped = " and ".join(done.not_running)
    until = f"until {done.not_after[:10]} (sha256 {done.fingerprint[:16]} …)"
    said = f"{done.name} for {', '.join(done.names)}"
    if serving:
        lines = wrapped("", f"{said} is served by {serving}, {until}.")
        if stopped:
            more = f"It is in place on {stopped}, where HAProxy does not run: not served there."
            lines += wrapped("", more)
    else:
        where = f"is in place on {stopped}, and served by none: HAProxy does not run there"
        lines = wrapped("", f"{said}, {until}, {where}.")
    lines += [line for note in done.notes for line in wrapped("  ", note)]
    return lines + (wrapped("  ", f"Next: {certificates.journal_of(stopped)}") if stopped else [])


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
    from lbkit import adverts
    from lbkit.check import split

    lines = wrapped("", adverts.should(cluster, found))
    lines += [
        "",
        f"Seen in {found.within_s:g} s:",
        *(f"  {one}" for one in columns(adverts.rows(cluster, found))),
        "",
    ]
    for why in found.missing.values():
        what, next_step = split(why)
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


def table(rows: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    """Columns, of which the last has what is left of the terminal's width: wrapped there, or on a line of its
    own where a word of it is longer."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        left = indent + "".join(f"{text.ljust(width)}  " for text, width in zip(row, widths, strict=False))
        if max(map(len, row[-1].split()), default=0) > terminal.width() - len(left):
            lines += [left.rstrip(), f"{indent}    {row[-1]}"]
        else:
            lines += wrapped(left, row[-1]) or [left.rstrip()]
    return lines


# ── verify and status ────────────────────────────────────────────────────────────────────────────────────


def check_lines(checks: Sequence[Check]) -> list[str]:
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
