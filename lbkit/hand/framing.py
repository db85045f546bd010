"""Messages between the sync's ends: a JSON header with its length before it, and a body of the size it tells.

A length beyond its limit is refused before anything is read into memory.
"""

import json
import os
import select
import socket
import struct
import time

from lbkit.hand.core import Failed

SOCKET = "/run/lbkit-sync/socket"
HEADER_LIMIT = 1 << 20
BODY_LIMIT = 32 << 20
CHUNK = 1 << 18


class Broken(OSError):
    """The other end has gone, is silent, or says what is no message."""


class Stream:
    """Both directions of one conversation. reading, writing: descriptors. Not for two threads at once."""

    def __init__(self, reading, writing):
        self.reading, self.writing = reading, writing

    def send(self, header, body=b"", within_s=60):
        """Raises Broken where the other end does not take it in time."""
        text = json.dumps({**header, "size": len(body)}).encode()
        self._write(struct.pack(">I", len(text)) + text + body, time.monotonic() + within_s)

    def receive(self, within_s=60):
        """(header, body) of the next message; (None, b"") where the conversation has ended."""
        deadline = time.monotonic() + within_s
        prefix = self._read(4, deadline, or_end=True)
        if prefix is None:
            return None, b""
        (length,) = struct.unpack(">I", prefix)
        if length > HEADER_LIMIT:
            raise Broken(f"a header of {length} bytes")
        try:
            header = json.loads(self._read(length, deadline))
            size = header["size"]
        except (ValueError, KeyError, TypeError):
            raise Broken("what came is no message") from None
        if not isinstance(size, int) or not 0 <= size <= BODY_LIMIT:
            raise Broken(f"a body of {size} bytes; the limit is {BODY_LIMIT}")
        return header, self._read(size, deadline)

    def _read(self, count, deadline, or_end=False):
        parts, missing = [], count
        while missing:
            self._wait([self.reading], [], deadline)
            part = os.read(self.reading, min(missing, CHUNK))
            if not part:
                if or_end and missing == count:
                    return None
                raise Broken("the connection ended")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _write(self, data, deadline):
        """In parts that the other end takes; the descriptor may block or not."""
        view = memoryview(data)
        while view:
            self._wait([], [self.writing], deadline)
            try:
                view = view[os.write(self.writing, view[: select.PIPE_BUF]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise Broken(error.strerror) from None

    @staticmethod
    def _wait(reading, writing, deadline):
        left = deadline - time.monotonic()
        if left <= 0 or not any(select.select(reading, writing, [], left)):
            raise Broken("no answer in time")


def ask_service(request, within_s=60, path=SOCKET):
    """The answer of this host's lbkit-sync.service to one request of an operator. Raises Failed."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError as error:
            raise Failed(f"lbkit-sync.service does not answer ({error.strerror})") from None
        stream = Stream(connection.fileno(), connection.fileno())
        try:
            stream.send(request)
            answer, _ = stream.receive(within_s)
        except Broken as error:
            raise Failed(f"lbkit-sync.service: {error}") from None
    if answer is None:
        raise Failed("lbkit-sync.service ended meanwhile")
    if said := answer.get("refused") or answer.get("locked"):
        raise Failed(said)
    return answer
