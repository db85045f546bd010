"""Breaks something on purpose, after the host itself was told to undo it: nobody else need live for that."""

import contextlib
import json
import time

from lbkit.hand.core import Failed, run

UNIT = "lbkit-drill-undo"


def drill(request):
    """{"at": time of the break, s since 1970}. `undo` is armed to run by itself after `undo_after_s`."""
    disarm()
    arm = ["systemd-run", "--quiet", f"--unit={UNIT}", f"--on-active={request['undo_after_s']}"]
    run([*arm, "--timer-property=AccuracySec=100ms", "--", *request["undo"]])
    at = time.time()
    try:
        run(request["do"])
    except Failed:
        undo(request)
        raise
    return {"at": at}


def undo(request):
    """What was broken is mended now, and the timer is gone."""
    at = time.time()
    run(request["undo"])
    disarm()
    return {"at": at}


def disarm():
    """No timer is left; that there was none is fine too."""
    for suffix in ("timer", "service"):
        for verb in ("stop", "reset-failed"):
            with contextlib.suppress(Failed):
                run(["systemctl", verb, f"{UNIT}.{suffix}"])


def events(since):
    """[(time in s since 1970, unit, line)] of keepalived, HAProxy and the agent in the journal since then."""
    argv = [
        "journalctl",
        "-o",
        "json",
        "--no-pager",
        f"--since=@{since:.3f}",
        "-u",
        "keepalived",
        "-u",
        "haproxy",
        "-u",
        "lbkit-agent",
    ]
    lines = []
    for row in run(argv).splitlines():
        entry = json.loads(row)
        message = entry.get("MESSAGE")
        if isinstance(message, str):
            lines.append((int(entry["__REALTIME_TIMESTAMP"]) / 1e6, entry.get("_SYSTEMD_UNIT", ""), message))
    return lines
