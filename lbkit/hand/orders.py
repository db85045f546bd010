"""Orders to the failover agent of this host, and its maintenance: files that it reads ten times a second.

An order ends by itself, by the time that stands in it, and so does what is kept here for clients meanwhile:
nobody need live to end a switchover.
"""

import contextlib
import json
import os
import time

from lbkit.hand.core import Failed, naming, run

RUN = "/run/lbkit"
MAINTENANCE = "/var/lib/lbkit/maintenance"


def order(request):
    """The agent has an order (`aside` or `take`) for `for_s` seconds.

    keep: a virtual address that this host goes on answering for as long, whoever is MASTER, so that nobody is
    refused between the one keepalived that drops it and the other that takes it. It stands on `lo`, where the
    kernel removes it when its time is over, and where neither keepalived nor the agent looks for it.
    """
    if request.get("keep"):
        lifetime = str(int(request["for_s"]))
        arguments = ["dev", "lo", "valid_lft", lifetime, "preferred_lft", lifetime]
        if (
            ":" in request["keep"]
        ):  # else its route to `lo` outlives it, and this host never reaches the other's
            arguments.append("noprefixroute")
        run(["ip", "address", "replace", host_prefix(request["keep"]), *arguments])
    put(os.path.join(RUN, request["name"]), f"{time.monotonic() + request['for_s']}\n")
    return {}


def release(request):
    """No order stands any more, and nothing is kept; that there was none is fine too."""
    for name in ("aside", "take"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(RUN, name))
    if request.get("keep"):
        with contextlib.suppress(Failed):
            run(["ip", "address", "del", host_prefix(request["keep"]), "dev", "lo"])
    return {}


def host_prefix(address):
    return f"{address}/{128 if ':' in address else 32}"


def maintain(request):
    """This host is in maintenance ({who, since, reason}), or with None it is not; it survives a reboot."""
    if request["maintenance"] is not None:
        os.makedirs(os.path.dirname(MAINTENANCE), 0o755, exist_ok=True)
        put(MAINTENANCE, json.dumps(request["maintenance"]) + "\n")
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(MAINTENANCE)
    return {}


def maintenance(path=MAINTENANCE):
    """{who, since, reason} of this host's maintenance; None where it is in none. A file made by hand counts
    too, whatever is in it."""
    try:
        with open(path) as file:
            entry = json.load(file)
        return {name: str(entry[name]) for name in ("who", "since", "reason")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return {"who": "somebody", "since": "some time ago", "reason": ""}


def put(path, content, mode=0o644):
    """Text or bytes, whole or not at all. The directory may be another user's: nothing there is followed."""
    content = content.encode() if isinstance(content, str) else content
    temporary = f"{path}.{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with naming(path), os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)  # where there is no room, it would go on taking some
        raise
