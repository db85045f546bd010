"""Connections that the drill keeps open, against real servers on loopback."""

from __future__ import annotations

import base64
import hashlib
import http.server
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lbkit.hand import holding
from tests.waiting import until


class Pages(http.server.BaseHTTPRequestHandler):
    """Keeps connections open, and closes politely after `polite` answers."""

    protocol_version = "HTTP/1.1"
    timeout = 5

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(self.server.status)
        self.send_header("Content-Length", "2")
        if self.server.polite and self.server.asked % self.server.polite == 0:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Sockets(socketserver.BaseRequestHandler):
    """Answers each ping, until it is told to go away."""

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.request.recv(4096)
        key = next(line.split()[1] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        accept = base64.b64encode(digest)
        self.request.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n\x81\x05hello"
        )
        while frame := self.request.recv(4096):
            length, mask = frame[1] & 127, frame[2:6]
            text = bytes(byte ^ mask[i % 4] for i, byte in enumerate(frame[6 : 6 + length]))
            self.server.asked += 1
            if self.server.polite and self.server.asked % self.server.polite == 0:
                self.request.sendall(b"\x88\x00")
                return
            self.request.sendall(bytes([0x8A, len(text)]) + text)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
    asked, polite, status = 0, 0, 200


@contextmanager
def serving(handler: type) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def question(server: Server) -> dict:
    where = server.server_address
    return {"connect": where, "name": "a.test", "path": "/", "tls": False, "upgrade_path": "/ws"}


@pytest.fixture(autouse=True)
def stopped() -> Iterator[None]:
    yield
    holding.stop()
    holding.held = []


@pytest.mark.parametrize(("kind", "handler"), [("kept_alive", Pages), ("upgraded", Sockets)])
def test_open_connection_is_asked_again_and_again(kind: str, handler: type) -> None:
    with serving(handler) as server:
        assert holding.start(question(server), [kind]) == {kind: None}
        until(lambda: server.asked > 5)
        told = holding.stop()[kind]
    assert all(good for _, _, good in told["samples"])
    assert len(told["samples"]) == server.asked
    assert told["broken"] == []


def test_kept_alive_connection_that_the_server_closes_politely_is_no_failure() -> None:
    with serving(Pages) as server:
        server.polite = 2
        holding.start(question(server), ["kept_alive"])
        until(lambda: server.asked > 6)
        told = holding.stop()["kept_alive"]
    assert all(good for _, _, good in told["samples"])
    assert told["broken"] == []


def test_websocket_that_is_closed_counts_as_broken_once_and_is_opened_again() -> None:
    with serving(Sockets) as server:
        server.polite = 3
        holding.start(question(server), ["upgraded"])
        until(lambda: len(holding.held[0].broken) == 2)
        told = holding.stop()["upgraded"]
    assert sum(not good for _, _, good in told["samples"]) == 2


def test_server_that_is_gone_fails_every_question_and_breaks_once() -> None:
    with serving(Pages) as server:
        holding.start(question(server), ["kept_alive"])
        asked = question(server)
        holding.held[0].open.close()  # as if the other side had vanished
        holding.held[0].question = {**asked, "connect": ("127.0.0.1", 1)}
        until(lambda: sum(not good for _, _, good in holding.held[0].samples) > 2)
        told = holding.stop()["kept_alive"]
    assert len(told["broken"]) <= 1


def test_answer_that_is_no_websocket_is_told_at_once() -> None:
    with serving(Pages) as server:
        server.status = 404
        assert holding.start(question(server), ["upgraded"]) == {
            "upgraded": "no WebSocket there: HTTP/1.1 404 Not Found"
        }


def test_error_of_the_server_is_a_failed_request() -> None:
    with serving(Pages) as server:
        server.status = 503
        assert holding.start(question(server), ["kept_alive"]) == {"kept_alive": "status 503"}
