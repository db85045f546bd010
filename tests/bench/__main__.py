"""`make bench`. LBKIT_BENCH_ROUNDS shortens it (default 8; 5 for failovers).

What it writes:

    make bench                                         all of these
    make bench ARGS="fresh small status peers lab"     docs/benchmarks.md; with fewer of them it only prints
    make bench ARGS=failover                           docs/failover-figures.md; or a part: cases, fast, switchover
    make bench ARGS=certificates                       docs/certificate-figures.md; or a part: saves, swap, reload,
                                                       issue, successor
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from lbkit.lab import api, settings
from tests.bench import certificate_figures, certificates, contest, failover, figures, report
from tests.lab.tidy import tidy

OUTPUT = contest.ROOT / "docs" / "benchmarks.md"
FIGURES = contest.ROOT / "docs" / "failover-figures.md"
CERTIFICATES = contest.ROOT / "docs" / "certificate-figures.md"
CONTEST = ("fresh", "small", "status", "peers", "lab")


def main(parts: list[str]) -> None:
    rounds = int(os.environ.get("LBKIT_BENCH_ROUNDS", "8"))
    lab = api.Lab(
        settings.Lab(os.environ.get("LBKIT_LAB", "bench"), int(os.environ.get("LBKIT_LAB_PORTS", "2500")))
    )
    with tidy(lab.settings):
        measured(lab, parts, rounds)


def measured(lab: api.Lab, parts: list[str], rounds: int) -> None:
    began = lab.up()
    here = report.machine(time.strftime("%Y-%m-%d"), [])[0]
    try:
        with tempfile.TemporaryDirectory() as folder:
            if wanted := [part for part in failover.PARTS if part in parts or "failover" in parts]:
                kept = failover.measure(lab, Path(folder), wanted, min(5, rounds))
                write(FIGURES, figures.text(kept, [here, versions(lab)]))
            if wanted := [part for part in certificates.PARTS if part in parts or "certificates" in parts]:
                kept = certificates.measure(lab, Path(folder), wanted)
                write(CERTIFICATES, certificate_figures.text(kept, [here, versions(lab)]))
            if set(CONTEST) & set(parts):
                contests(lab, Path(folder), parts, rounds)
    finally:
        if began:
            lab.down()


def versions(lab: api.Lab) -> str:
    return f"on the hosts: {', '.join(contest.hosts_versions(lab))}"


def contests(lab: api.Lab, folder: Path, parts: list[str], rounds: int) -> None:
    bench = contest.Bench(lab, folder)
    setting = report.machine(time.strftime("%Y-%m-%d"), [])
    if "fresh" in parts:
        bench.fresh(max(3, rounds // 2))
    if "small" in parts:
        bench.small(rounds)
    if "status" in parts:
        bench.status(rounds)
    if "peers" in parts:
        bench.against_peers(max(3, rounds // 2))
    if "lab" in parts:
        bench.lab_itself(max(3, rounds // 2))
    setting[2] += ", ".join(contest.hosts_versions(lab))
    written = report.text(bench.times, setting)
    if set(CONTEST) <= set(parts):
        write(OUTPUT, written)
    else:
        print(written)


def write(path: Path, text: str) -> None:
    path.write_text(text)
    print(f"bench: wrote {path.relative_to(contest.ROOT)}", file=sys.stderr)
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:] or [*CONTEST, "failover", "certificates"])
