"""Connections that stay open, as browsers keep them: what becomes of those when the address moves."""

import os
import threading
import time

from lbkit.hand import looking

MOST_S = 900  # what nobody stops ends by itself
EVERY_S = 0.1
ANSWER_WITHIN_S = 0.5

held: list = []


class KeptAlive:
    """HTTP/1.1, one request after the other over the same connection."""

    def __init__(self, question):
        import http.client

        self.question = question
        self.client = http.client.HTTPConnection(question["name"])
        self.client.sock = connected(question)

    def ask(self):
        """A server that closes after its answer, as it may, is no failure: the next one opens anew."""
        self.client.request("GET", self.question["path"], headers={"User-Agent": "lbkit"})
        answer = self.client.getresponse()
        answer.read()
        if answer.status >= 500:
            raise OSError(f"status {answer.status}")
        return not answer.will_close

    def close(self):
        self.client.close()


class Upgraded:
    """A WebSocket: pings, each of which is owed a pong with the same text. Source: RFC 6455."""

    def __init__(self, question):
        import base64

        self.stream = connected(question)
        self.buffer, self.count = b"", 0
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            f"GET {question['upgrade_path']} HTTP/1.1",
            f"Host: {question['name']}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        )
        try:
            self.stream.sendall("\r\n".join((*lines, "", "")).encode())
            while b"\r\n\r\n" not in self.buffer:
                self.receive()
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            status = head.split(b"\r\n")[0].decode(errors="replace")
            if " 101" not in status:
                raise OSError(f"no WebSocket there: {status}")
        except OSError:
            self.close()
            raise

    def ask(self):
        self.count += 1
        text, mask = str(self.count).encode(), os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(text))
        self.stream.sendall(bytes([0x89, 0x80 | len(text)]) + mask + masked)
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while time.monotonic() < deadline:
            kind, body = self.frame()
            if kind == 8:
                raise OSError("closed by the other side")
            if (kind, body) == (10, text):
                return True
        raise OSError("no pong")

    def frame(self):
        """(opcode, payload) of the next frame; a server's are not masked."""
        self.fill(2)
        kind, length, at = self.buffer[0] & 15, self.buffer[1] & 127, 2
        if length > 125:
            at = 4 if length == 126 else 10
            self.fill(at)
            length = int.from_bytes(self.buffer[2:at], "big")
        self.fill(at + length)
        body, self.buffer = self.buffer[at : at + length], self.buffer[at + length :]
        return kind, body

    def fill(self, count):
        while len(self.buffer) < count:
            self.receive()

    def receive(self):
        data = self.stream.recv(4096)
        if not data or len(self.buffer) > 1 << 20:
            raise OSError("the connection ended")
        self.buffer += data

    def close(self):
        self.stream.close()


KINDS = {"kept_alive": KeptAlive, "upgraded": Upgraded}


def connected(question):
    import socket

    plain = socket.create_connection(question["connect"], timeout=ANSWER_WITHIN_S)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return looking.wrapped(question, plain) if question["tls"] else plain


class Held:
    """One connection, asked every EVERY_S seconds, opened again when it breaks. broken: when it did."""

    def __init__(self, kind, question):
        self.kind, self.question = kind, question
        self.samples, self.broken, self.open = [], [], None
        self.stopped = threading.Event()
        self.error = self.sample()  # before the thread begins: whether it can work at all
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        due, last = time.monotonic(), time.monotonic() + MOST_S
        while time.monotonic() < last:
            # One at a time: an answer that was waited for delays the next question, as it would a client's.
            due = max(due + EVERY_S, time.monotonic())
            if self.stopped.wait(due - time.monotonic()):
                break
            self.sample()
        if self.open:
            self.open.close()

    def sample(self):
        import http.client

        at, began, error, stays = time.time(), time.monotonic(), None, False
        try:
            if self.open is None:
                self.open = KINDS[self.kind](self.question)
            stays = self.open.ask()
        except (OSError, http.client.HTTPException) as failure:
            error = str(failure) or type(failure).__name__
            if self.open:
                self.broken.append(round(at, 4))
        if self.open and not stays:
            self.open.close()
            self.open = None
        self.samples.append((round(at, 4), round((time.monotonic() - began) * 1000, 1), error is None))
        return error


def start(question, kinds):
    """One connection of each kind is held open from now on: {kind: why it does not work, or None}."""
    global held
    held = [Held(kind, question) for kind in kinds]
    return {one.kind: one.error for one in held}


def stop():
    """{kind: {samples: as of the prober, broken: [times at which an open connection broke]}}"""
    for one in held:
        one.stopped.set()
    for one in held:
        one.thread.join()
    return {one.kind: {"samples": one.samples, "broken": one.broken} for one in held}
