"""What a failover test showed, as text of 80 columns and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lbkit import report
from lbkit.drill.figures import Asked
from lbkit.drill.result import Result
from lbkit.inventory import Cluster


def as_json(cluster: Cluster, results: Sequence[Result], failure: Exception | None = None) -> dict[str, Any]:
    """As docs/failover-test.md describes it. failure: what kept the other cases from their end."""
    return {
        "cluster": cluster.name,
        "address": cluster.address.kind,
        "advert_int_s": cluster.keepalived.advert_int,
        "passed": failure is None and all(one.passed for one in results),
        "error": None if failure is None else str(failure),
        "cases": [one.as_json() for one in results],
    }


def publish(
    cluster: Cluster, results: Sequence[Result], failure: Exception | None, path: str | None, json: bool
) -> None:
    """The page at `path`, and the table or the JSON, of the cases that came to their end. failure: what kept
    the others from theirs."""
    if path and results:
        from lbkit.drill import page  # it needs Jinja, which costs time

        page.write(Path(path), cluster, results)
        report.told("", f"The report is in {path}.")
    if json:
        report.as_json(as_json(cluster, results, failure))
    elif results:
        report.out(lines(results))


HEADS = ("", "case", "outage", "failed", "noticed", "MASTER", "address", "back", "holder")


OPEN_HEADS = ("", "case", "kept alive", "outage", "failed", "upgraded", "outage", "failed")


def lines(results: Sequence[Result]) -> list[str]:
    """A table of the cases, what became of open connections, then why a case failed and its timeline."""
    found = report.columns([HEADS, *(row(one) for one in results)])
    found += [
        "",
        "Seconds. outage: longest time without a good answer to a new connection;",
        "failed: such requests, of all. After the break: noticed by a host, another",
        "was MASTER, it had the address. back: outage when the address was sent home.",
    ]
    held = [open_row(one) for one in results if one.kept_alive]
    if held:
        found += ["", *report.columns([OPEN_HEADS, *held])]
        found += ["", "Of connections that were open, broken: by the case + on the way home."]
    for one in results:
        if not one.passed:
            found += ["", *report.wrapped("", f"{one.case.what} failed: {'; '.join(one.why)}.")]
            found += timeline(one)
    return found


def row(one: Result) -> tuple[str, ...]:
    moments, facts = one.moments, one.facts
    return (
        report.MARK[one.passed],
        one.case.name,
        f"{one.new.outage_s:.2f}",
        f"{one.new.failed_requests}/{one.new.requests}",
        seconds(moments.detected_s),
        seconds(moments.master_s),
        seconds(moments.address_s),
        seconds(one.failback.outage_s if one.failback else None),
        facts.holder_after or "nobody",
    )


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def open_row(one: Result) -> tuple[str, ...]:
    """What became of the connections that were open."""
    kept, upgraded = one.kept_alive, one.upgraded
    return (
        "",
        one.case.name,
        *open_cells(kept, one.failback_kept_alive),
        *open_cells(upgraded, one.failback_upgraded),
    )


def open_cells(there: Asked | None, back: Asked | None) -> tuple[str, str, str]:
    if there is None:
        return "-", "-", "-"
    broken = f"broken {there.broken}" + (f"+{back.broken}" if back else "")
    return broken, f"{there.outage_s:.2f}", f"{there.failed_requests}/{there.requests}"


def timeline(one: Result) -> list[str]:
    return [
        line
        for at, host, source, text in one.timeline
        for line in report.wrapped(
            f"  {at:8.2f} {host or '-':<8} ", text if source != "drill" else f"* {text}"
        )
    ]
