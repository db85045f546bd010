"""Lines of the journal and of HAProxy's log file: the newest, or as they come."""

import contextlib
import heapq
import itertools
import json
import os
import re
import select
import subprocess
import time

from lbkit.hand import logfile

FIELDS = "MESSAGE,PRIORITY,UNIT,OBJECT_SYSTEMD_UNIT,_SYSTEMD_UNIT"
IDLE_S = 60  # the operator's machine shows life every 15 s
LOOK_S = 0.2  # between two looks at the file


def logs(request):
    """{lines: [[µs since 1970, unit, priority, text]], oldest first, cursor, place, more, time}.

    units: names or patterns of systemd units. requests: whether HAProxy's log file is read too. since, until:
    {ago_s, at}, either or neither. grep: a regular expression, or None. limit: at most so many, the newest;
    more: there were older ones. cursor, place: from where `follow` goes on. time: of this host, s since 1970.
    """
    now, limit = time.time(), request["limit"]
    place = logfile.position() if request.get("requests") else None
    begin, end = (moment(request.get(name), now) for name in ("since", "until"))

    def wanted(row):
        return (end is None or row[0] <= end * 1e6) and is_wanted(row, request)

    process, cursors = journalctl(request, "--reverse"), []

    def entries():
        for raw in process.stdout:
            entry = json.loads(raw)
            if not cursors:  # the newest; a search may go through millions
                cursors.append(entry["__CURSOR"])
            yield row_of(entry)

    try:
        begin_us = None if begin is None else begin * 1e6
        rows = heapq.merge(
            (row for row in entries() if is_wanted(row, request)),
            logfile.newest(place, begin_us, wanted, limit + 1),
            key=lambda row: row[0],
            reverse=True,
        )
        found = list(itertools.islice(rows, limit + 1))
    finally:
        process.kill()
        process.wait()
    told = {"cursor": cursors[0] if cursors else None, "place": place, "time": now}
    return {"lines": found[:limit][::-1], "more": len(found) > limit, **told}


def moment(asked, now):
    """{ago_s, at} as s since 1970; None where neither is said."""
    if not asked:
        return None
    if asked.get("at") is not None:
        return asked["at"]
    return None if asked.get("ago_s") is None else now - asked["ago_s"]


def follow(request, say, source=0):
    """Tells {lines, cursor, place} as lines come, until `source` (the operator's side) ends or is silent.

    cursor, place: after which, as `logs` or an earlier line told them; without a cursor `since` counts.
    """
    process, buffer, heard = journalctl(request, "--follow", "--no-tail"), b"", time.monotonic()
    output, cursor = process.stdout.fileno(), request.get("cursor")
    with contextlib.ExitStack() as stack:
        stack.callback(process.wait)
        stack.callback(process.kill)
        tail = None
        if request.get("requests"):
            tail = logfile.Tail(request.get("place"))
            stack.callback(tail.close)
        while time.monotonic() - heard < IDLE_S:
            ready = select.select([source, output], [], [], LOOK_S if tail else 1)[0]
            if source in ready:
                if not os.read(source, 1 << 16):
                    return {}
                heard = time.monotonic()
            rows = tail.rows() if tail else []
            if output in ready:
                data = os.read(output, 1 << 16)
                if not data:
                    return {}
                *lines, buffer = (buffer + data).split(b"\n")
                entries = [json.loads(line) for line in lines if line.startswith(b"{")]
                rows += map(row_of, entries)
                cursor = entries[-1]["__CURSOR"] if entries else cursor
            told = sorted(row for row in rows if is_wanted(row, request))
            if told:
                say({"lines": told, "cursor": cursor, "place": tail.place() if tail else None})
    return {}


def journalctl(request, *words):
    """newest: how many lines are looked at at all."""
    argv = ["journalctl", "--quiet", "--no-pager", "--output=json", f"--output-fields={FIELDS}", *words]
    argv += [f"--unit={unit}" for unit in request["units"]]
    now = time.time()
    begin, end = (moment(request.get(name), now) for name in ("since", "until"))
    if request.get("cursor"):
        argv.append(f"--after-cursor={request['cursor']}")
    elif begin is not None:
        argv.append(f"--since=@{begin:.6f}")
    if end is not None:
        argv.append(f"--until=@{end:.6f}")
    if request.get("newest") is not None:
        argv.append(f"--lines={request['newest']}")
    null = subprocess.DEVNULL
    return subprocess.Popen(argv, stdin=null, stdout=subprocess.PIPE, stderr=null)


def row_of(entry):
    """[µs, unit, priority, text] of a journal entry."""
    text = entry.get("MESSAGE") or ""
    if isinstance(text, list):  # not UTF-8: its bytes
        text = bytes(text).decode(errors="replace")
    about = (entry.get(field) for field in ("UNIT", "OBJECT_SYSTEMD_UNIT", "_SYSTEMD_UNIT"))
    unit = next((one for one in about if one), "")
    return [int(entry["__REALTIME_TIMESTAMP"]), unit, int(entry.get("PRIORITY", 6)), text]


def is_wanted(row, request):
    """Whether the expression is in the text."""
    return not request["grep"] or re.search(request["grep"], row[3]) is not None
