"""The conversation: requests in, answers out, one JSON object a line."""

import json
import os
import select
import threading

from lbkit.hand import breaking, locking, looking, probing, reading, writing
from lbkit.hand.core import Failed

IDLE_S = 60
ALIVE_EVERY_S = 5  # while something takes long: who waits for us must see a host that died


def write(request, say):
    """One change; what `reread` names is read after it."""
    writing.WRITERS[request["kind"]](request, say)
    return reading.read([request["reread"]], facts=False)["items"][0] if "reread" in request else {}


OPERATIONS = {
    "read": lambda request, _say: reading.read(request["items"], request.get("facts", True)),
    "write": write,
    "lock": lambda request, _say: locking.lock(request),
    "ask": lambda request, _say: looking.ask(request),
    "stats": lambda request, _say: looking.stats(request["socket"], request["command"]),
    "probe": lambda request, _say: probing.start(request["question"], request["every_s"]),
    "probed": lambda _request, _say: probing.stop(),
    "drill": lambda request, _say: breaking.drill(request),
    "undo": lambda request, _say: breaking.undo(request),
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


class Output:
    """Whole lines out, also while another thread says that we live."""

    def __init__(self, file):
        self.file, self.writing = file, threading.Lock()

    def tell(self, message):
        with self.writing:
            self.file.write(json.dumps(message) + "\n")
            self.file.flush()

    def tell_that_we_live(self, done):
        while not done.wait(ALIVE_EVERY_S):
            self.tell({"progress": ""})


def main():
    output = Output(os.fdopen(os.dup(1), "w"))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # no child may write between our lines
    os.chdir("/")
    os.umask(0o022)
    for request in requests(0):
        done = threading.Event()
        threading.Thread(target=output.tell_that_we_live, args=(done,), daemon=True).start()
        message = answer(request, output)
        done.set()
        output.tell(message)


def answer(request, output):
    try:
        return {"result": OPERATIONS[request["op"]](request, lambda line: output.tell({"progress": line}))}
    except Failed as error:
        return {"error": {"what": error.what, "output": error.output}}
    except OSError as error:
        return {"error": {"what": str(error), "output": ""}}
