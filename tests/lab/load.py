"""Clients at a steady rate over TLS, in three ways apart: a new connection for each request, kept connections of
HTTP/1.1, kept connections of HTTP/2. What became of every request, and which certificate each handshake showed.

    python -m tests.lab.load ADDRESS NAME RATE

RATE: requests a second, a third of it each way. It says `ready` when every kept connection has had an answer, and asks
until its standard input ends, MOST_S at most. For each line there it says how many requests have begun, and at the end
what became of them: one JSON object, see Load. It runs in the client's network, by the operator's Python.

A request failed if its client, keeping to the rules, got no answer of status 200 to it within ANSWER_S: a connection
that was not kept, or refused it, after the request was on its way. A client that is told before that the connection
ends (`Connection: close`, GOAWAY, end of file) opens another, as any client does: counted, and no failure. So are
requests that HTTP/2 says were not looked at (above GOAWAY's last stream): they are put again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import ssl
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field

import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from lbkit import inventory
from lbkit.lab import api
from tests.waiting import until

ANSWER_S = 10.0
MOST_S = 300
PORT = 443
KEPT = {"http1": 20, "http2": 10}  # connections that are kept open, of each kind
KINDS = ("new", *KEPT)
MOST_NEW = 100  # connections at a time
STREAMS = 10  # at a time, of each connection of HTTP/2
GOAWAY = 7  # the frame's type (RFC 9113, 6.8)


@dataclass
class Kind:
    """failed: (moment, why). reopened: kept connections that were ended in order, and opened again. again: requests
    put again, for they were not looked at. slowest_s: the longest time to an answer."""

    requests: int = 0
    failed: list[tuple[float, str]] = field(default_factory=list)
    reopened: int = 0
    again: int = 0
    slowest_s: float = 0.0


@dataclass
class Load:
    """Of a whole run. kinds: by KINDS. handshakes: (begun, SHA-256 of the certificate, in hex) of each, whatever it was
    for. Moments in s on the machine's monotonic clock, which all processes of the lab share. seconds: how long it was
    asked, since it was ready."""

    kinds: dict[str, Kind] = field(default_factory=lambda: {kind: Kind() for kind in KINDS})
    handshakes: list[tuple[float, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self) -> list[tuple[float, str]]:
        return [one for kind in self.kinds.values() for one in kind.failed]

    def shown(self, since: float, till: float = float("inf")) -> Counter[str]:
        """How often each certificate was shown in handshakes that began in this time."""
        return Counter(found for begun, found in self.handshakes if since <= begun < till)


@dataclass
class Clients:
    """They ask from now on. load: what became of it, once they have stopped."""

    process: subprocess.Popen[str]
    load: Load = field(default_factory=Load)

    def go_on(self, requests: int) -> None:
        """So many more requests have begun."""
        target = self.begun() + requests
        until(lambda: self.begun() >= target)

    def begun(self) -> int:
        assert self.process.stdin
        assert self.process.stdout
        print(file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def stop(self) -> None:
        told = json.loads(self.process.communicate(timeout=60)[0])
        kinds = {name: Kind(**kind) for name, kind in told["kinds"].items()}
        handshakes = [tuple(one) for one in told["handshakes"]]
        self.load.kinds, self.load.handshakes, self.load.seconds = kinds, handshakes, told["seconds"]


@contextlib.contextmanager
def under_load(lab: api.Lab, address: str, name: str, rate: int = 300) -> Iterator[Clients]:
    """The clients ask meanwhile, MOST_S at most. name: the server's, in TLS and HTTP. rate: requests a second."""
    network = ["nsenter", "-t", str(lab.host("client").leader()), "-n", "--"]
    argv = [*network, sys.executable, "-m", "tests.lab.load", address, name, str(rate)]
    pipe = subprocess.PIPE
    clients = Clients(subprocess.Popen(argv, cwd=inventory.ROOT, stdin=pipe, stdout=pipe, text=True))
    try:
        assert clients.process.stdout
        assert clients.process.stdout.readline() == "ready\n", "the clients could not begin"
        yield clients
    finally:
        clients.stop()


