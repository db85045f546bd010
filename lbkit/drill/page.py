"""The report: one HTML file that needs nothing else. Drawn here, shown by report.html.j2."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lbkit import terminal
from lbkit.drill import show
from lbkit.drill.figures import Sample
from lbkit.drill.probe import ANSWER_WITHIN_S, PROBE_EVERY_S
from lbkit.drill.result import Result
from lbkit.inventory import Cluster

WIDTH, LEFT, RIGHT = 960, 84, 12  # px, of which LEFT and RIGHT are margins
ROW, PLOT, GAP, LANE, AXIS = 15, 130, 10, 20, 26  # heights in px: a row of labels, the plot, what is below it
LETTER = 6.4  # px that a letter of a label takes, on average
SLOWEST_MS, QUICKEST_MS = ANSWER_WITHIN_S * 1000, 1.0
LANES = (("kept_alive", "kept alive"), ("upgraded", "upgraded"))


@dataclass(frozen=True)
class Label:
    """A moment: where it stands, in which row, and its name."""

    x: float
    y: float
    text: str
    anchor: str


@dataclass(frozen=True)
class Plot:
    """One drawing. good, failed and the lanes' marks: SVG paths. bands: (x, width, class) of what is shaded.
    ticks: (x, text) of the time axis; levels: (y, text) of the answers' time."""

    title: str
    height: float
    top: float
    bottom: float
    good: str
    failed: str
    lanes: tuple[tuple[float, str, str, str], ...]
    bands: tuple[tuple[float, float, str], ...]
    labels: tuple[Label, ...]
    ticks: tuple[tuple[float, str], ...]
    levels: tuple[tuple[float, str], ...]


def write(path: Path, cluster: Cluster, results: Sequence[Result]) -> None:
    """The file is there whole, or as it was before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(html(cluster, results), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def html(cluster: Cluster, results: Sequence[Result]) -> str:
    """The whole page."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["seconds"] = show.seconds
    environment.filters["visible"] = terminal.visible
    began = results[0].phases.began if results else time.time()
    return environment.get_template("report.html.j2").render(
        cluster=cluster,
        kind={"eip": "Elastic IP", "vip": "virtual IP"}[cluster.address.kind],
        began=time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(began)),
        passed=sum(one.passed for one in results),
        cases=[{"result": one, "plots": plots(one)} for one in results],
        per_second=round(1 / PROBE_EVERY_S),
        within_ms=round(SLOWEST_MS),
        left=LEFT,
        right=WIDTH - RIGHT,
        width=WIDTH,
    )


def plots(one: Result) -> list[Plot]:
    """The moments around the break, then the whole case; one alone where they are about the same."""
    phases, moments = one.phases, one.moments
    begin, end = phases.began - phases.broken, phases.ended - phases.broken
    last = max(moments.address_s or 0, moments.master_s or 0, one.new.outage_s, 0.5)
    near = (-0.3 * last, min(end, 1.5 * last + 0.2))
    whole = plot("The whole case", one, begin, end)
    if near[1] - near[0] > 0.7 * (end - begin):
        return [whole]
    return [plot("Around the break", one, *near), whole]


