"""docs/failover-figures.md, from what the runs kept. Pure."""

from __future__ import annotations

import operator
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ELECTION_S = 2.0  # a call that came later was for something else


@dataclass(frozen=True)
class Row:
    """A line of the table. case: the drill's. part: where its runs are. most_s, most_failed: the limits for the
    longest outage and for failed requests of each run. runbook: what the runbook as written was measured at."""

    what: str
    case: str
    part: str = "cases"
    most_s: float | None = None
    most_failed: int | None = None
    runbook: str = ""


ROWS = (
    Row("HAProxy stopped", "haproxy", most_s=0.35, runbook="4.4 s"),
    Row("HAProxy killed, brought back by systemd, address unmoved", "haproxy-killed", most_s=0.4),
    Row("HAProxy killed for good", "haproxy-gone", most_s=1.0),
    Row("HAProxy hung", "haproxy-hung", most_s=1.0, runbook="9.7 s, never noticed"),
    Row("keepalived stopped", "keepalived", most_failed=0, runbook="0.6 s"),
    Row("keepalived killed", "keepalived-killed", most_failed=0),
    Row("host off", "host", most_s=1.8, runbook="8.7 s"),
    Row("host off, adverts every 0.2 s", "host", part="fast", most_s=0.8),
    Row("partition and its healing", "partition", most_failed=1, runbook="address stranded"),
    Row("no AWS API, then HAProxy stopped too", "aws"),
)
HOME_S = 10.0
EXTRA_MS = 30.0


def text(kept: dict[str, Any], setting: Sequence[str]) -> str:
    """kept: {part: {date, runs}}, as tests/bench/failover.py keeps it."""
    return page(
        "What a failover costs",
        [
            "Written by `make bench` (`make bench ARGS=failover` for this alone). These are figures of the lab:",
            "an Elastic IP of its own AWS API, which moves within milliseconds of the call; on AWS itself a move",
            "takes as long as AWS takes. Measured with `inv failover-test --json`: 50 new HTTPS connections a",
            "second from outside, outage = longest gap between good answers less the interval. Of the failed requests",
            "some were on their way at the moment of the move: those are open connections, which a moved address",
            "cuts. Limits hold for the worst run, those for failed requests without these. The runbook's figures are",
            "those of the issue: the runbook as written, measured before.",
        ],
        setting,
        kept,
        [
            "| new connections | runs | outage: median | maximum | failed: median | maximum | on their way | limit | "
            "| runbook |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
            *(case_line(row, cases_of(kept, row)) for row in ROWS),
            *home_lines(kept),
            "",
            "| since the break | noticed | MASTER | address |",
            "| --- | ---: | ---: | ---: |",
            *(moments_line(row, cases_of(kept, row)) for row in ROWS),
            "",
            "Connections that were open: requests without an answer, and how often the connection broke, medians.",
            "On AWS a moved address cuts what is open, and so it does here.",
            "",
            "| open connections | kept alive: failed | broken | upgraded: failed | broken |",
            "| --- | ---: | ---: | ---: | ---: |",
            *(open_line(row, cases_of(kept, row)) for row in ROWS),
        ],
    )


def page(
    title: str, intro: Sequence[str], setting: Sequence[str], kept: dict[str, Any], body: Sequence[str]
) -> str:
    """A page of figures. setting: what they were measured on, and with. kept: by part, as of kept.measure."""
    measured = ", ".join(
        f"{part} {found['date']}" + (f" at load {found['load']:g}" if "load" in found else "")
        for part, found in kept.items()
    )
    lines = [f"# {title}", "", *intro, "", *(f"- {line}" for line in setting), f"- measured: {measured}"]
    return "\n".join([*lines, "", *body, ""])


def runs_of(kept: dict[str, Any], part: str) -> list[dict[str, Any]]:
    return kept.get(part, {}).get("runs", [])


def cases_of(kept: dict[str, Any], row: Row) -> list[dict[str, Any]]:
    return [case for run in runs_of(kept, row.part) for case in run["cases"] if case["case"] == row.case]


