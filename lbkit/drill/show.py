"""What a failover test showed, as text of 80 columns and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lbkit import report
from lbkit.drill.figures import Asked
from lbkit.drill.result import Result
from lbkit.inventory import Cluster


def as_json(cluster: Cluster, results: Sequence[Result]) -> dict[str, Any]:
    """As docs/failover-test.md describes it."""
    return {
        "cluster": cluster.name,
        "address": cluster.address.kind,
        "advert_int_s": cluster.keepalived.advert_int,
        "passed": all(one.passed for one in results),
        "cases": [one.as_json() for one in results],
    }


HEADS = ("", "case", "outage", "failed", "noticed", "MASTER", "address", "back", "holder")


def lines(results: Sequence[Result]) -> list[str]:
    """A table of the cases, what became of open connections, then why a case failed and its timeline."""
    rows = [HEADS, *(row(one) for one in results)]
    found = report.columns(rows)
    found += [
        "",
        "Seconds. outage: longest time without a good answer to a new connection;",
        "failed: such requests, of all; then, after the break: noticed by a host,",
        "another was MASTER, the address was there; back: outage when it was sent home.",
    ]
    held = [text for one in results for text in report.wrapped("  ", open_ones(one)) if one.kept_alive]
    if held:
        found += [
            "",
            "Connections that were open (broken when the address moved, and again on its way back):",
        ]
        found += held
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


def open_ones(one: Result) -> str:
    """What became of the connections that were open, in a sentence."""
    said = [
        f"{name} {became(there, back)}"
        for name, there, back in (
            ("kept alive", one.kept_alive, one.failback_kept_alive),
            ("upgraded", one.upgraded, one.failback_upgraded),
        )
        if there
    ]
    return f"{one.case.name}: {'; '.join(said)}"


def became(there: Asked, back: Asked | None) -> str:
    def times(asked: Asked) -> str:
        gap = f" ({asked.outage_s:.2f} s)" if asked.broken else ""
        return f"{asked.broken}{gap}"

    total = f"{there.failed_requests} of {there.requests} requests failed"
    return f"broken {times(there)}{f' and {times(back)}' if back else ''}, {total}"


def timeline(one: Result) -> list[str]:
    return [
        line
        for at, host, source, text in one.timeline
        for line in report.wrapped(
            f"  {at:8.2f} {host or '-':<8} ", text if source != "drill" else f"* {text}"
        )
    ]
