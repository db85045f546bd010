"""Lines of the journal: the newest, or as they come."""

import json
import os
import re
import select
import subprocess
import time

FIELDS = "MESSAGE,PRIORITY,UNIT,OBJECT_SYSTEMD_UNIT,_SYSTEMD_UNIT"
OPTIONS = (("lines", "newest"), ("priority", "priority"))
IDLE_S = 60  # the operator's machine shows life every 15 s


def logs(request):
    """{lines: [[µs since 1970, unit, priority, text]], oldest first, cursor, more, time}.

    units: names or patterns of systemd units. since: {ago_s, at}, either or neither. grep: a regular
    expression, or None. limit: at most so many, the newest; more: there were older ones. cursor: from where
    `follow` goes on. time: of this host, s since 1970.
    """
    now, found, cursor, more = time.time(), [], None, False
    process = journalctl(request, "--reverse")
    try:
        for raw in process.stdout:
            entry = json.loads(raw)
            cursor = cursor or entry["__CURSOR"]
            line = matched(entry, request)
            if line and len(found) == request["limit"]:
                more = True
                break
            if line:
                found.append(line)
    finally:
        process.kill()
        process.wait()
    return {"lines": found[::-1], "cursor": cursor, "more": more, "time": now}


def follow(request, say, source=0):
    """Tells {lines, cursor} as lines come, until `source` (the operator's side) ends or is silent.

    cursor: after which, as `logs` or an earlier line told it; without one `since` counts.
    """
    process, buffer, heard = journalctl(request, "--follow", "--no-tail"), b"", time.monotonic()
    output = process.stdout.fileno()
    try:
        while time.monotonic() - heard < IDLE_S:
            ready = select.select([source, output], [], [], 1)[0]
            if source in ready:
                if not os.read(source, 1 << 16):
                    return {}
                heard = time.monotonic()
            if output in ready:
                data = os.read(output, 1 << 16)
                if not data:
                    return {}
                *lines, buffer = (buffer + data).split(b"\n")
                entries = [json.loads(line) for line in lines if line.startswith(b"{")]
                told = [line for line in (matched(entry, request) for entry in entries) if line]
                if told:
                    say({"lines": told, "cursor": entries[-1]["__CURSOR"]})
    finally:
        process.kill()
        process.wait()
    return {}


def journalctl(request, *words):
    """newest: how many lines are looked at at all; priority: syslog's, and more urgent; matches: of
    fields."""
    since = request["since"]
    argv = ["journalctl", "--quiet", "--no-pager", "--output=json", f"--output-fields={FIELDS}", *words]
    argv += [f"--unit={unit}" for unit in request["units"]]
    if request.get("cursor"):
        argv.append(f"--after-cursor={request['cursor']}")
    elif since.get("at") is not None:
        argv.append(f"--since=@{since['at']:.6f}")
    elif since.get("ago_s") is not None:
        argv.append(f"--since=@{time.time() - since['ago_s']:.6f}")
    argv += [f"--{word}={request[key]}" for word, key in OPTIONS if request.get(key) is not None]
    argv += request.get("matches", ())
    null = subprocess.DEVNULL
    return subprocess.Popen(argv, stdin=null, stdout=subprocess.PIPE, stderr=null)


def matched(entry, request):
    """[µs, unit, priority, text] of a journal entry, or None where the expression is not in it."""
    text = entry.get("MESSAGE") or ""
    if isinstance(text, list):  # not UTF-8: its bytes
        text = bytes(text).decode(errors="replace")
    if request["grep"] and not re.search(request["grep"], text):
        return None
    about = (entry.get(field) for field in ("UNIT", "OBJECT_SYSTEMD_UNIT", "_SYSTEMD_UNIT"))
    unit = next((one for one in about if one), "")
    return [int(entry["__REALTIME_TIMESTAMP"]), unit, int(entry.get("PRIORITY", 6)), text]