def case_line(row: Row, runs: list[dict[str, Any]]) -> str:
    outages = [run["outage_s"] for run in runs]
    failed = [run["failed_requests"] for run in runs]
    cut = [run["cut_requests"] for run in runs]
    good = all(run["passed"] for run in runs)
    limits = [f"{row.most_s:g} s"] if row.most_s is not None else []
    if row.most_s is not None:
        good &= max(outages, default=0) <= row.most_s
    if row.most_failed is not None:
        good &= max(map(operator.sub, failed, cut), default=0) <= row.most_failed
        limits.append(f"{row.most_failed} failed")
    cells = [row.what, str(len(runs)), *spread(outages, seconds), *spread(failed, count), most(cut)]
    return line(*cells, ", ".join(limits), verdict(runs, good), row.runbook)


def home_lines(kept: dict[str, Any]) -> list[str]:
    """The way home after each case, the planned move, the partition's end, and the agent's own time."""
    runs = [case for run in runs_of(kept, "cases") for case in run["cases"]]
    backs = [run for run in runs if run["failback_requests"] is not None]
    failed = [run["failback_failed_requests"] for run in backs]
    outages = [run["failback_outage_s"] for run in backs]
    moves = [move for run in runs_of(kept, "switchover") for move in run["moves"]]
    lost = [move["failed_requests"] for move in moves if move["failed_requests"] is not None]
    on_way = [move["cut_requests"] for move in moves if move["cut_requests"] is not None]
    cut = [run["failback_cut_requests"] for run in backs]
    whole = list(map(operator.add, lost, on_way))
    home = [run["address_s"] for run in runs if run["case"] == "partition" and run["address_s"] is not None]
    extra = [value for run in runs_of(kept, "cases") for value in run["extra_ms"]]
    return [
        line("failback, after each case", str(len(backs)), *spread(outages, seconds), *spread(failed, count),
             most(cut), "0 failed", verdict(backs, failed == cut), "0.6 s"),
        line("`inv switchover`", str(len(lost)), "", "", *spread(whole, count), most(on_way),
             "0 failed", verdict(lost, not any(lost)), ""),
        line("partition: until the address is home", str(len(home)), *spread(home, seconds), "", "", "",
             f"{HOME_S:g} s", verdict(home, max(home, default=0) <= HOME_S), "never"),
        line("from the change of role to the finished call, beyond the API's own time", str(len(extra)),
             *spread(extra, milliseconds), "", "", "", f"{EXTRA_MS:g} ms",
             verdict(extra, max(extra, default=0) <= EXTRA_MS), "1,313 ms for its two CLI calls"),
    ]  # fmt: skip


def moments_line(row: Row, runs: list[dict[str, Any]]) -> str:
    names = ("detected_s", "master_s", "address_s")
    return line(row.what, *(middle([run[name] for run in runs if run[name] is not None]) for name in names))


def open_line(row: Row, runs: list[dict[str, Any]]) -> str:
    cells = []
    for kind in ("kept_alive", "upgraded"):
        held = [run[kind] for run in runs if run[kind]]
        for name in ("failed_requests", "broken"):
            cells.append(count(statistics.median(one[name] for one in held)) if held else "")
    return line(row.what, *cells)


def beyond(
    elected: Sequence[float], calls: Sequence[tuple[float, float]], done: Sequence[float]
) -> list[float]:
    """ms from an election to the end of the call that it led to, less the API's own time. calls: (when it
    reached the API, s that it took there). All by one clock, in s since 1970. A call that had company counts
    by its last."""
    found = []
    for began in elected:
        mine = [(at, took) for at, took in calls if began <= at <= began + ELECTION_S]
        ends = [end for end in done if mine and end >= mine[0][0] + mine[0][1]]
        if ends:
            found.append((min(ends) - began - mine[0][1]) * 1000)
    return found


def line(*cells: str) -> str:
    return re.sub(r"\|  (?=\|)", "| ", f"| {' | '.join(cells)} |")


def spread(values: Sequence[float], show: Any) -> tuple[str, str]:
    return (show(statistics.median(values)), show(max(values))) if values else ("", "")


def most(values: Sequence[float]) -> str:
    return count(max(values)) if values else ""


def middle(values: Sequence[float]) -> str:
    return seconds(statistics.median(values)) if values else "–"


def verdict(values: Sequence[Any], good: bool) -> str:
    return "not run" if not values else "met" if good else "**missed**"


def seconds(value: float) -> str:
    return f"{value:.2f} s"


def milliseconds(value: float) -> str:
    return f"{value:.1f} ms"


def count(value: float) -> str:
    return f"{value:g}"
