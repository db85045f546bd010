"""What stands before the lab's AWS API: the log of its calls, faults on request, permissions, the metadata.

    GET  /lab/calls               every call so far, [{"at": s since 1970, "service": "ec2", "action": …,
                                  "from": address, "key": access key, "dry_run": bool}, …]
    POST /lab/faults  {"mode": "slow", "seconds": 5, "actions": ["AssociateAddress"]}
                                  from now on those calls (all, without `actions`) go wrong; {} ends it

Modes: slow (answers after `seconds`), hang (never answers), throttle (503 RequestLimitExceeded), error (500),
refuse (403 UnauthorizedOperation), reset (the connection is cut), mute (does it, and never answers), stale
(reads show what they showed when the fault began), late-role (the metadata know of no role before `seconds`).
"""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lbkit.lab import calls, metadata
from lbkit.lab.calls import Call, Refusal

MODES = ("slow", "hang", "throttle", "error", "refuse", "reset", "mute", "stale", "late-role")
HANG_S = 120.0
_ERRORS = {
    "throttle": Refusal("503 Service Unavailable", "RequestLimitExceeded", "Request limit exceeded."),
    "error": Refusal("500 Internal Server Error", "InternalError", "An internal error has occurred."),
    "refuse": Refusal("403 Forbidden", "UnauthorizedOperation", "You are not authorized."),
}


class Front:
    """WSGI before WSGI. instances: private address → who may ask the metadata. guard: what AWS answers to a
    call in place of doing it, or None."""

    def __init__(
        self,
        behind: Callable,
        instances: Mapping[str, metadata.Instance],
        guard: Callable[[Call], Refusal | None] = lambda call: None,
    ) -> None:
        self.behind, self.instances, self.guard = behind, instances, guard
        self.calls: list[dict[str, Any]] = []
        self.fault: dict[str, Any] = {}
        self.fault_since = 0.0
        self.kept: dict[bytes, tuple[str, list, bytes]] = {}  # answers of the time before, for `stale`
        self.fault_over = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/lab/calls":
            return _json(start_response, self.calls)
        if path == "/lab/faults":
            return self._set_fault(environ, start_response)
        if environ.get("HTTP_HOST", "").split(":")[0] == metadata.ADDRESS:
            return self._metadata(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        call = calls.parse(environ, body)
        if not call.action:
            return self.behind(environ, start_response)
        told: dict[str, Any] = {
            "at": time.time(),
            "service": call.service,
            "action": call.action,
            "from": call.source,
            "key": call.key,
            "dry_run": call.dry_run,
        }
        self.calls.append(told)
        try:
            return self._answer(environ, start_response, call, body)
        finally:
            told["took_s"] = time.time() - told["at"]

    def _answer(
        self, environ: dict[str, Any], start_response: Callable, call: Call, body: bytes
    ) -> Iterable[bytes]:
        fault, action = self.fault, call.action
        wanted = fault.get("actions") or [action]
        mode = fault.get("mode") if action in wanted else None
        if mode in _ERRORS:
            return _refused(start_response, call, _ERRORS[mode])
        if mode == "slow":
            self.fault_over.wait(float(fault["seconds"]))
        elif mode == "hang":
            self.fault_over.wait(HANG_S)
            return _cut(environ, start_response)
        elif mode == "reset":
            return _cut(environ, start_response)
        if mode == "stale" and action.startswith("Describe") and body_key(body) in self.kept:
            status, headers, content = self.kept[body_key(body)]
            start_response(status, headers)
            return [content]
        if refusal := self.guard(call):
            return _refused(start_response, call, refusal)
        answer = _captured(self.behind, environ)
        if mode == "mute":
            self.fault_over.wait(HANG_S)
            return _cut(environ, start_response)
        if action.startswith("Describe") and mode != "stale":
            self.kept[body_key(body)] = answer
        start_response(answer[0], answer[1])
        return [answer[2]]

    def _set_fault(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        fault = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or b"{}")
        if fault and fault.get("mode") not in MODES:
            return _text(start_response, ", ".join(MODES), status="400 Bad Request")
        over, self.fault_over = self.fault_over, threading.Event()
        self.fault, self.fault_since = fault, time.monotonic()
        over.set()  # whoever waits in the fault before goes on
        return _json(start_response, fault)

    def _metadata(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        token = environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN", "")
        method, path, source = environ["REQUEST_METHOD"], environ["PATH_INFO"], calls.source(environ)
        late = self.fault.get("mode") == "late-role"
        if late and "/iam/" in path and time.monotonic() - self.fault_since < float(self.fault["seconds"]):
            return _text(start_response, "", status="404 Not Found")
        status, text = metadata.answer(self.instances, method, path, token, source)
        return _text(start_response, text, status=status)


def body_key(body: bytes) -> bytes:
    """Equal for the same question, whoever asks."""
    return b"&".join(sorted(body.split(b"&")))


def _captured(behind: Callable, environ: dict[str, Any]) -> tuple[str, list, bytes]:
    """(status, headers, body) of what stands behind."""
    said: list[Any] = []
    content = b"".join(behind(environ, lambda status, headers, *_: said.extend((status, headers))))
    return said[0], said[1], content


def _refused(start_response: Callable, call: Call, refusal: Refusal) -> list[bytes]:
    return _text(start_response, refusal.body(call.service).decode(), "text/xml", refusal.status)


def _cut(environ: dict[str, Any], start_response: Callable) -> list[bytes]:
    """The client gets a reset in place of an answer."""
    connection = environ.get("werkzeug.socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(connection.detach())  # close() alone waits for the files that werkzeug has on it
    raise ConnectionResetError("cut, as asked for by /lab/faults")


def _json(start_response: Callable, value: Any) -> list[bytes]:
    return _text(start_response, json.dumps(value), "application/json")


def _text(
    start_response: Callable, text: str, kind: str = "text/plain", status: str = "200 OK"
) -> list[bytes]:
    content = text.encode()
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(content)))])
    return [content]
