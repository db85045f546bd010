"""The server before the lab's AWS API: as with AWS, a connection serves one call after the other."""

from __future__ import annotations

import http.client
import threading
from typing import Any

from lbkit.lab import httpd


def test_connections_are_kept() -> None:
    def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    server = httpd.Server(echo, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    sources = set()
    for body in ("one", "two"):
        client.request("POST", "/", body)
        assert client.sock is not None
        sources.add(client.sock.getsockname())
        answer = client.getresponse()
        assert answer.read().decode() == body
        assert not answer.will_close
    assert len(sources) == 1
    client.close()
    server.shutdown()
    server.server_close()
