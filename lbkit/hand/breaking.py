"""Breaks something on purpose, after the host itself was told to undo it: nobody else need live for that."""

import contextlib
import json
import os
import threading
import time

from lbkit.hand.core import Failed, naming, run

UNIT = "lbkit-drill-undo"
SCRIPT = "/run/lbkit-drill-undo"
ANSWER_S = 0.3  # what the answer needs to get out before a host that ends itself is gone
AUTOBOOT = 0x01234567  # reboot(2), LINUX_REBOOT_CMD_RESTART


def drill(request):
    """{"at": time of the break, s since 1970}. prepare, do, undo: shell text.

    undo is armed to run by itself after `undo_after_s`; without that time what is armed already covers it,
    unless it ran meanwhile.
    """
    if request.get("undo_after_s"):
        arm(request["undo"], request["undo_after_s"])
    elif not armed():
        raise Failed("its undo ran already, for the break came too late: nothing was broken")
    try:
        if request.get("prepare"):
            run(["/bin/sh", "-ec", request["prepare"]])
        at = time.time()
        run(["/bin/sh", "-ec", request["do"]])
    except Failed:
        undo(request)
        raise
    return {"at": at}


def arm(undo, after_s):
    """The host runs the shell text by itself after so long.

    From a file: systemd-run writes `;` as `\\;` into its unit, which counts at the next daemon-reload.
    """
    if armed():
        raise Failed("what an earlier drill broke still waits to be mended")
    descriptor = os.open(SCRIPT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with naming(SCRIPT), os.fdopen(descriptor, "w") as file:
        file.write(f"{undo}\nrm -f {SCRIPT}\n")
    with contextlib.suppress(Failed):
        run(["systemctl", "reset-failed", f"{UNIT}.service"])
    timer = [f"--unit={UNIT}", f"--on-active={after_s}", "--timer-property=AccuracySec=100ms"]
    run(["systemd-run", "--quiet", *timer, "--", "/bin/sh", SCRIPT])


def cut_power():
    """{"at": when this host will be gone, s since 1970}: as without power, and it boots again by itself.

    Not by systemctl, which would take its time; what was written before is safe.
    """
    import ctypes

    os.sync()
    libc = ctypes.CDLL(None)
    threading.Timer(ANSWER_S, lambda: libc.reboot(AUTOBOOT)).start()
    return {"at": time.time() + ANSWER_S}


def undo(request):
    """What was broken is mended now, and the timer is gone; where that fails the timer stays."""
    at = time.time()
    run(["/bin/sh", "-c", request["undo"]])
    disarm()
    return {"at": at}


def disarm():
    """No timer is left; that there was none is fine too."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SCRIPT)
    for suffix in ("timer", "service"):
        for verb in ("stop", "reset-failed"):
            with contextlib.suppress(Failed):
                run(["systemctl", verb, f"{UNIT}.{suffix}"])


def broken():
    """Whether something is broken on purpose just now: its undo stands ready, and has not run."""
    return os.path.lexists(SCRIPT)


def armed():
    """Whether something broken on purpose still waits for its undo."""
    try:
        run(["systemctl", "is-active", "--quiet", f"{UNIT}.timer"])
    except Failed:
        return False
    return True


UNITS = ("keepalived", "haproxy", "lbkit-agent")


def events(since):
    """[(time in s since 1970, unit, line)] of keepalived, HAProxy and the agent in the journal since then.

    Without HAProxy's line for each request. The time is the one at which the line was sent, where the
    journal knows it, and not the one of its arrival.
    """
    units = [word for unit in UNITS for word in ("-u", unit)]
    argv = ["journalctl", "-o", "json", "--no-pager", f"--since=@{since:.3f}", *units]
    lines = []
    for row in run(argv).splitlines():
        entry = json.loads(row)
        message = entry.get("MESSAGE")
        if isinstance(message, str) and "HTTP/1" not in message:
            at = entry.get("_SOURCE_REALTIME_TIMESTAMP", entry["__REALTIME_TIMESTAMP"])
            # systemd's own lines about a unit name it in another field.
            unit = entry.get("UNIT") or entry.get("_SYSTEMD_UNIT", "")
            lines.append((int(at) / 1e6, unit.partition(".")[0], message))
    return lines
