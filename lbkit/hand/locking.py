"""The lock of this host: a flock held by this process, so that it ends with it."""

import contextlib
import fcntl
import json
import os
import time

from lbkit.hand.core import Failed

LOCK = "/run/lbkit.lock"
PATIENCE_S = 0.5
PROGRAM_S = 20
OF_PROGRAMS = "on this host"  # with this ends the name by which a program of the host's own takes it

lock_descriptor = None


def lock(request):
    """{"held": None} when it is ours now, {"held": {who, since, command}} when it is another's."""
    global lock_descriptor
    descriptor = take({key: request[key] for key in ("who", "since", "command")}, PROGRAM_S)
    if descriptor is None:
        return {"held": holder()}
    lock_descriptor = descriptor
    return {"held": None}


def take(entry, program_s=0.0):
    """The descriptor whose end ends the lock; None where somebody else has it.

    program_s: for how long a program of this host's own is waited for: what it does is soon done.
    """
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if not taken(descriptor, program_s):
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(entry).encode(), 0)
    return descriptor


def holder():
    """{who, since, command} of somebody else, as far as it can be told."""
    return read() or {"who": "somebody", "since": "a moment ago", "command": "?"}


class Busy(Failed):
    """Somebody else has this host's lock."""


@contextlib.contextmanager
def held(who, command):
    """The lock is ours for as long as this lasts. Raises Busy."""
    since = time.strftime("%Y-%m-%d %H:%M:%S %z")
    descriptor = take({"who": who, "since": since, "command": command})
    if descriptor is None:
        found = holder()
        raise Busy(f"locked by {found['who']} since {found['since']} ({found['command']})")
    try:
        yield
    finally:
        os.close(descriptor)


def taken(descriptor, program_s):
    """Whether the flock is ours now. Who only reads the lock has it for an instant: that is no refusal."""
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            patience_s = program_s if by_program(descriptor) else 0.0
            if time.monotonic() - began > max(PATIENCE_S, patience_s):
                return False
            time.sleep(0.02)


def by_program(descriptor):
    """Whether who has the lock is no operator."""
    return OF_PROGRAMS in os.pread(descriptor, 4096, 0).decode(errors="replace")


def read():
    """Who holds the lock, or None. The text in the file counts only while somebody holds the flock."""
    try:
        descriptor = os.open(LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        try:
            return json.loads(os.pread(descriptor, 4096, 0))
        except ValueError:
            return {"who": "somebody", "since": "a moment ago", "command": "?"}
    else:
        return None
    finally:
        os.close(descriptor)
