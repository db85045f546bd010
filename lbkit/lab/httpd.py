"""An HTTP/1.1 server for a WSGI application that keeps connections, as AWS does, with TLS or without.

werkzeug's closes each after its answer: every call of an agent would then pay for a handshake.
"""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        environ: dict[str, Any] = {
            f"HTTP_{name.upper().replace('-', '_')}": value for name, value in self.headers.items()
        }
        environ |= {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": "lab",
            "SERVER_PORT": str(self.server.server_address[1]),
            "SERVER_PROTOCOL": self.protocol_version,
            "REMOTE_ADDR": self.client_address[0],
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if self.server.tls else "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "werkzeug.socket": self.connection,
        }
        said: list[Any] = []
        content = b"".join(
            self.server.application(environ, lambda status, headers, *_: said.extend((status, headers)))
        )
        code, _, reason = said[0].partition(" ")
        self.send_response_only(int(code), reason)
        for name, value in said[1]:
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        # One write: a second packet would wait for the first one's acknowledgement.
        self._headers_buffer.append(b"\r\n" + content)  # type: ignore[attr-defined]
        self.flush_headers()

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):
            return  # the client is gone, or was cut off on purpose


class Server(ThreadingHTTPServer):
    """Listens on every address of this namespace, and does not serve yet. certificate: a PEM file with the
    key, for TLS."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, application: Callable, port: int, certificate: Path | None = None) -> None:
        self.application = application
        self.tls: ssl.SSLContext | None = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate)
        six = Path("/proc/net/if_inet6").exists()
        self.address_family = socket.AF_INET6 if six else socket.AF_INET
        super().__init__(("::" if six else "0.0.0.0", port), Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def get_request(self) -> Any:
        connection, address = super().get_request()
        if self.tls:
            # The handshake is the connection's own thread's: one that stalls must not stop the others.
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address
