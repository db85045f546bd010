"""The conversation: requests in, answers out, one JSON object a line."""

import json
import os
import select
import threading
import time

from lbkit.hand import (
    adverts,
    breaking,
    duty,
    framing,
    holding,
    journal,
    keeping,
    loaded,
    locking,
    looking,
    meeting,
    orders,
    overview,
    probing,
    reading,
    restoring,
    servers,
    surveying,
    writing,
)
from lbkit.hand.core import Failed

# sudo may hand on another one (secure_path), in which half of what we run is not found.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IDLE_S = 60
ALIVE_S = 5


def write(request, say):
    """One change; what `reread` names is read after it."""
    WRITERS[request["kind"]]({**request, "setup": True}, say)
    return reading.read([request["reread"]], facts=False)["items"][0] if "reread" in request else {}


WRITERS = {**writing.WRITERS, **restoring.WRITERS}
OPERATIONS = {
    "read": lambda request, _say: reading.read(request["items"], request.get("facts", True)),
    "write": write,
    "lock": lambda request, _say: locking.lock(request),
    "ask": lambda request, _say: looking.ask(request),
    "reach": lambda request, _say: looking.reach(request),
    "check": lambda request, _say: looking.check(request),
    "program": lambda request, _say: looking.program(request),
    "vrrp_state": lambda _request, _say: looking.vrrp_state(),
    "watches": lambda request, _say: looking.watches(request["unit"]),
    "hears": lambda request, _say: looking.hears(request),
    "stats": lambda request, _say: looking.stats(request["socket"], request["command"]),
    "probe": lambda request, _say: probing.start(request["question"], request["every_s"]),
    "probed": lambda _request, _say: probing.stop(),
    "hold": lambda request, _say: holding.start(request["question"], request["kinds"]),
    "held": lambda _request, _say: holding.stop(),
    "in_charge": lambda _request, _say: duty.in_charge(),
    "missing": lambda request, _say: looking.missing(request["programs"]),
    "clock": lambda _request, _say: time.time(),
    "drill": lambda request, _say: breaking.drill(request),
    "cut_power": lambda _request, _say: breaking.cut_power(),
    "undo": lambda request, _say: breaking.undo(request),
    "armed": lambda _request, _say: breaking.armed(),
    "order": lambda request, _say: orders.order(request),
    "release": lambda request, _say: orders.release(request),
    "maintain": lambda request, _say: orders.maintain(request),
    "servers": lambda _request, _say: servers.servers(),
    "hold_server": lambda request, _say: servers.hold(request),
    "adverts": lambda request, _say: adverts.adverts(request),
    "survey": lambda request, _say: surveying.survey(request),
    "resolve": lambda request, _say: looking.resolve(request["name"]),
    "meet": lambda request, _say: meeting.start(request),
    "call_on": lambda request, _say: meeting.call_on(request),
    "met": lambda _request, _say: meeting.stop(),
    "last_change": lambda _request, _say: loaded.last_change(),
    "handshake": lambda request, _say: looking.handshake(request),
    "overview": lambda request, _say: overview.overview(request["page"]),
    "logs": lambda request, _say: journal.logs(request),
    "follow": lambda request, say: journal.follow(request, say),
    "sync": lambda request, _say: framing.ask_service(request["request"], request["within_s"]),
    "kept": lambda _request, _say: keeping.told(),
    "kept_content": lambda request, _say: keeping.content(request),
    "events": lambda request, _say: breaking.events(request["since"]),
}


def requests(source):
    """Requests, one a line, until the end of input or IDLE_S seconds of silence. Pings only show life."""
    buffer = b""
    while True:
        line, newline, rest = buffer.partition(b"\n")
        if newline:
            buffer = rest
            request = json.loads(line)
            if request["op"] != "ping":
                yield request
            continue
        if not select.select([source], [], [], IDLE_S)[0]:
            return
        data = os.read(source, 1 << 16)
        if not data:
            return
        buffer += data


def show_life(tell):
    """Tells that this host lives, also while apt works: one that lost its power is not waited for."""
    while True:
        time.sleep(ALIVE_S)
        try:
            tell({"alive": True})
        except OSError:
            return  # nobody listens; the end of input ends the rest


def fault(error):
    """A surprise in words that can be reported: what, and where."""
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"a fault in lbkit: {type(error).__name__}: {error} ({frame.name}, line {frame.lineno})"


def main():
    output = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # no child may write between our lines
    os.chdir("/")
    os.umask(0o022)
    os.environ["PATH"] = PATH

    telling = threading.Lock()

    def tell(message):
        with telling:
            output.write(json.dumps(message) + "\n")
            output.flush()

    threading.Thread(target=show_life, args=(tell,), daemon=True).start()

    for request in requests(0):
        try:
            tell({"result": OPERATIONS[request["op"]](request, lambda line: tell({"progress": line}))})
        except Failed as error:
            tell({"error": {"what": error.what, "output": error.output}})
        except OSError as error:
            named = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
            tell({"error": {"what": named, "output": ""}})
        except Exception as error:  # a fault of ours ends this request, and neither the hand nor the lock
            tell({"error": {"what": fault(error), "output": ""}})
