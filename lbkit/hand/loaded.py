"""What each service last loaded: our record of it, and what the running process itself says."""

import hashlib
import json
import os

LOADED = "/var/lib/lbkit/loaded.json"


def load_record():
    """Unit (or `systemd`) → path → fingerprint. What is no such record counts as none."""
    try:
        with open(LOADED) as file:
            record = json.load(file)
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(record, dict):
        return {}
    return {unit: files for unit, files in record.items() if isinstance(files, dict)}


def last_change(path=LOADED):
    """When something of ours was loaded last, s since 1970; None where nothing ever was."""
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return None


def runs_with(path, record, unit):
    """Whether the unit's process was started with what the drop-in at `path` says.

    Every variable that it sets must stand in the main process's environment: a person may have restarted the
    service with another text that is gone again. And the digest must be the one on record; without a record
    the environment alone decides, and a drop-in that sets no variable is not known to be loaded.
    """
    recorded, now = record.get(path), fingerprint(path)
    wanted, found = drop_in_environment(path), process_environment(unit.get("MainPID"))
    if isinstance(recorded, list) and recorded:
        return now is not None and recorded[0] == now[0] and (not found or wanted <= found)
    return bool(wanted) and wanted <= found


def drop_in_environment(path):
    """{b"NAME=value"} that a drop-in of ours sets, one to a line and without quotes."""
    try:
        with open(path, "rb") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return set()
    return {line[len(b"Environment=") :] for line in lines if line.startswith(b"Environment=")}


def process_environment(pid):
    """{b"NAME=value"} with which a process was started; nothing where none runs."""
    try:
        with open(f"/proc/{pid or 0}/environ", "rb") as file:
            return set(file.read().split(b"\0"))
    except OSError:
        return set()


def fingerprint(path):
    """[sha256, change time in ns] of a file, None without one; lists, as they come back from JSON."""
    try:
        with open(path, "rb") as file:
            return [hashlib.sha256(file.read()).hexdigest(), os.fstat(file.fileno()).st_ctime_ns]
    except FileNotFoundError:
        return None
