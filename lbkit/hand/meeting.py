"""Whether packets of another host arrive here: on TCP ports where nobody listens yet, and by protocol 112."""

import contextlib
import select
import socket
import threading

from lbkit.hand.looking import GROUPS, VRRP, join

CONNECT_S = 2
MOST_S = 60  # who waits is not waited for: the sockets close by themselves
# As an advert of version 3 for router id 0, which no router may have: a keepalived at work does not heed it.
MARK = bytes([0x31, 0, 0, 0, 0, 0, 0, 0])

waiting = None


class Waiting:
    """Sockets that are open until they are closed. free: ports that nobody else listens on."""

    def __init__(self, request):
        self.family = socket.AF_INET6 if request["version"] == 6 else socket.AF_INET
        self.met, self.stopped, self.listeners = set(), threading.Event(), {}
        for port in request["ports"]:
            with contextlib.suppress(OSError):  # somebody listens there already: he answers
                listener = socket.socket(self.family, socket.SOCK_STREAM)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((request["address"], port))
                listener.listen(8)
                self.listeners[port] = listener
        self.raw = socket.socket(self.family, socket.SOCK_RAW, VRRP)
        if request["multicast"]:
            join(self.raw, request["version"], request["interface"])
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        import time

        deadline = time.monotonic() + MOST_S
        while not self.stopped.is_set() and time.monotonic() < deadline:
            if not select.select([self.raw], [], [], 0.1)[0]:
                continue
            packet, source = self.raw.recvfrom(2048)
            body = packet if self.family == socket.AF_INET6 else packet[(packet[0] & 15) * 4 :]
            if body[:2] == MARK[:2]:
                self.met.add(source[0].split("%")[0])
        for opened in (self.raw, *self.listeners.values()):
            opened.close()


def start(request):
    """{ours: ports on which we listen, the others being somebody's already}."""
    global waiting
    waiting = Waiting(request)
    return {"ours": sorted(waiting.listeners)}


def stop():
    """{met: addresses from which protocol 112 came meanwhile}; nothing is open any more."""
    waiting.stopped.set()
    waiting.thread.join()
    return {"met": sorted(waiting.met)}


def call_on(request):
    """{port: None, or why no connection}: the ports of `address`, from `source`; and protocol 112 is
    sent there
    (with `multicast`: to the group)."""
    version = request["version"]
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    found = {}
    for port in request["ports"]:
        try:
            socket.create_connection((request["address"], port), CONNECT_S, (request["source"], 0)).close()
            found[port] = None
        except OSError as error:
            found[port] = "no answer" if isinstance(error, socket.timeout) else error.strerror or str(error)
    with socket.socket(family, socket.SOCK_RAW, VRRP) as sender:
        sender.bind((request["source"], 0))
        target = request["address"]
        if request["multicast"]:
            target = GROUPS[version] + (f"%{request['interface']}" if version == 6 else "")
        for _ in range(3):
            sender.sendto(MARK, (target, 0))
    return found
