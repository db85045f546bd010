"""What stands before the lab's AWS API: the log of its calls, faults on request, and the instance metadata.

    GET  /lab/calls               every call so far, [{"at": s since 1970, "action": …, "from": address}, …]
    POST /lab/faults  {"mode": "slow", "seconds": 5, "actions": ["AssociateAddress"]}
                                  from now on those calls (all, without `actions`) go wrong; {} ends it

Modes: slow (answers after `seconds`), hang (never answers), throttle (503 RequestLimitExceeded), error (500),
refuse (403 UnauthorizedOperation), reset (the connection is cut), mute (does it, and never answers), stale
(reads show what they showed when the fault began).

The metadata at 169.254.169.254 know the asker by its address, as AWS does, and give it a role's credentials.
"""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from typing import Any

METADATA = "169.254.169.254"
MODES = ("slow", "hang", "throttle", "error", "refuse", "reset", "mute", "stale")
HANG_S = 120.0
_ERRORS = {
    "throttle": ("503 Service Unavailable", "RequestLimitExceeded", "Request limit exceeded."),
    "error": ("500 Internal Server Error", "InternalError", "An internal error has occurred."),
    "refuse": ("403 Forbidden", "UnauthorizedOperation", "You are not authorized to perform this operation."),
}


class Front:
    """WSGI before WSGI. interfaces: private address → (mac, interface id) of who may ask the metadata."""

    def __init__(self, behind: Callable, interfaces: Mapping[str, tuple[str, str]]) -> None:
        self.behind, self.interfaces = behind, interfaces
        self.calls: list[dict[str, Any]] = []
        self.fault: dict[str, Any] = {}
        self.kept: dict[bytes, tuple[str, list, bytes]] = {}  # answers of the time before, for `stale`
        self.fault_over = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/lab/calls":
            return _json(start_response, self.calls)
        if path == "/lab/faults":
            return self._set_fault(environ, start_response)
        if environ.get("HTTP_HOST", "").split(":")[0] == METADATA:
            return self._metadata(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        action = urllib.parse.parse_qs(body.decode(errors="replace")).get("Action", [""])[0]
        if not action:
            return self.behind(environ, start_response)
        source = environ.get("REMOTE_ADDR", "").removeprefix("::ffff:")
        self.calls.append({"at": time.time(), "action": action, "from": source})
        return self._answer(environ, start_response, action, body)

    def _answer(
        self, environ: dict[str, Any], start_response: Callable, action: str, body: bytes
    ) -> Iterable[bytes]:
        fault = self.fault
        wanted = fault.get("actions") or [action]
        mode = fault.get("mode") if action in wanted else None
        if mode in _ERRORS:
            return _error(start_response, *_ERRORS[mode])
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
            return _error(start_response, "400 Bad Request", "NoSuchMode", ", ".join(MODES))
        over, self.fault_over = self.fault_over, threading.Event()
        self.fault = fault
        over.set()  # whoever waits in the fault before goes on
        return _json(start_response, fault)

    def _metadata(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        """Version 2 alone: a token first."""
        path, source = environ["PATH_INFO"], environ.get("REMOTE_ADDR", "").removeprefix("::ffff:")
        if path == "/latest/api/token" and environ["REQUEST_METHOD"] == "PUT":
            return _text(start_response, "lab-token")
        if environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN") != "lab-token" or source not in self.interfaces:
            start_response("401 Unauthorized", [("Content-Length", "0")])
            return [b""]
        mac, interface_id = self.interfaces[source]
        base = "/latest/meta-data"
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 6 * 3600))
        known = {
            f"{base}/network/interfaces/macs/": f"{mac}/",
            f"{base}/network/interfaces/macs/{mac}/local-ipv4s": source,
            f"{base}/network/interfaces/macs/{mac}/interface-id": interface_id,
            f"{base}/iam/security-credentials/": "lab",
            f"{base}/iam/security-credentials/lab": json.dumps(
                {
                    "Code": "Success",
                    "Type": "AWS-HMAC",
                    "AccessKeyId": "LABROLE",
                    "SecretAccessKey": "lab",
                    "Token": "lab",
                    "Expiration": expires,
                }
            ),
        }
        if path not in known:
            start_response("404 Not Found", [("Content-Length", "0")])
            return [b""]
        return _text(start_response, known[path])


def body_key(body: bytes) -> bytes:
    """Equal for the same question, whoever asks."""
    return b"&".join(sorted(body.split(b"&")))


def _captured(behind: Callable, environ: dict[str, Any]) -> tuple[str, list, bytes]:
    """(status, headers, body) of what stands behind."""
    said: list[Any] = []
    content = b"".join(behind(environ, lambda status, headers, *_: said.extend((status, headers))))
    return said[0], said[1], content


def _error(start_response: Callable, status: str, code: str, message: str) -> list[bytes]:
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error><Code>{code}</Code>'
        f"<Message>{message}</Message></Error></Errors><RequestID>lab</RequestID></Response>"
    ).encode()
    start_response(status, [("Content-Type", "text/xml"), ("Content-Length", str(len(text)))])
    return [text]


def _cut(environ: dict[str, Any], start_response: Callable) -> list[bytes]:
    """The client gets a reset in place of an answer."""
    connection = environ.get("werkzeug.socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(connection.detach())  # close() alone waits for the files that werkzeug has on it
    raise ConnectionResetError("cut, as asked for by /lab/faults")


def _json(start_response: Callable, value: Any) -> list[bytes]:
    return _text(start_response, json.dumps(value), "application/json")


def _text(start_response: Callable, text: str, kind: str = "text/plain") -> list[bytes]:
    content = text.encode()
    start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(content)))])
    return [content]
