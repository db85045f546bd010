"""A running HAProxy to ask, the applications behind it, and the inventory that it is configured from."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _App(BaseHTTPRequestHandler):
    """Answers with its own name and the request as it arrived."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_GET(self) -> None:
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self.send_response(101)
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", "websocket")
            self.send_header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")  # RFC 6455, section 1.3
            self.end_headers()
            self.wfile.write(b"echo " + self.rfile.readline())
            self.close_connection = True
            return
        lines = [self.server.name, self.path, *(f"{k}: {v}" for k, v in self.headers.items())]  # type: ignore[attr-defined]
        body = "\n".join(lines).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    """One application. A check that HAProxy gives up on is no error worth a traceback."""

    daemon_threads = True
    name = ""

    def handle_error(self, *_: object) -> None:
        pass


def app(name: str, address: str = "127.0.0.1", port: int = 0) -> _Server:
    server = _Server((address, port), _App)
    server.name = name
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@dataclass
class Balancer:
    """A running HAProxy and its ports."""

    http: int
    https: int
    stats: int
    health: int
    tcp: int
    process: subprocess.Popen[bytes]
    log: socket.socket

    def logged(self, word: str) -> list[str]:
        """Its log's lines, up to the first with that word, which must come."""
        lines = [""]
        while word not in lines[-1]:
            lines.append(self.log.recv(4096).decode())
        return lines

    def get(
        self,
        path: str = "/",
        port: int | None = None,
        host: str = "a.example.com",
        literal: bool = False,
        **headers: str,
    ) -> tuple[int, dict[str, str], str]:
        """Status, headers in lower case, body. `_` in a header's name stands for `-`, unless literal."""
        port = port or self.https
        if port == self.https:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                "127.0.0.1", port, timeout=5, context=context
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        named = {name if literal else name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers={"Host": host, **named})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, body


TEXT = """
[cluster]
name = "t"
domains = ["a.example.com"]
email = "o@example.com"
[address]
kind = "vip"
address = "127.0.0.100/8"
[ssh]
user = "ubuntu"
[[hosts]]
name = "lb-1"
role = "active"
ssh = "198.51.100.1"
private_address = "127.0.0.1"
interface = "lo"
[[hosts]]
name = "lb-2"
role = "passive"
ssh = "198.51.100.2"
private_address = "127.0.0.2"
interface = "lo"
[certificate]
path = "{pem}"
challenge_port = {challenge}
[haproxy]
health_port = {health}
maxconn = 40
timeouts = {{ http_request = "1s" }}
tls = {{ hsts_days = 1 }}
[haproxy.stats]
port = {stats}
admin = true
password = {{ env = "LBKIT_STATS_PASSWORD" }}
[haproxy.frontends.web]
addresses = ["127.0.0.1", "127.0.0.100"]
http_port = {http}
https_port = {https}
redirect = 308
default_backend = "apps"
routes = [
  {{ host = ["*.img.example.com"], path_prefix = ["/pics"], path_suffix = ["-f", "-i", ".jpg"], ignore_case = true, backend = "images" }},
]
[haproxy.frontends.raw]
mode = "tcp"
addresses = ["127.0.0.1", "127.0.0.100"]
port = {tcp}
default_backend = "raw"
[haproxy.backends.apps]
cookie = {{ name = "SRV" }}
check = {{ interval = "200ms", rise = 1 }}
servers = [
  {{ name = "one", address = "127.0.0.1", port = {one} }},
  {{ name = "two", address = "127.0.0.1", port = {two} }},
]
[haproxy.backends.images]
check = {{ type = "none" }}
servers = [{{ name = "images", address = "127.0.0.1", port = {images} }}]
[haproxy.backends.raw]
check = {{ type = "none" }}
servers = [{{ name = "images", address = "127.0.0.1", port = {images} }}]
[keepalived]
virtual_router_id = 7
"""
