"""Waiting in tests: for a claim, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(claim: Callable[[], object], timeout_s: float = 60, pause_s: float = 0.05) -> None:
    """The claim holds before the deadline."""
    deadline = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
        time.sleep(pause_s)
