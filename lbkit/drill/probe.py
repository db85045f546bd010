"""The prober outside, and the connections that it keeps open, over the hand on the client (or here)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lbkit import errors, verify
from lbkit.drill import figures
from lbkit.hand.holding import EVERY_S as HELD_EVERY_S
from lbkit.inventory import Cluster

PROBE_EVERY_S = 0.02
ANSWER_WITHIN_S = 0.5
READINGS = 5  # of a clock, of which the quickest counts

Ask = Callable[..., Any]


@dataclass(frozen=True)
class Answers:
    """Samples by our clock. held: of each kind of open connection, with the times at which it broke."""

    new: tuple[figures.Sample, ...]
    held: dict[str, tuple[tuple[figures.Sample, ...], tuple[float, ...]]]

    def asked(self, since: float, until: float) -> figures.Asked:
        return figures.asked(self.new, PROBE_EVERY_S, since, until)

    def asked_held(self, kind: str, since: float, until: float) -> figures.Asked | None:
        """None where no connection of that kind was held."""
        if kind not in self.held:
            return None
        samples, broken = self.held[kind]
        return figures.asked(samples, HELD_EVERY_S, since, until, broken)


class Probe:
    """Asks from its making until `stop`."""

    def __init__(self, cluster: Cluster, ask: Ask) -> None:
        page = verify.public_page(cluster).question()
        question = {**page, "timeout_s": ANSWER_WITHIN_S}
        self.ask, self.marks = ask, [reading(ask)]
        path = cluster.failover_test.upgrade_path
        kinds = (["kept_alive"] + (["upgraded"] if path else [])) if page["http"] else []
        faults = ask("hold", question={**question, "upgrade_path": path}, kinds=kinds)
        if faults.get("upgraded"):
            ask("held")
            raise errors.Refused(
                f"Nothing can be held open at {path}: {faults['upgraded']}; nothing was broken.\n"
                f"Next: mend `failover_test.upgrade_path` (a WebSocket behind the address), or leave it out."
            )
        ask("probe", question=question, every_s=PROBE_EVERY_S)

    def stop(self) -> Answers:
        samples, held = self.ask("probed"), self.ask("held")
        clock = figures.Clock((*self.marks, reading(self.ask)))

        def ours(rows: Any) -> tuple[figures.Sample, ...]:
            return tuple((clock.ours(at), took_ms, good) for at, took_ms, good in rows)

        return Answers(
            ours(samples),
            {
                kind: (ours(one["samples"]), tuple(map(clock.ours, one["broken"])))
                for kind, one in held.items()
            },
        )


def reading(ask: Ask) -> figures.Reading:
    """The other side's clock, as well as round trips can tell."""
    found = []
    for _ in range(READINGS):
        sent = time.time()
        there = ask("clock")
        found.append(figures.Reading(sent, there, time.time()))
    return figures.best(found)
