"""moto on loopback, behind the front that the lab uses too: it logs each call and goes wrong on request."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from lbkit.lab import front, metadata


@contextlib.contextmanager
def answering(hosts: Mapping[str, metadata.Instance]) -> Iterator[tuple[front.Front, int]]:
    """(the front, its port). hosts: whose calls are those of an instance, by the address they come from."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_request(self, *_: Any) -> None:
            """The log is for faults."""

    found = front.Front(DomainDispatcherApplication(create_backend_app), dict(hosts))
    server = make_server("127.0.0.1", 0, found, threaded=True, request_handler=Quiet)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found, server.server_port
    server.shutdown()
