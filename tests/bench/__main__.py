"""`make bench`. LBKIT_BENCH_ROUNDS shortens it (default 8); `make bench ARGS="fresh small peers"` chooses."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from lbkit.lab import api, settings
from tests.bench import contest, report

OUTPUT = contest.ROOT / "docs" / "benchmarks.md"


def main(parts: list[str]) -> None:
    rounds = int(os.environ.get("LBKIT_BENCH_ROUNDS", "8"))
    lab = api.Lab(
        settings.Lab(os.environ.get("LBKIT_LAB", "bench"), int(os.environ.get("LBKIT_LAB_PORTS", "2500")))
    )
    began = lab.up()
    try:
        with tempfile.TemporaryDirectory() as folder:
            bench = contest.Bench(lab, Path(folder))
            date = time.strftime("%Y-%m-%d")
            setting = report.machine(date, [])
            if "fresh" in parts:
                bench.fresh(max(3, rounds // 2))
            if "small" in parts:
                bench.small(rounds)
            if "peers" in parts:
                bench.against_peers(max(3, rounds // 2))
            setting[2] += ", ".join(contest.hosts_versions(lab))
        written = report.text(bench.times, setting)
        if {"fresh", "small", "peers"} <= set(parts):
            OUTPUT.write_text(written)
            print(f"bench: wrote {OUTPUT.relative_to(contest.ROOT)}", file=sys.stderr)
        print(written)
    finally:
        if began:
            lab.down()


if __name__ == "__main__":
    main(sys.argv[1:] or ["fresh", "small", "peers"])
