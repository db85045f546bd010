"""The lock of this host: a flock held by this process, so that it ends with it."""

import fcntl
import json
import os
import time

LOCK = "/run/lbkit.lock"
PATIENCE_S = 0.5

lock_descriptor = None


def lock(request):
    """{"held": None} when it is ours now, {"held": {who, since, command}} when it is another's."""
    global lock_descriptor
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if not taken(descriptor):
        os.close(descriptor)
        return {"held": read() or {"who": "somebody", "since": "a moment ago", "command": "?"}}
    os.ftruncate(descriptor, 0)
    entry = {key: request[key] for key in ("who", "since", "command")}
    os.pwrite(descriptor, json.dumps(entry).encode(), 0)
    lock_descriptor = descriptor
    return {"held": None}


def taken(descriptor):
    """Whether the flock is ours now. Who only reads the lock has it for an instant: that is no refusal."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)


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
