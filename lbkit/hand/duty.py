"""What the host's own programs (certificates, sync) ask and tell: who is in charge, and what is wrong.

They are installed beside these modules (see steps/library.py) and run without an operator.
"""

import contextlib
import json
import os
import socket
import time

AGENT_STATE = "/run/lbkit/agent.json"
FRESH_S = 5  # the agent writes it several times a second
ALARMS = "/var/lib/lbkit/alarms"
SPARE = "/run/lbkit-alarms"  # in memory, where the disk has no room: that is just when alarms are raised


JOURNAL = "/run/systemd/journal/socket"
ERROR, NOTE = 3, 6  # syslog's priorities


def journal(unit, text, priority=NOTE, path=JOURNAL):
    """A line that `journalctl -u UNIT` shows, of what a person started outside of the unit."""
    fields = {"PRIORITY": priority, "SYSLOG_IDENTIFIER": unit.partition(".")[0], "OBJECT_SYSTEMD_UNIT": unit}
    lines = [f"{key}={value}" for key, value in {**fields, "MESSAGE": " ".join(text.split())}.items()]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto("\n".join([*lines, ""]).encode(), path)


def in_charge(path=AGENT_STATE):
    """Whether this node is the MASTER confirmed to hold the address; None where the agent does not say.

    Clocks jump: a state from the future is as little worth as an old one, for the moment until it is written
    again.
    """
    try:
        with open(path, encoding="utf-8") as file:
            state = json.load(file)
            age_s = time.time() - os.fstat(file.fileno()).st_mtime
        if not -FRESH_S < age_s < FRESH_S:
            return None
        return state["role"] == "MASTER" and state["holder"] == "me"
    except (OSError, ValueError, KeyError, TypeError):
        return None


def raise_alarm(name, event, text, directory=None):
    """The alarm stands from now on; the agent notifies of it once, `inv status` and `inv verify` show it.

    name: which one, a file's name. event: the kind that `[notify]` chooses by (`certificate`, `sync`). An
    alarm that stands already keeps the time since when; a reboot does not end it, unless the disk had no room
    for it.
    """
    standing = alarms(directory).get(name, {})
    entry = {"event": event, "text": text, "since": standing.get("since", int(time.time()))}
    if entry == standing:
        return
    try:
        write_alarm(directory or ALARMS, name, entry)
    except OSError:
        write_alarm(directory or SPARE, name, entry)


def write_alarm(directory, name, entry):
    os.makedirs(directory, exist_ok=True)
    os.chmod(directory, 0o755)  # whatever our umask: the agent, who is not root, tells of them
    temporary = os.path.join(directory, f".{name}.{os.getpid()}")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            json.dump(entry, file)
        os.rename(temporary, os.path.join(directory, name))
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def end_alarm(name, directory=None):
    """The alarm is over; that there was none is fine too."""
    for place in places(directory):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(place, name))


def alarms(directory=None):
    """Name → {event, text, since} of those that stand."""
    found = {}
    for place in places(directory):
        with contextlib.suppress(FileNotFoundError):
            names = sorted(name for name in os.listdir(place) if not name.startswith("."))
            found.update((name, read_alarm(os.path.join(place, name))) for name in names)
    return {name: entry for name, entry in found.items() if entry}


def places(directory):
    return (directory,) if directory else (ALARMS, SPARE)


def read_alarm(path):
    """One alarm's {event, text, since}; None where there is none, or no such thing."""
    try:
        with open(path, encoding="utf-8") as file:
            entry = json.load(file)
    except (OSError, ValueError):
        return None
    wanted = {"event": str, "text": str, "since": int}
    fits = isinstance(entry, dict) and all(isinstance(entry.get(key), kind) for key, kind in wanted.items())
    return entry if fits else None