def plot(title: str, one: Result, begin: float, end: float) -> Plot:
    """A drawing of the case from begin to end, in s after the break."""

    def x(at: float) -> float:
        return round(LEFT + (at - begin) / (end - begin) * (WIDTH - LEFT - RIGHT), 1)

    labels, rows = placed([(x(at), text) for at, text in marks(one) if begin <= at <= end])
    top = rows * ROW + 6

    def y(took_ms: float) -> float:
        share = math.log(min(max(took_ms, QUICKEST_MS), SLOWEST_MS) / QUICKEST_MS)
        return round(top + PLOT - share / math.log(SLOWEST_MS / QUICKEST_MS) * (PLOT - 20), 1)

    def within(samples: Sequence[Sample]) -> list[tuple[float, float, bool]]:
        rows = [(at - one.phases.broken, took_ms, good) for at, took_ms, good in samples]
        return [row for row in rows if begin <= row[0] <= end]

    new = within(one.answers.new)
    lanes, bottom = [], float(top + PLOT + GAP)
    for kind, name in LANES:
        if kind in one.answers.held:
            asked = within(one.answers.held[kind][0])
            middle = bottom + LANE / 2
            lanes.append(
                (
                    middle,
                    name,
                    strokes((x(at), middle, 3) for at, _, good in asked if good),
                    strokes((x(at), middle, 7) for at, _, good in asked if not good),
                )
            )
            bottom += LANE
    return Plot(
        title=title,
        height=bottom + AXIS,
        top=top,
        bottom=bottom,
        good=" ".join(f"M{x(at)} {y(took_ms)}h0" for at, took_ms, good in new if good),
        failed=strokes((x(at), top + 8, 6) for at, _, good in new if not good),
        lanes=tuple(lanes),
        bands=tuple(
            (x(max(first, begin)), round(x(min(last, end)) - x(max(first, begin)), 1), kind)
            for first, last, kind in bands(one)
            if first < end and last > begin
        ),
        labels=labels,
        ticks=tuple((x(at), text) for at, text in ticks(begin, end)),
        levels=tuple((y(ms), f"{ms:g} ms") for ms in (1, 10, 100)),
    )


def strokes(marks: Any) -> str:
    """An SVG path of upright strokes at (x, middle, half their height)."""
    return " ".join(f"M{x} {round(y - half, 1)}v{2 * half}" for x, y, half in marks)


def marks(one: Result) -> list[tuple[float, str]]:
    """(s after the break, name) of the case's moments."""
    phases, moments = one.phases, one.moments
    found = [
        (after(one, phases.broken_first), "no AWS API"),
        (0.0, "broken"),
        (moments.detected_s, "noticed"),
        (moments.master_s, "MASTER"),
        (moments.address_s, "address"),
        (after(one, phases.mended), "back" if one.case.reboots else "mended"),
        (after(one, phases.whole), "whole again"),
        (after(one, phases.home) if one.failback else None, "sent home"),
    ]
    return [(at, name) for at, name in found if at is not None]


def after(one: Result, at: float | None) -> float | None:
    """Seconds after the break."""
    return None if at is None else at - one.phases.broken


def bands(one: Result) -> list[tuple[float, float, str]]:
    """(from, to, class) in s after the break: while it was broken, and while the address went home."""
    phases = one.phases
    found = [(0.0, phases.mended - phases.broken, "broken")]
    if phases.broken_first:
        found.append((phases.broken_first - phases.broken, 0.0, "first"))
    if one.failback and phases.home:
        found.append((phases.home - phases.broken, phases.ended - phases.broken, "home"))
    return found


def placed(moments: Sequence[tuple[float, str]]) -> tuple[tuple[Label, ...], int]:
    """(labels that do not cover each other, rows that they take): each in the first row that has room."""
    ends: list[float] = []
    found = []
    for x, text in moments:
        width = len(text) * LETTER + 8
        anchor = "end" if x + width > WIDTH - RIGHT else "start"
        begin = x - width if anchor == "end" else x
        row = next((i for i, end in enumerate(ends) if begin >= end), len(ends))
        ends[row:] = [begin + width, *ends[row + 1 :]]
        found.append(Label(x + (-4 if anchor == "end" else 4), row * ROW + 12, text, anchor))
    return tuple(found), len(ends)


STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120)


def ticks(begin: float, end: float) -> list[tuple[float, str]]:
    """At most a dozen round moments between two, with their text."""
    step = next((one for one in STEPS_S if (end - begin) / one <= 12), 300)
    first = math.ceil(begin / step - 1e-9)
    return [(n * step, f"{n * step:g} s") for n in range(first, math.floor(end / step + 1e-9) + 1)]
