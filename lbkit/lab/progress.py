"""Waiting, told: one line on stderr for anything that may take more than a second, and locks with a word."""

from __future__ import annotations

import fcntl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from lbkit.errors import LbkitError

T = TypeVar("T")


@contextmanager
def say(what: str) -> Iterator[None]:
    """Prints `lab: what …`, and on success how long it took."""
    started = time.monotonic()
    print(f"lab: {what} …", file=sys.stderr, flush=True)
    yield
    print(f"lab: {what}: done in {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """One process at a time; the kernel lets go of the lock when the process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened for append: never truncated, and the file stays, for removing it would allow two holders.
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"lab: {waiting} …", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def until(ready: Callable[[], T], what: str, timeout_s: float, next_step: str, pause_s: float = 0.02) -> T:
    """What ready() returns once it is true. Raises LbkitError when it is not in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := ready()):
        if time.monotonic() > deadline:
            raise LbkitError(f"{what}: not within {timeout_s:g} s.\nNext: {next_step}")
        time.sleep(pause_s)
    return value
