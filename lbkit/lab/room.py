"""Room for what the hosts' programs watch. The kernel counts inotify instances by user, over the hosts of all
labs, and a keepalived that gets none says `Unable to monitor track files` once and never hears its agent.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

from lbkit.errors import Refused
from lbkit.lab import files, settings

LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
NEEDED = 60  # a lab has about 30 of them, and twice as many while its hosts boot
MORE = 512
KEPT = settings.STATE / ".inotify-limit"  # what the limit was before any lab raised it


def make() -> None:
    """The lab's hosts may watch files; the limit is raised where they could not. Raises Refused."""
    if is_there(NEEDED):
        return
    was = LIMIT.read_text().strip()
    if not KEPT.exists():
        files.write(KEPT, was, 0o644)
    try:
        LIMIT.write_text(str(int(was) + MORE))
    except OSError as error:
        raise Refused(
            f"Programs of the lab's hosts could not watch files: fewer than {NEEDED} inotify instances are "
            f"left of {was}, and the limit cannot be raised here ({error.strerror}).\n"
            f"Next: sysctl fs.inotify.max_user_instances={int(was) + MORE}, or take another lab down."
        ) from None


def give_back() -> None:
    """The limit is as it was. For when no lab is left."""
    with contextlib.suppress(OSError):
        LIMIT.write_text(KEPT.read_text())
        KEPT.unlink()


def is_there(count: int) -> bool:
    """Whether so many instances can be had now: they are, for a moment."""
    libc = ctypes.CDLL(None)
    taken: list[int] = []
    try:
        while len(taken) < count:
            descriptor = libc.inotify_init1(os.O_CLOEXEC)
            if descriptor < 0:
                return False
            taken.append(descriptor)
        return True
    finally:
        for descriptor in taken:
            os.close(descriptor)
