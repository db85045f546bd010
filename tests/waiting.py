"""Waiting in tests: for a claim, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(
    claim: Callable[[], object],
    timeout_s: float = 60,
    seen: Callable[[], object] | None = None,
    pause_s: float = 0.05,
) -> None:
    """The claim holds before the deadline. seen: what is shown where it does not."""
    deadline = time.monotonic() + timeout_s
    while not claim():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s. {seen() if seen else ''}")
        time.sleep(pause_s)
