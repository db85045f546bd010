"""docs/certificate-figures.md, from what the runs kept. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.figures import count, line, milliseconds, page, runs_of, seconds, spread, verdict


@dataclass(frozen=True)
class Row:
    """A line about times. part, key: where its lists of seconds are, in each run. median_s, most_s: limits."""

    what: str
    part: str
    key: str
    median_s: float | None = None
    most_s: float | None = None


TIMES = (
    Row("certificate saved on the active → served by the passive", "saves", "certificate_s", median_s=0.5),
    Row("haproxy.cfg saved on the active → served by the passive", "saves", "configuration_s", median_s=0.5),
    Row("`cert-deploy install`: swap, and proof by a handshake", "swap", "changes_s"),
    Row("`inv haproxy`, a new haproxy.cfg on both hosts", "reload", "changes_s"),
    Row("`inv ssl` on a pair that has no certificate: the first one", "issue", "issue_s", most_s=15),
    Row("the active died for good: the passive's next timer run renews", "successor", "renewal_s"),
)
LOADS = (
    ("certificate swapped", "swap"),
    ("configuration reloaded", "reload"),
)
KINDS = (("new", "new TLS"), ("http1", "kept HTTP/1.1"), ("http2", "kept HTTP/2"))


def text(kept: dict[str, Any], setting: Sequence[str]) -> str:
    """kept: {part: {date, load, runs}}, as tests/bench/kept.py keeps it."""
    return page(
        "What a certificate costs",
        [
            "Written by `make bench` (`make bench ARGS=certificates` for this alone). These are figures of the lab: a",
            "virtual IP, and an ACME server of its own that answers without delay.",
        ],
        setting,
        kept,
        [
            "| | times | median | maximum | limit | |",
            "| --- | ---: | ---: | ---: | ---: | --- |",
            *(time_line(row, values(kept, row.part, row.key)) for row in TIMES),
            "",
            "Under load: clients outside ask over TLS while one change follows the other. A request failed if its client,",
            "keeping to the rules of HTTP, got no answer of status 200 to it within 10 s. Reopened: kept connections that were",
            "ended in order (`Connection: close`, GOAWAY), so that the client opened another. Again: requests that HTTP/2",
            "says were not looked at, and that were put again.",
            "",
            "| while | connections | changes | seconds | requests | failed | reopened | again | slowest answer | limit | |",
            "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
            *(load_line(what, kind, runs_of(kept, part)) for what, part in LOADS for kind in KINDS),
            "",
            "| handshakes after a change and before the next | | with an older certificate | limit | |",
            "| --- | ---: | ---: | ---: | --- |",
            *(handshake_line(what, runs_of(kept, part)) for what, part in LOADS),
        ],
    )


def values(kept: dict[str, Any], part: str, key: str) -> list[float]:
    return [value for run in runs_of(kept, part) for value in run[key]]


def time_line(row: Row, found: Sequence[float]) -> str:
    limits, good = [], True
    if row.median_s is not None:
        limits.append(f"median {row.median_s:g} s")
        good &= statistics.median(found or [0]) <= row.median_s
    if row.most_s is not None:
        limits.append(f"{row.most_s:g} s")
        good &= max(found, default=0) <= row.most_s
    judged = verdict(found, good) if limits or not found else ""
    return line(row.what, str(len(found)), *spread(found, seconds), ", ".join(limits), judged)


def load_line(what: str, kind: tuple[str, str], runs: Sequence[dict[str, Any]]) -> str:
    name, shown = kind
    found = [run["kinds"][name] for run in runs]
    failed = sum(len(one["failed"]) for one in found)
    cells = [
        count(sum(len(run["changes_s"]) for run in runs)),
        count(round(sum(run["seconds"] for run in runs))),
        count(sum(one["requests"] for one in found)),
        count(failed),
        count(sum(one["reopened"] for one in found)),
        count(sum(one["again"] for one in found)),
        milliseconds(max(one["slowest_s"] for one in found) * 1000),
    ] if runs else [""] * 7  # fmt: skip
    return line(what, shown, *cells, "0 failed", verdict(runs, not failed))


def handshake_line(what: str, runs: Sequence[dict[str, Any]]) -> str:
    older = sum(run["older"] for run in runs)
    cells = [count(sum(run["handshakes"] for run in runs)), count(older)] if runs else ["", ""]
    return line(what, *cells, "0", verdict(runs, not older))