# ── the clients ──────────────────────────────────────────────────────────────────────────────────────────────


class Gone(Exception):
    """The connection had ended, in order, before the request was on its way."""


class Refused(Gone):
    """HTTP/2 says that the request was not looked at."""


@dataclass
class Server:
    """Where to, and the run that is told of each handshake."""

    address: str
    name: str
    load: Load

    async def connect(self, *protocols: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(list(protocols))
        begun = time.monotonic()
        streams = await asyncio.open_connection(self.address, PORT, ssl=context, server_hostname=self.name)
        shown = streams[1].get_extra_info("ssl_object").getpeercert(binary_form=True)
        self.load.handshakes.append((begun, hashlib.sha256(shown).hexdigest()))
        return streams


class New:
    """Each request has a connection of its own."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def ask(self) -> None:
        connection = Http1(self.server, keep=False)
        await connection.open()
        await connection.ask()


class Http1:
    """One connection, one request after the other."""

    def __init__(self, server: Server, keep: bool = True) -> None:
        self.server = server
        self.wish = "keep-alive" if keep else "close"

    async def open(self) -> None:
        self.reader, self.writer = await self.server.connect("http/1.1")
        self.last = False

    async def ask(self) -> None:
        if self.last or self.reader.at_eof():
            raise Gone
        self.last = True  # as long as it is not read to its end
        wish = f"GET / HTTP/1.1\r\nHost: {self.server.name}\r\nConnection: {self.wish}\r\n\r\n"
        self.writer.write(wish.encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
        await self.reader.readexactly(int(fields["content-length"]))
        self.last = fields.get("connection") == "close"
        if self.last:
            self.writer.close()
        if head.split()[1] != "200":
            raise OSError(f"status {head.split()[1]}")


class Http2:
    """One connection, requests beside each other."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def open(self) -> None:
        self.reader, self.writer = await self.server.connect("h2")
        self.state = h2.connection.H2Connection()
        self.state.initiate_connection()
        self.waiting: dict[int, asyncio.Future[None]] = {}
        self.ended = False
        self.writer.write(self.state.data_to_send())
        self.listening = asyncio.create_task(self.listen())

    async def ask(self) -> None:
        if self.ended or self.reader.at_eof():
            raise Gone
        stream = self.state.get_next_available_stream_id()
        names = {":method": "GET", ":scheme": "https", ":authority": self.server.name, ":path": "/"}
        self.state.send_headers(stream, list(names.items()), end_stream=True)
        self.waiting[stream] = asyncio.get_running_loop().create_future()
        self.writer.write(self.state.data_to_send())
        try:
            await self.waiting[stream]
        finally:
            self.waiting.pop(stream, None)
            self.close_when_done()

    async def listen(self) -> None:
        why: Exception = OSError("the connection ended before the answer")
        try:
            while head := await self.reader.readexactly(9):
                frame = head + await self.reader.readexactly(int.from_bytes(head[:3], "big"))
                # After GOAWAY h2 takes nothing more, though what began before is still answered.
                if frame[3] == GOAWAY:
                    self.end_after(int.from_bytes(frame[9:13], "big"))
                    continue
                for event in self.state.receive_data(frame):
                    self.take(event)
                self.writer.write(self.state.data_to_send())
        except asyncio.IncompleteReadError:
            pass
        except (OSError, h2.exceptions.ProtocolError) as error:
            why = error
        self.ended = True
        for answer in self.waiting.values():
            if not answer.done():
                answer.set_exception(why)

    def end_after(self, last: int) -> None:
        self.ended = True
        for stream in self.waiting:
            if stream > last:
                self.settle(stream, Refused())
        self.close_when_done()

    def close_when_done(self) -> None:
        if self.ended and not self.waiting:
            self.writer.close()

    def take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            self.state.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        elif isinstance(event, h2.events.ResponseReceived):
            status = dict(event.headers or []).get(b":status", b"none")
            if status != b"200":
                self.settle(event.stream_id, OSError(f"status {status.decode()}"))
        elif isinstance(event, h2.events.StreamEnded):
            self.settle(event.stream_id, None)
        elif isinstance(event, h2.events.StreamReset):
            unseen = event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
            why = Refused() if unseen else OSError(f"the stream was reset ({event.error_code})")
            self.settle(event.stream_id, why)

    def settle(self, stream: int | None, why: Exception | None) -> None:
        answer = self.waiting.get(stream or 0)
        if answer is None or answer.done():
            return
        if why:
            answer.set_exception(why)
        else:
            answer.set_result(None)


class Kept:
    """A connection that is opened again when it was ended in order."""

    def __init__(self, connection: Http1 | Http2, kind: Kind) -> None:
        self.connection, self.kind = connection, kind
        self.opening = asyncio.Lock()

    async def ask(self) -> None:
        used = self.connection
        try:
            await used.ask()
        except Gone as gone:
            self.kind.again += isinstance(gone, Refused)
            async with self.opening:
                if used is self.connection:
                    fresh = type(used)(used.server)
                    await fresh.open()
                    self.connection = fresh
                    self.kind.reopened += 1
            await self.connection.ask()


# ── their pace ───────────────────────────────────────────────────────────────────────────────────────────────


async def counted(kind: Kind, ask: Callable[[], Awaitable[None]]) -> None:
    """One request, and what became of it."""
    began = time.monotonic()
    kind.requests += 1
    try:
        await asyncio.wait_for(ask(), ANSWER_S)
    except TimeoutError:
        kind.failed.append((began, f"no answer within {ANSWER_S:g} s"))
    except Exception as error:  # of whatever kind: no answer
        kind.failed.append((began, f"{type(error).__name__}: {error}"))
    kind.slowest_s = max(kind.slowest_s, time.monotonic() - began)


async def pace(kind: Kind, clients: list[New] | list[Kept], rate: float, end: asyncio.Event) -> None:
    """So many requests a second, each by the client that is idle for longest. While none is idle nobody asks: on a
    machine that is too busy there are fewer requests, and none waits for its turn here."""
    began, asked = time.monotonic(), 0
    idle, waiting = deque(clients), set()

    def done(task: asyncio.Task[None], client: New | Kept) -> None:
        waiting.discard(task)
        idle.append(client)

    while not end.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(end.wait(), max(0.005, began + asked / rate - time.monotonic()))
        while idle and asked < (time.monotonic() - began) * rate:
            client = idle.popleft()
            task = asyncio.create_task(counted(kind, client.ask))
            waiting.add(task)
            task.add_done_callback(functools.partial(done, client=client))
            asked += 1
    if waiting:
        await asyncio.wait(waiting)


async def run(address: str, name: str, rate: float) -> Load:
    load, end = Load(), asyncio.Event()
    server = Server(address, name, load)
    clients: dict[str, list] = {
        "new": [New(server)] * MOST_NEW,
        "http1": [Kept(Http1(server), load.kinds["http1"]) for _ in range(KEPT["http1"])],
        "http2": [Kept(Http2(server), load.kinds["http2"]) for _ in range(KEPT["http2"])],
    }
    for kept in (*clients["http1"], *clients["http2"]):
        await kept.connection.open()
        await kept.ask()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, told, load, end)
    loop.call_later(MOST_S, end.set)
    print("ready", flush=True)
    began = time.monotonic()
    clients["http2"] *= STREAMS
    paces = [pace(load.kinds[kind], clients[kind], rate / len(KINDS), end) for kind in KINDS]
    await asyncio.gather(*paces)
    load.seconds = time.monotonic() - began
    return load


def told(load: Load, end: asyncio.Event) -> None:
    if sys.stdin.readline():
        print(sum(kind.requests for kind in load.kinds.values()), flush=True)
    else:
        end.set()
        asyncio.get_running_loop().remove_reader(sys.stdin)


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(run(sys.argv[1], sys.argv[2], float(sys.argv[3]))))))
