"""What was measured, kept run by run in build/, so that parts can be measured apart."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.lab.rehearsal import Rehearsal

BUILD = Path(__file__).parents[2] / "build"


def measure(
    name: str, parts: Sequence[tuple[str, Callable[[Any], dict[str, Any]], int]], operator: Rehearsal
) -> dict[str, Any]:
    """{part: {date, load, runs: […]}}: the parts measured now, each so many times, and the others as they were kept.
    load: the machine's, at the first run."""
    path = BUILD / f"{name}.json"
    found = load(path)
    for part, once, runs in parts:
        found[part] = {"date": time.strftime("%Y-%m-%d"), "load": round(os.getloadavg()[0], 1), "runs": []}
        for count in range(runs):
            tell(f"{part}, run {count + 1} of {runs}")
            found[part]["runs"].append(once(operator))
            BUILD.mkdir(exist_ok=True)
            path.write_text(json.dumps(found))
    return found


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def tell(text: str) -> None:
    print(f"bench: {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
